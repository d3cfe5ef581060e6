//! The user's own files: none is overwritten, whatever its name, and only regular files are opened.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use crate::common::*;

/// Runs a command that must be refused before any computation: the message names the input, and no file has changed.
fn refused(folder: &Path, args: &[&dyn AsRef<OsStr>]) -> String {
    let before = contents(folder);
    let message = failure(args);
    assert!(message.contains("which this command reads"), "{message}");
    assert!(contents(folder) == before, "{message}");
    message
}

/// Every file below a folder, with its contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

#[cfg(all(unix, feature = "onnx"))]
#[test]
fn masks_do_not_take_the_place_of_scans() {
    use std::os::unix::fs::symlink;
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let head = golden("onnx_heads/map.onnx");
    let predict = |images: &[&Path], option: &str, out: &Path| {
        let model = tiny_model();
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"predict", &model, &"--head", &head, &option, &out];
        args.extend(images.iter().map(|image| image as &dyn AsRef<OsStr>));
        refused(folder.path(), &args)
    };
    std::fs::create_dir_all(at("scans/sub")).unwrap();
    std::fs::create_dir(at("links")).unwrap();
    std::fs::create_dir(at("hard")).unwrap();
    let scan = at("scans/scan.png");
    write_image(&scan, 0, 0);
    write_image(&at("scans/scan-002.png"), 0, 0);
    write_image(&at("scans/scan.overlay.png"), 0, 0);
    symlink(&scan, at("links/scan.png")).unwrap();
    std::fs::hard_link(&scan, at("hard/scan.png")).unwrap();
    symlink(at("scans"), at("other-name")).unwrap();
    // The same folder, in six spellings.
    for out in ["scans", "scans/sub/..", "./scans/.", "other-name", "links", "hard"] {
        let message = predict(&[&scan], "--masks", &at(out));
        assert!(message.contains("scan.png"), "{message}");
    }
    predict(&[&at("links/scan.png")], "--masks", &at("scans"));
    predict(&[&scan, &at("scans/scan.overlay.png")], "--overlays", &at("scans"));
    // Another input has the name of an output for a frame of the clip.
    std::fs::create_dir(at("scan")).unwrap();
    std::fs::rename(at("scans/scan-002.png"), at("scans/clip-002.png")).unwrap();
    std::fs::create_dir(at("clip")).unwrap();
    for n in 0..3 {
        write_image(&at(&format!("clip/{n}.png")), 0, n);
    }
    let bags =
        predict(&[Path::new("--bags"), &at("clip"), &at("scans/clip-002.png")], "--masks", &at("scans"));
    assert!(bags.contains("clip-002.png"), "{bags}");
    // Masks in the clip's own folder would add frames to the clip.
    let args: [&dyn AsRef<OsStr>; 8] =
        [&"predict", &tiny_model(), &"--head", &head, &"--masks", &at("clip"), &"--bags", &at("clip")];
    assert!(failure(&args).contains("is read as one clip or volume"));
    #[cfg(feature = "nifti")]
    {
        std::fs::copy(golden("nifti/las_int16.nii.gz"), at("scans/volume.nii.gz")).unwrap();
        predict(&[&at("scans/volume.nii.gz")], "--masks", &at("scans"));
    }
    // Another folder is accepted.
    let args: [&dyn AsRef<OsStr>; 7] =
        [&"predict", &tiny_model(), &"--head", &head, &"--masks", &at("scans/sub"), &scan];
    success(&args);
    assert_eq!(listing(&at("scans/sub")), ["scan.png"]);
}

#[cfg(unix)]
#[test]
fn no_command_writes_over_what_it_reads() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = at("m");
    std::fs::create_dir(&model).unwrap();
    for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        std::fs::copy(tiny_model().join(file), model.join(file)).unwrap();
    }
    let weights = model.join("model.safetensors");
    std::os::unix::fs::symlink(&weights, at("link.safetensors")).unwrap();
    let data = at("data");
    write_dataset(&data, &["columns", "rows"], 4);
    let csv = at("results.csv");
    let rows =
        (0..4).flat_map(|i| ["columns", "rows"].map(|class| format!("data/{class}/0{i}.png,{class}\n")));
    std::fs::write(&csv, "image,label\n".to_owned() + &rows.collect::<String>()).unwrap();
    let image = data.join("rows/00.png");

    for output in [&weights, &at("link.safetensors"), &model.join("../m/config.json")] {
        refused(folder.path(), &[&"convert", &model, &"-o", output]);
        refused(folder.path(), &[&"train", &model, &"--data", &data, &"-o", output]);
    }
    refused(folder.path(), &[&"convert", &weights, &"-o", &weights]);
    refused(folder.path(), &[&"convert", &model, &"--calibrate", &data, &"-o", &image]);
    refused(folder.path(), &[&"embed", &model, &image, &"-o", &weights]);
    let features = at("features.npz");
    std::fs::copy(&image, &features).unwrap();
    refused(folder.path(), &[&"embed", &model, &image, &features, &"-o", &features]);
    for output in [&csv, &image] {
        refused(folder.path(), &[&"train", &model, &"--data", &csv, &"-o", output]);
    }
    let out = folder.path();
    refused(out, &[&"profile", &model, &"--sizes", &"32", &"--data", &csv, &"-o", &out]);
    // An existing file that the command does not read is replaced as usual.
    std::fs::write(at("old.safetensors"), "old").unwrap();
    success(&[&"convert", &model, &"--size", &"32", &"--precision", &"f32", &"-o", &at("old.safetensors")]);
}

#[cfg(feature = "onnx")]
#[test]
fn weights_beside_an_onnx_file_are_inputs() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["cnn-external.onnx", "cnn-external.data"] {
        std::fs::copy(golden("onnx").join(name), at(name)).unwrap();
    }
    for output in ["cnn-external.onnx", "cnn-external.data"] {
        refused(folder.path(), &[&"convert", &at("cnn-external.onnx"), &"-o", &at(output)]);
    }
}

/// Nothing writes to these pipes, so a program that opens one as a file waits for ever.
#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_no_file() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pipe = |name: &str| {
        assert!(std::process::Command::new("mkfifo").arg(at(name)).status().unwrap().success());
        at(name)
    };
    let model = tiny_model();
    let image = at("a.png");
    write_image(&image, 0, 0);
    let data = at("data");
    write_dataset(&data, &["columns", "rows"], 4);
    let out = at("out.safetensors");
    let head = at("head.safetensors");
    success(&[&"train", &model, &"--data", &data, &"--size", &"32", &"-o", &head]);
    let said = |args: &[&dyn AsRef<OsStr>]| {
        let message = failure(args);
        assert!(message.contains("it is a pipe") || message.contains("it is a device"), "{message}");
    };
    for name in ["a.dcm", "a.nii.gz", "a.y4m", "b.png", "without-ending"] {
        let pipe = pipe(name);
        said(&[&"predict", &model, &"--head", &head, &pipe]);
        said(&[&"embed", &model, &pipe, &"-o", &out]);
    }
    said(&[&"predict", &model, &"--head", &head, &"/dev/null"]);
    said(&[&"embed", &model, &"/dev/null", &"-o", &out]);
    let models: &[&str] =
        if cfg!(feature = "onnx") { &["m.safetensors", "m.onnx"] } else { &["m.safetensors"] };
    for name in models {
        let pipe = pipe(name);
        said(&[&"info", &pipe]);
        said(&[&"embed", &pipe, &image, &"-o", &out]);
    }
    said(&[&"predict", &model, &"--head", &at("m.safetensors"), &image]);
    let folder_of_pipe = at("m");
    std::fs::create_dir(&folder_of_pipe).unwrap();
    std::fs::copy(model.join("model.safetensors"), folder_of_pipe.join("model.safetensors")).unwrap();
    pipe("m/config.json");
    said(&[&"info", &folder_of_pipe]);
    let list = pipe("list.csv");
    said(&[&"train", &model, &"--data", &list, &"-o", &out]);
    said(&[&"evaluate", &model, &"--head", &head, &"--data", &list]);
    std::fs::write(at("masks.csv"), "image,mask,split\na.png,mask,train\na2.png,mask,val\n").unwrap();
    write_image(&at("a2.png"), 0, 0);
    pipe("mask");
    said(&[&"train", &model, &"--data", &at("masks.csv"), &"--head", &"segment", &"-o", &out]);
    said(&[&"predict", &"--deploy", &pipe("deploy.toml"), &image]);
    said(&[&"compare", &pipe("results.json"), &at("results.json")]);
    let board = failure(&[&"board", &"--board", &pipe("board.toml")]);
    assert!(board.contains("board.toml"), "{board}");
}

/// File names are bytes on Unix. Those from other machines' file systems and from archives may not be UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_work() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let model = at(b"m\xffdel");
    std::fs::create_dir(&model).unwrap();
    for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        std::fs::copy(tiny_model().join(file), model.join(file)).unwrap();
    }
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows"], 6);
    let scans = at(b"sc\xe4ns");
    std::fs::create_dir(&scans).unwrap();
    for (n, name) in [&b"one\xff.png"[..], b"one\xfe.PNG"].iter().enumerate() {
        let plain = folder.path().join("plain.png");
        write_image(&plain, 0, n);
        std::fs::rename(plain, scans.join(OsStr::from_bytes(name))).unwrap();
    }
    let class = at(b"h\xfcad.safetensors");
    success(&[&"train", &model, &"--data", &data, &"--size", &"32", &"-o", &class]);
    let mut heads = vec![class];
    if cfg!(feature = "onnx") {
        for (from, to) in [("map.onnx", &b"m\xe0p.onnx"[..]), ("map.json", b"m\xe0p.json")] {
            std::fs::copy(golden("onnx_heads").join(from), at(to)).unwrap();
        }
        heads.push(at(b"m\xe0p.onnx"));
    }
    let masks = at(b"m\xe4sks");
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"predict", &model, &scans];
    for head in &heads {
        args.extend([&"--head" as &dyn AsRef<OsStr>, head]);
    }
    if cfg!(feature = "onnx") {
        args.extend([&"--masks" as &dyn AsRef<OsStr>, &masks]);
    }
    let lines = success(&args);
    let files: Vec<String> =
        lines.lines().map(|line| json(line)["file"].as_str().unwrap().to_owned()).collect();
    assert!(
        files[0].ends_with(r"sc\xe4ns/one\xfe.PNG") && files[1].ends_with(r"sc\xe4ns/one\xff.png"),
        "{files:?}"
    );
    if cfg!(feature = "onnx") {
        for name in [&b"one\xff.m\xe0p.png"[..], b"one\xfe.m\xe0p.png"] {
            assert!(masks.join(OsStr::from_bytes(name)).is_file(), "{:?}", listing(&masks));
        }
    }
    let features = at(b"\xff.safetensors");
    success(&[&"embed", &model, &scans, &"--size", &"32", &"-o", &features]);
    let small = at(b"small\xff.safetensors");
    success(&[&"convert", &model, &"--size", &"32", &"--precision", &"f32", &"-o", &small, &"--json"]);
    success(&[&"evaluate", &model, &"--head", &heads[0], &"--data", &data, &"--json"]);
    success(&[&"info", &small, &"--json"]);
    let report = at(b"rep\xffrt");
    success(&[
        &"profile",
        &small,
        &"--sizes",
        &"32",
        &"--runs",
        &"1",
        &"--seconds",
        &"0",
        &"--threads",
        &"1",
        &"--no-cold",
        &"-o",
        &report,
    ]);
    assert!(features.is_file() && report.join("results.json").is_file());
}

/// An escape sequence, the same with a C1 control character, and right-to-left text.
#[cfg(unix)]
#[test]
fn names_from_files_do_nothing_on_a_terminal() {
    let name = "\u{1b}[31mr\u{9b}2J\u{202e}gnp\u{7}";
    let folder = tempdir().unwrap();
    let missing = folder.path().join(name);
    let message = failure(&[&"info", &missing]);
    let acts = |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    assert!(!acts(&message) && message.contains(r"\u001b[31mr\u009b2J\u202egnp\u0007"), "{message:?}");
    // The name as a class, which tables show.
    let data = folder.path().join("data");
    write_dataset(&data, &[name, "rows"], 6);
    let head = folder.path().join(format!("{name}.safetensors"));
    let table = success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"32", &"-o", &head]);
    assert!(!acts(&table) && table.contains(r"\u202egnp"), "{table:?}");
    let line = success(&[&"predict", &tiny_model(), &"--head", &head, &data.join("rows/00.png")]);
    assert!(!acts(&line), "{line:?}");
    let line = json(&line);
    assert!(line["heads"][0]["probabilities"].as_object().unwrap().contains_key(name), "{line}");
    let log = microraptor(&[&"-vv", &"predict", &tiny_model(), &"--head", &head, &data.join("rows/00.png")]);
    assert!(!acts(&String::from_utf8(log.stderr).unwrap()));
}
