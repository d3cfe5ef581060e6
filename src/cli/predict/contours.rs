//! Files of the inner and outer contours of masks.

use microraptor::files::{Access, Target};
use microraptor::names::shown;
use microraptor::output::write_mask;
use serde_json::json;

use super::files::{Answered, Files, with_ending};
use crate::cli::contours::regions;
use crate::cli::head_line::HeadLine;

/// Writes the inner and the outer region beside the mask, if masks are written, and records the files in `line`.
pub fn write(files: &mut Files, answered: Answered, line: &mut HeadLine) -> anyhow::Result<()> {
    let Answered { path, info, loaded, contours, .. } = answered;
    let (Some(zones), Some(folder)) = (contours, files.masks()) else { return Ok(()) };
    let stem = folder.join(files.stem(path, loaded));
    let access = if info.dicom.is_some() { Access::Owner } else { Access::Usual };
    for (name, region) in ["inner", "outer"].into_iter().zip(regions(zones)) {
        let stem = with_ending(&stem, &format!(".{name}"));
        let names = match files.write_nifti(&stem, info, &region)? {
            Some(nifti) => json!(shown(nifti)),
            None => files.each_frame(&stem, info, region.depth, |path, z| {
                Ok(write_mask(Target { path, access }, &region, z, 2)?)
            })?,
        };
        line.written.insert(name.to_owned(), names);
    }
    Ok(())
}
