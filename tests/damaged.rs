//! Damaged files of every format: no reader panics, none allocates on the mere claim of a header, and every error is
//! one line.
//!
//! The mutations are few and fixed, because they run with every `cargo test`. `fuzz/` searches for what they miss;
//! files that it found are in `tests/golden/finds`.

#![cfg(all(feature = "dicom", feature = "nifti"))]

mod seeds;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Display;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use microraptor::board::Board;
use microraptor::checkpoint;
use microraptor::heads::Head;
use microraptor::input::{
    Dataset, FrameStream, Image, InputError, LabelMap, ReadOptions, Scan, StreamFormat,
};
use microraptor::output::dicom::Sources;
use microraptor::profile::{Comparison, Deploy, Recorded, Tolerance};
use microraptor::quant::file;
use sha2::{Digest, Sha256};

use seeds::Seed;

/// The system's allocator, which tracks the current and the peak memory of each thread. Memory passed between threads
/// is counted for the thread that allocated it; the count of a thread that frees another's memory may become
/// negative.
struct Counting;

thread_local! {
    static ALIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // The counters of a terminating thread no longer exist.
    let _ = ALIVE.try_with(|alive| {
        alive.set(alive.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(alive.get())));
    });
}

// SAFETY: `alloc`, `alloc_zeroed` and `dealloc` forward to `System`, which meets the contract; counting does not
// touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller meets the contract of `alloc`, which `System` shares.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller meets the contract of `alloc_zeroed`, which `System` shares.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller passes a `pointer` that was allocated above with `layout`, so it comes from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What any reader may allocate: a fixed amount for buffers and tables, and 64 bytes for each byte of the file (a
/// JSON value of two bytes takes 32, and as much again while its list grows).
const FIXED: usize = 4 << 20;
const PER_BYTE: usize = 64;

/// What a compressed picture may take because of its header alone: `TRUSTED_BYTES` of `input::limits` for the pixels,
/// as much again to turn them upright, and twice as much for what a decoder keeps (the coefficients of a progressive
/// JPEG are i16).
const PIXELS: usize = 4 * (64 << 20);

/// Deflate's maximum ratio (RFC 1951), times the memory for a volume's voxels, f64 values for their percentiles,
/// labels, a slice, and vectors that double.
const INFLATED: usize = 16 * 1032;

fn all_frames(scan: Result<Scan, InputError>) -> Result<(), InputError> {
    scan?.try_for_each(|frame| frame.map(|_| ()))
}

fn none<T, E: Display>(result: Result<T, E>) -> Result<(), String> {
    result.map(|_| ()).map_err(|e| e.to_string())
}

/// Reads `bytes` in the way of `target`, in `folder`.
fn read(target: &str, bytes: &[u8], folder: &Path) -> Result<(), String> {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    match target {
        #[cfg(feature = "audit")]
        "audit" => {
            use microraptor::audit::{Anchor, Verdict, verify};
            match verify(&[file("audit.jsonl", bytes)], &Anchor::default()) {
                Ok(Verdict::Broken(fault)) => Err(fault.problem),
                found => none(found),
            }
        }
        "board" => none(Board::open(&file("board.toml", bytes))),
        "checkpoint" => {
            // A config.json may come first, terminated by a zero byte.
            let text = if bytes.starts_with(b"{") { bytes.iter().position(|&b| b == 0) } else { None };
            match text {
                Some(end) => drop(file("config.json", &bytes[..end])),
                None => drop(std::fs::remove_file(folder.join("config.json"))),
            }
            let tensors = &bytes[text.map_or(0, |end| end + 1)..];
            none(checkpoint::load(&file("model.safetensors", tensors)))
        }
        "csv" => none(Dataset::from_csv(file("data.csv", bytes))),
        "dicom" => {
            let options = ReadOptions { allow_unsupported_modality: true, ..ReadOptions::default() };
            none(all_frames(Scan::open(file("scan.dcm", bytes), &options)))
        }
        "deploy" => none(Deploy::load(&file("deploy.toml", bytes))),
        "dicom_source" => none(Sources::open(&[file("source.dcm", bytes)])),
        "frames" => none(every_picture(bytes.to_vec())),
        "head" => none(Head::load(file("head.safetensors", &sealed(bytes)))),
        #[cfg(feature = "igtl")]
        "igtl" => none(every_message(&summed(bytes))),
        "image" => none(Image::open(file("image", bytes))),
        "label_map" => none(LabelMap::open(file("mask", bytes), None)),
        "model" => none(file::read(&file("model", &sealed(bytes)))),
        "nifti" => {
            let path = file("volume.nii", bytes);
            let scan = none(all_frames(Scan::open(&path, &ReadOptions::default())));
            scan.and(none(LabelMap::open(path, None)))
        }
        "results" => {
            let found = Recorded::load(&file("results.json", bytes));
            none(found.map(|found| Comparison::new(&found, &found, Tolerance::default())))
        }
        "y4m" => {
            none(all_frames(Scan::from_reader("stream", Cursor::new(bytes.to_vec()), StreamFormat::Y4m)))
        }
        #[cfg(feature = "onnx")]
        "onnx" => {
            use microraptor::{checkpoint::onnx::Proof, graph::onnx, vit::Size};
            match onnx::open(&file("model.onnx", bytes), Proof::Skip) {
                Ok(onnx::OnnxFile::Other(model)) => {
                    let size = model.fixed_size().unwrap_or(Size::square(32));
                    none(model.plan(size, &onnx::Threads::default(), &[]))
                }
                found => none(found),
            }
        }
        #[cfg(feature = "onnx")]
        "onnx_head" => {
            file("head.json", br#"{"classes": ["a", "b"], "size": "32"}"#);
            none(Head::load(file("head.onnx", bytes)))
        }
        _ => Err(format!("{target} is not read by this build")),
    }
}

/// Maximum allocation that is acceptable for a file of `bytes` bytes.
fn allowed(target: &str, bytes: usize) -> usize {
    FIXED
        + PER_BYTE * bytes
        + match target {
            "image" | "label_map" | "dicom" => PIXELS,
            "nifti" => INFLATED * bytes,
            "onnx" | "onnx_head" => 64 << 20,
            _ => 0,
        }
}

/// Corrects the digest of a model file or a head, if it has one: after a wrong digest nothing else is read.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    // The digest of a head is inside a string.
    let keys: [&[u8]; 2] = [br#""digest":""#, br#"\"digest\":\""#];
    let after = |key: &&[u8]| file.windows(key.len()).position(|w| w == *key).map(|at| at + key.len());
    if let Some(at) = keys.iter().find_map(after)
        && matches!(file.get(at + 64), Some(b'"' | b'\\'))
    {
        file[at..at + 64].fill(b'0');
        let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        file[at..at + 64].copy_from_slice(digest.as_bytes());
    }
    file
}

/// Reads `bytes` and describes the fault, if any.
fn fault(target: &str, bytes: &[u8], folder: &Path) -> Option<String> {
    PEAK.set(ALIVE.get());
    let before = ALIVE.get();
    let result = catch_unwind(AssertUnwindSafe(|| read(target, bytes, folder)));
    let peak = (PEAK.get() - before) as usize;
    match result {
        Err(_) => Some("panics".into()),
        Ok(_) if peak > allowed(target, bytes.len()) => {
            Some(format!("allocates {peak} bytes for {} of input", bytes.len()))
        }
        Ok(Err(text)) if text.is_empty() || text.contains('\n') => {
            Some(format!("says {text:?}, which is not one line"))
        }
        Ok(_) => None,
    }
}

/// Damaged variants of a file, with descriptions: cuts, flipped bytes and overwritten numbers.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let n = bytes.len();
    // Headers are at the start, so every byte there is damaged, and only a sample of the rest.
    let places =
        move |dense: usize, sparse: usize| (0..dense.min(n)).chain((dense..n).step_by((n / sparse).max(1)));
    let cut = places(64, 100).map(|at| (format!("cut at {at}"), bytes[..at].to_vec()));
    let flips = places(600, 100).flat_map(move |at| {
        [0x01, 0x80, 0xFF].map(|mask| {
            let mut out = bytes.to_vec();
            out[at] ^= mask;
            (format!("byte {at} xor {mask:#x}"), out)
        })
    });
    // Numbers of two, four and eight bytes, like lengths and counts.
    let numbers = places(400, 60).flat_map(move |at| {
        let values: [&[u8]; 7] = [
            &[0; 2],
            &[0xFF; 2],
            &[0; 4],
            &[0xFF; 4],
            &[0xFF, 0xFF, 0xFF, 0x7F],
            &[0x7F, 0xFF, 0xFF, 0xFF],
            &[0xFF; 8],
        ];
        values.into_iter().filter(move |value| at + value.len() <= n).map(move |value| {
            let mut out = bytes.to_vec();
            out[at..at + value.len()].copy_from_slice(value);
            (format!("{value:02x?} at {at}"), out)
        })
    });
    cut.chain(flips).chain(numbers)
}

/// The seeds of `target`.
fn seeds_of(target: &str) -> Vec<Seed> {
    let seeds: Vec<Seed> = seeds::all().into_iter().filter(|seed| seed.target == target).collect();
    assert!(!seeds.is_empty());
    seeds
}

/// Maximum number of damaged files per format, evenly sampled from all variants, so that a format takes seconds.
const AT_MOST: usize = 4000;

/// Damages the seeds of `target`.
fn check(target: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let mut faults = Vec::new();
    let mut read = 0;
    let seeds = seeds_of(target);
    let ways: usize = seeds.iter().map(|seed| damaged(&seed.bytes).count()).sum();
    for seed in seeds {
        for (damage, bytes) in damaged(&seed.bytes).step_by(ways.div_ceil(AT_MOST)) {
            read += 1;
            if let Some(fault) = fault(target, &bytes, folder.path()) {
                faults.push(format!("{target} {} with {damage} {fault}", seed.name));
            }
        }
    }
    println!("{target}: {read} damaged files");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
}

/// Reads a stream of pictures to its end, also after a damaged one.
fn every_picture(bytes: Vec<u8>) -> Result<(), InputError> {
    let stream = Cursor::new(bytes);
    let mut frames = FrameStream::new("stream", stream, StreamFormat::Pictures, &ReadOptions::default())?;
    let Some(first) = frames.by_ref().find_map(Result::err) else { return Ok(()) };
    frames.for_each(drop);
    Err(first)
}

/// Reads OpenIGTLink messages to the end, also after one that is lost; the first such.
#[cfg(feature = "igtl")]
fn every_message(bytes: &[u8]) -> Result<(), InputError> {
    use microraptor::{
        input::Window,
        live::{IgtlMessage, IgtlReader},
    };
    let window = Some(Window { center: 40.0, width: 400.0 });
    let options = ReadOptions { window, ..ReadOptions::default() };
    let mut reader = IgtlReader::new("stream", bytes, &options);
    let mut lost = None;
    while let Some(message) = reader.next(&mut |device| device != "Other")? {
        if let IgtlMessage::Lost(problem) = message {
            lost.get_or_insert(problem);
        }
    }
    lost.map_or(Ok(()), Err)
}

/// Corrects the CRC-64 (ECMA-182) of the first OpenIGTLink message, if it is whole: with a wrong one nothing in it is
/// read. The sum is at byte 50 of the header, before it the length of the body.
#[cfg(feature = "igtl")]
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let length = bytes.get(42..50).map(|length| u64::from_be_bytes(length.try_into().unwrap()));
    let end = length.and_then(|length| usize::try_from(length).ok()?.checked_add(58));
    if let Some(body) = end.and_then(|end| bytes.get(58..end)) {
        let step = |sum: u64| (sum << 1) ^ if sum >> 63 == 1 { 0x42f0_e1eb_a9ea_3693 } else { 0 };
        let byte = |sum: u64, &byte: &u8| (0..8).fold(sum ^ (u64::from(byte) << 56), |sum, _| step(sum));
        let sum = body.iter().fold(0, byte);
        bytes[50..58].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

macro_rules! damaged {
    ($($(#[$when:meta])? $target:ident,)*) => {
        $($(#[$when])? #[test] fn $target() { check(stringify!($target)); })*
    };
}

damaged! {
    #[cfg(feature = "audit")]
    audit,
    board,
    checkpoint,
    csv,
    deploy,
    dicom,
    dicom_source,
    frames,
    head,
    #[cfg(feature = "igtl")]
    igtl,
    image,
    label_map,
    model,
    nifti,
    results,
    y4m,
    #[cfg(feature = "onnx")]
    onnx,
    #[cfg(feature = "onnx")]
    onnx_head,
}

/// All undamaged files must be readable; otherwise all damage to a format could be refused for one unrelated reason.
#[test]
fn sound_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    for Seed { target, name, bytes } in seeds::all() {
        let absent = |feature: &str, built: bool| target.starts_with(feature) && !built;
        if absent("onnx", cfg!(feature = "onnx"))
            || absent("igtl", cfg!(feature = "igtl"))
            || absent("audit", cfg!(feature = "audit"))
        {
            continue;
        }
        let result = read(target, &bytes, folder.path());
        if name.starts_with("jpegls") && target == "dicom" && !cfg!(feature = "jpeg-ls") {
            assert!(result.unwrap_err().contains("jpeg-ls"));
        } else {
            result.unwrap_or_else(|e| panic!("{target} {name}: {e}"));
        }
    }
}

/// Files that fuzzing found, with faults fixed since: `tests/golden/finds/TARGET-WHAT`.
#[test]
fn finds() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/finds")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (target, _) = name.split_once('-').unwrap();
        if target.starts_with("onnx") && !cfg!(feature = "onnx") {
            support::left_out(&format!("{name} needs the feature onnx"));
            continue;
        }
        found += 1;
        let fault = fault(target, &std::fs::read(path).unwrap(), folder.path());
        assert_eq!(fault, None, "{name}");
    }
    assert!(found > 0);
}

/// Not a test: writes the seeds to `$MICRORAPTOR_SEEDS/TARGET/NAME`, for `fuzz/run`.
#[test]
#[ignore = "writes files for fuzz/run"]
fn write_seeds() {
    let folder = std::path::PathBuf::from(
        std::env::var_os("MICRORAPTOR_SEEDS").expect("MICRORAPTOR_SEEDS names a folder"),
    );
    for seed in seeds::all() {
        let folder = folder.join(seed.target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(seed.name), seed.bytes).unwrap();
    }
}
