//! Interrupted runs: by a signal, by a kill, by a full disk.

#[cfg(feature = "onnx")]
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::tempdir;

use crate::common::*;

/// Temporary files in a folder.
fn temporaries(folder: &Path) -> Vec<String> {
    listing(folder).into_iter().filter(|name| name.starts_with(".microraptor-")).collect()
}

/// Starts writing features of many images, and returns once their file has been created.
fn embedding(folder: &Path) -> Child {
    let image = folder.join("a.png");
    write_image(&image, 0, 0);
    let mut command = program();
    command.args(["embed".as_ref(), tiny_model().as_os_str(), "--size".as_ref(), "448".as_ref()]);
    command.args(["--threads", "1", "-o"]).arg(folder.join("out.safetensors"));
    command.args(std::iter::repeat_n(&image, 4000)).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    wait_for_temporary(folder);
    child
}

/// Returns once a temporary file has existed in the folder for a while. The first temporary file only tests whether
/// the folder is writable, and is deleted at once.
fn wait_for_temporary(folder: &Path) {
    let begun = Instant::now();
    loop {
        let found = temporaries(folder);
        std::thread::sleep(Duration::from_millis(300));
        if temporaries(folder).iter().any(|name| found.contains(name)) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no file was begun: {:?}", listing(folder));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Signals that this process ignores, as a bit mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap())
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_takes_the_temporary_files_with_it() {
    if emulated() {
        return;
    }
    for (name, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1)] {
        // A signal that the tests ignore (under nohup, for example) is also ignored by the programs that they start.
        if ignored() >> (number - 1) & 1 == 1 {
            continue;
        }
        let folder = tempdir().unwrap();
        let mut child = embedding(folder.path());
        send(name, &child);
        let status = child.wait().unwrap();
        // The signal terminated the process: a shell shows 128 plus its number.
        assert_eq!(status.signal(), Some(number), "{status:?}");
        assert_eq!(listing(folder.path()), ["a.png"]);
    }
}

#[test]
fn what_a_killed_run_left_is_swept_and_what_a_live_one_has_is_not() {
    if emulated() {
        return;
    }
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let mut live = embedding(folder.path());
    let mut killed = embedding(other.path());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let [stale] = temporaries(other.path()).try_into().unwrap();
    std::fs::rename(other.path().join(&stale), folder.path().join(&stale)).unwrap();
    let old = |name: &str| {
        let file = std::fs::File::options().write(true).open(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    };
    temporaries(folder.path()).iter().for_each(|name| old(name));
    let image = folder.path().join("a.png");
    success(&[&"embed", &tiny_model(), &image, &"--size", &"32", &"-o", &folder.path().join("b.npz")]);
    let left = temporaries(folder.path());
    assert!(left.len() == 1 && left[0] != stale, "{left:?} of {stale}");
    live.kill().unwrap();
    live.wait().unwrap();
}

/// A limit on the file size (EFBIG) has the same effect as a full disk (ENOSPC): a write fails half-way.
#[cfg(feature = "onnx")]
#[test]
fn a_full_disk_is_told_with_what_was_written() {
    if emulated() {
        return;
    }
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_image(&at("a.png"), 0, 0);
    let noise: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    image::save_buffer(at("b.png"), &noise, 1000, 1000, image::ColorType::L8).unwrap();
    let run = |redirection: &str, files: &[&str]| {
        let mut shell = Command::new("sh");
        // 100 KiB or 200 KiB, depending on the shell's block size.
        let script = format!("trap '' XFSZ; ulimit -f 200; exec \"$@\" {redirection}");
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_microraptor"), "predict"]).arg(tiny_model());
        shell.arg("--head").arg(golden("onnx_heads/map.onnx")).arg("--overlays").arg(at("out"));
        shell.args(files.iter().map(|name| at(name)));
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, mut error) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (child.wait().unwrap().code(), out, error.lines().last().unwrap_or_default().to_owned())
    };
    let (code, out, error) = run("", &["a.png", "b.png"]);
    assert_eq!((code, out.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("b.overlay.png: File too large"), "{error}");
    assert!(error.contains("nothing of it was left behind; written before it: 1 file"), "{error}");
    assert_eq!(listing(&at("out")), ["a.overlay.png"]);
    if cfg!(target_os = "linux") {
        let (code, _, error) = run("> /dev/full", &["a.png"]);
        assert!(code == Some(2) && error.contains("standard output"), "{code:?} {error}");
    }
}
