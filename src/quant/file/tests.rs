//! Model files of a tiny network: every written file is read back, and everything else is refused.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::kernels::linear::MAX_INPUTS;
use crate::quant::*;
use crate::vit::{Config, Mlp, Positions, Size, seeded_weights};

pub(crate) fn tiny(mlp: Mlp, registers: usize, positions: Positions) -> Config {
    Config {
        dim: 8,
        depth: 2,
        heads: 2,
        patch: 2,
        mlp,
        hidden: 12,
        registers,
        positions,
        layer_scale: true,
        norm_eps: 1e-5,
    }
}

fn cosine() -> Agreement {
    let cosine = Cosine { mean: 0.9999, p1: 0.999, min: 0.99 };
    Agreement { cls: cosine, patches: cosine }
}

/// Replaces fp16 weights with arbitrary integers.
fn int8(layer: &mut Layer, limit: i8) {
    let Matrix::F16(values) = &layer.weight else { unreachable!() };
    let (outputs, n) = (layer.bias.len(), values.len());
    let values = (0..n).map(|i| (i % (2 * limit as usize + 1)) as i8 - limit).map(|v| v.max(-limit));
    layer.weight = Matrix::Int8 { values: values.collect(), scales: vec![0.01; outputs] };
}

/// A model of `config` with a matrix of each type.
fn model(config: &Config) -> ConvertedModel {
    let mut network = Network::from_weights(config, seeded_weights(config, 3)).halved();
    let block = &mut network.blocks[1];
    int8(&mut block.qkv, INT7);
    block.int8_attention = true;
    block.key_centre = (0..config.dim).map(|i| i as f32).collect();
    block.hidden_scale = vec![0.5; config.hidden];
    block.mlp.first_mut().for_each(|layer| int8(layer, INT7));
    ConvertedModel {
        name: "tiny".into(),
        plan: PrecisionPlan::of(&network),
        network,
        preprocess: crate::vit::Preprocess::IMAGENET,
        precision: Precision::Int8,
        source: Source {
            file: "model.safetensors".into(),
            sha256: "ab".repeat(32),
            naming: "timm".into(),
            untrained: false,
            assumed: Vec::new(),
        },
        graph: None,
        licence: Some(Licence {
            name: "MIT".into(),
            url: "https://example.org".into(),
            text: Some("You may \"digest\":\"it\".\n".into()),
        }),
        report: ConversionReport {
            images_from: "phantoms".into(),
            images: 1,
            size: Size::square(4).to_string(),
            blocks: vec![cosine(); 2],
            total: cosine(),
            outputs: Vec::new(),
            meets_target: true,
        },
        attestation: Some(Attestation { version: 1, seed: 5, runs: Vec::new() }),
        tool: TOOL.into(),
    }
}

fn written(model: &ConvertedModel) -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    write(&path, model).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (folder, path, bytes)
}

#[test]
fn what_is_written_is_read() {
    let learned = Positions::learned(2, 3);
    for (mlp, registers, positions) in
        [(Mlp::Gelu, 4, Positions::Rope), (Mlp::SwiGlu, 1, Positions::Rope), (Mlp::Gelu, 0, learned)]
    {
        let config = tiny(mlp, registers, positions);
        let model = model(&config);
        let (folder, path, bytes) = written(&model);
        assert!(is_ours(&path));
        let sha256 = crate::checkpoint::file::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        let file_bytes = bytes.len() as u64;
        let told = write(&folder.path().join("told.safetensors"), &model).unwrap();
        assert_eq!(told, Written { sha256: sha256.clone(), file_bytes });
        let file = ModelFile { model, sha256, file_bytes };
        assert_eq!(read(&path).unwrap(), file);
        assert_eq!(parse("in memory".as_ref(), &bytes).unwrap(), file);
        // The safetensors library reads the file too, and finds the data aligned.
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("blocks.1.qkv.weight").unwrap().dtype(), safetensors::Dtype::I8);
        let again = written(&file.model).2;
        assert_eq!(again, bytes, "the same model, the same bytes");
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let model = model(&tiny(Mlp::Gelu, 1, Positions::Rope));
    let (_folder, path, bytes) = written(&model);
    for i in 0..bytes.len() {
        // Flipping the lowest bit mostly leaves the header parseable; flipping the highest makes it non-ASCII.
        let flips: &[u8] = if i % 16 == 0 { &[0x01, 0x80] } else { &[0x01] };
        for flip in flips {
            let mut damaged = bytes.clone();
            damaged[i] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            let error = read(&path).expect_err("damage").to_string();
            assert!(error.contains("m.safetensors") && !error.contains('\n'), "byte {i}: {error}");
            assert_eq!(
                parse(&path, &damaged).expect_err("damage").to_string(),
                error,
                "in memory as in a file"
            );
        }
    }
    for keep in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        assert!(read(&path).is_err(), "{keep} bytes");
        assert!(parse(&path, &bytes[..keep]).is_err(), "{keep} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    std::fs::write(&path, longer).unwrap();
    assert!(read(&path).is_err());
}

/// The error message for a model altered by `change` and written with a valid digest.
fn refusal(change: impl FnOnce(&mut ConvertedModel)) -> String {
    let mut model = model(&tiny(Mlp::Gelu, 1, Positions::Rope));
    change(&mut model);
    let (_folder, path, _) = written(&model);
    read(&path).expect_err("a wrong model").to_string()
}

#[test]
fn names_the_tensor_that_is_wrong() {
    let qkv = |model: &mut ConvertedModel, f: &dyn Fn(&mut Vec<i8>, &mut Vec<f32>)| {
        let Matrix::Int8 { values, scales } = &mut model.network.blocks[1].qkv.weight else { unreachable!() };
        f(values, scales);
    };
    let message = refusal(|m| qkv(m, &|values, _| values[3] = -128));
    assert!(message.contains("blocks.1.qkv.weight holds -128 at index 3"), "{message}");
    let message = refusal(|m| qkv(m, &|values, _| values[3] = 64));
    assert!(message.contains("blocks.1.qkv.weight holds 64"), "{message}");
    let message = refusal(|m| qkv(m, &|_, scales| scales[2] = 0.0));
    assert!(message.contains("blocks.1.qkv.scales holds 0"), "{message}");
    let message = refusal(|m| m.network.norm.bias[1] = f32::NAN);
    assert!(message.contains("norm.bias") && message.contains("index 1"), "{message}");
    let message = refusal(|m| m.network.blocks[0].qkv.bias.clear());
    assert!(message.contains("blocks.0.qkv.bias is missing"), "{message}");
    let message = refusal(|m| m.network.positions = vec![0.0; 8]);
    assert!(message.contains("positions belongs to no part"), "{message}");
    let message = refusal(|m| m.plan.blocks[0].proj = WeightPrecision::Int7);
    assert!(message.contains("blocks.0.proj.weight is not int7"), "{message}");
    let message = refusal(|m| m.plan.blocks.truncate(1));
    assert!(message.contains("plan") && message.contains("1 blocks"), "{message}");
    let message = refusal(|m| m.network.config.heads = 3);
    assert!(message.contains("architecture"), "{message}");
}

#[test]
fn refuses_what_the_integer_kernels_cannot_run() {
    let learned = Positions::learned(2, 3);
    let narrow_heads = Config { dim: 12, ..tiny(Mlp::Gelu, 0, learned) };
    let wide = Config { hidden: MAX_INPUTS + 1, ..tiny(Mlp::Gelu, 0, learned) };
    let message = |config: &Config, change: &dyn Fn(&mut ConvertedModel)| {
        let mut model = model(config);
        change(&mut model);
        let (_folder, path, _) = written(&model);
        read(&path).err().map(|e| e.to_string())
    };
    let refused = message(&narrow_heads, &|_| {}).expect("heads of 6 channels in integers");
    assert!(refused.contains("m.safetensors: the plan") && refused.contains("not 6"), "{refused}");
    assert_eq!(message(&narrow_heads, &|m| m.plan.blocks[1].attention = Products::Float), None);

    assert_eq!(message(&wide, &|_| {}), None, "down is in fp16");
    let refused = message(&wide, &|m| {
        let down = m.network.blocks[1].mlp.down_mut();
        int8(down, INT7);
        m.plan = PrecisionPlan::of(&m.network);
    });
    let refused = refused.expect("too many inputs for a sum of 32 bits");
    assert!(refused.contains("blocks.1.mlp.down.weight has 66001 inputs"), "{refused}");
}

#[test]
fn refuses_another_version_and_other_files() {
    let model = model(&tiny(Mlp::Gelu, 1, Positions::Rope));
    let (folder, path, bytes) = written(&model);
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, changed).unwrap();
        read(&path).unwrap_err().to_string()
    };
    assert!(replaced("model\":\"1\"", "model\":\"3\"").contains("version 3"));
    let message = replaced("\"digest\":\"", "\"digesT\":\"");
    assert!(message.contains("digest") && message.contains("missing"), "{message}");
    let other = folder.path().join("other.safetensors");
    std::fs::write(&other, safetensors::serialize([("a", &View)], None).unwrap()).unwrap();
    assert!(!is_ours(&other) && !is_ours(folder.path()));
    assert!(matches!(read(&other), Err(QuantError::NotOurs { .. })));
    assert!(read(&folder.path().join("nowhere")).is_err());
}

/// A tensor of one byte.
struct View;

impl safetensors::View for &View {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::I8
    }

    fn shape(&self) -> &[usize] {
        &[1]
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        vec![1].into()
    }

    fn data_len(&self) -> usize {
        1
    }
}
