//! Vision transformers in the forms in which hubs offer ONNX files (`reference/make_onnx_forms.py`): each runs on our
//! encoder, and every output is what onnxruntime computes.
#![cfg(feature = "onnx")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use microraptor::Engine;
use microraptor::checkpoint::onnx::import;
use microraptor::checkpoint::{Hints, Model};
use microraptor::convert::{Calibration, convert, write};
use microraptor::engine::OURS;
use microraptor::graph::accelerate::{Accelerate, accelerate};
use microraptor::kernels::Isa;
use microraptor::quant::Precision;
use microraptor::vit::{Features, Size, StandIn};
use safetensors::SafeTensors;
use tract_core::prelude::{DatumExt, IntoRunnable, TypedModel, tvec};
use tract_onnx::prelude::{Framework, InferenceModelExt};

/// A tensor: shape and values.
type Tensor = (Vec<usize>, Vec<f32>);

/// Required agreement, relative to the largest value, and the cosine of the whole output.
const TOLERANCE: f32 = 1e-4;
const COSINE: f64 = 0.99999;

fn folder() -> PathBuf {
    std::env::var_os("MICRORAPTOR_ONNX_FORMS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx/forms"), PathBuf::from)
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    tensors.iter().map(|(name, t)| (name.to_owned(), (t.shape().to_vec(), values(t.data())))).collect()
}

/// What is wrong with `found`, if anything.
fn difference(found: &[f32], expected: &[f32]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    if found.len() != expected.len() {
        return Err(format!("{} values, expected {}", found.len(), expected.len()));
    }
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cosine = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
    let same = found.iter().all(|v| v.is_finite()) && worst < TOLERANCE && cosine > COSINE;
    if same { Ok(()) } else { Err(format!("difference {worst:e}, cosine {cosine}")) }
}

/// The output `name`: among the features' outputs, or all tokens, of which the features lack the registers.
fn output(name: &str, expected: &[f32], features: &Features) -> Vec<f32> {
    if let Some(output) = features.output(name) {
        return output.values.clone();
    }
    let dim = features.dim();
    match expected.len().checked_sub(features.patch.len()) {
        Some(prefix) if expected.len() > dim => {
            [&features.cls, &expected[dim..prefix], &features.patch].concat()
        }
        _ => features.cls.clone(),
    }
}

/// Runs `form` on pixels of `shape` with one thread and with two; what is wrong with its outputs.
fn run(form: &str, shape: &str, expected: &BTreeMap<String, Tensor>) -> Vec<String> {
    let path = folder().join(format!("{form}.onnx"));
    let (_, pixels) = &expected[&format!("pixels/{shape}")];
    let dims: Vec<usize> = shape.split('x').map(|dim| dim.parse().unwrap()).collect();
    let &[batch, 3, height, width] = &dims[..] else { panic!("{form}: {shape}") };
    let size = Size { height, width };
    let image = &pixels[..3 * size.area()];
    let engine = match Engine::open_with(&path, Isa::best(), &Hints::default()) {
        Ok(engine) if engine.about().backend.name() == OURS => engine,
        Ok(_) => return vec!["tract runs it".into()],
        Err(error) => return vec![error.to_string()],
    };
    let mut all: Vec<Features> = Vec::new();
    for threads in [1, 2] {
        let mut session = engine.session(threads).unwrap();
        // A second run uses the memory of the first.
        for _ in 0..2 {
            match session.run(image, size) {
                Ok(features) => all.push(features.clone()),
                Err(error) => return vec![error.to_string()],
            }
        }
    }
    let mut wrong = Vec::new();
    if all.iter().any(|features| features.cls != all[0].cls || features.patch != all[0].patch) {
        wrong.push("runs differ".into());
    }
    let prefix = format!("{form}/{shape}/");
    for (key, (shape, values)) in
        expected.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix))
    {
        let values = if batch > 1 && shape[0] == batch { &values[..values.len() / batch] } else { values };
        let name = &key[prefix.len()..];
        if let Err(problem) = difference(&output(name, values, &all[0]), values) {
            wrong.push(format!("{name}: {problem}"));
        }
    }
    wrong
}

#[test]
fn every_form_runs_on_our_encoder_and_gives_what_onnxruntime_gives() {
    let expected = tensors(&folder().join("expected.safetensors"));
    let cases: BTreeSet<(&str, &str)> = expected
        .keys()
        .filter_map(|key| {
            let mut parts = key.splitn(3, '/');
            Some((parts.next()?, parts.next()?)).filter(|(form, _)| *form != "pixels")
        })
        .collect();
    assert!(cases.len() > 10, "{cases:?}");
    let wrong: Vec<String> = cases
        .iter()
        .flat_map(|(form, shape)| {
            run(form, shape, &expected).into_iter().map(move |e| format!("{form} {shape}: {e}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// tract's own typed graph of a form, for images of `shape`.
fn typed(form: &str, shape: &[usize]) -> TypedModel {
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let mut model = onnx.model_for_path(folder().join(format!("{form}.onnx"))).unwrap();
    model.set_input_fact(0, f32::fact(shape).into()).unwrap();
    for output in model.output_outlets().unwrap().to_vec() {
        model.set_outlet_fact(output, Default::default()).unwrap();
    }
    model.into_typed().unwrap()
}

fn outputs(model: TypedModel, shape: &[usize], pixels: &[f32]) -> Vec<Vec<f32>> {
    let input = tract_core::prelude::Tensor::from_shape(shape, pixels).unwrap();
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let found = plan.run(tvec![input.into()]).unwrap();
    found
        .iter()
        .map(|t| t.cast_to::<f32>().unwrap().to_plain_array_view::<f32>().unwrap().iter().copied().collect())
        .collect()
}

#[test]
fn a_model_of_ones_own_is_accelerated_and_computes_the_same() {
    let expected = tensors(&folder().join("expected.safetensors"));
    let shape = [1, 3, 16, 24];
    let (_, pixels) = &expected["pixels/1x3x16x24"];
    for form in ["segmenter", "hidden-states", "intermediate", "classifier", "timm"] {
        let model = typed(form, &shape);
        let before = outputs(model.clone(), &shape, pixels);
        let threads = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        for threads in [None, Some(threads)] {
            let mut model = model.clone();
            let options = Accelerate { threads, ..Accelerate::default() };
            let config = accelerate(&mut model, &options).unwrap().expect("it holds a backbone");
            assert_eq!((config.dim, config.depth), (16, 2), "{form}");
            let operators =
                model.nodes().iter().filter(|node| node.op.name() == "MicroraptorEncoder").count();
            assert_eq!(operators, 1, "{form}");
            for (found, expected) in outputs(model, &shape, pixels).iter().zip(&before) {
                difference(found, expected).unwrap_or_else(|e| panic!("{form}: {e}"));
            }
        }
    }
    // int8 needs images, and then keeps what it computes within its rounding.
    let mut model = typed("classifier", &shape);
    let int8 = Accelerate { precision: Some(Precision::Int8), ..Accelerate::default() };
    assert!(accelerate(&mut model, &int8).unwrap_err().to_string().contains("images"));
    let size = Size { height: 16, width: 24 };
    let calibration = Calibration { from: "images".into(), images: vec![pixels.clone()], size };
    accelerate(&mut model, &Accelerate { calibration: Some(calibration), ..int8 }).unwrap().unwrap();
    let (found, expected) = (outputs(model, &shape, pixels), &expected["classifier/1x3x16x24/logits"].1);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let cosine = dot(&found[0], expected) / (dot(&found[0], &found[0]) * dot(expected, expected)).sqrt();
    assert!((0.999..0.999_999_99).contains(&cosine), "{cosine}");
}

#[test]
fn a_graph_without_a_backbone_stays_as_it_is_and_tract_knows_the_transform() {
    let mut model = typed("../cnn-fixed", &[1, 3, 24, 32]);
    let nodes = model.nodes().len();
    assert_eq!(accelerate(&mut model, &Accelerate::default()).unwrap(), None);
    assert_eq!(model.nodes().len(), nodes);
    let transform = tract_core::transform::get_transform("microraptor").unwrap().expect("it is registered");
    let mut model = typed("classifier", &[1, 3, 16, 24]);
    transform.transform(&mut model).unwrap();
    assert!(model.nodes().iter().any(|node| node.op.name() == "MicroraptorEncoder"));
}

/// The form as a model converted in `precision`, written to a file of the folder and opened again.
fn converted(form: &str, precision: Precision, size: Size, folder: &Path) -> (PathBuf, Engine) {
    let path = self::folder().join(format!("{form}.onnx"));
    let imported = import(&path).unwrap().expect("it holds a backbone");
    let model = Model::from_onnx(form.into(), &path, imported, None, &Hints::default()).unwrap();
    let images = (0..3).map(|i| (0..3 * size.area()).map(|p| ((p * (i + 1)) as f32 * 0.37).sin()).collect());
    let calibration = Calibration { from: "images".into(), images: images.collect(), size };
    let model = convert(model, precision, &calibration, None, Isa::best(), &()).unwrap();
    let to = folder.join(format!("{form}.safetensors"));
    write(&to, &model).unwrap();
    let engine = Engine::open(&to).unwrap();
    (to, engine)
}

#[test]
fn a_converted_model_holds_the_graph_around_its_backbone() {
    let temporary = tempfile::tempdir().unwrap();
    let expected = tensors(&folder().join("expected.safetensors"));
    for (form, shape) in [
        ("segmenter", "1x3x16x24"),
        ("hidden-states", "1x3x16x24"),
        ("normalised", "1x3x16x24"),
        ("to-block", "1x3x16x24"),
        ("patches", "1x3x16x24"),
        ("dinov2", "1x3x56x84"),
        ("dinov2-dynamo", "1x3x56x84"),
    ] {
        let dims: Vec<usize> = shape.split('x').map(|dim| dim.parse().unwrap()).collect();
        let size = Size { height: dims[2], width: dims[3] };
        let pixels = &expected[&format!("pixels/{shape}")].1;
        let (path, engine) = converted(form, Precision::F32, size, temporary.path());
        let original = Engine::open(folder().join(format!("{form}.onnx"))).unwrap();
        assert_eq!(engine.outputs(), original.outputs());
        // In f32 nothing is lost, not a bit.
        let run = |engine: &Engine| engine.session(2).unwrap().run(pixels, size).unwrap().clone();
        let (found, same) = (run(&engine), run(&original));
        assert!(found == same, "{form}");
        let (_, engine) = converted(form, Precision::Int8, size, temporary.path());
        let rounded = run(&engine);
        assert_eq!(rounded.outputs.len(), same.outputs.len());
        for (a, b) in rounded.outputs.iter().zip(&same.outputs) {
            assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
            let whole = b.values.iter().all(|v| v.fract() == 0.0);
            let dot = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            let cosine =
                dot(&a.values, &b.values) / (dot(&a.values, &a.values) * dot(&b.values, &b.values)).sqrt();
            assert!(whole || cosine > 0.999, "{form} {}: {cosine}", a.name);
        }
        // A byte of the graph is as much part of the file as one of the weights.
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Engine::open(&path).err().expect("refused").to_string();
        assert!(error.contains("damaged") || error.contains("digest"), "{error}");
    }
}

#[test]
fn cls_and_patch_are_those_of_the_backbone_and_other_outputs_keep_their_names() {
    let expected = tensors(&folder().join("expected.safetensors"));
    let size = Size { height: 16, width: 24 };
    let pixels = &expected["pixels/1x3x16x24"].1;
    let run = |form: &str| {
        let engine = Engine::open(folder().join(format!("{form}.onnx"))).unwrap();
        engine.session(1).unwrap().run(pixels, size).unwrap().clone()
    };
    let bare = run("opset17");
    assert!(bare.outputs.is_empty() && bare.stand_in == StandIn::default());
    for (form, names) in [("classifier", &["logits"][..]), ("segmenter", &["logits", "classes"])] {
        let found = run(form);
        assert_eq!(found.outputs.iter().map(|output| &output.name[..]).collect::<Vec<_>>(), names);
        // The same backbone.
        difference(&found.cls, &bare.cls).unwrap();
        difference(&found.patch, &bare.patch).unwrap();
        assert_eq!((found.rows, found.cols, found.stand_in), (4, 6, StandIn::default()));
    }
    // Cut off before the final norm: there is no class token after it.
    assert_eq!(run("to-block").stand_in, StandIn { cls: true, patch: true });
    // The batch of two takes one image twice, and gives what the batch of one gives.
    let two = run("batch2");
    difference(&two.cls, &bare.cls).unwrap();
}

#[test]
fn what_was_rewritten_is_said() {
    for (form, words) in [
        ("fp16", "fp16"),
        ("bf16", "bf16"),
        ("int8", "8-bit weights"),
        ("qdq", "8-bit weights"),
        ("q4", "4-bit weights"),
        ("q8", "8-bit weights"),
    ] {
        let imported = import(&folder().join(format!("{form}.onnx"))).unwrap().expect("it holds a backbone");
        assert!(imported.notes.iter().any(|note| note.contains(words)), "{form}: {:?}", imported.notes);
    }
    assert!(import(&folder().join("opset17.onnx")).unwrap().unwrap().notes.is_empty());
}
