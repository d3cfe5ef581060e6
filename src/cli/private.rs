//! Files made from patients' images are readable by their owner only.

/// If `dicom`, makes every file and folder that the program creates from now on accessible to its owner only.
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

/// On other systems, files inherit the access rights of their folder.
#[cfg(not(unix))]
fn restrict() {}
