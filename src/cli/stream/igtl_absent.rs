//! Stub for OpenIGTLink in a build without the feature `igtl`: opening it returns an error that says so.

use std::path::Path;

use microraptor::input::{InputError, ReadOptions};
use microraptor::live::Source;

use super::outlet::Outlet;
use crate::cli::args::StreamArgs;

/// Pictures, and who is told of the answers at their other end, if anybody is.
pub type Answered = (Box<dyn Source>, Option<Box<dyn Outlet>>);

/// Fails if `path` names OpenIGTLink.
pub fn open(path: &Path, _: &StreamArgs, _: &ReadOptions) -> anyhow::Result<Option<Answered>> {
    let meant = |text: &str| text.starts_with("igtl://") || text.starts_with("igtl-listen://");
    if path.to_str().is_some_and(meant) {
        let path = path.to_owned();
        return Err(InputError::NotBuilt { path, format: "OpenIGTLink", feature: "igtl" }.into());
    }
    Ok(None)
}
