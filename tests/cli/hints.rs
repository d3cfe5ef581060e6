//! Models with incomplete files: assumptions are reported, flags replace them, and the output of `convert` needs
//! neither.

use std::fs;

use super::common::*;

/// timm's tiny ViT with two heads and 3 x 3 patches, without its config.json.
fn unnamed() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("plain.safetensors");
    fs::copy(golden("vit/timm_vit/model.safetensors"), &model).unwrap();
    let model = model.to_str().unwrap().to_owned();
    (dir, model)
}

const FLAGS: [&str; 4] = ["--heads=2", "--grid=3x3", "--mean=0.5,0.5,0.5", "--std=0.5,0.5,0.5"];

#[test]
fn what_is_assumed_is_said_with_the_flag_that_settles_it() {
    let (dir, model) = unnamed();
    let picture = dir.path().join("a.png");
    write_image(&picture, 0, 0);
    let out = dir.path().join("a.npz");
    let output = microraptor(&[&"embed", &model, &picture, &"-o", &out, &"--size", &"48"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.lines().count() == 1, "{said}");
    for part in ["1 attention heads (--heads", "3 x 3 patches (--grid", "0.485", "(--mean and --std"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let about = json(&success(&[&"info", &model, &"--size", &"48", &"--json"]));
    assert_eq!(about["assumed"].as_array().unwrap().len(), 4, "{about}");
    assert_eq!(about["name"], "plain");

    let [heads, grid, mean, std] = FLAGS;
    let about = json(&success(&[&"info", &model, &"--size", &"48", &"--json", &heads, &grid, &mean, &std]));
    assert_eq!((&about["architecture"]["heads"], &about["preprocess"]["mean"][0]), (&2.into(), &0.5.into()));
    // One assumption remains, about activation and epsilon, for which there is no flag.
    assert_eq!(about["assumed"].as_array().unwrap().len(), 1, "{about}");
    let named = golden("vit/timm_vit");
    let text = failure(&[&"info", &named, &"--size", &"48", &"--heads", &"4"]);
    assert!(text.contains("the config.json beside it says 2 heads, which 4 contradicts"), "{text}");
    assert!(failure(&[&"info", &model, &"--std", &"0.5,0.5"]).contains("three numbers"));
}

#[test]
fn a_grid_of_learned_positions_is_refused_where_they_are_rotary() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.safetensors");
    let mut models = vec![golden("vit/hf_s"), golden("vit/hf_s/model.safetensors")];
    if cfg!(feature = "onnx") {
        models.push(golden("onnx/tiny/dynamo-dynamic.onnx"));
    }
    for model in &models {
        let said = [
            failure(&[&"info", model, &"--size", &"64", &"--grid", &"4x4"]),
            failure(&[
                &"convert",
                model,
                &"-o",
                &out,
                &"--precision",
                &"f32",
                &"--size",
                &"64",
                &"--grid",
                &"4x4",
            ]),
        ];
        for text in said {
            assert!(
                text.contains("rotary positions, which a grid of 4x4 contradicts"),
                "{}: {text}",
                model.display()
            );
        }
    }
    assert!(!out.exists());
}

#[test]
fn a_converted_model_keeps_what_was_said() {
    let (dir, model) = unnamed();
    let out = dir.path().join("converted.safetensors");
    let [heads, grid, mean, std] = FLAGS;
    success(&[
        &"convert",
        &model,
        &"-o",
        &out,
        &"--precision",
        &"f32",
        &"--size",
        &"48",
        &heads,
        &grid,
        &mean,
        &std,
    ]);
    let about = json(&success(&[&"info", &out, &"--size", &"48", &"--json"]));
    assert_eq!((&about["architecture"]["heads"], &about["preprocess"]["std"][2]), (&2.into(), &0.5.into()));
    assert!(about["converted"]["assumed"].as_str().unwrap().contains("GELU"), "{about}");
    let text = failure(&[&"info", &out, &"--size", &"48", &"--heads", &"4"]);
    assert!(text.contains("says 2 heads, which 4 contradicts"), "{text}");
    let text = failure(&[&"info", &out, &"--size", &"48", &"--grid", &"1x9"]);
    assert!(text.contains("a grid of 3x3, which 1x9 contradicts"), "{text}");
    let text = failure(&[&"info", &"untrained:deit-tiny", &"--heads", &"4"]);
    assert!(text.contains("3 heads, which 4 contradicts"), "{text}");
}

#[test]
fn a_head_is_for_the_network_that_it_was_trained_on() {
    let (dir, model) = unnamed();
    let data = dir.path().join("data");
    write_dataset(&data, &["a", "b"], 8);
    let head = dir.path().join("head.safetensors");
    let picture = data.join("a/00.png");
    success(&[&"train", &model, &"--data", &data, &"-o", &head, &"--size", &"48", &"--heads", &"2"]);
    success(&[&"predict", &model, &"--head", &head, &picture, &"--heads", &"2"]);
    let output = microraptor(&[&"predict", &model, &"--head", &head, &picture]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("error: ") && said.contains("head.safetensors"), "{said}");
}

#[test]
fn a_deployment_keeps_what_was_said_of_the_model() {
    let (dir, model) = unnamed();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    let [heads, grid, mean, std] = FLAGS;
    let more: [Arg; 10] = [&"--data", &data, &"--budget", &"60s", &"-o", &out, &heads, &grid, &mean, &std];
    success(&quick_profile(&model, &"48", &more));
    let deploy = out.join("deploy.toml");
    let text = fs::read_to_string(&deploy).unwrap();
    let kept: toml::Table = text.parse().unwrap();
    let expected: toml::Table =
        "heads = 2\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\ngrid = [3, 3]".parse().unwrap();
    assert_eq!(kept["hints"].as_table(), Some(&expected), "{text}");
    let picture = data.join("rows/00.png");
    let line = json(&success(&[&"predict", &"--deploy", &deploy, &picture]));
    let by_hand = json(&success(&[
        &"predict",
        &model,
        &"--head",
        &out.join(kept["head"].as_str().unwrap()),
        &picture,
        &heads,
        &grid,
        &mean,
        &std,
    ]));
    assert_eq!(line["heads"], by_hand["heads"]);
    success(&[&"predict", &"--deploy", &deploy, &picture, &heads]);
    let text = failure(&[&"predict", &"--deploy", &deploy, &picture, &"--heads=1"]);
    assert!(text.contains("deploy.toml: was measured with another --heads"), "{text}");
    // Without the hints it is a different network.
    fs::write(&deploy, fs::read_to_string(&deploy).unwrap().replace("heads = 2\n", "")).unwrap();
    let output = microraptor(&[&"predict", &"--deploy", &deploy, &picture]);
    assert_eq!(output.status.code(), Some(2));
}
