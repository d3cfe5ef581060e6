//! The reference forward pass against PyTorch (transformers and timm), for every intermediate tensor, on tiny
//! checkpoints that are read in the same way as a user's. `tests/reference/make_golden.py` writes them and describes
//! their contents.

use std::fs;
use std::path::{Path, PathBuf};

use microraptor::checkpoint::{self, Assumption, Model};
use microraptor::input::Image;
use microraptor::vit::{Config, Interpolation, Mlp, Positions, Preprocess, Size, forward};
use safetensors::SafeTensors;

/// Relative to the largest value of a tensor. Both sides round in f32 and differ in the order of their sums, the
/// longest of which has 768 terms (a patch): a random walk of roundings gives sqrt(768) * 2^-24 = 1.7e-6, and the
/// largest observed difference is 2.3e-6. The requirement is only 1e-4, but the tanh approximation of GELU differs
/// from erf by as little as 1.4e-4 and must be detected with a margin.
const TOLERANCE: f32 = 2e-5;

const DINOV3: Config = Config {
    dim: 32,
    depth: 2,
    heads: 2,
    patch: 16,
    mlp: Mlp::Gelu,
    hidden: 128,
    registers: 4,
    positions: Positions::Rope,
    layer_scale: true,
    norm_eps: 1e-5,
};
const DINOV3_PLUS: Config = Config { mlp: Mlp::SwiGlu, hidden: 96, ..DINOV3 };
const PLAIN: Config = Config {
    registers: 0,
    positions: Positions::learned(3, 3),
    layer_scale: false,
    norm_eps: 1e-6,
    ..DINOV3
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vit").join(name)
}

fn load(name: &str) -> Model {
    checkpoint::load(&folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn values(file: &SafeTensors, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Largest difference, relative to the largest magnitude in `expected`.
fn relative(found: impl ExactSizeIterator<Item = f32>, expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    // `max` would ignore a NaN.
    let worst = found
        .zip(expected)
        .map(|(f, e)| (f - e).abs())
        .fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m });
    worst / largest
}

/// Runs the checkpoint `name` at `size` and compares every tensor of the golden file.
fn check(name: &str, config: Config, size: &str) {
    let model = load(name);
    assert_eq!(model.config, config, "{name}");
    let bytes = fs::read(folder(name).join(format!("expected_{size}.safetensors"))).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let size: Size = size.parse().unwrap();
    let trace = forward(&model.config, &model.weights, &values(&expected, "pixels"), size).unwrap();
    assert_eq!(trace.blocks.len(), config.depth);
    assert_eq!(expected.len(), 3 + config.depth, "pixels, embedded, output, and each block");
    let mut tensors = vec![("embedded".to_owned(), &trace.embedded)];
    tensors.extend(trace.blocks.iter().enumerate().map(|(i, block)| (format!("block.{i}"), block)));
    tensors.push(("output".into(), &trace.output));
    for (tensor, found) in tensors {
        let difference = relative(found.iter().copied(), &values(&expected, &tensor));
        println!("{name} {size} {tensor}: {difference:.1e}");
        assert!(
            difference <= TOLERANCE,
            "{name} at {size}: {tensor} differs by {difference:.1e} of its largest value"
        );
    }
}

#[test]
fn transformers_vit_s() {
    check("hf_s", DINOV3, "32x32");
    check("hf_s", DINOV3, "48x80");
}

#[test]
fn transformers_vit_s_in_half_precision() {
    check("hf_s_f16", DINOV3, "32x32");
    check("hf_s_bf16", DINOV3, "32x32");
}

#[test]
fn transformers_vit_s_plus() {
    check("hf_splus", DINOV3_PLUS, "32x48");
}

#[test]
fn timm_dinov3_without_and_with_qkv_bias() {
    check("timm_s", DINOV3, "32x48");
    check("timm_splus_qkvb", DINOV3_PLUS, "32x48");
}

#[test]
fn timm_vit_at_its_grid_and_with_resampled_positions() {
    for size in ["48x48", "48x64", "32x32"] {
        check("timm_vit", PLAIN, size);
    }
}

#[test]
fn meta_names_with_masked_key_bias_and_stored_periods() {
    check("meta_s", DINOV3, "32x48");
    check("meta_splus", DINOV3_PLUS, "32x48");
}

#[test]
fn preprocessing_comes_from_the_checkpoint() {
    assert_eq!(load("hf_s").preprocess, Preprocess { size: Some((224, 224)), ..Preprocess::IMAGENET });
    // timm trained vit_tiny_patch16_224 with these statistics and a bicubic resize.
    let half = Preprocess {
        mean: [0.5; 3],
        std: [0.5; 3],
        interpolation: Interpolation::Bicubic,
        size: Some((224, 224)),
        ..Preprocess::IMAGENET
    };
    assert_eq!(load("timm_vit").preprocess, half);
}

/// Loads a checkpoint of `tests/golden/networks` (`tests/reference/make_networks.py`) and compares its outputs with
/// those of timm and transformers.
fn network(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/networks").join(name);
    let model = checkpoint::load(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(model.config.heads, 4, "{name}");
    // The folders of transformers have no preprocessor_config.json here.
    let statistics = |assumed: &Assumption| matches!(assumed, Assumption::Statistics(..));
    assert!(model.assumed.iter().all(statistics), "{name}: {:?}", model.assumed);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(size) = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Size>().ok()) else {
            continue;
        };
        let bytes = fs::read(&path).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let trace = forward(&model.config, &model.weights, &values(&expected, "pixels"), size).unwrap();
        let difference = relative(trace.output.iter().copied(), &values(&expected, "output"));
        println!("{name} {size}: {difference:.1e}");
        assert!(difference <= TOLERANCE, "{name} at {size} differs by {difference:.1e} of its largest value");
    }
    model
}

#[test]
fn transformers_dinov2_and_vit() {
    for name in ["dinov2", "dinov2_swiglu", "dinov2_registers", "vit"] {
        network(name);
    }
    assert_eq!(network("dinov2_registers").config.registers, 2);
    assert_eq!(network("vit").config.norm_eps, 1e-12);
}

#[test]
fn timm_names_say_what_tensors_do_not() {
    // 16 positions, arranged as 2 x 8 patches rather than 4 x 4.
    assert_eq!(network("timm_oblong").config.positions, Positions::learned(2, 8));
    assert_eq!(network("timm_registers").config.registers, 2);
    assert_eq!(network("timm_giant").config.mlp, Mlp::SwiGlu);
}

/// transformers' image processors resize bytes in two passes and round after each. Only DINOv3's works in floating
/// point.
#[test]
fn pixels_are_those_of_transformers_processors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/processors");
    let picture = Image::open(folder.join("picture.png")).unwrap();
    let bytes = fs::read(folder.join("pixels.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in expected.tensors() {
        let file = folder.join(&name).join("model.onnx");
        let preprocess = checkpoint::preprocess_beside(&file).unwrap().unwrap();
        let [_, height, width] = tensor.shape() else { panic!("{name}") };
        let size = Size { height: *height, width: *width };
        if preprocess.size.is_some() {
            assert_eq!(preprocess.default_size(), size, "{name}");
        }
        let found = picture.tensor(size, &preprocess);
        let expected = values(&expected, &name);
        assert_eq!(found.len(), expected.len(), "{name}");
        // In 8-bit levels: the normalisation is undone.
        let differences: Vec<f32> = (0..found.len())
            .map(|i| (found[i] - expected[i]).abs() * preprocess.std[i / size.area()] * 255.0)
            .collect();
        let worst = differences.iter().fold(0.0_f32, |worst, d| worst.max(*d));
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        println!("{name}: {worst} levels at most, {mean} on average");
        let (at_most, on_average) = if preprocess.rounded { (1.01, 0.25) } else { (0.02, 0.005) };
        assert!(worst <= at_most && mean <= on_average, "{name}: {worst} levels, {mean} on average");
    }
}
