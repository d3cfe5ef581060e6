//! Files that would take hours or terabytes: each ends the program with exit code 2 and one line, soon, and in little
//! memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::tempdir;

use super::common::{emulated, error_line, failure, golden, program, success, tiny_model, write_dataset};

/// Time limit for refusing a file because of the sizes that it declares. A debug build on a busy machine takes a
/// second.
const SOON: Duration = Duration::from_secs(20);

/// Memory limit of the program with the tiny model, in MiB; it needs about 40 for itself.
const LITTLE: u64 = 300;

/// Message and cost of a run that had to fail.
struct Refusal {
    message: String,
    time: Duration,
    /// Peak memory in MiB; 0 if the system does not report it.
    peak: u64,
}

/// Runs the program, which must fail in the standard way, and measures its memory.
fn refused(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Refusal {
    let mut command = program();
    command.args(args.iter().map(|a| a.as_ref()));
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    watched(child, started)
}

fn watched(mut child: Child, started: Instant) -> Refusal {
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_mib(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert_eq!(stdout, "", "{stderr}");
    let message = error_line(&stderr).to_owned();
    assert!(message.len() < 1000, "{} bytes of message", message.len());
    Refusal { message, time: started.elapsed(), peak }
}

/// Peak memory of a process (proc(5)).
fn peak_mib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Embeds `image` with `model`, which must be refused soon and in little memory, with `expected` in the message.
#[track_caller]
fn embed_refused(model: &Path, image: &Path, more: &[&dyn AsRef<std::ffi::OsStr>], expected: &str) {
    let out = tempdir().unwrap();
    let file = out.path().join("f.safetensors");
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"embed", &model, &image, &"-o", &file, &"--size", &"32"];
    args.extend(more);
    check(&refused(&args), expected);
    assert_eq!(super::common::listing(out.path()), Vec::<String>::new());
}

#[track_caller]
fn check(Refusal { message, time, peak }: &Refusal, expected: &str) {
    assert!(message.contains(expected), "{message}");
    if !emulated() {
        assert!(*time < SOON, "{time:?}: {message}");
        assert!(*peak < LITTLE, "{peak} MiB: {message}");
    }
}

/// A file that begins with `start` and continues with a hole.
fn sparse(path: PathBuf, start: &[u8], length: u64) -> PathBuf {
    let mut file = File::create(&path).unwrap();
    file.write_all(start).unwrap();
    file.set_len(length).unwrap();
    path
}

const GIB: u64 = 1 << 30;

#[test]
fn holes_are_not_read_into_memory() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let good = golden("pixels_rgb8.png");

    let model = path("model");
    fs::create_dir(&model).unwrap();
    let weights = fs::read(tiny_model().join("model.safetensors")).unwrap();
    fs::write(model.join("model.safetensors"), &weights).unwrap();
    sparse(model.join("config.json"), b"{", 3 * GIB);
    embed_refused(&model, &good, &[], "config.json");

    fs::copy(tiny_model().join("config.json"), model.join("config.json")).unwrap();
    sparse(model.join("preprocessor_config.json"), b"{", 3 * GIB);
    embed_refused(&model, &good, &[], "preprocessor_config.json");

    fs::remove_file(model.join("preprocessor_config.json")).unwrap();
    sparse(model.join("model.safetensors"), &weights, 3 * GIB);
    embed_refused(&model, &good, &[], "model.safetensors");
    sparse(model.join("model.safetensors"), &(90_u64 << 20).to_le_bytes(), 3 * GIB);
    embed_refused(&model, &good, &[], "model.safetensors");

    let jpeg = sparse(
        path("hole.jpg"),
        &fs::read(golden("pixels_rgb8.jpg")).unwrap_or(vec![0xff, 0xd8, 0xff]),
        3 * GIB,
    );
    embed_refused(&tiny_model(), &jpeg, &[], "hole.jpg");

    let head = path("head.safetensors");
    for (start, length) in [("image,label\n", 3 * GIB), ("image,label\n", 30 << 20), ("", 30 << 20)] {
        let csv = sparse(path("hole.csv"), start.as_bytes(), length);
        check(&refused(&[&"train", &tiny_model(), &"--data", &csv, &"-o", &head]), "hole.csv");
    }
    let deploy = sparse(path("deploy.toml"), b"", 3 * GIB);
    check(&refused(&[&"predict", &"--deploy", &deploy, &good]), "deploy.toml");
    let head = sparse(path("hole.safetensors"), b"", 3 * GIB);
    check(&refused(&[&"predict", &tiny_model(), &"--head", &head, &good]), "hole.safetensors");
    let results = sparse(path("results.json"), b"", 3 * GIB);
    check(&refused(&[&"compare", &results, &results]), "results.json");
    let board = sparse(path("board.toml"), b"", 3 * GIB);
    check(&refused(&[&"board", &"--board", &board]), "board.toml");
}

#[cfg(feature = "nifti")]
#[test]
fn a_volume_of_too_many_slices_is_refused_before_its_voxels_are_read() {
    let folder = tempdir().unwrap();
    let mut header = vec![0; 352];
    header[..4].copy_from_slice(&348_i32.to_le_bytes());
    for (i, side) in [3_i16, 8, 8, 32767, 1, 1, 1, 1].into_iter().enumerate() {
        header[40 + 2 * i..42 + 2 * i].copy_from_slice(&side.to_le_bytes());
    }
    header[70..72].copy_from_slice(&2_i16.to_le_bytes());
    header[72..74].copy_from_slice(&8_i16.to_le_bytes());
    header[108..112].copy_from_slice(&352_f32.to_le_bytes());
    header[344..348].copy_from_slice(b"n+1\0");
    // The axes are those of the patient (sform).
    header[254..256].copy_from_slice(&1_i16.to_le_bytes());
    for at in [280, 300, 320] {
        header[at..at + 4].copy_from_slice(&1_f32.to_le_bytes());
    }
    let volume = sparse(folder.path().join("long.nii"), &header, 352 + 64 * 32767);
    let head = trained(folder.path());
    check(
        &refused(&[&"predict", &tiny_model(), &"--head", &head, &volume]),
        "long.nii: has 32767 frames or slices, of at most 4096",
    );
}

/// A head trained on the tiny model.
fn trained(folder: &Path) -> PathBuf {
    let (data, head) = (folder.join("data"), folder.join("head.safetensors"));
    write_dataset(&data, &["columns", "rows"], 6);
    success(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &"32", &"--no-cache"]);
    head
}

/// A YUV4MPEG2 stream of grey frames.
fn y4m(frames: usize) -> Vec<u8> {
    let mut stream = b"YUV4MPEG2 W16 H16 F25:1 Cmono\n".to_vec();
    for frame in 0..frames {
        stream.extend(b"FRAME\n");
        stream.extend((0..256).map(|p| (p + frame) as u8));
    }
    stream
}

#[test]
fn frames_are_counted_in_files_folders_and_streams() {
    let folder = tempdir().unwrap();
    let head = trained(folder.path());
    let clip = folder.path().join("clip.y4m");
    fs::write(&clip, y4m(4)).unwrap();
    let predict = |input: &Path, frames: &str| {
        failure(&[&"predict", &tiny_model(), &"--head", &head, &"--bags", &"--max-frames", &frames, &input])
    };
    success(&[&"predict", &tiny_model(), &"--head", &head, &"--max-frames", &"4", &clip]);
    let message = predict(&clip, "3");
    assert!(message.contains("clip.y4m: has more frames or slices, of at most 3"), "{message}");
    let message = predict(&folder.path().join("data/rows"), "5");
    assert!(message.contains("rows: has 6 frames or slices, of at most 5"), "{message}");
    let message = failure(&[&"predict", &tiny_model(), &"--head", &head, &"--max-frames", &"0", &clip]);
    assert!(message.contains("--max-frames"), "{message}");

    let mut command = program();
    command.args(["predict".as_ref(), tiny_model().as_os_str(), "--head".as_ref(), head.as_os_str()]);
    command.args(["--max-frames", "3", "-"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&y4m(4)).unwrap();
    check(&watched(child, Instant::now()), "standard input: has more frames or slices, of at most 3");
}

#[test]
fn a_stream_that_says_nothing_is_not_waited_for_longer_than_the_time() {
    let folder = tempdir().unwrap();
    let head = trained(folder.path());
    let mut command = program();
    command.args(["predict".as_ref(), tiny_model().as_os_str(), "--head".as_ref(), head.as_os_str()]);
    command.args(["--timeout", "0.3", "-"]).stdin(Stdio::piped());
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let silent = child.stdin.take();
    check(&watched(child, started), "-: takes longer than 0.3 s");
    drop(silent);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_past_the_limit_ends_the_file() {
    let folder = tempdir().unwrap();
    let large = folder.path().join("large.png");
    image::save_buffer(&large, &vec![77; 4000 * 4000], 4000, 4000, image::ColorType::L8).unwrap();
    if !emulated() {
        embed_refused(
            &tiny_model(),
            &large,
            &[&"--max-memory", &"4MiB"],
            "large.png: needs more than 4 MiB of memory",
        );
    }
    let out = folder.path().join("f.safetensors");
    success(&[&"embed", &tiny_model(), &large, &"-o", &out, &"--size", &"32", &"--max-memory", &"512MiB"]);
}

/// What docs/limits.md calls the remaining gap: the exit code is that of every failure, though the line names no file.
#[cfg(target_os = "linux")]
#[test]
fn an_allocation_that_the_system_refuses_has_the_exit_code_of_failures() {
    if emulated() {
        return; // The limit would be that of the emulator.
    }
    let folder = tempdir().unwrap();
    let large = folder.path().join("large.pgm");
    let mut pixels = b"P5\n8192 8192\n255\n".to_vec();
    pixels.resize(pixels.len() + (8192 << 13), 77);
    fs::write(&large, pixels).unwrap();
    let out = folder.path().join("f.safetensors");
    let mut refused = 0;
    // In KiB of address space; a build for tests needs more than the 80 MB of a release before it reads a picture.
    for limit in (200_000..1_200_000).step_by(50_000) {
        let run = program();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -v {limit}; exec \"$0\" \"$@\"")]).arg(run.get_program());
        command.args([
            "embed".as_ref(),
            tiny_model().as_os_str(),
            large.as_os_str(),
            "-o".as_ref(),
            out.as_os_str(),
        ]);
        command.args(["--size", "32", "--threads", "1", "--max-memory", "0"]);
        let output = command.output().unwrap();
        if output.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{limit} KiB: {said}");
        refused += usize::from(said.contains("memory allocation of"));
        assert!(!out.exists());
    }
    assert!(out.exists() && refused > 0, "{refused}");
}

#[test]
fn many_threads_have_little_memory() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("f.safetensors");
    let mut command = program();
    command.args(["embed".as_ref(), tiny_model().as_os_str(), golden("pixels_rgb8.png").as_os_str()]);
    command.args(["-o".as_ref(), out.as_os_str(), "--size".as_ref(), "32".as_ref()]);
    let mut child = command.args(["--threads", "256"]).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_mib(child.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak < 1024, "{peak} MiB");
}

#[cfg(feature = "onnx")]
mod onnx {
    //! ONNX files, written here byte by byte (onnx.proto, https://github.com/onnx/onnx).

    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// A field that holds a message, a string or packed numbers.
    fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
        let content = content.as_ref();
        [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
    }

    fn number(number: u64, value: i64) -> Vec<u8> {
        [varint(number << 3), varint(value as u64)].concat()
    }

    fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut node: Vec<u8> = inputs.iter().flat_map(|input| field(1, input)).collect();
        node.extend([field(2, output), field(3, output), field(4, op)].concat());
        node.extend(attributes.iter().flat_map(|attribute| field(5, attribute)));
        field(1, node)
    }

    fn ints(name: &str, values: &[i64]) -> Vec<u8> {
        let values: Vec<u8> = values.iter().flat_map(|&value| number(8, value)).collect();
        [field(1, name), values, number(20, 7)].concat()
    }

    /// An initialiser of floats (1) or 64-bit integers (7).
    fn tensor(name: &str, kind: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
        let dims: Vec<u8> = dims.iter().flat_map(|&side| number(1, side)).collect();
        field(5, [dims, number(2, kind), field(8, name), field(9, raw)].concat())
    }

    fn value(name: &str, dims: &[i64]) -> Vec<u8> {
        let dims: Vec<u8> = dims.iter().flat_map(|&side| field(1, number(1, side))).collect();
        let tensor = [number(1, 1), field(2, dims)].concat();
        [field(1, name), field(2, field(1, tensor))].concat()
    }

    /// A model from `x` of 1 x 3 x 32 x 32 to `y`.
    fn model(parts: &[Vec<u8>]) -> Vec<u8> {
        let graph = [
            parts.concat(),
            field(2, "g"),
            field(11, value("x", &[1, 3, 32, 32])),
            field(12, value("y", &[])),
        ];
        [number(1, 8), field(7, graph.concat()), field(8, number(2, 13))].concat()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn longs(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Embeds an image with the model of `bytes`, which must be refused.
    #[track_caller]
    fn model_refused(bytes: &[u8], more: &[&dyn AsRef<std::ffi::OsStr>], expected: &str) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        fs::write(&path, bytes).unwrap();
        embed_refused(&path, &golden("pixels_rgb8.png"), more, expected);
    }

    #[test]
    fn a_small_file_that_asks_for_terabytes_is_refused() {
        let resize = node("Resize", &["x", "", "s"], "y", &[]);
        let scales = tensor("s", 1, &[4], &floats(&[1.0, 1.0, 1e6, 1e6]));
        let bytes = model(&[resize, scales]);
        assert!(bytes.len() < 160, "{}", bytes.len());
        model_refused(&bytes, &[], "'y' makes a side 1000000 times as long");

        let pads = ints("pads", &[1_000_000_000; 4]);
        let conv = node("Conv", &["x", "w"], "y", &[pads]);
        let bytes = model(&[conv, tensor("w", 1, &[1, 3, 1, 1], &[0; 12])]);
        assert!(bytes.len() < 200, "{}", bytes.len());
        model_refused(&bytes, &[], "'y' has the pads 1000000000");

        // Each step alone is within the limits.
        let scales = tensor("s", 1, &[4], &floats(&[1.0, 1.0, 100.0, 100.0]));
        let twice =
            [node("Resize", &["x", "", "s"], "a", &[]), node("Resize", &["a", "", "s"], "y", &[]), scales];
        model_refused(&model(&twice), &[], "shape [1, 3, 320000, 320000]");
    }

    /// Excessive work that our estimates do not detect is found by a trial in a separate process.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_computed_while_the_graph_is_planned_is_tried_out_first() {
        if emulated() {
            return;
        }
        let large = |side: i64| {
            model(&[
                node("Shape", &["x"], "shape", &[]),
                node("Mul", &["shape", "by"], "large", &[]),
                node("ConstantOfShape", &["large"], "filled", &[]),
                node("ReduceMean", &["filled"], "mean", &[]),
                node("Add", &["x", "mean"], "y", &[]),
                tensor("by", 7, &[4], &longs(&[1, 1, side, side])),
            ])
        };
        model_refused(&large(1 << 12), &[], "needs more than 1 GiB of memory above its weights");
        model_refused(&large(300), &[&"--max-memory", &"200MiB"], "needs more than 200 MiB");
        let chain: Vec<Vec<u8>> = (0..20_000)
            .map(|i| {
                let (from, to) = (format!("n{i}"), format!("n{}", i + 1));
                let from = if i == 0 { "x" } else { &from };
                node("Relu", &[from], if i == 19_999 { "y" } else { &to }, &[])
            })
            .collect();
        model_refused(&model(&chain), &[&"--timeout", &"1"], "planning it takes longer than 1 s");
    }

    #[test]
    fn weights_that_are_holes_are_not_read() {
        let folder = tempdir().unwrap();
        let good = golden("pixels_rgb8.png");
        let path =
            sparse(folder.path().join("net.onnx"), &model(&[node("Relu", &["x"], "y", &[])]), 2 * GIB - 2);
        embed_refused(&path, &good, &[], "net.onnx is not an ONNX model");

        let path = folder.path().join("outside.onnx");
        let entry = |key: &str, value: &str| field(13, [field(1, key), field(2, value)].concat());
        let length = (3 * GIB).to_string();
        let outside = [
            number(1, 4),
            number(2, 1),
            field(8, "w"),
            entry("location", "weights.data"),
            entry("length", &length),
            number(14, 1),
        ];
        let add = node("Add", &["x", "w"], "y", &[]);
        fs::write(&path, model(&[add, field(5, outside.concat())])).unwrap();
        sparse(folder.path().join("weights.data"), &[], 3 * GIB);
        embed_refused(&path, &good, &[], "has 3221225472 bytes instead of 16");
    }

    #[test]
    fn a_sound_model_still_runs() {
        let folder = tempdir().unwrap();
        let (path, out) = (folder.path().join("net.onnx"), folder.path().join("f.safetensors"));
        let scales = tensor("s", 1, &[4], &floats(&[1.0, 1.0, 2.0, 2.0]));
        fs::write(&path, model(&[node("Resize", &["x", "", "s"], "y", &[]), scales])).unwrap();
        let text = success(&[&"embed", &path, &golden("pixels_rgb8.png"), &"-o", &out, &"--size", &"32"]);
        assert!(text.contains("y [1, 3, 64, 64]"), "{text}");
    }
}
