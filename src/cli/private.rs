//! What is made of patients' images is for their owner alone.

use std::path::Path;

use microraptor::input::is_dicom;

/// Has every file and folder that the program makes from now on readable by its owner alone, if one of `inputs` is DICOM.
pub fn when_dicom<'a>(inputs: impl IntoIterator<Item = &'a Path>) {
    if inputs.into_iter().any(is_dicom) {
        restrict();
    }
}

#[cfg(unix)]
fn restrict() {
    use rustix::fs::Mode;
    log::info!("DICOM is read: what is written is readable by its owner alone");
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Elsewhere files have the access of the folder that they are in.
#[cfg(not(unix))]
fn restrict() {}
