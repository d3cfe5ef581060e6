//! Round trips of one small model through every naming and data type, and the ways in which a file can be wrong.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};
use ndarray_npy::NpzReader;

use super::fixtures::*;
use super::*;
use crate::vit::{Mlp, Size};

#[test]
fn every_naming_gives_the_same_weights_to_the_bit() {
    for mlp in [Mlp::Gelu, Mlp::SwiGlu] {
        // Without periods or a config, a width of 16 is assumed to have one head.
        let config = Config { heads: 1, ..tiny(mlp) };
        let weights = distinct_weights(&config);
        for naming in [Naming::HuggingFace, Naming::Timm, Naming::Meta] {
            let model = load_tensors(&tensors(&config, &weights, naming)).unwrap();
            assert_eq!((model.naming, model.config), (naming, config));
            assert_eq!(model.weights, weights, "{naming} {mlp:?}");
            assert_eq!(model.dtypes.to_string(), "f32");
        }
    }
}

#[test]
fn heads_come_from_the_periods_or_from_config_json() {
    let config = tiny(Mlp::Gelu);
    let weights = distinct_weights(&config);
    let meta = load_tensors(&tensors(&config, &weights, Naming::Meta)).unwrap();
    assert_eq!(meta.config.heads, 2);
    let (dir, _) = folder(&serialized(&tensors(&config, &weights, Naming::HuggingFace), Dtype::F32));
    std::fs::write(dir.path().join("config.json"), config_json(&config).to_string()).unwrap();
    let model = load(dir.path()).unwrap();
    assert_eq!((model.config, &model.weights), (config, &weights));
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(model.name, name);
}

#[test]
fn half_precision_is_rounded_once() {
    let config = Config { heads: 1, ..tiny(Mlp::SwiGlu) };
    let file = tensors(&config, &distinct_weights(&config), Naming::HuggingFace);
    for (dtype, label) in [(Dtype::F16, "f16"), (Dtype::BF16, "bf16")] {
        let round = |v: f32| match dtype {
            Dtype::F16 => f16::from_f32(v).to_f32(),
            _ => bf16::from_f32(v).to_f32(),
        };
        let mut rounded = file.clone();
        rounded.values_mut().for_each(|(_, values)| values.iter_mut().for_each(|v| *v = round(*v)));
        let model = load_bytes(&serialized(&file, dtype)).unwrap();
        assert_eq!(model.weights, load_tensors(&rounded).unwrap().weights, "{label}");
        assert_eq!(model.dtypes.to_string(), label);
    }
}

#[test]
fn plain_vits_with_and_without_open_clip() {
    let positions = Positions::learned(3, 3);
    let config =
        Config { heads: 1, registers: 0, positions, layer_scale: false, norm_eps: 1e-6, ..tiny(Mlp::Gelu) };
    let mut weights = vit::seeded_weights(&config, 3);
    weights.blocks[1].qkv.bias[20] = 0.25;
    let mut timm = tensors(&config, &weights, Naming::Timm);
    timm.insert("head.weight".into(), (vec![2, 16], vec![0.0; 32]));
    timm.insert("head.bias".into(), (vec![2], vec![0.0; 2]));
    let model = load_tensors(&timm).unwrap();
    assert_eq!((model.config, &model.weights, model.tensors), (config, &weights, timm.len()));
    assert_eq!(model.preprocess.interpolation, Interpolation::Bicubic);

    let mut clip = tensors(&config, &weights, Naming::OpenClip);
    // Tensors of the text tower are ignored, even their values.
    clip.insert("text.transformer.embeddings.word_embeddings.weight".into(), (vec![2, 2], vec![f32::NAN; 4]));
    clip.insert("visual.head.proj.weight".into(), (vec![2, 16], vec![0.0; 32]));
    clip.insert("logit_scale".into(), (vec![], vec![4.6]));
    let model = load_tensors(&clip).unwrap();
    assert_eq!((model.naming, model.config, &model.weights), (Naming::OpenClip, config, &weights));

    timm.insert("dist_token".into(), (vec![1, 1, 16], vec![0.0; 16]));
    let message = load_tensors(&timm).unwrap_err().to_string();
    assert!(message.contains("dist_token") && message.contains("undistilled"), "{message}");
}

#[test]
fn timm_without_biases_or_without_a_position_for_cls() {
    let config = Config { heads: 1, ..tiny(Mlp::Gelu) };
    let mut weights = distinct_weights(&config);
    let mut file = tensors(&config, &weights, Naming::Timm);
    file.retain(|name, _| !name.ends_with("q_bias") && !name.ends_with("v_bias"));
    weights.blocks.iter_mut().for_each(|block| block.qkv.bias.fill(0.0));
    assert_eq!(load_tensors(&file).unwrap().weights, weights);

    // DINOv2 with registers in timm's layout: only the patches have positions.
    let config = Config { positions: Positions::learned(2, 2), norm_eps: 1e-6, ..config };
    let mut weights = vit::seeded_weights(&config, 4);
    weights.positions[..config.dim].fill(0.0);
    let file = tensors(&config, &weights, Naming::Timm);
    // VisionTransformer's names, not Eva's.
    let mut file: Tensors = file
        .into_iter()
        .map(|(name, t)| (name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"), t))
        .filter(|(name, _)| !name.ends_with("q_bias") && !name.ends_with("v_bias"))
        .collect();
    let patches = weights.positions[config.dim..].to_vec();
    file.insert("pos_embed".into(), (vec![1, 4, config.dim], patches));
    let model = load_tensors(&file).unwrap();
    assert_eq!((model.config, model.weights), (config, weights));
}

#[test]
fn the_digest_is_of_the_file_or_of_the_seed() {
    let config = Config { heads: 1, ..tiny(Mlp::Gelu) };
    let bytes = serialized(&tensors(&config, &distinct_weights(&config), Naming::Meta), Dtype::F32);
    let model = load_bytes(&bytes).unwrap();
    assert_eq!(model.sha256, file::hex(&Sha256::digest(&bytes)));
    assert_eq!(model.file_bytes, bytes.len() as u64);
    // `sha256sum` of the seed text.
    let model = Model::seeded("deit-tiny", 7).unwrap();
    assert_eq!(model.sha256, "d2b07f5a2dec5fd8d0516a68ff9105b7a5f4a36a438a8d03624895e03489f464");
    assert!(model.name.contains("untrained") && model.weights.validate(&model.config).is_ok());
}

/// Error message of loading a small model's tensors after `change`; it must be one line and name the file.
fn message(change: impl Fn(&mut Tensors)) -> String {
    let config = Config { heads: 1, ..tiny(Mlp::SwiGlu) };
    let mut file = tensors(&config, &distinct_weights(&config), Naming::HuggingFace);
    change(&mut file);
    one_line(load_tensors(&file).unwrap_err())
}

fn one_line(error: CheckpointError) -> String {
    let message = error.to_string();
    assert!(!message.contains('\n') && message.contains("model.safetensors"), "{message}");
    message
}

#[test]
fn a_wrong_tensor_is_named() {
    let nan = "layer.1.mlp.gate_proj.bias";
    for bad in [f32::NAN, f32::INFINITY] {
        let text = message(|t| t.get_mut(nan).unwrap().1[5] = bad);
        assert!(text.contains(nan) && text.contains("index 5"), "{text}");
    }
    for missing in
        ["layer.1.attention.v_proj.bias", "layer.0.norm1.weight", "embeddings.cls_token", "norm.bias"]
    {
        let text = message(|t| drop(t.remove(missing)));
        assert!(text.contains(&format!("tensor {missing} is missing")), "{text}");
    }
    for extra in
        ["layer.1.attention.q_norm.weight", "classifier.weight", "layer.01.norm1.weight", "pos_embed"]
    {
        let text = message(|t| drop(t.insert(extra.into(), (vec![16], vec![1.0; 16]))));
        assert!(text.contains(&format!("tensor {extra} does not belong")), "{text}");
    }
    let twice = message(|t| drop(t.insert("model.layer.0.norm1.bias".into(), (vec![16], vec![0.0; 16]))));
    assert!(twice.contains("model.layer.0.norm1.bias does not belong"), "{twice}");
    let shape = message(|t| t.get_mut("layer.1.mlp.down_proj.weight").unwrap().0 = vec![24, 16]);
    assert!(shape.contains("layer.1.mlp.down_proj.weight has shape [24, 16], expected [16, 24]"), "{shape}");
    let nobody = message(|t| {
        t.clear();
        t.insert("conv1.weight".into(), (vec![1], vec![1.0]));
    });
    assert!(nobody.contains("conv1.weight"), "{nobody}");
    let huge =
        message(|t| drop(t.insert(format!("layer.{}.norm1.bias", usize::MAX), (vec![16], vec![0.0; 16]))));
    assert!(huge.contains("depth"), "{huge}");
}

#[test]
fn the_unused_mask_token_and_a_bias_of_k_are_accepted() {
    let config = Config { heads: 1, ..tiny(Mlp::Gelu) };
    let mut weights = distinct_weights(&config);
    let mut file = tensors(&config, &weights, Naming::HuggingFace);
    file.insert("embeddings.mask_token".into(), (vec![1, 1, 16], vec![0.0; 16]));
    for (i, block) in weights.blocks.iter_mut().enumerate() {
        block.qkv.bias[16..32].fill(0.125);
        file.insert(format!("layer.{i}.attention.k_proj.bias"), (vec![16], vec![0.125; 16]));
    }
    // The prefix that transformers 5 uses in memory.
    let file = file.into_iter().map(|(n, t)| (n.replace("layer.", "model.layer."), t)).collect();
    assert_eq!(load_tensors(&file).unwrap().weights, weights);
}

#[test]
fn metas_mask_must_be_set() {
    let config = tiny(Mlp::SwiGlu);
    let good = tensors(&config, &distinct_weights(&config), Naming::Meta);
    let mask = "blocks.1.attn.qkv.bias_mask";
    for (value, expected) in [(f32::NAN, "NaN"), (0.5, "0 or 1")] {
        let mut file = good.clone();
        file.get_mut(mask).unwrap().1[20] = value;
        let text = one_line(load_tensors(&file).unwrap_err());
        assert!(text.contains(mask) && text.contains(expected) && text.contains("index 20"), "{text}");
    }
    let mut file = good.clone();
    file.remove(mask);
    assert!(one_line(load_tensors(&file).unwrap_err()).contains(&format!("{mask} is missing")));
    let mut file = good;
    file.get_mut("rope_embed.periods").unwrap().1[1] = 0.0;
    assert!(one_line(load_tensors(&file).unwrap_err()).contains("a positive period"));
}

#[test]
fn a_damaged_file_is_an_error_at_every_length() {
    let config = Config { heads: 1, depth: 1, ..tiny(Mlp::Gelu) };
    let bytes = serialized(&tensors(&config, &distinct_weights(&config), Naming::HuggingFace), Dtype::F32);
    for length in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        one_line(load_bytes(&bytes[..length]).unwrap_err());
    }
    let text = one_line(load_bytes(&bytes[..bytes.len() - 1]).unwrap_err());
    assert!(text.contains("tensor norm.weight") && text.contains("truncated"), "{text}");
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(load_bytes(&longer), Err(CheckpointError::Length { .. })));
    let mut huge = bytes.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(one_line(load_bytes(&huge).unwrap_err()).contains("claims 18446744073709551615 bytes"));
    let f64s = serialized(&tensors(&config, &distinct_weights(&config), Naming::Meta), Dtype::F64);
    let text = one_line(load_bytes(&f64s).unwrap_err());
    assert!(text.contains("is F64, expected F32, F16 or BF16"), "{text}");
}

/// Error message of loading a file whose header is `json`, followed by `data` zeros.
fn lying(json: &str, data: usize) -> String {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    one_line(load_bytes(&bytes).unwrap_err())
}

#[test]
fn a_header_that_lies_is_found_out_before_anything_is_allocated() {
    let tensor = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let one = |shape: &str, from, to| format!(r#"{{"cls_token":{}}}"#, tensor(shape, from, to));
    let big = 1_u64 << 60;
    assert!(lying(&one(&format!("[{}]", big / 4), 0, big), 64).contains("tensor cls_token ends the data"));
    assert!(lying(&one("[8]", 0, 64), 64).contains("cannot fill 64 bytes"));
    let overflow = format!("[{},{}]", u64::MAX / 2, 4);
    assert!(lying(&one(&overflow, 0, 64), 64).contains("tensor cls_token of type F32"));
    assert!(lying(&one("[0]", 8, 4), 64).contains("overlap or gap"));
    let two = format!(r#"{{"a":{},"cls_token":{}}}"#, tensor("[16]", 0, 64), tensor("[16]", 32, 96));
    assert!(lying(&two, 96).contains("tensor cls_token lies at bytes 32 to 96 where 64 was expected"));
    assert!(lying("{not json", 0).contains("is not JSON"));
    assert!(lying("[]", 0).contains("is not JSON"));
    assert!(lying(r#"{"cls_token":{"dtype":"F32"}}"#, 0).contains("does not describe tensor cls_token"));
    assert!(
        lying(r#"{"cls_token":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#, 4).contains("cls_token")
    );
    let broken = format!(r#"{{"blocks.0.attn\nqkv":{}}}"#, tensor("[16]", 0, 64));
    assert!(lying(&broken, 64).contains(r#"names a tensor "blocks.0.attn\nqkv", with a control character"#));
    let dtype = r#"{"cls_token":{"dtype":"F3\n2","shape":[1],"data_offsets":[0,4]}}"#;
    assert!(lying(dtype, 4).contains("unknown variant `F3 2`"));
    // Shapes that are consistent but absurd: nothing of their size is allocated.
    let absurd = format!(
        r#"{{"cls_token":{},"patch_embed.proj.weight":{},"pos_embed":{},"blocks.0.mlp.fc1.weight":{}}}"#,
        tensor("[0,1099511627776]", 0, 0),
        tensor("[0,3,1099511627776,16]", 0, 0),
        tensor("[1,10,16]", 0, 640),
        tensor("[1048576,0]", 640, 640)
    );
    assert!(lying(&absurd, 640).contains("dim is 0"));
}

#[test]
fn json_files_are_believed_and_checked() {
    let config = tiny(Mlp::SwiGlu);
    let (dir, path) =
        folder(&serialized(&tensors(&config, &distinct_weights(&config), Naming::HuggingFace), Dtype::F32));
    let write = |name: &str, value: &serde_json::Value| {
        std::fs::write(dir.path().join(name), value.to_string()).unwrap()
    };
    let json = config_json(&config);
    for (key, value, expected) in [
        ("hidden_act", "gelu".into(), "hidden_act is 'gelu'"),
        ("num_attention_heads", 3.into(), "16 cannot be split into 3 heads"),
        ("num_attention_heads", 0.into(), "heads is 0"),
        ("num_hidden_layers", 3.into(), "layer.2.norm1.weight is missing"),
        ("num_hidden_layers", 1.into(), "tensor layer.1."),
        ("hidden_size", "wide".into(), "cannot be used"),
        ("patch_size", serde_json::json!([4, 8]), "4 x 8"),
        ("model_type", "swin".into(), "model_type is 'swin'"),
        ("model_type", "sw\nin".into(), "model_type is 'sw in'"),
        ("key_bias", true.into(), "layer.0.attention.k_proj.bias is missing"),
        ("value_bias", false.into(), "layer.0.attention.v_proj.bias does not belong"),
        ("use_gated_mlp", false.into(), "hidden_act is 'silu'"),
        ("num_register_tokens", 4.into(), "expected [4, 16]"),
    ] {
        let mut bad = json.clone();
        bad[key] = value;
        write("config.json", &bad);
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{key}: {text}");
    }
    write("config.json", &json);
    assert_eq!(load(&path).unwrap().preprocess, Preprocess::IMAGENET);
    let processor =
        serde_json::json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5], "resample": 3});
    write("preprocessor_config.json", &processor);
    let expected = Preprocess {
        mean: [0.5; 3],
        std: [0.25, 0.5, 0.5],
        interpolation: Interpolation::Bicubic,
        ..Preprocess::IMAGENET
    };
    assert_eq!(load(&path).unwrap().preprocess, expected);
    for (key, value) in [("image_std", serde_json::json!([0.0, 1.0, 1.0])), ("resample", 6.into())] {
        let mut bad = processor.clone();
        bad[key] = value;
        write("preprocessor_config.json", &bad);
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("preprocessor_config.json") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn timms_config_gives_heads_pixels_and_a_name() {
    let config = tiny(Mlp::Gelu);
    let (dir, path) =
        folder(&serialized(&tensors(&config, &distinct_weights(&config), Naming::Timm), Dtype::F32));
    let mut json = serde_json::json!({
        "architecture": "vit_small_patch16_dinov3", "model_args": {"num_heads": 2, "embed_dim": 16, "patch_size": 4},
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"},
    });
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let model = load(&path).unwrap();
    assert_eq!((model.config, model.name.as_str()), (config, "vit_small_patch16_dinov3"));
    let expected = Preprocess { mean: [0.5; 3], std: [0.5; 3], ..Preprocess::IMAGENET };
    assert_eq!(model.preprocess, expected);
    json["architecture"] = "vit_medium_patch16_rope_reg1_gap_256".into();
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let text = load(&path).unwrap_err().to_string();
    assert!(text.contains("config.json") && text.contains("rotary positions other than DINOv3's"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn another_rope_base_gives_other_periods() {
    let config = tiny(Mlp::Gelu);
    let (dir, path) =
        folder(&serialized(&tensors(&config, &distinct_weights(&config), Naming::HuggingFace), Dtype::F32));
    let mut json = config_json(&config);
    json["rope_theta"] = 10_000.0.into();
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    // head_dim 8: two periods, base^0 and base^(1/2).
    assert_eq!(load(&path).unwrap().weights.rope_periods, [1.0, 100.0]);
}

#[test]
fn paths_that_are_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |path: &Path, expected: &str| {
        let text = load(path).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    };
    fails(&dir.path().join("absent"), "cannot read");
    fails(dir.path(), "there is no model.safetensors");
    let write = |name: &str| std::fs::write(dir.path().join(name), []).unwrap();
    write("model.safetensors.index.json");
    fails(dir.path(), "model.safetensors.index.json: cannot be used");
    write("dinov3_vits16.pth");
    fails(&dir.path().join("dinov3_vits16.pth"), "safetensors.torch.save_file");
    std::fs::remove_file(dir.path().join("model.safetensors.index.json")).unwrap();
    write("a.safetensors");
    fails(dir.path(), "header is absent");
    write("b.safetensors");
    fails(dir.path(), "there are 2 safetensors files");
}

#[test]
fn a_checkpoint_in_its_publishers_naming_is_held_to_its_card() {
    let card = Card::by_name("deit-tiny").unwrap();
    let weights = vit::seeded_weights(&card.architecture, 1);
    let mut file = tensors(&card.architecture, &weights, Naming::Timm);
    let (dir, path) = folder(&serialized(&file, Dtype::F32));
    let json = serde_json::json!({"architecture": "deit_tiny_patch16_224"});
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let model = load(&path).unwrap();
    assert_eq!((model.card, model.name.as_str()), (Some(card), "deit-tiny"));
    assert_eq!(model.preprocess, Preprocess { size: Some((224, 224)), ..card.preprocess });
    assert_eq!(model.assumed, []);
    file.retain(|name, _| !name.ends_with("attn.qkv.bias"));
    std::fs::write(&path, serialized(&file, Dtype::F32)).unwrap();
    let text = one_line(load(&path).unwrap_err());
    assert!(text.contains("blocks.0.attn.qkv.bias is missing"), "{text}");
}

/// Compares trained weights with PyTorch's outputs; see the README beside them.
#[test]
fn deit_tiny_agrees_with_pytorch() {
    let Some(folder) = crate::support::shared("weights/deit_tiny") else { return };
    let model = load(&folder).unwrap();
    assert_eq!((model.name.as_str(), model.tensors), ("deit-tiny", 152));
    let mut npz = NpzReader::new(std::fs::File::open(folder.join("reference_outputs.npz")).unwrap()).unwrap();
    let images: ndarray::Array3<u8> = npz.by_name("images_u8").unwrap();
    let expected: ndarray::Array3<f32> = npz.by_name("tokens_after_norm").unwrap();
    let Preprocess { mean, std, .. } = model.preprocess;
    for (image, expected) in images.outer_iter().zip(expected.outer_iter()) {
        let channel = |c: usize| image.iter().map(move |&v| (f32::from(v) / 255.0 - mean[c]) / std[c]);
        let pixels: Vec<f32> = (0..3).flat_map(channel).collect();
        let trace = vit::forward(&model.config, &model.weights, &pixels, Size::square(224)).unwrap();
        let error = (&trace.output - &expected).fold(0.0_f32, |worst, d| worst.max(d.abs()));
        // Tokens reach about 10; two f32 implementations differ by about 1e-5 after 12 blocks.
        assert!(error < 1e-3, "{error}");
    }
}

/// A plain ViT with a 2 x 8 grid of positions, without a config.json.
fn unnamed() -> (Config, Tensors) {
    let config = Config {
        heads: 4,
        registers: 0,
        positions: Positions::learned(2, 8),
        layer_scale: false,
        norm_eps: 1e-6,
        ..tiny(Mlp::Gelu)
    };
    (config, tensors(&config, &vit::seeded_weights(&config, 3), Naming::Timm))
}

#[test]
fn what_nothing_says_is_assumed_and_named_or_given() {
    let (config, file) = unnamed();
    let (dir, path) = folder(&serialized(&file, Dtype::F32));
    let model = load(&path).unwrap();
    assert_eq!((model.config.heads, model.config.positions), (1, Positions::learned(4, 4)));
    let Preprocess { mean, std, .. } = model.preprocess;
    assert_eq!(
        model.assumed,
        [
            Assumption::Grid(4, 4),
            Assumption::Heads(1),
            Assumption::Details(1e-6),
            Assumption::Statistics(mean, std)
        ]
    );
    assert_eq!((model.card, model.name.as_str()), (None, dir.path().file_name().unwrap().to_str().unwrap()));

    let hints = Hints { heads: Some(4), mean: Some([0.5; 3]), std: Some([0.25; 3]), grid: Some((2, 8)) };
    let given = load_with(&path, &hints).unwrap();
    assert_eq!(given.config, config);
    assert_eq!((given.preprocess.mean, given.preprocess.std), ([0.5; 3], [0.25; 3]));
    assert_eq!(given.assumed, [Assumption::Details(1e-6)]);
    // The same bytes give a different network: heads trained for one do not fit the other.
    assert_eq!((&given.sha256, model.identity()), (&model.sha256, model.sha256.clone()));
    assert_ne!(given.identity(), model.identity());
    let same = load_with(&path, &Hints { heads: Some(1), grid: Some((4, 4)), ..Hints::default() }).unwrap();
    assert_eq!(same.identity(), model.identity());

    for (hints, expected) in [
        (Hints { heads: Some(3), ..Hints::default() }, "16 cannot be split into 3 heads"),
        (Hints { heads: Some(0), ..Hints::default() }, "at least one attention head"),
        (
            Hints { grid: Some((3, 3)), ..Hints::default() },
            "17 learned positions are not those of CLS and 3x3",
        ),
        (Hints { grid: Some((0, 3)), ..Hints::default() }, "a grid of 0x3 patches"),
        (Hints { std: Some([0.0; 3]), ..Hints::default() }, "finite and positive"),
    ] {
        let text = load_with(&path, &hints).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
}

#[test]
fn what_the_files_say_cannot_be_contradicted() {
    let (config, file) = unnamed();
    let (dir, path) = folder(&serialized(&file, Dtype::F32));
    let json = serde_json::json!({
        "architecture": "vit_small_patch16_224.augreg_in21k",
        "model_args": {"embed_dim": 16, "num_heads": 4, "patch_size": 4, "img_size": [8, 32], "depth": 2},
    });
    std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
    let model = load(&path).unwrap();
    assert_eq!((model.config, model.name.as_str()), (config, "vit_small_patch16_224"));
    // The statistics of the tag: 0.5 throughout.
    assert_eq!((model.preprocess.mean, model.preprocess.std), ([0.5; 3], [0.5; 3]));
    assert_eq!(model.assumed, []);
    assert!(model.notes[0].contains("keeps the middle 0.9"), "{:?}", model.notes);
    for (hints, expected) in [
        (
            Hints { heads: Some(2), ..Hints::default() },
            "the config.json beside it says 4 heads, which 2 contradicts",
        ),
        (Hints { grid: Some((4, 4)), ..Hints::default() }, "a grid of 2x8"),
        (Hints { mean: Some([0.4; 3]), ..Hints::default() }, "mean [0.5, 0.5, 0.5]"),
    ] {
        let text = load_with(&path, &hints).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
    let same = Hints { heads: Some(4), mean: Some([0.5; 3]), std: Some([0.5; 3]), grid: Some((2, 8)) };
    assert_eq!(load_with(&path, &same).unwrap().identity(), model.sha256);
    for (key, value, expected) in [
        ("qk_norm", true.into(), "model_args has qk_norm = true"),
        ("act_layer", "quick_gelu".into(), "act_layer"),
        (
            "embed_dim",
            serde_json::Value::Null,
            "the tensors are of width 16, and timm's vit_small_patch16_224 has 384",
        ),
    ] {
        let mut bad = json.clone();
        bad["model_args"][key] = value;
        std::fs::write(dir.path().join("config.json"), bad.to_string()).unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    for (name, expected) in [
        ("eva02_tiny_patch14_224", "rotary positions other than DINOv3's"),
        ("vit_base_patch16_clip_quickgelu_224.openai", "activation QuickGELU"),
        ("vit_base_patch16_siglip_224", "no class token"),
        ("vit_base_patch16_rpn_224", "blocks of class ResPostBlock"),
    ] {
        let named = serde_json::json!({"architecture": name}).to_string();
        std::fs::write(dir.path().join("config.json"), named).unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("config.json"), "{text}");
    }
}

#[test]
fn tensors_of_other_networks_are_refused_with_the_reason() {
    let (_, good) = unnamed();
    let refuse = |name: &str, expected: &str| {
        let mut file = good.clone();
        file.insert(name.into(), (vec![16], vec![1.0; 16]));
        let text = one_line(load_tensors(&file).unwrap_err());
        assert!(text.contains(expected), "{name}: {text}");
    };
    refuse("blocks.0.attn.q_norm.weight", "queries and keys are normed");
    refuse("norm_pre.weight", "a norm before the blocks");
    refuse("fc_norm.weight", "after pooling");
    refuse("attn_pool.latent", "pooled by attention");
    refuse("blocks.1.attn.relative_position_bias_table", "positions are relative");
    refuse("rope.freqs", "rotary positions other than DINOv3's");
    refuse("blocks.0.gamma_1", "timm's Eva");
    let mut file = good.clone();
    file.remove("cls_token");
    assert!(one_line(load_tensors(&file).unwrap_err()).contains("no class token"));
    // A gated MLP in one matrix, with no activation specified.
    let mut file = good.clone();
    for block in 0..2 {
        file.insert(format!("blocks.{block}.mlp.fc1.weight"), (vec![48, 16], vec![0.1; 48 * 16]));
        file.insert(format!("blocks.{block}.mlp.fc1.bias"), (vec![48], vec![0.1; 48]));
    }
    assert!(one_line(load_tensors(&file).unwrap_err()).contains("nothing says by which activation"));
    // Learned positions beside Meta's rotary ones.
    let config = tiny(Mlp::Gelu);
    let mut file = tensors(&config, &distinct_weights(&config), Naming::Meta);
    file.insert("pos_embed".into(), (vec![1, 10, 16], vec![0.1; 160]));
    let text = one_line(load_tensors(&file).unwrap_err());
    assert!(text.contains("pos_embed"), "{text}");
}

#[test]
fn shards_are_one_checkpoint() {
    let config = tiny(Mlp::Gelu);
    let weights = distinct_weights(&config);
    let all = tensors(&config, &weights, Naming::HuggingFace);
    let dir = tempfile::tempdir().unwrap();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let (mut map, mut sums) = (BTreeMap::new(), String::new());
    for (i, name) in names.into_iter().enumerate() {
        let part: Tensors = all
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 2 == i)
            .map(|(_, (k, v))| (k.clone(), v.clone()))
            .collect();
        map.extend(part.keys().map(|tensor| (tensor.clone(), name.to_owned())));
        let bytes = serialized(&part, Dtype::F32);
        sums += &format!("{}  {name}\n", file::hex(&Sha256::digest(&bytes)));
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("config.json"), config_json(&config).to_string()).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    let write = |map: &BTreeMap<String, String>| {
        std::fs::write(&index, serde_json::json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    };
    write(&map);
    let model = load(dir.path()).unwrap();
    assert_eq!((&model.config, &model.weights, model.tensors), (&config, &weights, all.len()));
    // `sha256sum *.safetensors | sha256sum`
    assert_eq!(model.sha256, file::hex(&Sha256::digest(&sums)));
    assert_eq!(model.name, dir.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(load(&index).unwrap().sha256, model.sha256);
    assert_eq!(list_tensors(dir.path()).unwrap().len(), all.len());
    let shards = names.map(|name| dir.path().join(name));
    assert_eq!(weights_files(dir.path()).unwrap(), shards);
    assert_eq!(weights_files(&shards[0]).unwrap(), shards[..1]);
    let read: BTreeSet<_> = files(dir.path()).into_iter().collect();
    let beside = [index.clone(), dir.path().join("config.json")];
    assert_eq!(read, BTreeSet::from_iter(shards.into_iter().chain(beside)));

    for (tensor, file, expected) in [
        (
            "norm.bias",
            "../outside.safetensors",
            "'../outside.safetensors', which is no safetensors file beside it",
        ),
        ("norm.bias", "absent.safetensors", "cannot read"),
        ("made.up", names[0], "lists tensor made.up"),
    ] {
        let mut bad = map.clone();
        bad.insert(tensor.into(), file.into());
        write(&bad);
        let text = load(dir.path()).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
    let mut bad = map.clone();
    bad.remove("norm.bias");
    write(&bad);
    assert!(load(dir.path()).unwrap_err().to_string().contains("does not list tensor norm.bias"));
    write(&BTreeMap::new());
    assert!(load(dir.path()).unwrap_err().to_string().contains("lists 0 files"));
}

#[test]
fn a_processor_that_is_not_known_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let beside = |json: serde_json::Value| {
        std::fs::write(dir.path().join("preprocessor_config.json"), json.to_string()).unwrap();
        preprocess_beside(&dir.path().join("model.onnx"))
    };
    for (json, expected) in [
        (serde_json::json!({"image_processor_type": "ConvNextImageProcessor"}), "whose steps are not known"),
        (serde_json::json!({"size": {"longest_edge": 64}}), "a longest edge is not known"),
        (serde_json::json!({"size": {"max_height": 64, "max_width": 64}}), "largest height and width"),
        (serde_json::json!({"size": {"shortest_edge": 64}}), "nothing is cropped"),
        (serde_json::json!({"size": {"height": 0, "width": 64}}), "a side is from 1 to 4096"),
        (serde_json::json!({"size": "big"}), "a number, or height and width"),
        (serde_json::json!({"do_resize": false}), "do_resize is false"),
        (serde_json::json!({"do_pad": true}), "do_pad is true"),
        (serde_json::json!({"rescale_factor": -1.0}), "rescale_factor is -1"),
        (serde_json::json!({"resample": 9}), "resample is 9"),
    ] {
        let text = beside(json).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("preprocessor_config.json"), "{text}");
    }
    let size = |json| beside(json).unwrap().unwrap().default_size();
    assert_eq!(size(serde_json::json!({"size": 96})), Size::square(96));
    assert_eq!(
        size(serde_json::json!({"size": {"height": 96, "width": 64}})),
        Size { height: 96, width: 64 }
    );
    assert_eq!(size(serde_json::json!({"image_processor_type": "BitImageProcessor"})), Size::square(224));
    let unscaled = beside(serde_json::json!({"do_rescale": false, "image_mean": 127.5, "image_std": 255.0}));
    let unscaled = unscaled.unwrap().unwrap();
    assert_eq!((unscaled.mean, unscaled.std), ([0.5; 3], [1.0; 3]));
}
