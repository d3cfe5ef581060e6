//! How files become pixels: every command that reads files takes the same options, and reports what it does not
//! apply.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::common::*;

/// A NIfTI file of two volumes of `slices` slices each, with stripes in different directions.
fn volumes(path: &Path, kinds: [usize; 2], slices: usize, seed: usize) {
    let side = 24;
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (n, size) in [4, side, side, slices, 2].into_iter().enumerate() {
        put(40 + 2 * n, &(size as i16).to_le_bytes());
    }
    // Unsigned bytes, with voxels of 1 mm.
    put(70, &2i16.to_le_bytes());
    put(72, &8i16.to_le_bytes());
    for n in 0..8 {
        put(76 + 4 * n, &1f32.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(344, b"n+1\0");
    for kind in kinds {
        for _ in 0..slices {
            let pixel = |x: usize, y: usize| [x, y][kind] % 6 / 3 * 180 + (x * 7 + y * 31 + seed * 17) % 23;
            bytes.extend((0..side * side).map(|i| pixel(i % side, i / side) as u8));
        }
    }
    fs::write(path, bytes).unwrap();
}

/// Eight such files for each of two classes; the second volumes of the classes are swapped.
fn labelled(folder: &Path, slices: usize) -> PathBuf {
    let data = folder.join(format!("data-{slices}"));
    for (class, kinds) in [("columns", [0, 1]), ("rows", [1, 0])] {
        fs::create_dir_all(data.join(class)).unwrap();
        (0..8).for_each(|n| volumes(&data.join(class).join(format!("{n}.nii")), kinds, slices, n));
    }
    data
}

#[test]
fn the_volume_that_is_asked_for_is_measured() {
    let folder = tempdir().unwrap();
    let (data, head) = (labelled(folder.path(), 1), folder.path().join("head.safetensors"));
    let model = tiny_model();
    success(&[&"train", &model, &"--data", &data, &"-o", &head, &"--size", &"32", &"--volume", &"0"]);
    let evaluate = |more: &[&dyn AsRef<std::ffi::OsStr>]| -> Value {
        let usual: [&dyn AsRef<std::ffi::OsStr>; 9] =
            [&"evaluate", &model, &"--head", &head, &"--data", &data, &"--split", &"all", &"--json"];
        json(&success(&[usual.as_slice(), more].concat()))["metrics"]["accuracy"]["value"].clone()
    };
    // The second volume of each class looks like the first volume of the other.
    assert_eq!(evaluate(&[]), 1.0);
    assert_eq!(evaluate(&[&"--volume", &"0"]), 1.0);
    assert_eq!(evaluate(&[&"--volume", &"1"]), 0.0);
    let error = failure(&[&"evaluate", &model, &"--head", &head, &"--data", &data, &"--volume", &"2"]);
    assert!(error.contains(".nii: "), "{error}");
    let picture = folder.path().join("a.png");
    write_image(&picture, 0, 0);
    let error = failure(&[&"predict", &model, &"--head", &head, &"--volume", &"1", &picture]);
    assert!(error.contains("is not NIfTI"), "{error}");
}

#[test]
fn a_profile_reads_as_it_is_told_and_so_do_its_heads() {
    let folder = tempdir().unwrap();
    let (data, out) = (labelled(folder.path(), 1), folder.path().join("out"));
    let model = tiny_model();
    let refused = |more: &[Arg]| failure(&quick_profile(&model, &"32", more));
    let error = refused(&[&"--data", &data]);
    assert!(error.contains("choose one by the option `volume`"), "{error}");
    let long = labelled(folder.path(), 2);
    // Both from the files and from cached features.
    let cache = folder.path().join("cache");
    for (most, said) in [("1", "of at most 1"), ("2", "looks at single images"), ("1", "of at most 1")] {
        let limited: [Arg; 8] =
            [&"--data", &long, &"--volume", &"1", &"--cache", &cache, &"--max-frames", &most];
        let error = refused(&limited);
        assert!(error.contains("2 frames") && error.contains(said), "{most}: {error}");
    }
    let error = refused(&[&"--volume", &"1"]);
    assert!(error.contains("without --data no file is read"), "{error}");
    let error = refused(&[&"--data", &"phantoms", &"--axis", &"coronal"]);
    assert!(error.contains("--data phantoms is read from no file"), "{error}");

    success(&quick_profile(
        &model,
        &"32",
        &[&"--data", &data, &"--volume", &"1", &"--budget", &"60s", &"-o", &out],
    ));
    let deploy = out.join("deploy.toml");
    let line = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let image = data.join("rows/0.nii");
        let usual: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"predict", &"--deploy", &deploy, &image];
        json(&success(&[usual.as_slice(), more].concat()))["heads"][0]["class"].clone()
    };
    assert_eq!(line(&[]), "rows");
    assert_eq!(line(&[&"--volume", &"0"]), "columns");
}

#[test]
fn calibration_reads_as_it_is_told() {
    let folder = tempdir().unwrap();
    let (data, out) = (labelled(folder.path(), 1), folder.path().join("out.safetensors"));
    let model = tiny_model();
    let convert = |more: &[&dyn AsRef<std::ffi::OsStr>]| -> Vec<std::ffi::OsString> {
        let usual: [&dyn AsRef<std::ffi::OsStr>; 8] =
            [&"convert", &model, &"-o", &out, &"--size", &"32", &"--precision", &"fp16"];
        usual.iter().chain(more).map(|arg| arg.as_ref().to_owned()).collect()
    };
    fn refs(args: &[std::ffi::OsString]) -> Vec<&dyn AsRef<std::ffi::OsStr>> {
        args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>).collect()
    }
    let error = failure(&refs(&convert(&[&"--calibrate", &data])));
    assert!(error.contains("choose one by the option `volume`"), "{error}");
    let error = failure(&refs(&convert(&[&"--page", &"2"])));
    assert!(error.contains("without --calibrate no file is read"), "{error}");
    success(&refs(&convert(&[&"--calibrate", &data, &"--volume", &"1"])));
}

/// The tiny model's preprocessor_config.json names 224 px.
#[test]
fn another_size_than_the_models_is_said_where_one_is_given() {
    let folder = tempdir().unwrap();
    let (picture, out) = (folder.path().join("a.png"), folder.path().join("f.npz"));
    write_image(&picture, 0, 0);
    let said = |args: &[&dyn AsRef<std::ffi::OsStr>]| {
        let output = microraptor(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr.matches("taken in place of 224 px").count()
    };
    let model = tiny_model();
    assert_eq!(said(&[&"embed", &model, &picture, &"-o", &out, &"--size", &"32"]), 1);
    assert_eq!(said(&[&"embed", &model, &picture, &"-o", &out, &"--size", &"224"]), 0);
    assert_eq!(said(&[&"embed", &model, &picture, &"-o", &out]), 0);
    // Calibration at another size does not change the model's own size.
    let converted = folder.path().join("m.safetensors");
    assert_eq!(said(&[&"convert", &model, &"-o", &converted, &"--precision", &"f32", &"--size", &"32"]), 0);
    assert_eq!(said(&[&"embed", &converted, &picture, &"-o", &out, &"--size", &"32"]), 1);
    // A sweep lists its sizes in its table.
    let sizes: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"profile", &model, &"--sizes", &"32,48"];
    let quick: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"--threads", &"1", &"--runs", &"3", &"--seconds", &"0"];
    assert_eq!(said(&[sizes.as_slice(), &quick].concat()), 0);
}

/// Properties of the pixels that are not applied are reported for the first such file only.
#[test]
fn profiles_and_pixels_that_are_not_square_are_named() {
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
    let folder = tempdir().unwrap();
    let picture = |name: &str, profile: &[u8]| {
        let path = folder.path().join(name);
        let mut encoder = PngEncoder::new(fs::File::create(&path).unwrap());
        encoder.set_icc_profile(profile.to_vec()).unwrap();
        encoder.write_image(&[90; 3 * 32 * 32], 32, 32, ExtendedColorType::Rgb8).unwrap();
        path
    };
    let clip = |name: &str, ratio: &str| {
        let path = folder.path().join(name);
        let mut bytes = format!("YUV4MPEG2 W32 H32 Cmono XCOLORRANGE=FULL {ratio}\nFRAME\n").into_bytes();
        bytes.resize(bytes.len() + 32 * 32, 90);
        fs::write(&path, bytes).unwrap();
        path
    };
    let said = |files: &[&dyn AsRef<std::ffi::OsStr>]| {
        let model = tiny_model();
        let output = folder.path().join("features.npz");
        let usual: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"embed", &model, &"--size", &"32", &"-o", &output];
        let run = microraptor(&[usual.as_slice(), files].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        said_of_files(&run.stderr)
    };
    // A profile holds its name in ASCII (version 2) or UTF-16 (version 4).
    let wide: Vec<u8> = "sRGB IEC61966-2.1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let usual = [picture("a.png", b"desc sRGB IEC61966-2.1"), picture("b.png", &wide)];
    let square = [clip("a.y4m", "A1:1"), clip("b.y4m", "A0:0"), clip("c.y4m", "")];
    assert_eq!(said(&[&usual[0], &usual[1], &square[0], &square[1], &square[2]]), "");

    // If two are read at once, either may be the first.
    let foreign = [picture("c.png", b"desc Adobe RGB (1998)"), picture("d.png", b"desc Display P3")];
    let message = said(&[&foreign[0], &foreign[1]]);
    assert!(message.contains(".png: has a colour profile other than sRGB"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    let message = said(&[&clip("d.y4m", "A10:11")]);
    assert!(message.contains("d.y4m: has pixels that are not square (10 wide, 11 high)"), "{message}");
}
