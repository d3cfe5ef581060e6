//! A user's workflow: the commands, from a checkpoint to a prediction.

use super::common::{golden, listing, success, tiny_model, write_dataset, write_image};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn info_says_what_a_checkpoint_is() {
    let text = success(&[&"info", &tiny_model(), &"--size", &"32,48x80"]);
    assert!(text.contains("2 blocks of 32, 2 heads") && text.contains("at 48x80 px"), "{text}");
    let about = json(&success(&[&"info", &tiny_model(), &"--size", &"32", &"--json", &"--tensors"]));
    assert_eq!(about["architecture"]["dim"], 32);
    assert_eq!(about["cost"][0]["tokens"], 1 + 4 + 4);
    assert_eq!(about["tensors"].as_array().unwrap().len(), about["tensor_count"].as_u64().unwrap() as usize);
    let about = json(&success(&[&"info", &tiny_model(), &"--size", &"30,32", &"--json"]));
    assert!(about["cost"][0]["refused"].as_str().unwrap().contains("multiple"), "{about}");
    assert_eq!(about["cost"][1]["tokens"], 1 + 4 + 4);
    let seeded = json(&success(&[&"info", &"untrained:dinov3-vits16", &"--json"]));
    assert_eq!(seeded["parameters"], 21_596_160);
}

#[test]
fn models_lists_the_cards() {
    let text = success(&[&"models"]);
    for name in [
        "dinov3-vits16",
        "dinov3-vits16plus",
        "dinov3-vitb16",
        "dinov3-vitl16",
        "deit-tiny",
        "biomedclip",
        "demo",
    ] {
        assert!(text.contains(name), "{text}");
    }
    let card = json(&success(&[&"models", &"dinov3-vitb16", &"--json"]));
    assert_eq!(card["architecture"]["dim"], 768);
    assert!(success(&[&"models", &"deit-tiny"]).contains("licence"));
}

#[test]
fn embed_writes_what_torch_computes() {
    let folder = tempdir().unwrap();
    let image = golden("pixels_rgb8.png");
    let file = folder.path().join("features.safetensors");
    let threads = |n: &'static str| {
        success(&[
            &"embed",
            &tiny_model(),
            &image,
            &image,
            &"-o",
            &file,
            &"--size",
            &"48x80",
            &"--threads",
            &n,
        ]);
        std::fs::read(&file).unwrap()
    };
    let (one, again) = (threads("1"), threads("1"));
    assert_eq!(one, again, "the same bytes run after run");
    let tensors = SafeTensors::deserialize(&one).unwrap();
    assert_eq!(tensors.tensor("cls").unwrap().shape(), [2, 32]);
    assert_eq!(tensors.tensor("patch").unwrap().shape(), [2, 15, 32]);
    let (_, header) = SafeTensors::read_metadata(&one).unwrap();
    let about = json(&header.metadata().as_ref().unwrap()["microraptor"]);
    assert_eq!(about["names"].as_array().unwrap().len(), 2);
    assert_eq!((&about["rows"], &about["cols"]), (&Value::from(3), &Value::from(5)));
    assert_eq!(listing(folder.path()), ["features.safetensors"]);
}

#[test]
fn embed_writes_npz_with_the_same_numbers() {
    let folder = tempdir().unwrap();
    let image = golden("pixels_grey16.png");
    let (npz, st) = (folder.path().join("f.npz"), folder.path().join("f.safetensors"));
    for file in [&npz, &st] {
        success(&[&"embed", &tiny_model(), &image, &"-o", file, &"--size", &"32", &"--threads", &"1"]);
    }
    let mut reader = ndarray_npy::NpzReader::new(std::fs::File::open(&npz).unwrap()).unwrap();
    let cls: ndarray::Array2<f32> = reader.by_name("cls").unwrap();
    let patch: ndarray::Array3<f32> = reader.by_name("patch").unwrap();
    assert_eq!((cls.shape(), patch.shape()), ([1, 32].as_slice(), [1, 4, 32].as_slice()));
    let bytes = std::fs::read(&st).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let plain: Vec<u8> = cls.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(tensors.tensor("cls").unwrap().data(), plain);
}

#[test]
fn a_head_is_trained_evaluated_and_used() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows", "slopes"], 12);
    let head = folder.path().join("head.safetensors");
    let train = [
        &"train" as &dyn AsRef<std::ffi::OsStr>,
        &tiny_model(),
        &"--data",
        &data,
        &"-o",
        &head,
        &"--size",
        &"32",
        &"--json",
    ];
    let report = json(&success(&train));
    assert!(report["validation"]["accuracy"]["value"].as_f64().unwrap() > 0.9, "{report}");
    let bytes = std::fs::read(&head).unwrap();
    success(&train);
    assert_eq!(std::fs::read(&head).unwrap(), bytes, "training is deterministic");

    let metrics =
        json(&success(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data, &"--json"]));
    assert!(metrics["metrics"]["accuracy"]["value"].as_f64().unwrap() > 0.9, "{metrics}");
    // On the same data, `evaluate` reproduces the split of `train`. On other data it uses every image, and classes
    // may be absent.
    assert_eq!((&metrics["split"], metrics["caveat"].is_string()), (&Value::from("val"), true));
    let others = folder.path().join("others");
    write_dataset(&others, &["columns", "rows"], 5);
    let metrics =
        json(&success(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &others, &"--json"]));
    assert_eq!((&metrics["split"], &metrics["caveat"]), (&Value::from("all"), &Value::Null));
    assert_eq!(metrics["metrics"]["images"], 10);
    assert!(
        success(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data])
            .contains("balanced accuracy")
    );

    let lines = success(&[
        &"predict",
        &tiny_model(),
        &"--head",
        &head,
        &data.join("rows"),
        &data.join("slopes/00.png"),
    ]);
    let lines: Vec<Value> = lines.lines().map(json).collect();
    assert_eq!(lines.len(), 13);
    let right = lines[..12].iter().filter(|l| l["heads"][0]["class"] == "rows").count();
    assert!(right >= 10, "{lines:?}");
    let sum: f64 = lines[0]["heads"][0]["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert!(lines[0]["ms"]["total"].as_f64().unwrap() > 0.0);
}

#[test]
fn several_labels_an_image() {
    let folder = tempdir().unwrap();
    let mut csv = String::from("image,label\n");
    for i in 0..24 {
        let (kind, label) = [(0, "columns"), (1, "rows"), (2, "columns|rows"), (0, "columns")][i % 4];
        write_image(&folder.path().join(format!("{i}.png")), kind, i);
        csv += &format!("{i}.png,{label}\n");
    }
    let (data, head) = (folder.path().join("labels.csv"), folder.path().join("head.safetensors"));
    std::fs::write(&data, &csv).unwrap();
    success(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &"32"]);
    let image = folder.path().join("2.png");
    let line = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &image]));
    assert!(line["heads"][0]["class"].is_array(), "{line}");
    // Images that happen to have one label each are still evaluated label by label.
    std::fs::write(&data, "image,label\n0.png,columns\n1.png,rows\n5.png,rows\n").unwrap();
    let metrics =
        json(&success(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data, &"--json"]));
    assert_eq!(metrics["metrics"]["multi_label"], true);
}

#[test]
fn a_target_makes_it_binary() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows", "slopes"], 10);
    let head = folder.path().join("head.safetensors");
    success(&[
        &"train",
        &tiny_model(),
        &"--data",
        &data,
        &"-o",
        &head,
        &"--size",
        &"32",
        &"--target",
        &"rows",
        &"--class-weights",
        &"balanced",
    ]);
    let line = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &data.join("rows/03.png")]));
    assert_eq!(line["heads"][0]["probabilities"].as_object().unwrap().len(), 2);
    assert_eq!(line["heads"][0]["class"], "rows");
    // The data set still has its three classes: the head stores which of them is the target.
    let metrics =
        json(&success(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data, &"--json"]));
    assert!(metrics["metrics"]["auc"]["value"].as_f64().unwrap() > 0.9, "{metrics}");
}

#[test]
fn every_command_has_help() {
    for command in ["info", "models", "convert", "embed", "train", "predict", "evaluate", "profile", "demo"] {
        let text = success(&[&command, &"--help"]);
        assert!(text.contains("--threads") && text.contains("--json"), "{command}: {text}");
    }
    assert!(success(&[&"--help"]).contains("Examples:"));
}
