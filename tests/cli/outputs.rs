//! Outputs of a graph around a backbone: `embed`, `predict --output`, `convert`, `info`.

use std::fs;

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use super::common::{failure, golden, listing, success};

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn embed_writes_outputs_under_their_own_names() {
    let folder = tempdir().unwrap();
    let (out, picture) = (folder.path().join("f.safetensors"), golden("pixels_rgb8.png"));
    let embedded = |form: &str| {
        let model = golden("onnx/forms").join(form);
        let about =
            json(&success(&[&"embed", &model, &picture, &"-o", &out, &"--size", &"16x24", &"--json"]));
        let bytes = fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut arrays: Vec<(String, Vec<usize>)> =
            file.tensors().into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
        arrays.sort();
        for (name, shape) in &arrays {
            assert_eq!(about["arrays"][name], serde_json::json!(shape), "{form}");
        }
        arrays.into_iter().map(|(name, shape)| format!("{name} {shape:?}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(embedded("opset17.onnx"), "cls [1, 16], patch [1, 24, 16]");
    assert_eq!(
        embedded("segmenter.onnx"),
        "classes [1, 16, 24], cls [1, 16], logits [1, 3, 16, 24], patch [1, 24, 16]"
    );
    // Before the final norm there are no features.
    assert_eq!(embedded("to-block.onnx"), "stream [1, 29, 16]");
}

#[test]
fn an_output_is_a_classifier_or_a_mask() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let picture = golden("pixels_rgb8.png");
    fs::write(at("names.json"), r#"{"id2label": {"0": "a", "1": "b", "2": "c"}}"#).unwrap();
    let classifier = golden("onnx/forms/classifier.onnx");
    let found = json(&success(&[
        &"predict",
        &classifier,
        &"--output",
        &"logits",
        &"--classes",
        &at("names.json"),
        &"--size",
        &"16x24",
        &picture,
    ]));
    let head = &found["heads"][0];
    assert_eq!((&head["kind"], &head["head"]), (&"output".into(), &"logits".into()));
    let sum: f64 = ["a", "b", "c"].iter().map(|name| head["probabilities"][name].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{head}");
    // Labels are independent; classes have their numbers for names.
    let found = json(&success(&[
        &"predict",
        &classifier,
        &"--output",
        &"logits",
        &"--activation",
        &"sigmoid",
        &"--size",
        &"16x24",
        &picture,
    ]));
    assert!(found["heads"][0]["class"].is_array() && found["heads"][0]["probabilities"]["2"].is_number());

    let (segmenter, masks) = (golden("onnx/forms/segmenter.onnx"), at("masks"));
    let found = json(&success(&[
        &"predict",
        &segmenter,
        &"--output",
        &"logits",
        &"--output",
        &"classes",
        &"--classes",
        &at("names.json"),
        &"--masks",
        &masks,
        &picture,
    ]));
    assert_eq!(listing(&masks), ["pixels_rgb8.classes.png", "pixels_rgb8.logits.png"]);
    // The largest of the logits, and the classes that the graph computed of them.
    assert_eq!(found["heads"][0]["areas"], found["heads"][1]["areas"]);

    let message = failure(&[&"predict", &classifier, &"--output", &"masks", &"--size", &"16x24", &picture]);
    assert!(message.contains("no output 'masks': it has logits"), "{message}");
    let message = failure(&[&"predict", &segmenter, &"--output", &"classes", &picture]);
    assert!(message.contains("--classes"), "{message}");
    let message =
        failure(&[&"predict", &golden("vit/hf_s"), &"--output", &"logits", &"--size", &"32", &picture]);
    assert!(message.contains("features only"), "{message}");
    fs::write(at("names.json"), r#"["a", "b"]"#).unwrap();
    let message = failure(&[
        &"predict",
        &classifier,
        &"--output",
        &"logits",
        &"--classes",
        &at("names.json"),
        &"--size",
        &"16x24",
        &picture,
    ]);
    assert!(message.contains("[1, 3]") && message.contains("[1, 2]"), "{message}");
}

#[test]
fn a_graph_is_converted_with_its_backbone() {
    let folder = tempdir().unwrap();
    let (model, picture) = (folder.path().join("m.safetensors"), golden("pixels_rgb8.png"));
    let segmenter = golden("onnx/forms/segmenter.onnx");
    let about: Value =
        serde_json::from_str(&success(&[&"convert", &segmenter, &"-o", &model, &"--json"])).unwrap();
    let outputs = about["report"]["outputs"].as_array().unwrap();
    assert_eq!(outputs.iter().map(|output| &output["name"]).collect::<Vec<_>>(), ["logits", "classes"]);
    assert!(outputs[0]["cosine"]["min"].as_f64().unwrap() > 0.999, "{outputs:?}");
    assert!(outputs[0]["same_class"].as_f64().unwrap() > 0.9, "{outputs:?}");
    let info = success(&[&"info", &model]);
    assert!(
        info.contains("microraptor int8")
            && info.contains("logits, classes")
            && info.contains("16x24 px only"),
        "{info}"
    );
    let found = json(&success(&[&"predict", &model, &"--output", &"logits", &picture]));
    assert_eq!(found["model"]["sha256"], about["sha256"]);
    assert!(found["heads"][0]["areas"]["1"].is_object(), "{found}");
    let message = failure(&[&"convert", &golden("onnx/cnn-fixed.onnx"), &"-o", &model]);
    assert!(message.contains("holds no vision transformer"), "{message}");
}

#[test]
fn info_says_which_sizes_a_graph_takes() {
    let model = golden("onnx/forms/segmenter.onnx");
    let text = success(&[&"info", &model, &"--json"]);
    let about: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&about["fixed_size"], &about["cost"][0]["size"]), (&"16x24".into(), &"16x24".into()));
    assert_eq!(about["cost"][0]["tokens"], 5 + 4 * 6);
    let text = success(&[&"info", &model, &"--size", &"32"]);
    assert!(text.contains("exported for 16x24 px only"), "{text}");
}
