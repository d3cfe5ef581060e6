//! Heads of every kind, from labelled files to predictions.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::common::*;

/// 30 images with a bright rectangle, their masks, and a CSV with masks and splits.
pub fn write_masked(folder: &Path) -> PathBuf {
    let (width, height) = (48, 40);
    let mut csv = String::from("image,mask,split\n");
    for i in 0..30 {
        let (top, left) = ((i * 7) % 20, (i * 11) % 24);
        let inside =
            |p: usize| (top..top + 18).contains(&(p / width)) && (left..left + 20).contains(&(p % width));
        let save = |name: &str, pixels: Vec<u8>| {
            let (w, h) = (width as u32, height as u32);
            image::save_buffer(folder.join(name), &pixels, w, h, image::ColorType::L8).unwrap();
        };
        let noise = |p: usize| ((p * 7919 + i * 104_729) % 53) as u8;
        save(
            &format!("{i}.png"),
            (0..width * height).map(|p| noise(p) + if inside(p) { 180 } else { 20 }).collect(),
        );
        save(
            &format!("{i}-mask.png"),
            (0..width * height).map(|p| if inside(p) { 255 } else { 0 }).collect(),
        );
        let split = if i < 22 { "train" } else { "val" };
        csv += &format!("{i}.png,{i}-mask.png,{split}\n");
    }
    let path = folder.join("masks.csv");
    std::fs::write(&path, csv).unwrap();
    path
}

/// Folders of 3 to 5 frames, inside one folder per class.
pub fn write_clips(folder: &Path) {
    for (kind, class) in ["columns", "rows"].iter().enumerate() {
        for clip in 0..8 {
            let frames = folder.join(class).join(format!("clip{clip}"));
            std::fs::create_dir_all(&frames).unwrap();
            for frame in 0..3 + clip % 3 {
                write_image(&frames.join(format!("{frame}.png")), kind, clip * 10 + frame);
            }
        }
    }
}

#[test]
fn neighbours_vote_and_a_second_run_uses_the_cache() {
    let folder = tempdir().unwrap();
    let (data, cache) = (folder.path().join("data"), folder.path().join("cache"));
    write_dataset(&data, &["columns", "rows", "slopes"], 10);
    let head = folder.path().join("knn.safetensors");
    let train = |bank: &str| {
        json(&success(&[
            &"train",
            &tiny_model(),
            &"--data",
            &data,
            &"--head",
            &"knn",
            &"--bank",
            &bank,
            &"-o",
            &head,
            &"--size",
            &"32",
            &"--cache",
            &cache,
            &"--json",
        ]))
    };
    let report = train("fp16");
    assert!(report["validation"]["accuracy"]["value"].as_f64().unwrap() > 0.9, "{report}");
    let bytes = std::fs::read(&head).unwrap();
    let entries = || -> usize { listing(&cache).iter().map(|name| listing(&cache.join(name)).len()).sum() };
    assert_eq!(entries(), 30);
    assert_eq!(train("fp16"), report);
    assert_eq!((std::fs::read(&head).unwrap() == bytes, entries()), (true, 30));
    assert!(train("int8")["validation"]["accuracy"]["value"].as_f64().unwrap() > 0.9);
    let line = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &data.join("rows/03.png")]));
    assert_eq!((&line["heads"][0]["class"], &line["heads"][0]["kind"]), (&"rows".into(), &"knn".into()));
}

#[test]
fn clips_are_told_apart_by_attention_and_by_their_mean() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_clips(&data);
    for kind in ["abmil", "volume"] {
        let head = folder.path().join(format!("{kind}.safetensors"));
        let report = json(&success(&[
            &"train",
            &tiny_model(),
            &"--data",
            &data,
            &"--head",
            &kind,
            &"-o",
            &head,
            &"--size",
            &"32",
            &"--folds",
            &"4",
            &"--json",
        ]));
        for part in ["validation", "cross_validation"] {
            assert!(report[part]["accuracy"]["value"].as_f64().unwrap() > 0.9, "{kind}: {report}");
        }
        assert_eq!(report["cross_validation"]["images"], 16);
        let clip = data.join("rows/clip2");
        let line = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &"--bags", &clip]));
        assert_eq!((&line["frames"], &line["heads"][0]["class"]), (&5.into(), &"rows".into()), "{line}");
        let attention = line["heads"][0]["attention"].as_array().map(Vec::len);
        assert_eq!(attention, (kind == "abmil").then_some(5));
    }
    // A head for single images does not accept clips.
    let out = folder.path().join("x.safetensors");
    let message = failure(&[&"train", &tiny_model(), &"--data", &data, &"-o", &out, &"--size", &"32"]);
    assert!(message.contains("clip") && message.contains("kind volume"), "{message}");
}

#[test]
fn masks_are_learned_drawn_and_measured() {
    let folder = tempdir().unwrap();
    let data = write_masked(folder.path());
    let mut heads = Vec::new();
    for (name, options) in [("linear", &[][..]), ("decoder", &["--decoder", "--layers", "1,0"][..])] {
        let head = folder.path().join(format!("{name}.safetensors"));
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &"--data", &data, &"--head", &"segment"];
        let model = tiny_model();
        args.extend([&model as &dyn AsRef<_>, &"-o", &head, &"--size", &"128", &"--json"]);
        args.extend([&"--classes" as &dyn AsRef<_>, &"background,lesion"]);
        args.extend(options.iter().map(|o| o as &dyn AsRef<_>));
        let report = json(&success(&args));
        let dice = report["validation"]["dice"]["value"].as_f64().unwrap();
        assert!(dice > 0.8, "{report}");
        let metrics = json(&success(&[&"evaluate", &model, &"--head", &head, &"--data", &data, &"--json"]));
        assert_eq!(metrics["metrics"], report["validation"], "{metrics}");
        heads.push(head);
    }
    let (masks, overlays) = (folder.path().join("masks"), folder.path().join("overlays"));
    let line = json(&success(&[
        &"predict",
        &tiny_model(),
        &"--head",
        &heads[0],
        &"--head",
        &heads[1],
        &"--masks",
        &masks,
        &"--overlays",
        &overlays,
        &folder.path().join("25.png"),
    ]));
    assert_eq!(listing(&masks), ["25.decoder.png", "25.linear.png"]);
    assert_eq!(listing(&overlays), ["25.decoder.overlay.png", "25.linear.overlay.png"]);
    for head in line["heads"].as_array().unwrap() {
        let mask = image::open(head["mask"].as_str().unwrap()).unwrap().to_luma8();
        assert_eq!((mask.width(), mask.height()), (48, 40));
        let white = mask.pixels().filter(|p| p.0[0] == 255).count();
        assert_eq!(head["areas"]["lesion"]["pixels"], white);

        assert!((250..500).contains(&white), "{line}");
    }
    // Outputs of two inputs with the same name would overwrite each other.
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::copy(folder.path().join("25.png"), folder.path().join("b/25.png")).unwrap();
    let (a, b) = (folder.path().join("25.png"), folder.path().join("b/25.png"));
    let output = microraptor(&[&"predict", &tiny_model(), &"--head", &heads[0], &"--masks", &masks, &a, &b]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn several_heads_share_one_pass_and_strangers_are_outside() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows"], 20);
    let mut heads = Vec::new();
    for kind in ["linear", "knn"] {
        let head = folder.path().join(format!("{kind}.safetensors"));
        success(&[
            &"train",
            &tiny_model(),
            &"--data",
            &data,
            &"--head",
            &kind,
            &"-o",
            &head,
            &"--size",
            &"32",
        ]);
        heads.push(head);
    }
    // An image unlike any stripes: half black, half white.
    let odd = folder.path().join("odd.png");
    let pixels: Vec<u8> = (0..40 * 36).map(|p| if p % 40 < 20 { 0 } else { 255 }).collect();
    image::save_buffer(&odd, &pixels, 40, 36, image::ColorType::L8).unwrap();
    let usual = data.join("rows/05.png");
    let both = |path: &Path| -> Vec<Value> {
        let line =
            json(&success(&[&"predict", &tiny_model(), &"--head", &heads[0], &"--head", &heads[1], &path]));
        line["heads"].as_array().unwrap().clone()
    };
    for (i, head) in both(&usual).iter().enumerate() {
        assert_eq!((&head["class"], &head["ood"]["outside"]), (&"rows".into(), &false.into()), "{head}");
        let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &heads[i], &usual]));
        assert_eq!(&alone["heads"][0], head);
    }
    assert!(both(&odd).iter().all(|head| head["ood"]["outside"] == true));
}

#[test]
fn what_cannot_be_learned_is_said() {
    let folder = tempdir().unwrap();
    let data = write_masked(folder.path());
    let out = folder.path().join("out.safetensors");
    let train = |data: &Path, options: &[&str]| {
        let model = tiny_model();
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &model, &"--data", &data, &"-o", &out];
        args.extend([&"--size" as &dyn AsRef<_>, &"32"]);
        args.extend(options.iter().map(|o| o as &dyn AsRef<_>));
        failure(&args)
    };
    assert!(train(&data, &[]).contains("--head segment"));
    assert!(train(&data, &["--head", "segment", "--classes", "background"]).contains("give 2 names"));
    assert!(train(&data, &["--head", "segment", "--layers", "99"]).contains("no layer 99"));
    let labels = folder.path().join("labels");
    write_dataset(&labels, &["columns", "rows"], 6);
    assert!(train(&labels, &["--head", "segment"]).contains("mask"));
    assert!(train(&labels, &["--head", "knn", "-k", "999"]).contains("k is 999"));
    assert!(train(&labels, &["--folds", "50"]).contains("--folds 50"));
    // A mask of another size than its image.
    let small = image::GrayImage::new(20, 20);
    small.save(folder.path().join("3-mask.png")).unwrap();
    let message = train(&data, &["--head", "segment"]);
    assert!(message.contains("3.png") && message.contains("1 x 20 x 20"), "{message}");
    assert!(!out.exists());
}

#[cfg(feature = "onnx")]
#[test]
fn an_onnx_file_is_a_head() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("a.png");
    write_image(&image, 0, 0);
    let (row, map) = (golden("onnx_heads/row.onnx"), golden("onnx_heads/map.onnx"));
    let masks = folder.path().join("masks");
    let output = microraptor(&[
        &"predict",
        &tiny_model(),
        &"--head",
        &row,
        &"--head",
        &map,
        &"--masks",
        &masks,
        &image,
    ]);
    let line = json(&String::from_utf8(output.stdout).unwrap());
    let sum: f64 =
        line["heads"][0]["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{line}");
    assert_eq!((&line["heads"][1]["kind"], listing(&masks)), (&"onnx".into(), vec!["a.map.png".to_owned()]));
    // The ONNX head does not state which backbone it was trained on.
    assert!(String::from_utf8(output.stderr).unwrap().contains("does not say which backbone"));
    let alone = folder.path().join("row.onnx");
    std::fs::copy(&row, &alone).unwrap();
    let message = failure(&[&"predict", &tiny_model(), &"--head", &alone, &image]);
    assert!(message.contains("row.json") && message.contains("classes"), "{message}");
    std::fs::write(folder.path().join("row.json"), "{\"classes\": [\"a\"], \"size\": \"32\"}").unwrap();
    assert!(failure(&[&"predict", &tiny_model(), &"--head", &alone, &image]).contains("at least 2"));
}

/// A mask would not lie on the whole picture.
#[test]
fn a_model_that_sees_a_part_of_the_picture_gets_no_head_for_masks() {
    let folder = tempdir().unwrap();
    let data = write_masked(folder.path());
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("vit/hf_s").join(name), model.join(name)).unwrap();
    }
    let crops = golden("processors/bit/preprocessor_config.json");
    std::fs::copy(crops, model.join("preprocessor_config.json")).unwrap();
    let out = folder.path().join("out.safetensors");
    let message =
        failure(&[&"train", &model, &"--data", &data, &"--head", &"segment", &"--size", &"32", &"-o", &out]);
    assert!(message.contains("need a model without a crop"), "{message}");
    assert!(!out.exists());
}
