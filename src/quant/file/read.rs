//! Reading and verifying a model file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use half::f16;
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::metadata::{DIGITS, Found, MARK, parsed, text};
use super::tensors::GRAPH;
use super::write::digest_at;
use super::{ConvertedModel, GRAPH_VERSION, ModelFile, VERSION};
use crate::checkpoint::GraphParts;
use crate::checkpoint::file::{Entry, TensorFile, hex};
use crate::kernels::linear::MAX_INPUTS;
use crate::parallel::in_pool;
use crate::quant::{
    Block, BlockPrecision, Layer, Matrix, Network, PrecisionPlan, Products, QuantError, WeightPrecision,
};
use crate::vit::{Config, FeedForward, Mlp, Norm, Positions};

/// Whether the first bytes of `path` are those of a file that [`super::write()`] wrote. False if it cannot be read.
pub fn is_ours(path: &Path) -> bool {
    crate::files::open(path).is_ok_and(|mut file| begins_as_ours(&mut file))
}

fn begins_as_ours(file: &mut File) -> bool {
    let start = format!("{{\"__metadata__\":{{\"{MARK}\":");
    let mut bytes = Vec::new();
    let limit = 8 + start.len() as u64;
    let read = file.take(limit).read_to_end(&mut bytes);
    read.is_ok() && bytes.get(8..) == Some(start.as_bytes())
}

/// [`read`], if `path` is [ours](is_ours). The file is opened once, so it cannot be replaced between check and read.
///
/// # Errors
/// As [`read`].
pub fn read_if_ours(path: &Path) -> Result<Option<ModelFile>, QuantError> {
    // Anything that cannot be opened, such as a folder, is not ours.
    let Ok(mut file) = crate::files::open(path) else { return Ok(None) };
    if !begins_as_ours(&mut file) || file.rewind().is_err() {
        return Ok(None);
    }
    in_pool(|| model_file(path, TensorFile::of_file(path, file)?)).map(Some)
}

/// Reads a model file.
///
/// # Errors
/// [`QuantError`] names the file, and the tensor or metadata entry at fault: the file is not ours or has another
/// version, is truncated or damaged, its tensors do not fit its architecture and plan, a weight is not finite, or a
/// scale is not positive.
pub fn read(path: &Path) -> Result<ModelFile, QuantError> {
    in_pool(|| model_file(path, TensorFile::open(path)?))
}

/// [`read`] for a model file in memory; error messages call it `name`.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &Path, bytes: &[u8]) -> Result<ModelFile, QuantError> {
    in_pool(|| model_file(name, TensorFile::of_bytes(name, bytes)?))
}

fn model_file(path: &Path, file: TensorFile<'_>) -> Result<ModelFile, QuantError> {
    let not_ours = || QuantError::NotOurs { path: path.to_owned() };
    let mut found = Found::parse(&file.head()[8..]).ok_or_else(not_ours)?;
    match found.version.take() {
        None => return Err(not_ours()),
        Some(version) if ![VERSION, GRAPH_VERSION].contains(&version.as_str()) => {
            return Err(QuantError::Version { path: path.to_owned(), found: version });
        }
        Some(_) => {}
    }
    let file_bytes = file.bytes;
    let (mut tensors, sha256) = contents(path, file, found.digest.take())?;
    let graph = found.graph.take().map(|about| graph(about, &mut tensors));
    let config: Config = parsed(path, "architecture", found.architecture)?;
    let wrong = |e: crate::vit::ConfigError| QuantError::Metadata {
        path: path.to_owned(),
        key: "architecture",
        problem: format!("makes no sense: {e}"),
    };
    config.validate().map_err(wrong)?;
    let plan: PrecisionPlan = parsed(path, "plan", found.plan)?;
    let network = Parts { path, tensors }.network(config, &plan)?;
    let attestation = found.attestation.take();
    let attestation = attestation.map(|entry| parsed(path, "attestation", Some(entry))).transpose()?;
    let model = ConvertedModel {
        name: text(path, "name", found.name)?,
        network,
        preprocess: parsed(path, "preprocess", found.preprocess)?,
        precision: parsed(path, "precision", found.precision)?,
        plan,
        source: parsed(path, "source", found.source)?,
        licence: parsed(path, "licence", found.licence)?,
        report: parsed(path, "report", found.report)?,
        graph,
        attestation,
        tool: text(path, "tool", found.tool)?,
    };
    Ok(ModelFile { model, sha256, file_bytes })
}

/// Takes the parts of the graph around the backbone out of `tensors`.
fn graph(about: String, tensors: &mut Tensors) -> GraphParts {
    let names: Vec<String> = tensors.keys().filter(|name| name.starts_with(GRAPH)).cloned().collect();
    let parts = names.into_iter().filter_map(|name| match tensors.remove(&name) {
        Some((_, Values::U8(bytes))) => Some((name[GRAPH.len()..].to_owned(), bytes)),
        _ => None,
    });
    GraphParts { about, parts: parts.collect() }
}

/// A tensor's values, owned.
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    Other,
}

impl Values {
    fn of(dtype: Dtype, bytes: Vec<u8>) -> Values {
        match dtype {
            Dtype::F32 => Values::F32(
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            ),
            Dtype::F16 => {
                Values::F16(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect())
            }
            // `collect` reuses the allocation, as u8 and i8 have the same layout.
            Dtype::I8 => Values::I8(bytes.into_iter().map(|b| b as i8).collect()),
            Dtype::U8 => Values::U8(bytes),
            _ => Values::Other,
        }
    }
}

/// Shape and values of each tensor, by name.
type Tensors = BTreeMap<String, (Vec<usize>, Values)>;

/// Reads all tensors and checks the digest stored inside; also returns the SHA-256 of the file. The two hashes differ
/// from the header on, so neither follows from the other: one pass over the bytes updates both in parallel.
fn contents(
    path: &Path,
    file: TensorFile<'_>,
    digest: Option<String>,
) -> Result<(Tensors, String), QuantError> {
    let damaged = || QuantError::Digest { path: path.to_owned() };
    let stored = text(path, "digest", digest)?;
    let mut zeroed = file.head().to_vec();
    if stored.len() != DIGITS {
        return Err(damaged());
    }
    let at = digest_at(&zeroed, &stored).ok_or_else(damaged)?;
    zeroed[at..at + DIGITS].fill(b'0');
    let (mut ours, mut whole) = (Sha256::new(), Sha256::new());
    ours.update(&zeroed);
    whole.update(file.head());
    let mut tensors = BTreeMap::new();
    file.for_each(|Entry { name, dtype, shape, .. }, bytes| {
        rayon::join(|| ours.update(&bytes), || whole.update(&bytes));
        tensors.insert(name, (shape, Values::of(dtype, bytes)));
    })?;
    if hex(&ours.finalize()) != stored {
        return Err(damaged());
    }
    Ok((tensors, hex(&whole.finalize())))
}

/// Tensors not yet assigned to a part of the network.
struct Parts<'a> {
    path: &'a Path,
    tensors: Tensors,
}

impl Parts<'_> {
    fn network(mut self, config: Config, plan: &PrecisionPlan) -> Result<Network, QuantError> {
        let path = self.path;
        let bad_plan = |problem: String| QuantError::Metadata { path: path.to_owned(), key: "plan", problem };
        if plan.blocks.len() != config.depth {
            return Err(bad_plan(format!("has {} blocks, not {}", plan.blocks.len(), config.depth)));
        }
        if plan.patch.limit().is_some() {
            return Err(bad_plan("holds the patch embedding in integers, which no kernel runs".into()));
        }
        let integers = |block: &BlockPrecision| block.attention == Products::Int8;
        if Products::cheapest(config.head_dim()) == Products::Float && plan.blocks.iter().any(integers) {
            return Err(bad_plan(format!(
                "holds attention in integers, which take heads of a multiple of 4 channels, not {}",
                config.head_dim()
            )));
        }
        let Config { dim, patch, registers, .. } = config;
        let positions = match config.positions {
            Positions::Rope => Vec::new(),
            Positions::Learned { rows, cols, .. } => self.floats("positions", &[1 + rows * cols, dim])?,
        };
        let rope_periods = match config.positions {
            Positions::Rope => self.positive("rope_periods", &[config.head_dim() / 4])?,
            Positions::Learned { .. } => Vec::new(),
        };
        let network = Network {
            config,
            patch: self.layer("patch", plan.patch, dim, 3 * patch * patch)?,
            cls: self.floats("cls", &[dim])?,
            registers: if registers > 0 { self.floats("registers", &[registers, dim])? } else { Vec::new() },
            positions,
            rope_periods,
            blocks: plan
                .blocks
                .iter()
                .enumerate()
                .map(|(i, plan)| self.block(i, &config, plan))
                .collect::<Result<_, _>>()?,
            norm: self.norm("norm", dim)?,
        };
        match self.tensors.pop_first() {
            Some((name, _)) => Err(self.wrong(&name, "belongs to no part of this architecture".into())),
            None => Ok(network),
        }
    }

    fn block(&mut self, i: usize, config: &Config, plan: &BlockPrecision) -> Result<Block, QuantError> {
        let at = |name: &str| format!("blocks.{i}.{name}");
        let Config { dim, hidden, .. } = *config;
        let mlp = |parts: &mut Self| -> Result<FeedForward<Layer>, QuantError> {
            let up = parts.layer(&at("mlp.up"), plan.up, hidden, dim)?;
            let down = parts.layer(&at("mlp.down"), plan.down, dim, hidden)?;
            Ok(match config.mlp {
                Mlp::Gelu => FeedForward::Gelu { up, down },
                Mlp::SwiGlu => {
                    let gate = parts.layer(&at("mlp.gate"), plan.up, hidden, dim)?;
                    FeedForward::SwiGlu { gate, up, down }
                }
            })
        };
        Ok(Block {
            norm1: self.norm(&at("norm1"), dim)?,
            qkv: self.layer(&at("qkv"), plan.qkv, 3 * dim, dim)?,
            int8_attention: plan.attention == Products::Int8,
            key_centre: self.optional(&at("key_centre"), dim)?,
            proj: self.layer(&at("proj"), plan.proj, dim, dim)?,
            norm2: self.norm(&at("norm2"), dim)?,
            mlp: mlp(self)?,
            hidden_scale: self.optional(&at("hidden_scale"), hidden)?,
        })
    }

    fn layer(
        &mut self,
        name: &str,
        level: WeightPrecision,
        outputs: usize,
        inputs: usize,
    ) -> Result<Layer, QuantError> {
        let weight = format!("{name}.weight");
        let values = self.take(&weight, &[outputs, inputs])?;
        let weight = match (values, level, level.limit()) {
            (Values::F32(values), WeightPrecision::F32, _) => Matrix::F32(self.finite(&weight, values)?),
            (Values::F16(values), WeightPrecision::Fp16, _) => {
                match values.iter().position(|v| !v.is_finite()) {
                    Some(index) => return Err(self.not_finite(&weight, index)),
                    None => Matrix::F16(values),
                }
            }
            (Values::I8(_), _, Some(_)) if inputs > MAX_INPUTS => {
                let problem =
                    format!("has {inputs} inputs, and in int8 a layer may have at most {MAX_INPUTS}");
                return Err(self.wrong(&weight, problem));
            }
            (Values::I8(values), _, Some(limit)) => {
                let past = |v: &i8| v.unsigned_abs() > limit.unsigned_abs();
                // A search that may stop early is not vectorised, and took a quarter of the time of reading a file.
                if values.iter().fold(false, |any, v| any | past(v)) {
                    let index = values.iter().position(past).expect("one of them is");
                    let problem = format!("holds {} at index {index}, past {limit}", values[index]);
                    return Err(self.wrong(&weight, problem));
                }
                Matrix::Int8 { values, scales: self.positive(&format!("{name}.scales"), &[outputs])? }
            }
            _ => return Err(self.wrong(&weight, format!("is not {level}, as the plan has it"))),
        };
        Ok(Layer { weight, bias: self.floats(&format!("{name}.bias"), &[outputs])? })
    }

    fn norm(&mut self, name: &str, dim: usize) -> Result<Norm, QuantError> {
        Ok(Norm {
            weight: self.floats(&format!("{name}.weight"), &[dim])?,
            bias: self.floats(&format!("{name}.bias"), &[dim])?,
        })
    }

    fn take(&mut self, name: &str, expected: &[usize]) -> Result<Values, QuantError> {
        let Some((shape, values)) = self.tensors.remove(name) else {
            return Err(self.wrong(name, "is missing".into()));
        };
        if shape != expected {
            return Err(self.wrong(name, format!("has shape {shape:?}, expected {expected:?}")));
        }
        Ok(values)
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, QuantError> {
        match self.take(name, shape)? {
            Values::F32(values) => self.finite(name, values),
            _ => Err(self.wrong(name, "is not of type F32".into())),
        }
    }

    fn positive(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, QuantError> {
        let values = self.floats(name, shape)?;
        match values.iter().position(|&v| v <= 0.0) {
            Some(index) => {
                Err(self.wrong(name, format!("holds {} at index {index}, not above 0", values[index])))
            }
            None => Ok(values),
        }
    }

    /// A vector that may be absent; empty if so.
    fn optional(&mut self, name: &str, length: usize) -> Result<Vec<f32>, QuantError> {
        if self.tensors.contains_key(name) { self.floats(name, &[length]) } else { Ok(Vec::new()) }
    }

    fn finite(&self, name: &str, values: Vec<f32>) -> Result<Vec<f32>, QuantError> {
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(self.not_finite(name, index)),
            None => Ok(values),
        }
    }

    fn not_finite(&self, name: &str, index: usize) -> QuantError {
        self.wrong(name, format!("holds a NaN or an infinity at index {index}"))
    }

    fn wrong(&self, tensor: &str, problem: String) -> QuantError {
        QuantError::Tensor { path: self.path.to_owned(), tensor: tensor.to_owned(), problem }
    }
}
