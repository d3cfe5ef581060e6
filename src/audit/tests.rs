use std::path::{Path, PathBuf};

use super::tail::End;
use super::*;

fn event(input: u64) -> Event {
    Event::Answer { input, line_sha256: Some("0".repeat(64)), files: Vec::new(), late: None, withheld: None }
}

/// A log with a beginning and `lines` answers.
fn written(path: &Path, lines: u64, options: Options) -> Head {
    let mut log = Log::open(path, options).unwrap();
    (1..=lines).for_each(|input| assert_eq!(log.append(&event(input)).unwrap(), Written::Yes));
    log.head().unwrap().clone()
}

fn report(paths: &[PathBuf]) -> Report {
    match verify(paths, &Anchor::default()).unwrap() {
        Verdict::Whole(report) => report,
        Verdict::Broken(fault) => panic!("{fault:?}"),
    }
}

fn fault(path: &Path, anchor: &Anchor) -> (u64, FaultKind) {
    match verify(&[path.to_owned()], anchor).unwrap() {
        Verdict::Whole(report) => panic!("{report:?}"),
        Verdict::Broken(Fault { line, kind, .. }) => (line, kind),
    }
}

/// Writes the lines again, in another order or with others.
fn rewritten(path: &Path, lines: &[&str]) {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn every_change_of_lines_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole"), folder.path().join("log"));
    let head = written(&whole, 5, Options::default());
    let found = report(std::slice::from_ref(&whole));
    assert_eq!((found.lines, found.first, found.head), (6, 0, Some(head.clone())));
    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let anchor = Anchor { sha256: Some(head.sha256), lines: Some(6) };
    let nothing = Anchor::default();
    for at in 0..6 {
        let with = |middle: &[&str], rest: usize| {
            let all: Vec<&str> = lines[..at].iter().chain(middle).chain(&lines[rest..]).copied().collect();
            rewritten(&path, &all);
        };
        let here = at as u64 + 1;
        // Each byte of it.
        for byte in 0..lines[at].len() {
            let mut bytes = lines[at].as_bytes().to_vec();
            bytes[byte] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            // A line feed makes two lines of one.
            with(&[&changed], at + 1);
            let (line, kind) = fault(&path, &nothing);
            assert!(
                line == here && matches!(kind, FaultKind::Changed | FaultKind::NoLine),
                "{line} {kind:?}"
            );
        }
        with(&[], at + 1);
        let expected = if at == 5 { (6, FaultKind::Removed) } else { (here, FaultKind::Removed) };
        assert_eq!(fault(&path, &anchor), expected, "{at} removed");
        assert_eq!(matches!(verify(std::slice::from_ref(&path), &nothing), Ok(Verdict::Whole(_))), at == 5);
        with(&[lines[at], lines[at]], at + 1);
        assert_eq!(fault(&path, &nothing), (here + 1, FaultKind::Inserted), "{at} twice");
        with(&["{}"], at);
        assert_eq!(fault(&path, &nothing), (here, FaultKind::NoLine), "{at} inserted");
        if at < 5 {
            with(&[lines[at + 1], lines[at]], at + 2);
            let kind = if at == 0 { FaultKind::Removed } else { FaultKind::Moved };
            assert_eq!(fault(&path, &nothing), (here, kind), "{at} swapped");
        }
        // Cut off within it, at its end, and after it.
        for cut in [1, lines[at].len() / 2, lines[at].len() - 1] {
            let before: usize = lines[..at].iter().map(|line| line.len() + 1).sum();
            std::fs::write(&path, &text[..before + cut]).unwrap();
            assert_eq!(fault(&path, &nothing), (here, FaultKind::Torn), "{at} {cut}");
        }
    }
    std::fs::write(&path, "").unwrap();
    assert_eq!(fault(&path, &nothing), (1, FaultKind::Removed));
}

/// A log that an earlier version wrote, with a line that was torn: the format stays.
#[test]
fn a_log_of_format_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/log.jsonl");
    let found = report(&[path]);
    let head = "f8de7e20a9a5a4075c4a81babf23fcb26903f29a26879dd688844097f6d7ef23";
    assert_eq!(found.head, Some(Head { seq: 11, sha256: head.into() }));
    assert_eq!((found.lines, found.runs, found.unfinished, found.lost), (12, 2, 0, 0));
    assert_eq!((found.torn[0].line, found.torn[0].bytes), (7, 28));
}

#[test]
fn a_line_in_place_of_another_is_found_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    written(&path, 3, Options::default());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let before = line::parse(lines[1].as_bytes()).unwrap().head();
    let (other, _) = line::encode(Some(&before), &event(77)).unwrap();
    lines[2] = &other;
    rewritten(&path, &lines);
    assert_eq!(fault(&path, &Anchor::default()), (4, FaultKind::Replaced));
}

#[test]
fn a_log_that_was_cut_anywhere_goes_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole"), folder.path().join("log"));
    written(&whole, 2, Options::default());
    let bytes = std::fs::read(&whole).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in first..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let lines_before = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        written(&path, 1, Options::default());
        let found = report(std::slice::from_ref(&path));
        let last = &bytes[..cut].rsplit(|byte| *byte == b'\n').next().unwrap();
        let whole = line::parse(last).is_ok();
        let torn: Vec<u64> = found.torn.iter().map(|torn| torn.bytes).collect();
        let expected = if whole || last.is_empty() { vec![] } else { vec![last.len() as u64] };
        assert_eq!(torn, expected, "{cut}");
        let lines = lines_before as u64 + u64::from(whole) + torn.len() as u64 + 1;
        assert_eq!(found.lines, lines, "{cut}");
        // What was torn stays as evidence, and it cannot be changed either.
        if let [bytes] = torn[..] {
            let mut text = std::fs::read(&path).unwrap();
            text[cut - 1] ^= 1;
            std::fs::write(&path, &text).unwrap();
            let (line, kind) = fault(&path, &Anchor::default());
            assert_eq!((line, kind), (lines_before as u64 + 1, FaultKind::NoLine), "{cut} {bytes}");
        }
    }
    // Closing it may be cut too, again and again.
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    for round in 0..3 {
        written(&path, 0, Options::default());
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 9 - round).unwrap();
    }
    written(&path, 1, Options::default());
    assert_eq!(report(std::slice::from_ref(&path)).torn.len(), 1);
}

#[test]
fn a_part_of_a_write_is_remembered_as_the_file_has_it() {
    let torn = |end: End| match end {
        End::Torn { bytes, sha256 } => Some((
            bytes,
            sha2::Digest::finalize(sha256).iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        )),
        _ => None,
    };
    let expected = |part: &[u8]| Some((part.len() as u64, crate::sealed::sha256(part)));
    assert!(matches!(End::Whole.after(b""), End::Whole));
    assert_eq!(torn(End::Whole.after(b"ab")), expected(b"ab"));
    assert!(matches!(End::Unended.after(b""), End::Unended));
    assert!(matches!(End::Unended.after(b"\n"), End::Whole));
    assert_eq!(torn(End::Unended.after(b"\nab")), expected(b"ab"));
    assert_eq!(torn(End::torn(b"ab").after(b"\ncd")), expected(b"ab\ncd"));
}

#[test]
fn a_large_file_is_put_aside_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let options = Options { max: Some(1500), durability: Durability::Line, ..Options::default() };
    let head = written(&path, 30, options);
    let mut files: Vec<PathBuf> =
        (1..).map(|n| place::aside(&path, n)).take_while(|file| file.exists()).collect();
    files.push(path.clone());
    assert!(files.len() > 4, "{files:?}");
    let found = report(&files);
    assert_eq!((found.head, found.first), (Some(head), 0));
    assert_eq!(found.lines, 31 + 2 * (files.len() as u64 - 1));
    // Files of the middle, in another order, and without one of them.
    assert!(report(&files[1..]).first > 0);
    files.swap(1, 2);
    assert!(matches!(verify(&files, &Anchor::default()), Ok(Verdict::Broken(_))));
    files.swap(1, 2);
    let removed = files.remove(1);
    let Ok(Verdict::Broken(fault)) = verify(&files, &Anchor::default()) else {
        panic!("{removed:?} is missing")
    };
    assert_eq!((fault.line, fault.kind), (1, FaultKind::Removed));
    files.insert(1, removed);
    // Killed before the next file was begun, and before the name was changed.
    std::fs::remove_file(&path).unwrap();
    written(&path, 1, Options::default());
    report(&files);
    let last = files.len() as u64 - 1;
    std::fs::rename(place::aside(&path, last), &path).unwrap();
    written(&path, 1, Options::default());
    report(&files);
    // Nothing is written over.
    std::fs::write(place::aside(&path, last + 1), "mine").unwrap();
    let error = (0..99).find_map(|_| {
        Log::open(&path, options)
            .and_then(|mut log| (0..99).try_for_each(|n| log.append(&event(n)).map(drop)))
            .err()
    });
    assert!(error.unwrap().to_string().contains("put aside"));
    assert_eq!(std::fs::read_to_string(place::aside(&path, last + 1)).unwrap(), "mine");
    report(&files);
}

#[test]
fn nothing_is_added_to_what_is_no_log_or_was_changed_or_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let said = || Log::open(&path, Options::default()).err().unwrap().to_string();
    for text in ["mine", "{}\n", "{\"seq\":0}\n{}\n"] {
        std::fs::write(&path, text).unwrap();
        assert!(said().contains("is no audit log"), "{}", said());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(Log::open(folder.path(), Options::default()).is_err());
    let log = Log::open(&path, Options::default()).unwrap();
    assert!(said().contains("another process"));
    drop(log);
    written(&path, 2, Options::default());
    let whole = std::fs::read_to_string(&path).unwrap();
    let changed = whole.replace("\"input\":2", "\"input\":3");
    assert_ne!(whole, changed);
    std::fs::write(&path, &changed).unwrap();
    assert!(said().contains("its last line was changed"), "{}", said());
    std::fs::write(&path, whole.clone() + &"x".repeat(4 << 20)).unwrap();
    assert!(said().contains("is no line of an audit log"), "{}", said());
    std::fs::write(&path, whole.lines().skip(1).collect::<String>()).unwrap();
    assert!(Log::open(&path, Options::default()).is_err());
}

#[test]
#[ignore = "measures: cargo test --lib audit::tests::how_long -- --ignored --nocapture"]
fn how_long_a_line_takes() {
    let folder = tempfile::tempdir().unwrap();
    for durability in [Durability::None, Durability::Second, Durability::Line] {
        let path = folder.path().join(format!("{durability:?}"));
        let mut log = Log::open(&path, Options { durability, ..Options::default() }).unwrap();
        let count = if durability == Durability::Line { 500 } else { 50_000 };
        let mut times: Vec<f64> = (0..count)
            .map(|input| {
                let start = std::time::Instant::now();
                log.append(&event(input)).unwrap();
                1e6 * start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
        println!(
            "{durability:?}: median {:.1} us, 99% below {:.1} us, longest {:.0} us",
            at(0.5),
            at(0.99),
            at(1.0)
        );
        assert!(at(0.5) < 20_000.0);
        drop(log);
        let start = std::time::Instant::now();
        let found = report(std::slice::from_ref(&path));
        let (bytes, seconds) = (path.metadata().unwrap().len(), start.elapsed().as_secs_f64());
        assert_eq!(found.lines, count + 1);
        println!(
            "{durability:?}: {} bytes a line, verified at {:.0} MB/s",
            bytes / found.lines,
            bytes as f64 / 1e6 / seconds
        );
    }
}
