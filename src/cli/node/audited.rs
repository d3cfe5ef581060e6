//! What a node writes into its audit log.

use std::fs;
use std::path::Path;

use microraptor::audit::{Event, digest};
use serde_json::json;

/// Most that is read of a result, which this program has just written.
const MAX_RESULT: u64 = 4 << 30;

/// The answer to object `input` of this run: the files in `folder`. No line names the object: its UID tells in any archive
/// whose it is.
pub fn answer(input: u64, folder: &Path) -> anyhow::Result<Event> {
    let mut names =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    names.sort();
    let mut files = Vec::with_capacity(names.len());
    for path in &names {
        let sha256 = digest(&microraptor::files::read(path, MAX_RESULT)?);
        // Their names are the head's number and the kind.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.push(json!({"name": name, "sha256": sha256}));
    }
    Ok(Event::Answer { input, line_sha256: None, files, late: None, withheld: None })
}
