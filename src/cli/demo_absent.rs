//! `microraptor demo` in a build without the built-in backbone.

use super::args::DemoArgs;
use super::backbone;

/// Returns an error that says how to get it.
pub fn run(_: &DemoArgs) -> anyhow::Result<()> {
    Err(backbone::no_demo())
}
