//! Checkpoints, model files and heads.

use std::collections::HashMap;

use half::f16;
use microraptor::features::{Grid, Tokens};
use microraptor::heads::{
    AbmilHead, AbmilOptions, Backbone, Bags, Examples, Head, HeadModel, KnnHead, LinearHead, Masked,
    OutOfDistribution, SegmentHead, SegmentOptions, Targets, TrainingSummary,
};
use microraptor::input::{LabelMap, ReadOptions};
use microraptor::quant::file::TOOL;
use microraptor::quant::{
    Agreement, ConversionReport, ConvertedModel, Cosine, Matrix, Network, Precision, PrecisionPlan, Source,
    file,
};
use microraptor::vit::{Config, Mlp, Positions, Preprocess, Size, seeded_weights};
use ndarray::{Array2, Axis};
use safetensors::tensor::{Dtype, TensorView};

use super::{Seed, golden};

pub(super) fn add(seeds: &mut Vec<Seed>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    for (name, head) in heads() {
        head.save(&path).unwrap();
        seeds.push(Seed::new("head", name, std::fs::read(&path).unwrap()));
    }
    for (name, mlp, positions) in
        [("rope", Mlp::SwiGlu, Positions::Rope), ("learned", Mlp::Gelu, Positions::learned(2, 1))]
    {
        file::write(&path, &model(mlp, positions)).unwrap();
        seeds.push(Seed::new("model", name, std::fs::read(&path).unwrap()));
    }
    seeds.push(Seed::new("checkpoint", "timm", timm()));
    // Before the first zero byte is the text of config.json.
    let text = golden("onnx/tiny/config.json");
    let with_config = [&text[..], &[0], &golden("onnx/tiny/model.safetensors")].concat();
    seeds.push(Seed::new("checkpoint", "transformers", with_config));
}

/// A vision transformer of two narrow blocks as timm names its parts.
fn timm() -> Vec<u8> {
    let mut shapes: Vec<(String, Vec<usize>)> = [
        ("cls_token", vec![1, 1, 4]),
        ("pos_embed", vec![1, 5, 4]),
        ("patch_embed.proj.weight", vec![4, 3, 2, 2]),
        ("patch_embed.proj.bias", vec![4]),
        ("norm.weight", vec![4]),
        ("norm.bias", vec![4]),
        ("head.weight", vec![2, 4]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    for block in 0..2 {
        for (layer, outputs, inputs) in [
            ("attn.qkv", 12, 4),
            ("attn.proj", 4, 4),
            ("mlp.fc1", 8, 4),
            ("mlp.fc2", 4, 8),
            ("norm1", 4, 0),
            ("norm2", 4, 0),
        ] {
            let weight = if inputs == 0 { vec![outputs] } else { vec![outputs, inputs] };
            shapes.push((format!("blocks.{block}.{layer}.weight"), weight));
            shapes.push((format!("blocks.{block}.{layer}.bias"), vec![outputs]));
        }
    }
    let zeros = vec![0; 4 * 64];
    let views = shapes.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// A model file with a matrix of each kind.
fn model(mlp: Mlp, positions: Positions) -> ConvertedModel {
    let config = Config {
        dim: 8,
        depth: 1,
        heads: 2,
        patch: 2,
        mlp,
        hidden: 12,
        registers: 1,
        positions,
        layer_scale: true,
        norm_eps: 1e-5,
    };
    let mut network = Network::from_weights(&config, seeded_weights(&config, 3));
    let block = &mut network.blocks[0];
    block.int8_attention = true;
    block.key_centre = vec![0.5; 8];
    let down = block.mlp.down_mut();
    down.weight = Matrix::F16(vec![f16::ONE; 8 * 12]);
    block.qkv.weight =
        Matrix::Int8 { values: (0..24 * 8).map(|i| (i % 127) as i8).collect(), scales: vec![0.01; 24] };
    let cosine = Cosine { mean: 0.9999, p1: 0.999, min: 0.99 };
    let agreement = Agreement { cls: cosine, patches: cosine };
    ConvertedModel {
        name: "tiny".into(),
        plan: PrecisionPlan::of(&network),
        network,
        preprocess: Preprocess::IMAGENET,
        precision: Precision::Int8,
        source: Source {
            file: "m".into(),
            sha256: "ab".repeat(32),
            naming: "timm".into(),
            untrained: false,
            assumed: vec![],
        },
        graph: None,
        licence: None,
        report: ConversionReport {
            images_from: "phantoms".into(),
            images: 1,
            size: Size::square(4).to_string(),
            blocks: vec![agreement],
            total: agreement,
            outputs: Vec::new(),
            meets_target: true,
        },
        attestation: None,
        tool: TOOL.into(),
    }
}

/// A head of every kind of which files are small, trained on next to nothing.
fn heads() -> Vec<(&'static str, Head)> {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let x = Array2::from_shape_fn((8, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f32 + (i % 2) as f32);
    let of: Vec<usize> = (0..8).map(|i| i % 2).collect();
    let examples = Examples { features: x.view(), targets: Targets::Classes(&of) };
    let rows: Vec<Array2<f32>> = (0..8).map(|i| x.select(Axis(0), &[i, (i + 3) % 8])).collect();
    let bags = Bags { rows: &rows, targets: Targets::Classes(&of) };
    let options = AbmilOptions { epochs: 1, ..AbmilOptions::default() };
    let (abmil, _) = AbmilHead::fit(&bags, &bags, &names, &options, &mut |_, _| {}).unwrap();
    let parts = [vec![0.1, -3.0, 0.0], vec![1.0, 0.3, 2.0], vec![0.25; 6], vec![0.7, -0.7]];
    let linear = LinearHead::new(names.clone(), false, 0.5, parts).unwrap();
    let grid = Grid { depth: 2, height: 2, width: 2 };
    let tokens = Tokens { grid, channels: 2, values: (0..16).map(|i| f16::from_f32(i as f32)).collect() };
    let mask = LabelMap::new(2, 4, 4, (0..32).map(|i| u8::from(i % 16 > 7)).collect()).unwrap();
    let set = [Masked { tokens: &tokens, mask: &mask }];
    let options = SegmentOptions { epochs: Some(1), ..SegmentOptions::default() };
    let (segment, ..) = SegmentHead::fit(&set, &set, &names, &[1, 3], &options, &mut |_, _| {}).unwrap();
    let models = [
        ("linear", HeadModel::Linear(linear.clone())),
        ("volume", HeadModel::Volume(linear)),
        ("knn_fp16", HeadModel::Knn(KnnHead::new(&examples, &names, false).unwrap())),
        ("knn_int8", HeadModel::Knn(KnnHead::new(&examples, &names, true).unwrap())),
        ("abmil", HeadModel::Abmil(abmil)),
        ("segment", HeadModel::Segment(segment)),
    ];
    let ood = OutOfDistribution::fit(x.view(), x.view()).unwrap();
    let head = |model| Head {
        model,
        ood: Some(ood.clone()),
        conformal: None,
        contours: None,
        preprocess: Preprocess::IMAGENET,
        read: ReadOptions::default(),
        size: Size::square(32),
        backbone: Backbone { name: "deit-tiny".into(), sha256: "0123456789abcdef".repeat(4), reading: 0 },
        training: TrainingSummary { images_per_class: vec![4, 4], ..Default::default() },
        attestation: None,
        tool: Head::TOOL.into(),
    };
    models.map(|(name, model)| (name, head(model))).into()
}
