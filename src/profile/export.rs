//! Writes a report to disk.

use std::ffi::OsStr;
use std::path::Path;

use super::{Results, report};
use crate::files::{WriteError, check_writable, write_all_atomically};

/// Folder for the heads, inside the report's folder.
pub const HEADS_FOLDER: &str = "heads";

/// Whether a file called `name` in the report's folder may belong to the report. Every PNG or SVG file may: a plot's
/// name depends on its content.
pub fn is_report_file(name: &OsStr) -> bool {
    let named =
        ["report.html", "report.md", JSON, "results.csv", "deploy.toml"].iter().any(|file| *file == name);
    named || Path::new(name).extension().is_some_and(|e| e == "png" || e == "svg")
}

/// File with the complete results, for programs.
const JSON: &str = "results.json";

/// Checks that [`save`] can write into `folder`, before minutes are spent on measuring. Creates nothing.
///
/// # Errors
/// [`WriteError`], which names the path.
pub fn check_folder(folder: &Path) -> Result<(), WriteError> {
    if folder.is_dir() {
        return check_writable(&folder.join(JSON));
    }
    // The folder will be created below its nearest existing ancestor.
    let above = folder.ancestors().skip(1).find(|path| path.as_os_str().is_empty() || path.exists());
    match (folder.exists(), above) {
        (false, Some(above)) => check_writable(&above.join(folder.file_name().unwrap_or_default())),
        _ => check_writable(&folder.join(JSON)),
    }
}

/// Writes the report into `folder`, which is created if necessary. All files are written to disk before the first is
/// renamed to its final name, so that a full disk leaves an older report intact. Returns the names of the files.
///
/// # Errors
/// [`WriteError`], which names the path.
pub fn save(results: &Results, folder: &Path) -> Result<Vec<String>, WriteError> {
    std::fs::create_dir_all(folder).map_err(|source| WriteError::new(folder, source))?;
    let files = report::render(results);
    let paths = files.iter().map(|(name, bytes)| (folder.join(name), bytes.as_slice())).collect::<Vec<_>>();
    write_all_atomically(&paths)?;
    Ok(files.into_iter().map(|(name, _)| name).collect())
}
