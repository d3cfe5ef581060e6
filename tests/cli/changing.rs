//! Files that change while they are read more than once: the command reports it and gives no result from two states.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::tempdir;

use crate::common::*;

/// Runs `work` while the time of the file's last change (ctime) keeps advancing.
fn restless<T>(file: &Path, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // However the work ends: a test that fails must not wait for ever.
        let _end = End(&done);
        work()
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why the program refuses `file`, which changes meanwhile. On a busy machine all of a run may fall within one tick of the
/// file system's clock: then it is tried again, with `again` called before.
fn refused(
    file: &Path,
    mut arguments: impl FnMut(usize) -> Vec<std::ffi::OsString>,
    again: impl Fn(),
) -> String {
    let message = restless(file, || {
        (0..20).find_map(|attempt| {
            let arguments = arguments(attempt);
            let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
                arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>).collect();
            let output = microraptor(&arguments);
            if output.status.success() {
                again();
                return None;
            }
            assert_eq!(output.status.code(), Some(2));
            Some(error_line(&String::from_utf8(output.stderr).unwrap()).to_owned())
        })
    });
    message.expect("20 runs")
}

/// A clip whose processing takes much longer than a tick of the file system's clock.
fn clip(path: &Path, kind: usize) {
    let mut bytes = b"YUV4MPEG2 W48 H48 F25:1 Cmono XCOLORRANGE=FULL\n".to_vec();
    for frame in 0..100 {
        bytes.extend(b"FRAME\n");
        bytes.extend((0..48 * 48).map(|i| ([i % 48, i / 48][kind] * 16 + frame) as u8));
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_scan_that_changes_is_refused() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, head, model) = (at("data"), at("head.safetensors"), tiny_model());
    for (kind, class) in ["columns", "rows"].iter().enumerate() {
        fs::create_dir_all(data.join(class)).unwrap();
        (0..4).for_each(|n| clip(&data.join(class).join(format!("{n}.y4m")), kind));
    }
    let train: [&dyn AsRef<std::ffi::OsStr>; 9] =
        [&"train", &model, &"--data", &data, &"-o", &head, &"--size", &"32", &"--head=volume"];
    let changing = data.join("rows/3.y4m");
    // The digest of the clip is a key of the cache.
    let cached = |attempt: usize| {
        let all = train.iter().map(|argument| argument.as_ref().to_owned());
        all.chain(["--cache".into(), at(&format!("cache{attempt}")).into()]).collect()
    };
    let error = refused(&changing, cached, || fs::remove_file(&head).unwrap());
    assert!(error.contains("3.y4m") && error.contains("changed while it was read"), "{error}");
    assert!(!head.exists());
    success(&[train.as_slice(), &[&"--no-cache"]].concat());
    // Heads of other sizes, overlays and DICOM objects would be computed from another state.
    let predict = |_| {
        let all: [&dyn AsRef<std::ffi::OsStr>; 5] = [&"predict", &model, &"--head", &head, &changing];
        all.iter().map(|argument| argument.as_ref().to_owned()).collect()
    };
    let error = refused(&changing, predict, || {});
    assert!(error.contains("3.y4m") && error.contains("changed while it was read"), "{error}");
    success(&[&"predict", &model, &"--head", &head, &changing]);
}

/// The weights that are hashed must be the ones that run.
#[cfg(feature = "onnx")]
#[test]
fn weights_beside_a_graph_that_change_are_refused() {
    let folder = tempdir().unwrap();
    for name in ["cnn-external.onnx", "cnn-external.data"] {
        fs::copy(golden("onnx").join(name), folder.path().join(name)).unwrap();
    }
    let (model, weights) = (folder.path().join("cnn-external.onnx"), folder.path().join("cnn-external.data"));
    let open = || microraptor::engine::Engine::open(&model).map(drop).map_err(|error| error.to_string());
    open().unwrap();
    // Both readings may fall within one tick of the file system's clock.
    let refused = restless(&weights, || (0..500).find_map(|_| open().err()));
    let message = refused.expect("500 readings");
    assert!(
        message.contains("cnn-external.data") && message.contains("changed while it was read"),
        "{message}"
    );
}
