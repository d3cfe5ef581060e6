//! What is made of patients' images is for their owner alone.

/// Has every file and folder that the program makes from now on readable by its owner alone, if `dicom` is read.
pub fn when_dicom(dicom: bool) {
    if dicom {
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
