//! `microraptor info`

use std::fmt::Display;
use std::io::{self, Write};

use microraptor::Engine;
#[cfg(feature = "demo")]
use microraptor::checkpoint::Card;
use microraptor::checkpoint::{self, Model, TensorInfo};
#[cfg(feature = "demo")]
use microraptor::engine::DEMO;
use microraptor::engine::is_onnx;
use microraptor::quant::{ModelFile, file};
use microraptor::vit::{Config, Crop, Mlp, Positions, Preprocess, Resize, Size};
use serde::Serialize;

use super::args::InfoArgs;
use super::backbone;
use super::models::giga;
use super::terminal;

/// Describes a model.
pub fn run(args: &InfoArgs) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    let hints = args.hints.hints();
    let about = match backbone::untrained(&args.model) {
        Some(name) => describe(&backbone::seeded(name, &hints)?, args)?,
        None if backbone::is_demo(&args.model) => describe_demo(args)?,
        None if is_onnx(&args.model) => describe_onnx(args)?,
        None if file::is_ours(&args.model) => {
            let tensors = if args.tensors { checkpoint::list_tensors(&args.model)? } else { Vec::new() };
            let converted = file::read(&args.model)?;
            let about = describe_converted(&converted, tensors, args)?;
            if converted.model.graph.is_none() {
                about
            } else {
                let engine = backbone::open(&args.model, &hints)?;
                let (notes, outputs) = (engine.notes().to_vec(), engine.outputs().to_vec());
                About {
                    cost: costs_within(&engine, &args.sizes),
                    notes,
                    outputs,
                    fixed_size: engine.fixed_size().map(|size| size.to_string()),
                    ..about
                }
            }
        }
        None => describe(&checkpoint::load_with(&args.model, &hints)?, args)?,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&about)?)?;
    } else {
        print(&about, &mut out)?;
    }
    Ok(())
}

/// Describes a safetensors checkpoint or a seeded model.
fn describe(model: &Model, args: &InfoArgs) -> anyhow::Result<About> {
    let tensors = if args.tensors && !model.source.as_os_str().is_empty() {
        checkpoint::list_tensors(&model.source)?
    } else {
        Vec::new()
    };
    Ok(About {
        name: model.name.clone(),
        title: model.card.map(|c| c.title.clone()),
        licence: model.card.map(|c| c.licence.name.clone()),
        file: (model.file_bytes > 0).then(|| microraptor::names::shown(&model.source)),
        file_bytes: (model.file_bytes > 0).then_some(model.file_bytes),
        sha256: model.sha256.clone(),
        naming: Some(model.naming.to_string()),
        dtypes: Some(model.dtypes.to_string()),
        tensor_count: (model.tensors > 0).then_some(model.tensors),
        backend: format!("microraptor f32 on {}", backbone::isa()),
        converted: Vec::new(),
        architecture: Some(model.config),
        parameters: Some(model.config.parameters()),
        preprocess: model.preprocess,
        fixed_size: None,
        assumed: model.assumed.iter().map(backbone::settled).collect(),
        notes: model.notes.clone(),
        outputs: Vec::new(),
        cost: costs(&model.config, &args.sizes),
        tensors: tensors.into_iter().map(Tensor::from).collect(),
    })
}

/// Describes the built-in backbone.
#[cfg(feature = "demo")]
fn describe_demo(args: &InfoArgs) -> anyhow::Result<About> {
    let bytes = file::DEMO_FILE;
    let tensors = if args.tensors { checkpoint::list_tensors_of(&args.model, bytes)? } else { Vec::new() };
    let about = describe_converted(&file::parse(&args.model, bytes)?, tensors, args)?;
    let title = Some(Card::by_name(DEMO)?.title.clone());
    Ok(About { title, file: Some("in the program (models/demo/demo.safetensors)".to_owned()), ..about })
}

#[cfg(not(feature = "demo"))]
fn describe_demo(_: &InfoArgs) -> anyhow::Result<About> {
    Err(backbone::no_demo())
}

/// Describes a converted model, which the hints must not contradict.
fn describe_converted(file: &ModelFile, tensors: Vec<TensorInfo>, args: &InfoArgs) -> anyhow::Result<About> {
    let ModelFile { model, sha256, file_bytes } = file;
    let config = model.network.config;
    args.hints.hints().agree_with(&model.name, &config, &model.preprocess)?;
    Ok(About {
        name: model.name.clone(),
        title: None,
        licence: None,
        file: Some(microraptor::names::shown(&args.model)),
        file_bytes: Some(*file_bytes),
        sha256: sha256.clone(),
        naming: None,
        dtypes: None,
        tensor_count: None,
        backend: format!("microraptor {} on {}", model.precision, backbone::isa()),
        converted: model.summary(),
        architecture: Some(config),
        parameters: Some(config.parameters()),
        preprocess: model.preprocess,
        fixed_size: None,
        assumed: Vec::new(),
        notes: Vec::new(),
        outputs: Vec::new(),
        cost: costs(&config, &args.sizes),
        tensors: tensors.into_iter().map(Tensor::from).collect(),
    })
}

/// Describes an ONNX file: an export of a supported architecture, or any other model, which tract runs as it is.
fn describe_onnx(args: &InfoArgs) -> anyhow::Result<About> {
    let engine = backbone::open(&args.model, &args.hints.hints())?;
    let (about, config) = (engine.about(), engine.config());
    Ok(About {
        name: about.name.clone(),
        title: None,
        licence: None,
        file: Some(microraptor::names::shown(&args.model)),
        file_bytes: Some(std::fs::metadata(&args.model)?.len()),
        sha256: about.sha256.clone(),
        naming: Some("onnx".to_owned()),
        dtypes: None,
        tensor_count: None,
        backend: match about.backend.isa() {
            Some(isa) => format!("{} on {isa}", about.runs_on()),
            None => about.runs_on(),
        },
        converted: Vec::new(),
        architecture: config.copied(),
        parameters: config.map(Config::parameters),
        preprocess: about.preprocess,
        fixed_size: engine.fixed_size().map(|s| s.to_string()),
        assumed: about.assumed.iter().map(backbone::settled).collect(),
        notes: engine.notes().to_vec(),
        outputs: engine.outputs().to_vec(),
        cost: costs_within(&engine, &args.sizes),
        tensors: Vec::new(),
    })
}

/// As [`costs`], of the backbone in a graph.
fn costs_within(engine: &Engine, sizes: &[Size]) -> Vec<Cost> {
    let Some(config) = engine.config() else { return Vec::new() };
    if engine.patch().is_none() {
        // What is before the backbone may resize images.
        let refused = Some("the graph changes images before its backbone: its work is not known".to_owned());
        let unknown =
            |size: &Size| Cost { size: size.to_string(), tokens: None, macs: None, refused: refused.clone() };
        return sizes.iter().map(unknown).collect();
    }
    let fixed = engine.fixed_size();
    let only = fixed.filter(|_| sizes.is_empty());
    let mut costs = costs(config, only.as_ref().map_or(sizes, std::slice::from_ref));
    for cost in &mut costs {
        if let Some(fixed) = fixed.filter(|fixed| fixed.to_string() != cost.size) {
            let refused = Some(format!("the file was exported for {fixed} px only"));
            *cost = Cost { size: std::mem::take(&mut cost.size), tokens: None, macs: None, refused };
        }
    }
    costs
}

/// The work for an image of each size; for a size that the model does not take, why.
fn costs(config: &Config, sizes: &[Size]) -> Vec<Cost> {
    let cost = |&size: &Size| {
        let known = config.tokens(size).and_then(|tokens| Ok((tokens, config.macs(size)?)));
        let (tokens, macs, refused) = match known {
            Ok((tokens, macs)) => (Some(tokens), Some(macs), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        Cost { size: size.to_string(), tokens, macs, refused }
    };
    if !sizes.is_empty() {
        return sizes.iter().map(cost).collect();
    }
    let whole = |side: usize| Size::square((side + config.patch / 2) / config.patch * config.patch);
    [224, 384, 512].map(whole).iter().filter(|size| size.height > 0).map(cost).collect()
}

/// Data to print; its fields are those of the JSON output.
#[derive(Serialize)]
struct About {
    name: String,
    title: Option<String>,
    licence: Option<String>,
    file: Option<String>,
    file_bytes: Option<u64>,
    sha256: String,
    naming: Option<String>,
    dtypes: Option<String>,
    tensor_count: Option<usize>,
    backend: String,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Vec::is_empty")]
    converted: Vec<(&'static str, String)>,
    architecture: Option<Config>,
    parameters: Option<usize>,
    preprocess: Preprocess,
    fixed_size: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assumed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Names of the outputs of a graph.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<String>,
    cost: Vec<Cost>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tensors: Vec<Tensor>,
}

#[derive(Serialize)]
struct Cost {
    size: String,
    tokens: Option<usize>,
    macs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

impl From<TensorInfo> for Tensor {
    fn from(t: TensorInfo) -> Tensor {
        Tensor { name: t.name, dtype: t.dtype, shape: t.shape }
    }
}

fn as_map<S: serde::Serializer>(lines: &[(&'static str, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(lines.iter().map(|(key, value)| (key.trim(), value)))
}

fn print(about: &About, out: &mut impl Write) -> io::Result<()> {
    let mut line = |key: &str, value: &dyn Display| writeln!(out, "{key:<14}{value}");
    line("model", &about.name)?;
    let optional = [("title", &about.title), ("licence", &about.licence), ("file", &about.file)];
    for (key, value) in optional.into_iter().filter_map(|(k, v)| Some((k, v.as_ref()?))) {
        line(key, value)?;
    }
    if let Some(bytes) = about.file_bytes {
        line("size", &format_args!("{:.1} MB", bytes as f64 / 1e6))?;
    }
    line("sha256", &about.sha256)?;
    match (&about.naming, &about.dtypes, about.tensor_count) {
        (Some(naming), Some(dtypes), Some(n)) => {
            line("tensors", &format_args!("{n}, {dtypes}, named as {naming} names them"))?;
        }
        (Some(naming), ..) => line("from", naming)?,
        _ => {}
    }
    line("runs on", &about.backend)?;
    for (key, value) in &about.converted {
        line(key, value)?;
    }
    if let Some(c) = &about.architecture {
        print_architecture(c, &mut line)?;
    }
    if let Some(parameters) = about.parameters {
        line("parameters", &format_args!("{:.2} M", parameters as f64 / 1e6))?;
    }
    if let Some(size) = &about.fixed_size {
        line("input", &format_args!("{size} px only"))?;
    }
    line("preprocessing", &preprocessing(&about.preprocess))?;
    for assumed in &about.assumed {
        line("assumed", assumed)?;
    }
    for note in &about.notes {
        line("note", note)?;
    }
    if !about.outputs.is_empty() {
        line("outputs", &about.outputs.join(", "))?;
    }
    for Cost { size, tokens, macs, refused } in &about.cost {
        let name = format!("at {size} px");
        match (tokens, macs) {
            (Some(tokens), Some(macs)) => {
                line(&name, &format_args!("{} GMAC, {tokens} tokens", giga(*macs)))?
            }
            _ => line(&name, refused.as_ref().map_or(&"unknown", |refused| refused))?,
        }
    }
    for Tensor { name, dtype, shape } in &about.tensors {
        line("tensor", &format_args!("{name} {dtype} {shape:?}"))?;
    }
    Ok(())
}

/// Text description of the pixel preprocessing.
pub fn preprocessing(preprocess: &Preprocess) -> String {
    let Preprocess { mean, std, interpolation, crop, rounded, size } = preprocess;
    let mut text = format!("{interpolation:?} resize");
    if let Some(Crop { resize, height, width }) = crop {
        text = match resize {
            Resize::None => "no resize".to_owned(),
            Resize::ShortestEdge(edge) => format!("{text} of the shorter side to {edge} px"),
            Resize::Exact(rows, cols) => format!("{text} to {rows}x{cols} px"),
        };
        text += &format!(", the middle {height}x{width} px kept");
    } else if let Some((height, width)) = size {
        text += &format!(" to {height}x{width} px");
    }
    let rounded = if *rounded { ", rounded to bytes" } else { "" };
    format!("{text}{rounded}, mean {mean:?}, std {std:?}")
}

fn print_architecture(
    c: &Config,
    line: &mut impl FnMut(&str, &dyn Display) -> io::Result<()>,
) -> io::Result<()> {
    let mlp = match c.mlp {
        Mlp::Gelu => "GELU",
        Mlp::SwiGlu => "SwiGLU",
    };
    let positions = match c.positions {
        Positions::Rope => "rotary".to_owned(),
        Positions::Learned { rows, cols, .. } => format!("learned on {rows} x {cols} patches"),
    };
    line("network", &format_args!("{} blocks of {}, {} heads, {mlp} {}", c.depth, c.dim, c.heads, c.hidden))?;
    let scale = if c.layer_scale { "LayerScale" } else { "no LayerScale" };
    line(
        "tokens",
        &format_args!(
            "CLS, {} registers, patches of {} px; positions {positions}; {scale}",
            c.registers, c.patch
        ),
    )
}
