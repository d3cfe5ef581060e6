//! An audit log: verified, added to, and verified again; once as it is, and once with digests that are right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::audit::{Anchor, AuditError, Durability, Event, Log, Options, Verdict, digest, verify};
use microraptor_fuzz::{folder, on_file};

/// The end of the file that is read when it is opened, and a buffer.
const FIXED: usize = 12 << 20;

fuzz_target!(|data: &[u8]| {
    read(data);
    let mut previous = "0".repeat(64);
    let lines = data.split(|byte| *byte == b'\n').map(|line| corrected(line, &mut previous));
    read(&lines.collect::<Vec<_>>().join(&b'\n'));
});

/// Reads a log; one that is whole stays so when lines are added.
fn read(data: &[u8]) {
    let mut whole = false;
    on_file("audit.jsonl", data, FIXED, |path| {
        whole = matches!(verify(&[path.to_owned()], &Anchor::default())?, Verdict::Whole(_));
        Ok::<(), AuditError>(())
    });
    let path = folder().join("audit.jsonl");
    let options = Options { durability: Durability::None, ..Options::default() };
    let added = Log::open(&path, options).and_then(|mut log| log.append(&Event::Resumed {}).map(drop));
    if whole && added.is_ok() {
        let found = verify(&[path], &Anchor::default());
        assert!(matches!(found, Ok(Verdict::Whole(_))), "{found:?}");
    }
}

/// `line` with the digest that it should have, and that of the line before.
fn corrected(line: &[u8], previous: &mut String) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let Some((body, _)) = text.rsplit_once(",\"sha256\":\"") else { return line.to_vec() };
    let mut body = body.to_owned();
    if let Some(at) = body.find("\"previous\":\"").map(|at| at + 12)
        && body.is_char_boundary(at + 64)
        && at + 64 <= body.len()
    {
        body.replace_range(at..at + 64, previous);
    }
    *previous = digest(body.as_bytes());
    format!("{body},\"sha256\":\"{previous}\"}}").into_bytes()
}
