//! ONNX files written by torch (`reference/export_onnx.py`) against the checkpoints from which they were exported,
//! and other networks against onnxruntime.
#![cfg(feature = "onnx")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use microraptor::checkpoint::onnx::{Imported, OnnxError, Proof, import, import_with};
use microraptor::checkpoint::{self, Model};
use microraptor::engine::Features;
use microraptor::features::{Geometry, Grid, ScanFeatures, Tokens};
use microraptor::graph::onnx::{OnnxModel, OnnxRunError, Threads};
use microraptor::heads::{Head, Outcome, Predictor};
use microraptor::input::ScanKind;
use microraptor::kernels::Isa;
use microraptor::vit::{self, Mlp, Size};
use safetensors::SafeTensors;

/// Required agreement, relative to the largest value.
const TOLERANCE: f32 = 1e-4;

const EXPORTED: Size = Size { height: 16, width: 24 };
const OTHER: Size = Size { height: 24, width: 36 };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx").join(name)
}

fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), values(tensor.data()))).collect()
}

/// Largest difference, relative to the largest expected value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    assert!(found.iter().all(|v| v.is_finite()));
    worst.fold(0.0, f32::max) / largest
}

/// Lowest cosine over the tokens.
fn cosine(found: &[f32], expected: &[f32], dim: usize) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let tokens = found.chunks_exact(dim).zip(expected.chunks_exact(dim));
    tokens.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(1.0, f64::min)
}

/// Imports the export `way` of `config` and compares it with the checkpoint and with PyTorch's outputs.
fn check(config: &str, way: &str) -> Imported {
    let imported = import(&golden(&format!("{config}/{way}.onnx"))).unwrap().expect("it is DINOv3");
    let Model { config: expected, weights, .. } = checkpoint::load(&golden(config)).unwrap();
    assert_eq!(imported.config, expected);
    assert_eq!(imported.weights, weights, "{config}/{way}: the same bits, only laid out otherwise");
    assert_eq!(imported.fixed_size, way.ends_with("fixed").then_some(EXPORTED));
    let reference = tensors(&golden(config).join("reference.safetensors"));
    for (suffix, size) in [("", EXPORTED), ("_other", OTHER)] {
        let (pixels, hidden) =
            (&reference[&format!("pixels{suffix}")], &reference[&format!("last_hidden_state{suffix}")]);
        let output = vit::forward(&imported.config, &imported.weights, pixels, size).unwrap().output;
        let difference = difference(output.as_slice().unwrap(), hidden);
        assert!(difference < TOLERANCE, "{config}/{way} at {size}: {difference:e}");
    }
    imported
}

#[test]
fn every_export_of_a_gelu_model_is_recognised() {
    for way in ["dynamo-fixed", "dynamo-dynamic", "torchscript-fixed", "torchscript-dynamic"] {
        let imported = check("tiny", way);
        assert_eq!((imported.config.mlp, imported.config.registers), (Mlp::Gelu, 4));
        assert!(imported.weights.blocks[0].qkv.bias[16..32].iter().all(|&b| b == 0.0), "keys have no bias");
    }
}

#[test]
fn exports_of_a_swiglu_model_are_recognised() {
    for way in ["dynamo-fixed", "torchscript-dynamic"] {
        let imported = check("tinyglu", way);
        assert_eq!((imported.config.mlp, imported.config.norm_eps), (Mlp::SwiGlu, 1e-6));
    }
}

fn run(name: &str, size: Size, threads: usize, pixels: &[f32]) -> Features {
    let model = OnnxModel::load(&golden(name)).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pool = (threads > 1).then(|| std::sync::Arc::new(pool));
    let threads = Threads { pool, ..Threads::default() };
    model.plan(size, &threads, &[]).unwrap().run(pixels).unwrap()
}

#[test]
fn what_only_resembles_dinov3_is_not_taken_for_it_and_runs_as_it_is() {
    let expected = tensors(&golden("others.safetensors"));
    // `tanh` differs in the activation, which is no parameter of ours; `theta` in the rotary periods, which are read.
    for name in ["tanh", "theta"] {
        let file = format!("{name}.onnx");
        let imported = import(&golden(&file)).unwrap();
        assert_eq!(imported.is_some(), name == "theta", "{name}");
        if let Some(Imported { config, weights, .. }) = imported {
            assert_eq!(weights.rope_periods, vit::rope_periods(30.0, config.head_dim()));
            let found = vit::forward(&config, &weights, &expected["theta-pixels"], EXPORTED).unwrap().output;
            assert!(difference(found.as_slice().unwrap(), &expected["theta"]) < TOLERANCE);
        }
        let output = run(&file, EXPORTED, 1, &expected[&format!("{name}-pixels")]);
        // Of 5 + 24 tokens the last 24 are patches: the first convolution cuts the image into 24.
        assert_eq!((output.rows, output.cols, output.patch.len()), (4, 6, 16 * 24));
        assert!(difference(&output.patch, &expected[name][16 * 5..]) < TOLERANCE);
        assert!(
            difference(&output.cls, &expected[&format!("{name}-pooled")]) < TOLERANCE,
            "pooler_output is CLS"
        );
    }
}

#[test]
fn a_cnn_runs_as_onnxruntime_runs_it() {
    let expected = tensors(&golden("others.safetensors"));
    let size = Size { height: 24, width: 32 };
    for name in ["cnn-fixed", "cnn-external"] {
        assert_eq!(import(&golden(&format!("{name}.onnx"))).unwrap(), None);
        let output = run(&format!("{name}.onnx"), size, 1, &expected["image"]);
        assert_eq!((output.patch.len(), output.rows, output.cols), (0, 0, 0));
        assert!(difference(&output.cls, &expected[name]) < TOLERANCE);
    }
    for threads in [1, 2] {
        let output = run("cnn-dynamic.onnx", size, threads, &expected["image"]);
        let (map, places) = (&expected["cnn-dynamic"], 6 * 8);
        let by_token: Vec<f32> = (0..map.len()).map(|i| map[i % 8 * places + i / 8]).collect();
        let means: Vec<f32> = map.chunks(places).map(|c| c.iter().sum::<f32>() / places as f32).collect();
        assert_eq!((output.rows, output.cols), (6, 8));
        assert!(difference(&output.patch, &by_token) < TOLERANCE);
        assert!(difference(&output.cls, &means) < TOLERANCE);
    }
}

#[test]
fn another_size_needs_a_dynamic_export() {
    let asked = Size { height: 32, width: 48 };
    let model = OnnxModel::load(&golden("cnn-fixed.onnx")).unwrap();
    let error = model.plan(asked, &Threads::default(), &[]).err().expect("refused");
    assert!(matches!(error, OnnxRunError::FixedSize { .. }));
    assert!(error.to_string().contains("images of 24x32 only, not 32x48"), "{error}");
    let model = OnnxModel::load(&golden("cnn-dynamic.onnx")).unwrap();
    let output =
        model.plan(asked, &Threads::default(), &[]).unwrap().run(&vec![0.5; 3 * asked.area()]).unwrap();
    assert_eq!(output.patch.len(), 8 * 8 * 12);
}

#[test]
fn the_hash_covers_external_data() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (folder.path().join("cnn-external.onnx"), folder.path().join("cnn-external.data"));
    std::fs::copy(golden("cnn-external.onnx"), &model).unwrap();
    let error = OnnxModel::load(&model).unwrap_err();
    assert!(
        matches!(&error, OnnxError::External { location, .. } if location == "cnn-external.data"),
        "{error}"
    );
    let mut bytes = std::fs::read(golden("cnn-external.data")).unwrap();
    std::fs::write(&data, &bytes).unwrap();
    let before = OnnxModel::load(&model).unwrap().sha256().to_owned();
    assert_eq!(before, OnnxModel::load(&golden("cnn-external.onnx")).unwrap().sha256());
    bytes[0] ^= 1;
    std::fs::write(&data, &bytes).unwrap();
    assert_ne!(before, OnnxModel::load(&model).unwrap().sha256());
    bytes.truncate(100);
    std::fs::write(&data, &bytes).unwrap();
    assert_one_line(&OnnxModel::load(&model).unwrap_err(), &model);
}

fn assert_one_line(error: &OnnxError, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.lines().count() == 1 && text.len() < 600, "{text}");
}

#[test]
fn damaged_files_are_errors_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.onnx");
    for name in ["tiny/dynamo-dynamic.onnx", "cnn-fixed.onnx"] {
        let whole = std::fs::read(golden(name)).unwrap();
        for kept in (0..whole.len()).step_by(whole.len() / 61).chain(whole.len() - 40..whole.len()) {
            std::fs::write(&path, &whole[..kept]).unwrap();
            match import(&path) {
                Err(error) => assert_one_line(&error, &path),
                // The last bytes hold the version of the operator set, or metadata.
                Ok(_) => assert!(kept > whole.len() - 40, "{name} cut to {kept} of {} bytes", whole.len()),
            }
        }
    }
    for (contents, expected) in [
        (&b""[..], "holds no graph"),
        (b"\x89PNG\r\n\x1a\nnot a model", "does not decode"),
        (b"import torch\n", "does not decode"),
    ] {
        std::fs::write(&path, contents).unwrap();
        let error = import(&path).unwrap_err();
        assert_one_line(&error, &path);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(import(folder.path()), Err(OnnxError::Read { .. })));
    assert!(matches!(import(&folder.path().join("absent.onnx")), Err(OnnxError::Read { .. })));
}

#[test]
fn flipped_bytes_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.onnx");
    for (name, step) in [("cnn-fixed.onnx", 3), ("tiny/dynamo-dynamic.onnx", 97)] {
        let whole = std::fs::read(golden(name)).unwrap();
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            // A flipped weight leaves a valid model; anything invalid must be an error.
            if let Err(error) = import(&path) {
                assert_one_line(&error, &path);
            }
        }
    }
}

/// Full-size models, written by `reference/export_onnx.py --config s,splus,b --size 224 --out DIR`.
#[test]
#[ignore = "needs full-size exports, gigabytes: MICRORAPTOR_ONNX_DIR"]
fn full_size_exports_agree_with_pytorch() {
    let folder = std::env::var_os("MICRORAPTOR_ONNX_DIR").map(PathBuf::from);
    let folder = folder.expect("MICRORAPTOR_ONNX_DIR names a folder");
    let (square, other) = (Size::square(224), Size { height: 256, width: 272 });
    for config in ["s", "splus", "b"] {
        let reference = tensors(&folder.join(config).join("reference.safetensors"));
        let weights = checkpoint::load(&folder.join(config)).unwrap().weights;
        for way in ["dynamo-fixed", "dynamo-dynamic", "torchscript-fixed", "torchscript-dynamic"] {
            let path = folder.join(config).join(format!("{way}.onnx"));
            let start = Instant::now();
            import_with(&path, Proof::Skip).unwrap().expect("it is DINOv3");
            let unproven = start.elapsed();
            let imported = import(&path).unwrap().expect("it is DINOv3");
            let proof = (start.elapsed() - unproven).saturating_sub(unproven);
            assert!(imported.weights == weights, "{config}/{way}: the weights differ");
            for (suffix, size) in [("", square), ("_other", other)] {
                let pixels = &reference[&format!("pixels{suffix}")];
                let hidden = &reference[&format!("last_hidden_state{suffix}")];
                let output = vit::forward(&imported.config, &imported.weights, pixels, size).unwrap().output;
                let output = output.as_slice().unwrap();
                let (difference, cosine) =
                    (difference(output, hidden), cosine(output, hidden, imported.config.dim));
                println!(
                    "{config} {way} {size}: difference {difference:.1e}, 1 - cosine {:.1e}, \
                     import {:.2} s + proof {:.2} s",
                    1.0 - cosine,
                    unproven.as_secs_f64(),
                    proof.as_secs_f64()
                );
                assert!(difference < TOLERANCE && cosine > 0.99999);
            }
        }
    }
}

/// Two heads that onnxruntime also ran (`reference/make_onnx_heads.py`).
#[test]
fn onnx_heads_say_what_onnxruntime_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx_heads");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let grid = Grid { depth: 1, height: 2, width: 3 };
    let token = |i: usize| half::f16::from_f64((0.2 * i as f64).sin());
    let features = ScanFeatures {
        rows: ndarray::Array2::from_shape_fn((1, 64), |(_, i)| (0.1 * i as f64).sin() as f32),
        tokens: Some(Tokens { grid, channels: 32, values: (0..6 * 32).map(token).collect() }),
        geometry: Geometry { kind: ScanKind::Image, size: (2, 3), crop: None, spacing: None },
    };
    let run = |name: &str| {
        let head = Head::load(folder.join(name)).unwrap();
        assert_eq!((head.model.kind(), head.size), ("onnx", Size { height: 32, width: 48 }));
        Predictor::new(&head.model, Isa::best()).predict(&features).unwrap()
    };
    let Outcome::Classes { prediction, .. } = run("row.onnx") else { panic!("classes") };
    for (p, expected) in prediction.probabilities.iter().zip(expected["probabilities"].as_array().unwrap()) {
        // Sums of 64 products of order one in f32.
        assert!((p - expected.as_f64().unwrap()).abs() < 1e-5, "{prediction:?}");
    }
    let Outcome::Mask(mask) = run("map.onnx") else { panic!("a mask") };
    assert_eq!(serde_json::json!(mask.labels), expected["mask"]);
}

/// The identity of an ONNX head covers both its files: `cat row.onnx row.json | sha256sum`.
#[test]
fn the_digest_of_an_onnx_head_covers_its_description() {
    use sha2::{Digest, Sha256};
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx_heads");
    let folder = tempfile::tempdir().unwrap();
    let (model, description) = (folder.path().join("row.onnx"), folder.path().join("row.json"));
    std::fs::copy(golden.join("row.onnx"), &model).unwrap();
    let text = std::fs::read_to_string(golden.join("row.json")).unwrap();
    let swapped = text.replace(r#""cyst", "solid""#, r#""solid", "cyst""#);
    assert_ne!(text, swapped);
    let mut digests = Vec::new();
    for text in [text, swapped] {
        std::fs::write(&description, &text).unwrap();
        let (head, sha256) = Head::read(&model).unwrap();
        assert_eq!(head.model.classes().len(), 3);
        let whole = [std::fs::read(&model).unwrap(), text.into_bytes()].concat();
        let expected: String = Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, expected);
        digests.push(sha256);
    }
    assert_ne!(digests[0], digests[1]);
    std::fs::write(&description, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(Head::read(&model).unwrap_err().to_string().contains("row.json"));
}
