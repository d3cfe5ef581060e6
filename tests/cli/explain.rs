//! `--explain`: terms that sum to logits, maps, neighbours, and what cannot be explained.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use super::common::*;
use super::heads::write_clips;
use super::support::shared;

/// A line's only head and its explanation, after checking the line against the schema.
fn explained(args: &[Arg]) -> (Value, Value) {
    let line = json(&success(args));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/output-schema.json");
    let schema = json(&std::fs::read_to_string(path).unwrap());
    check_members(&line, &schema, &schema, "line");
    let head = line["heads"][0].clone();
    (head["explanation"].clone(), head)
}

/// The sum of a number, or of all numbers in a list.
fn sum(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_array().unwrap().iter().map(sum).sum())
}

/// Checks that the terms of each logit of one frame sum to it, and that the logits give the probabilities.
fn check_frame(explanation: &Value, head: &Value) {
    let logits = explanation["logits"].as_array().unwrap();
    let patches = sum(&explanation["grid"][0]) * sum(&explanation["grid"][1]);
    let mut calibrated = Vec::new();
    for logit in logits {
        assert_eq!(logit["values"].as_array().unwrap().len() as f64, patches);
        let found = sum(&logit["bias"]) + sum(&logit["cls"]) + sum(&logit["values"]);
        assert!((found - sum(&logit["logit"])).abs() <= 1e-5, "{found} {logit}");
        assert!((sum(&logit["values"]) - sum(&logit["patches"])).abs() <= 1e-5);
        let map = &logit["calibration"];
        let scaled = |scale: f64, offset: f64| scale * sum(&logit["logit"]) + offset;
        calibrated.push(match map.is_object() {
            true => scaled(sum(&map["scale"]), sum(&map["offset"])),
            false => scaled(1.0, 0.0),
        });
    }
    let probability = |logit: &Value| sum(&head["probabilities"][logit["class"].as_str().unwrap()]);
    let total: f64 = calibrated.iter().map(|z| z.exp()).sum();
    for (logit, z) in logits.iter().zip(&calibrated) {
        let expected = if logits.len() == 1 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / total };
        assert!((probability(logit) - expected).abs() < 1e-7, "{expected} {head}");
    }
}

/// Real pictures and weights: DeiT-Ti on breast ultrasound, three classes and two, calibrated or not.
#[test]
fn contributions_of_patches_sum_to_the_logit_on_real_pictures() {
    let (Some(model), Some(busi)) = (shared("weights/deit_tiny"), shared("data/busi")) else { return };
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (list, cache, why) = (at("labels.csv"), at("cache"), at("why"));
    // The first pictures of each class to train on, and two others.
    let rows = std::fs::read_to_string(busi.join("labels.csv")).unwrap();
    let rows: Vec<(PathBuf, &str)> = rows
        .lines()
        .skip(1)
        .map(|row| row.split(',').collect::<Vec<&str>>())
        .map(|row| (busi.join(row[0]), row[2]))
        .collect();
    let of = |class: &str| rows.iter().filter(|row| row.1 == class).map(|row| row.0.clone()).collect();
    let classes: [(&str, Vec<PathBuf>); 3] =
        ["benign", "malignant", "normal"].map(|class| (class, of(class)));
    let mut text = "image,label\n".to_owned();
    for (class, images) in &classes {
        images[..12].iter().for_each(|image| text.push_str(&format!("{},{class}\n", image.display())));
    }
    std::fs::write(&list, text).unwrap();
    let images = [classes[0].1[13].clone(), classes[1].1[14].clone()];
    for (name, more) in [
        ("three", &["--c", "10"][..]),
        ("two", &["--target", "malignant"]),
        ("warm", &["--c", "100", "--calibrate"]),
    ] {
        let head = at(name);
        let mut args: Vec<Arg> = vec![&"train", &model, &"--data", &list, &"--size", &"96", &"-o", &head];
        args.extend([&"--cache" as Arg, &cache]);
        args.extend(more.iter().map(|more| more as Arg));
        success(&args);
        for image in &images {
            let (explanation, line) =
                explained(&[&"predict", &model, &"--head", &head, image, &"--explain", &why]);
            check_frame(&explanation, &line);
            assert_eq!(explanation["grid"], serde_json::json!([6, 6]));
            assert_eq!(explanation["logits"].as_array().unwrap().len(), if name == "two" { 1 } else { 3 });
            let written = PathBuf::from(explanation["map"].as_str().unwrap());
            assert_eq!(written.parent(), Some(&*why));
            let (map, picture) = (image::open(written).unwrap(), image::open(image).unwrap());
            // A strip with the range is below the picture.
            assert!(map.width() == picture.width() && map.height() > picture.height() + 10);
        }
    }
}

#[test]
fn clips_are_explained_frame_by_frame() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, why, model) = (at("data"), at("why"), tiny_model());
    write_clips(&data);
    let clip = data.join("rows/clip2");
    for kind in ["abmil", "volume"] {
        let head = at(kind);
        success(&[
            &"train",
            &model,
            &"--data",
            &data,
            &"--head",
            &kind,
            &"-o",
            &head,
            &"--size",
            &"32",
            &"--no-cache",
        ]);
        let (explanation, line) =
            explained(&[&"predict", &model, &"--head", &head, &"--bags", &clip, &"--explain", &why]);
        let logit = &explanation["logits"][0];
        assert_eq!((&logit["class"], &logit["against"]), (&"rows".into(), &"columns".into()));
        let frames = logit["patches"].as_array().unwrap().len();
        assert_eq!((frames, logit["cls"].as_array().unwrap().len()), (5, 5));
        let found = sum(&logit["bias"]) + sum(&logit["cls"]) + sum(&logit["patches"]);
        let z = sum(&logit["logit"]);
        assert!((found - z).abs() <= 1e-5, "{found} {z}");
        assert!((sum(&line["probabilities"]["rows"]) - 1.0 / (1.0 + (-z).exp())).abs() < 1e-7);
        let all = json(&std::fs::read_to_string(explanation["values"].as_str().unwrap()).unwrap());
        let values = all["logits"][0]["values"].as_array().unwrap();
        for (n, values) in values.iter().enumerate() {
            assert!((sum(values) - sum(&logit["patches"][n])).abs() < 1e-6);
        }
        assert_eq!(explanation["map"].as_array().unwrap().len(), 5);
    }
    // Both kinds wrote the same names, and nothing else is there.
    let pictures = (1..=5).map(|n| format!("clip2.explain-{n:03}.png"));
    let mut expected: Vec<String> = pictures.chain(["clip2.explain.json".into()]).collect();
    expected.sort();
    assert_eq!(listing(&why), expected);

    #[cfg(feature = "nifti")]
    check_volume(&at("volume"), &why);
}

/// A volume in an unusual orientation: the map is on its grid.
#[cfg(feature = "nifti")]
fn check_volume(head: &Path, why: &Path) {
    use nifti::{NiftiObject, NiftiVolume, ReaderOptions};
    let volume = golden("nifti/psr_int32.nii.gz");
    let (explanation, _) =
        explained(&[&"predict", &tiny_model(), &"--head", &head, &volume, &"--explain", &why]);
    let written = explanation["nifti"].as_str().unwrap();
    assert!(written.ends_with("psr_int32.explain.nii.gz") && explanation.get("map").is_none());
    let [source, map] =
        [volume, written.into()].map(|path: PathBuf| ReaderOptions::new().read_file(path).unwrap());
    assert_eq!(source.volume().dim(), map.volume().dim());
    assert_eq!(map.header().datatype, 16);
    let near = |a: [f32; 4], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(map.header().sform_code > 0);
    if source.header().sform_code > 0 {
        assert!(near(source.header().srow_x, map.header().srow_x));
    }
    let all = json(&std::fs::read_to_string(explanation["values"].as_str().unwrap()).unwrap());
    let known: Vec<f64> = all["logits"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|f| f.as_array().unwrap())
        .map(sum)
        .collect();
    let voxels = map.into_volume().into_nifti_typed_data::<f32>().unwrap();
    assert!(voxels.iter().all(|&v| known.iter().any(|k| (k - f64::from(v)).abs() < 1e-6)));
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |m: f64, v| m.max(v.abs()));
    assert!((most(&mut known.iter().copied()) - most(&mut voxels.iter().map(|&v| v.into()))).abs() < 1e-6);
}

#[test]
fn neighbours_have_names_only_if_the_head_keeps_them() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, why, model) = (at("data"), at("why"), tiny_model());
    write_dataset(&data, &["columns", "rows"], 8);
    let image = data.join("rows/03.png");
    let train = |head: &Path, more: &[&str]| {
        let mut args: Vec<Arg> = vec![&"train", &model, &"--data", &data, &"--head", &"knn", &"-k", &"4"];
        args.extend([&"--size" as Arg, &"32", &"--no-cache", &"-o", &head]);
        args.extend(more.iter().map(|more| more as Arg));
        success(&args);
    };
    let mut lines = Vec::new();
    for (name, more) in [("plain", &[][..]), ("named", &["--keep-names"])] {
        let head = at(name);
        train(&head, more);
        let (explanation, line) =
            explained(&[&"predict", &model, &"--head", &head, &image, &"--explain", &why]);
        let found = explanation["neighbours"].as_array().unwrap();
        assert_eq!((found.len(), &explanation["voters"]), (4, &4.into()));
        let of_rows =
            found.iter().filter(|n| n["classes"][0] == "rows").map(|n| sum(&n["share"])).sum::<f64>();
        assert!((of_rows - sum(&line["probabilities"]["rows"])).abs() < 1e-8);
        for one in found {
            match name {
                "plain" => assert!(one.get("name").is_none()),
                _ => {
                    let listed = one["name"].as_str().unwrap();
                    assert!(listed.starts_with(one["classes"][0].as_str().unwrap()), "{listed}");
                }
            }
        }
        lines.push(line["probabilities"].clone());
    }
    assert_eq!(lines[0], lines[1]);
    // Without the option, no name is in the file.
    let holds = |name: &str| {
        std::fs::read(at(name)).unwrap().windows(6).any(|bytes| bytes == b"03.png" || bytes == b"04.png")
    };
    assert_eq!((holds("plain"), holds("named")), (false, true));
    let message = failure(&[&"train", &model, &"--data", &data, &"-o", &at("x"), &"--keep-names"]);
    assert!(message.contains("--keep-names") && message.contains("knn"), "{message}");
}

#[test]
fn what_cannot_be_explained_is_said_and_no_input_is_overwritten() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = tiny_model();
    let (data, why) = (at("data"), at("why"));
    write_dataset(&data, &["columns", "rows"], 6);
    let (linear, lesion) = (at("linear"), at("lesion"));
    success(&[&"train", &model, &"--data", &data, &"-o", &linear, &"--size", &"32", &"--no-cache"]);
    let masked = super::heads::write_masked(folder.path());
    success(&[
        &"train",
        &model,
        &"--data",
        &masked,
        &"--head",
        &"segment",
        &"-o",
        &lesion,
        &"--size",
        &"32",
        &"--no-cache",
        &"--epochs",
        &"2",
    ]);
    let image = data.join("rows/03.png");
    let message = failure(&[&"predict", &model, &"--head", &lesion, &image, &"--explain", &why]);
    assert!(message.contains("--explain") && message.contains("mask itself"), "{message}");
    assert!(!why.exists());
    // Beside a head that can be explained, the other says why it is not.
    let line = json(&success(&[
        &"predict",
        &model,
        &"--head",
        &linear,
        &"--head",
        &lesion,
        &image,
        &"--explain",
        &why,
    ]));
    assert_eq!(line["heads"][0]["explanation"]["method"], "contributions");
    assert_eq!(line["heads"][1]["explanation"]["method"], "none");
    assert_eq!(listing(&why), ["03.linear.explain.png"]);
    // Without the option there is nothing.
    let line = json(&success(&[&"predict", &model, &"--head", &linear, &image]));
    assert!(line["heads"][0].get("explanation").is_none());
    // A picture in the place of a map.
    let taken = why.join("03.explain.png");
    std::fs::copy(&image, &taken).unwrap();
    let before = std::fs::read(&taken).unwrap();
    let message = failure(&[&"predict", &model, &"--head", &linear, &image, &taken, &"--explain", &why]);
    assert!(message.contains("03.explain.png, which this command reads"), "{message}");
    assert_eq!(std::fs::read(&taken).unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn live_frames_are_explained_if_that_is_asked_for() {
    let bench = super::stream::Bench::new();
    for more in [&["--policy", "every"][..], &["--policy", "every", "--explain"]] {
        let mut running = bench.start(more);
        for number in 0..3 {
            running.send(&bench.picture(number));
        }
        let (lines, code, errors) = running.finish();
        assert_eq!(code, 0, "{errors}");
        let mut frames = lines.iter().filter(|line| line["event"] == "frame").peekable();
        assert!(frames.peek().is_some());
        for line in frames {
            let head = &line["heads"][0];
            match more.len() {
                2 => assert!(head.get("explanation").is_none()),
                _ => check_frame(&head["explanation"], head),
            }
        }
    }
}
