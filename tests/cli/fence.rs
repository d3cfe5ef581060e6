//! The process in which JPEG 2000 is decoded: what it decodes, what it may not do, and that the program outlives it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use microraptor::input::{DicomSamples, dicom_samples};
use tempfile::tempdir;

use super::common::*;
use super::stream::Bench;
use super::support::shared;

/// Files in JPEG 2000: of every progression, signed and in colour; and of others, where they are at hand.
fn files() -> Vec<PathBuf> {
    let kinds = ["cprl", "lrcp", "pcrl", "rlcp", "rpcl"].map(|order| format!("dicom_kinds/j2k_{order}.dcm"));
    let mut files: Vec<PathBuf> = kinds.iter().map(|name| golden(name)).collect();
    files.push(golden("dicom/j2k_signed.dcm"));
    let others = ["data/dicom/US1_J2KI.dcm", "data/dicom/examples_jpeg2k.dcm"];
    files.extend(others.iter().filter_map(|name| shared(name)));
    files
}

/// A file with one frame of grey.
fn grey() -> PathBuf {
    golden("dicom/j2k_signed.dcm")
}

/// The codestream of a file with one frame: its fragments (PS3.5, A.4) without the byte that makes them even.
fn codestream(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut at = bytes.windows(4).position(|w| w == b"\xff\x4f\xff\x51").unwrap() - 8;
    let mut stream = Vec::new();
    while bytes[at..].starts_with(b"\xfe\xff\x00\xe0") {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        stream.extend(&bytes[at + 8..at + 8 + length]);
        at += 8 + length;
    }
    let end = stream.windows(2).rposition(|w| w == b"\xff\xd9").unwrap() + 2;
    stream.truncate(end);
    stream
}

/// What a worker answers to requests for the only frame of `path`, twice.
#[test]
fn a_worker_gives_the_samples_of_the_library() {
    for path in files() {
        let DicomSamples { shape: [frames, rows, columns, components], bits, bytes } =
            dicom_samples(&path).unwrap();
        assert_eq!(frames, 1);
        let stream = codestream(&path);
        let mut request = Vec::new();
        for number in [rows, columns, components, bits as usize / 8] {
            request.extend((number as u32).to_le_bytes());
        }
        request.extend((stream.len() as u64).to_le_bytes());
        request.extend(&stream);
        let mut command = program();
        command.args(["jpeg2000", "--memory", "1073741824", "--seconds", "60"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut to = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || [(); 2].map(|()| to.write_all(&request).unwrap()));
        let mut said = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success());
        // Both limits and filter, on a system that has them; then twice the samples.
        let all = if cfg!(target_os = "linux") && !emulated() { 3 } else { said[3] };
        assert_eq!(said[..4], [b'J', b'2', b'K', all], "{}", path.display());
        let answer = [&[0], (bytes.len() as u64).to_le_bytes().as_slice(), &bytes].concat();
        assert!(said[4..] == [answer.as_slice(), &answer].concat(), "{}", path.display());
    }
}

#[test]
fn features_are_those_of_direct_decoding() {
    let folder = tempdir().unwrap();
    let read = |how: &str| {
        let out = folder.path().join(format!("{how}.safetensors"));
        let mut command = program();
        command.arg("embed").arg(tiny_model()).args(files()).arg("-o").arg(&out).args(["--size", "64"]);
        let output = command.args(["--jpeg2000", how, "--allow-unsupported-modality"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(out).unwrap()
    };
    assert!(read("fenced") == read("direct"));
}

#[test]
fn jpeg_2000_can_be_refused() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("f.safetensors");
    let mut embed: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"embed"];
    let (model, file) = (tiny_model(), grey());
    embed.extend([&model as &dyn AsRef<_>, &file, &"-o", &out, &"--size", &"64"]);
    let refused = failure(&[embed.clone(), vec![&"--jpeg2000", &"refuse"]].concat());
    assert!(refused.contains("j2k_signed.dcm: is in JPEG 2000, which is refused here"), "{refused}");
    for (value, expected) in
        [("refuse", "is refused here"), ("no", "MICRORAPTOR_JPEG2000 is 'no': set it to")]
    {
        let mut command = program();
        command.args(embed.iter().map(|a| a.as_ref())).env("MICRORAPTOR_JPEG2000", value);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
    assert!(!out.exists());
}

/// The one line that a file gives if the decoder has `fault`.
#[cfg(debug_assertions)]
fn fault(fault: &str, more: &[&str]) -> String {
    let folder = tempdir().unwrap();
    let mut command = program();
    command.env("MICRORAPTOR_TEST_JPEG2000", fault);
    command.arg("embed").arg(tiny_model()).arg(grey()).args(["--size", "64", "-o"]);
    let output = command.arg(folder.path().join("f.safetensors")).args(more).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{fault}: {stderr}");
    assert_eq!(listing(folder.path()), Vec::<String>::new());
    error_line(&stderr).to_owned()
}

#[cfg(debug_assertions)]
#[test]
fn a_decoder_that_fails_is_an_error_of_the_file() {
    for (name, expected) in [
        ("abort", "the decoder ended (signal: 6 (SIGABRT)"),
        ("overflow", "the decoder ended (signal: 6 (SIGABRT)"),
        ("quit", "the decoder ended (exit status: 0)"),
        ("short", "the decoder answered nonsense"),
    ] {
        let said = fault(name, &[]);
        assert!(
            said.contains("j2k_signed.dcm: holds JPEG 2000 on which ") && said.contains(expected),
            "{said}"
        );
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_decoder_has_little_memory_time_and_rights() {
    if emulated() {
        return;
    }
    let said = fault("memory", &["--max-memory", "200MiB"]);
    assert!(
        said.contains("j2k_signed.dcm: holds JPEG 2000 that needs more than 200 MiB of memory"),
        "{said}"
    );
    let started = Instant::now();
    let said = fault("hang", &["--timeout", "1"]);
    assert!(
        said.contains("j2k_signed.dcm: holds JPEG 2000 that takes too long to decode (1 s for a file)"),
        "{said}"
    );
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let said = fault("escape", &[]);
    let none = "Some(PermissionDenied)";
    let expected = format!("was refused: file {none}, network {none}, process {none}, thread {none}");
    assert!(said.contains(&expected), "{said}");
}

/// Puts a copy of `file` into the folder that a stream watches.
fn put(file: &Path, folder: &Path, name: &str) {
    let (hidden, shown) = (folder.join(format!(".{name}")), folder.join(name));
    std::fs::copy(file, &hidden).unwrap();
    std::fs::rename(hidden, shown).unwrap();
}

#[cfg(debug_assertions)]
#[test]
fn a_stream_outlives_a_decoder_that_crashes() {
    let bench = Bench::new();
    let watched = bench.path("watched");
    std::fs::create_dir(&watched).unwrap();
    let abort = std::ffi::OsStr::new("abort");
    let mut running = bench.start_on(&[watched.to_str().unwrap()], &[("MICRORAPTOR_TEST_JPEG2000", abort)]);
    for (number, file) in [(1, grey()), (2, bench.file(0)), (3, grey()), (4, bench.file(1))] {
        put(&file, &watched, &format!("{number}"));
        let line = running.next();
        let event = if number % 2 == 1 { "lost" } else { "frame" };
        assert_eq!((&line["event"], &line["frame"]), (&event.into(), &number.into()), "{line}");
        if event == "lost" {
            assert!(line["problem"].as_str().unwrap().contains("the decoder ended"), "{line}");
        }
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

/// The workers of the process `parent`.
fn workers(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|p| p.trim() == parent.to_string()))
    };
    ids.filter(of).collect()
}

/// Whether a process ended; nobody may have asked for its exit code.
fn ended(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

#[test]
fn a_worker_lives_on_and_is_replaced_even_if_the_program_was_deleted() {
    if emulated() {
        return;
    }
    let bench = Bench::new();
    let (watched, copy) = (bench.path("watched"), bench.path("microraptor"));
    std::fs::create_dir(&watched).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_microraptor"), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.arg("stream").arg(tiny_model()).arg("--head").arg(bench.path("head.safetensors")).arg(&watched);
    let mut running = Bench::begin(command);
    std::fs::remove_file(&copy).unwrap();
    let mut known = Vec::new();
    for number in 1..=4 {
        put(&grey(), &watched, &format!("{number}"));
        let line = running.next();
        assert_eq!((&line["event"], &line["frame"]), (&"frame".into(), &number.into()), "{line}");
        known.push(workers(running.id()));
        assert_eq!(known[number as usize - 1].len(), 1, "{known:?}");
        if number == 2 {
            let killed = Command::new("kill").args(["-KILL", &known[1][0].to_string()]).status().unwrap();
            assert!(killed.success());
            let gone = Instant::now();
            while !ended(known[1][0]) {
                assert!(gone.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(known[0] == known[1] && known[1] != known[2] && known[2] == known[3], "{known:?}");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    // Its end is theirs.
    let began = Instant::now();
    while !ended(known[3][0]) {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
}
