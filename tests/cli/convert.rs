//! `convert`: from a checkpoint to a model file.

use std::fs;
use std::path::Path;

use super::common::{failure, golden, listing, microraptor, success, tiny_model, write_dataset};
use microraptor::quant::{Matrix, Precision, WeightPrecision, file};
use serde_json::Value;
use tempfile::tempdir;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn convert(model: &Path, output: &Path, precision: &str, threads: &str) -> Value {
    json(&success(&[
        &"convert",
        &model,
        &"-o",
        &output,
        &"--precision",
        &precision,
        &"--size",
        &"32",
        &"--threads",
        &threads,
        &"--json",
    ]))
}

#[test]
fn every_precision_is_written_measured_and_read() {
    let folder = tempdir().unwrap();
    for (precision, expected, least) in [
        ("f32", Precision::F32, 0.9999999),
        ("fp16", Precision::Fp16, 0.99999),
        ("int8", Precision::Int8, 0.999),
    ] {
        let path = folder.path().join(format!("{precision}.safetensors"));
        for source in [tiny_model(), golden("vit/hf_splus"), golden("vit/timm_vit")] {
            let about = convert(&source, &path, precision, "2");
            let file::ModelFile { model, sha256, .. } = file::read(&path).unwrap();
            assert_eq!((model.precision, about["precision"].as_str()), (expected, Some(precision)));
            assert_eq!(about["sha256"], sha256);
            assert_eq!(about["file_bytes"], fs::metadata(&path).unwrap().len());
            let total = &about["report"]["total"];
            for tokens in ["cls", "patches"] {
                assert!(total[tokens]["mean"].as_f64().unwrap() >= least, "{precision} {source:?}: {total}");
            }
            assert_eq!(about["report"]["blocks"].as_array().unwrap().len(), model.network.blocks.len());
            if precision == "int8" {
                assert!(model.plan.blocks.iter().any(|b| b.qkv == WeightPrecision::Int7), "{:?}", model.plan);
            }
        }
        assert!(matches!(
            (precision, &file::read(&path).unwrap().model.network.patch.weight),
            ("f32", Matrix::F32(_)) | ("fp16" | "int8", Matrix::F16(_))
        ));
    }
    assert_eq!(listing(folder.path()), ["f32.safetensors", "fp16.safetensors", "int8.safetensors"]);
}

#[test]
fn the_bytes_depend_on_nothing_but_the_input() {
    let folder = tempdir().unwrap();
    let (one, two) = (folder.path().join("one.safetensors"), folder.path().join("two.safetensors"));
    convert(&tiny_model(), &one, "int8", "1");
    convert(&tiny_model(), &two, "int8", "3");
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
}

#[test]
fn measures_on_the_instruction_set_asked_for() {
    let folder = tempdir().unwrap();
    let (best, scalar) = (folder.path().join("best.safetensors"), folder.path().join("scalar.safetensors"));
    convert(&tiny_model(), &best, "int8", "2");
    let output = microraptor(&[
        &"--isa",
        &"scalar",
        &"-v",
        &"convert",
        &tiny_model(),
        &"-o",
        &scalar,
        &"--size",
        &"32",
    ]);
    let log = String::from_utf8(output.stderr).unwrap();
    let measured: Vec<&str> = log.lines().filter(|line| line.contains("measured on")).collect();
    assert!(!measured.is_empty() && measured.iter().all(|line| line.contains("on scalar:")), "{log}");
    assert!(fs::read(&best).unwrap() == fs::read(&scalar).unwrap());
}

#[test]
fn calibrates_on_images_and_prints_a_table() {
    let folder = tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("m.safetensors"));
    write_dataset(&data, &["columns", "rows"], 3);
    let text = success(&[&"convert", &tiny_model(), &"-o", &file, &"--calibrate", &data, &"--size", &"32"]);
    assert!(text.contains("on 6 images at 32 px"), "{text}");
    for word in ["block", "qkv", "int7", "features", "plan", "made from", "MB"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Attention heads of two channels, which the integer kernels do not support.
#[test]
fn attention_of_odd_heads_stays_in_float() {
    let folder = tempdir().unwrap();
    let (model, file) = (folder.path().join("odd"), folder.path().join("m.safetensors"));
    fs::create_dir(&model).unwrap();
    let source = golden("vit/timm_vit");
    fs::copy(source.join("model.safetensors"), model.join("model.safetensors")).unwrap();
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let odd = config.replace("\"num_heads\": 2", "\"num_heads\": 16");
    assert_ne!(odd, config);
    fs::write(model.join("config.json"), odd).unwrap();

    let about = convert(&model, &file, "int8", "2");
    for block in about["plan"]["blocks"].as_array().unwrap() {
        assert_eq!(block["attention"], "float");
        assert!(block["qkv"].as_str().unwrap().starts_with("int"), "{block}");
    }
    let features = folder.path().join("f.npz");
    success(&[&"embed", &file, &golden("pixels_rgb8.png"), &"-o", &features, &"--size", &"32"]);
}

/// Tries to convert. Checks that nothing was written, and returns the error message.
fn error(model: &Path, more: &[&str]) -> String {
    let folder = tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"convert", &model, &"-o", &file, &"--size", &"32"];
    args.extend(more.iter().map(|a| a as &dyn AsRef<std::ffi::OsStr>));
    let message = failure(&args);
    assert!(listing(folder.path()).is_empty());
    message
}

#[test]
fn refuses_what_is_no_checkpoint() {
    let folder = tempdir().unwrap();
    let converted = folder.path().join("f16.safetensors");
    convert(&tiny_model(), &converted, "fp16", "1");
    let message = error(&converted, &[]);
    assert!(message.contains("f16.safetensors") && message.contains("converted"), "{message}");
    assert!(error(&folder.path().join("nowhere"), &[]).contains("nowhere"));
    assert!(error(Path::new("dinov3-vits16"), &[]).contains("microraptor models"));
    let message = error(&folder.path().join("no.onnx"), &[]);
    assert!(message.contains("no.onnx"), "{message}");
}

#[test]
fn refuses_bad_options_before_any_work() {
    let folder = tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    assert!(error(&tiny_model(), &["--calibrate", empty]).contains("no images"));
    assert!(error(&tiny_model(), &["--calibrate", "nowhere"]).contains("nowhere"));
    let message =
        failure(&[&"convert", &tiny_model(), &"-o", &folder.path().join("a.safetensors"), &"--size", &"33"]);
    assert!(message.contains("multiple"), "{message}");
    let message = failure(&[&"convert", &tiny_model(), &"-o", &folder.path().join("no/a.safetensors")]);
    assert!(message.contains("does not exist"), "{message}");
}
