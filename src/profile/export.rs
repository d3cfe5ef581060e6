//! A report on the disk.

use std::ffi::OsStr;
use std::path::Path;

use super::{Results, report};
use crate::files::{WriteError, check_writable, write_all_atomically};

/// The folder of a report in which the heads are.
pub const HEADS_FOLDER: &str = "heads";

/// Whether a file called `name` in its folder may be one of the report's. Every picture may be: a plot is called after what it
/// shows.
pub fn is_report_file(name: &OsStr) -> bool {
    let named =
        ["report.html", "report.md", JSON, "results.csv", "deploy.toml"].iter().any(|file| *file == name);
    named || Path::new(name).extension().is_some_and(|e| e == "png" || e == "svg")
}

/// The file that says everything, for programs.
const JSON: &str = "results.json";

/// Finds out whether [`save`] could write into `folder`, before the minutes whose result is to go there. Makes nothing.
///
/// # Errors
/// [`WriteError`] names the path.
pub fn check_folder(folder: &Path) -> Result<(), WriteError> {
    if folder.is_dir() {
        return check_writable(&folder.join(JSON));
    }
    // The folder will be made in the nearest one that is there.
    let above = folder.ancestors().skip(1).find(|path| path.as_os_str().is_empty() || path.exists());
    match (folder.exists(), above) {
        (false, Some(above)) => check_writable(&above.join(folder.file_name().unwrap_or_default())),
        _ => check_writable(&folder.join(JSON)),
    }
}

/// Writes the report into `folder`, which is made if need be: every file is on the disk before the first takes its name,
/// so that a full disk leaves an older report whole. Returns the names.
///
/// # Errors
/// [`WriteError`] names the path.
pub fn save(results: &Results, folder: &Path) -> Result<Vec<String>, WriteError> {
    std::fs::create_dir_all(folder).map_err(|source| WriteError::new(folder, source))?;
    let files = report::render(results);
    let paths = files.iter().map(|(name, bytes)| (folder.join(name), bytes.as_slice())).collect::<Vec<_>>();
    write_all_atomically(&paths)?;
    Ok(files.into_iter().map(|(name, _)| name).collect())
}
