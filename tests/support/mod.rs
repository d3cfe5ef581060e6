//! Reports tests that cannot run here, or cannot run completely.
//!
//! In CI (if the environment variable `CI` is set) a test without its data fails. Elsewhere it reports on standard
//! error what it did not test, which Cargo shows for passing tests too, and appends that line to the file
//! `$MICRORAPTOR_NOT_TESTED`; the last line of `.ci/run` gives their number. `MICRORAPTOR_MISSING=counted` or
//! `=fails` overrides `CI`: emulation is too slow for real data, so there missing data is only counted.

#![allow(dead_code, reason = "every test takes what it needs")]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file or folder of real data, which is not part of the repository: `path` in `$MICRORAPTOR_SHARED` or
/// `../shared`. `None`, and counted as not tested, if it does not exist.
///
/// # Panics
/// In CI, if it does not exist.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MICRORAPTOR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    missing(&format!("{} is not there (set MICRORAPTOR_SHARED)", found.display()));
    None
}

/// Counts a test that was skipped because something is missing that CI has.
///
/// # Panics
/// In CI.
pub fn missing(what: &str) {
    let required = match std::env::var("MICRORAPTOR_MISSING").as_deref() {
        Ok("counted") => false,
        Ok("fails") => true,
        _ => std::env::var("CI").is_ok_and(|ci| !["", "0", "false"].contains(&ci.as_str())),
    };
    assert!(!required, "{what}; in CI, nothing may be missing");
    left_out(what);
}

/// Counts what is not tested for a reason that may also apply in CI, such as the instruction sets of its CPU.
pub fn left_out(what: &str) {
    let thread = std::thread::current();
    let line = format!(
        "not tested: {} {}: {what}\n",
        env!("CARGO_CRATE_NAME"),
        thread.name().unwrap_or("without a name")
    );
    // Not `eprint`: the test harness captures its output and discards it if the test passes.
    io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
    if let Some(path) = std::env::var_os("MICRORAPTOR_NOT_TESTED").filter(|path| !path.is_empty()) {
        let file = File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("$MICRORAPTOR_NOT_TESTED takes a line");
    }
}
