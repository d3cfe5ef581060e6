//! Files that a command reads, so that it never overwrites them.

use std::path::{Path, PathBuf};

use microraptor::checkpoint;
use microraptor::engine::is_onnx;
use microraptor::input::Dataset;
use microraptor::output::Inputs;

use super::args::Placement;
use super::backbone;

/// Refuses `output` if it is one of the files that `gather` adds. `gather` is called only if `output` exists.
pub fn refuse(output: &Path, gather: impl FnOnce(&mut Inputs)) -> anyhow::Result<()> {
    if output.symlink_metadata().is_err() {
        return Ok(());
    }
    let mut inputs = Inputs::default();
    gather(&mut inputs);
    Ok(inputs.refuse(output)?)
}

/// Adds the files of MODEL: [`files`].
pub fn model(inputs: &mut Inputs, model: &Path) {
    files(model).iter().for_each(|file| inputs.add(file));
}

/// The files of MODEL: its weights, the files next to them that are read too, and external data of an ONNX file. None if
/// it is built in, or from a seed.
pub fn files(model: &Path) -> Vec<PathBuf> {
    if backbone::is_demo(model) || backbone::untrained(model).is_some() {
        return Vec::new();
    }
    let mut files = checkpoint::files(model);
    files.extend(external(model));
    files
}

/// Adds a head file; for an ONNX head also the JSON description next to it and its external data.
pub fn head(inputs: &mut Inputs, head: &Path) {
    inputs.add(head);
    if is_onnx(head) {
        inputs.add(&head.with_extension("json"));
        external(head).iter().for_each(|file| inputs.add(file));
    }
}

/// Adds the files of a data set: its CSV file, its images and its masks.
pub fn data(inputs: &mut Inputs, path: &Path, data: &Dataset) {
    if path.is_file() {
        inputs.add(path);
    }
    for sample in &data.samples {
        sample.source.file().iter().for_each(|image| inputs.add(image));
        sample.mask.iter().for_each(|mask| inputs.add(mask));
    }
}

/// Adds the board file.
pub fn board(inputs: &mut Inputs, placement: &Placement) {
    placement.board.iter().for_each(|board| inputs.add(Path::new(board)));
}

#[cfg(feature = "onnx")]
fn external(model: &Path) -> Vec<PathBuf> {
    if !is_onnx(model) {
        return Vec::new();
    }
    // A file that cannot be read is reported when it is opened.
    checkpoint::onnx::external_files(model).into_iter().flatten().collect()
}

#[cfg(not(feature = "onnx"))]
fn external(_: &Path) -> Vec<PathBuf> {
    Vec::new()
}
