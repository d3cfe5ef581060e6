//! From a checkpoint to a model in the precision asked for.

use half::f16;
use rayon::prelude::*;

use super::calibrate::{self, Candidates};
use super::file::{Licence, QuantModel, Source, TOOL};
use super::forward::{DenseBlock, Forward, check_finite};
use super::report::Cosines;
use super::search::{self, Errors, Traces};
use super::{Agreement, Float, Layer, Matrix, MlpLayers, Network, Plan, Precision, QuantError, Report};
use crate::checkpoint::{Model, Naming};
use crate::vit::{Size, Weights};

/// Images on which each unit is measured by itself.
const SEARCH_IMAGES: usize = 4;

/// What the mean of 1 - cosine may come to in the search, of CLS and of patch tokens.
const BUDGET: f64 = 0.0007;

/// How a budget shrinks when the plan that it gave is not accurate enough.
const TIGHTEN: f64 = 0.75;

/// The accuracy aimed at on the calibration images: the product's bars (means above 0.999, CLS never below 0.997, one
/// patch in a hundred below 0.99) with a margin for images that calibration did not see.
const TARGET_MEAN: f64 = 0.9992;
const TARGET_CLS_MIN: f64 = 0.998;
const TARGET_PATCH_P1: f64 = 0.993;

/// Images on which a conversion is calibrated and measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// What they are: `phantoms` or `images`.
    pub from: String,
    /// Each `[3, height, width]`, preprocessed; at least one.
    pub images: Vec<Vec<f32>>,
    /// Their size.
    pub size: Size,
}

/// Hears how far a conversion has come.
pub trait Progress: Sync {
    /// A stage of `steps` steps begins.
    fn stage(&self, name: &str, steps: usize);
    /// A step of it is done.
    fn step(&self);
}

/// Hears nothing.
impl Progress for () {
    fn stage(&self, _: &str, _: usize) {}
    fn step(&self) {}
}

/// Converts `model` to `precision`, and measures on `calibration` what that cost. Work runs on the current rayon pool;
/// the result does not depend on its size.
///
/// # Errors
/// [`QuantError`]: no images, a size that does not suit the model, or a layer whose output is not finite.
pub fn convert(
    model: Model,
    precision: Precision,
    calibration: &Calibration,
    licence_text: Option<String>,
    progress: &dyn Progress,
) -> Result<QuantModel, QuantError> {
    if calibration.images.is_empty() {
        return Err(QuantError::NoImages);
    }
    calibration.size.grid(model.config.patch)?;
    let licence = model.card.map(|card| Licence {
        name: card.licence.name.clone(),
        url: card.licence.url.clone(),
        text: licence_text,
    });
    let source = Source {
        file: model.source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: model.sha256,
        naming: model.naming.to_string(),
        untrained: model.naming == Naming::Seeded,
    };
    let mut weights = model.weights;
    weights.fold_layer_scale();
    let reference = Network::from_weights(&model.config, weights.clone(), Float::F32);
    let (network, report) = match precision {
        Precision::F32 => (reference.clone(), measure(&reference, &reference, calibration, progress)?),
        Precision::Fp16 => {
            let network = half(&reference);
            let report = measure(&reference, &network, calibration, progress)?;
            (network, report)
        }
        Precision::Int8 => int8(&reference, &weights, calibration, progress)?,
    };
    Ok(QuantModel {
        name: model.name,
        plan: Plan::of(&network),
        network,
        preprocess: model.preprocess,
        precision,
        source,
        licence,
        report,
        tool: TOOL.to_owned(),
        sha256: String::new(),
        file_bytes: 0,
    })
}

/// The cheapest plan that keeps the accuracy aimed at, or, where none does, the one without integers.
fn int8(
    reference: &Network,
    weights: &Weights,
    calibration: &Calibration,
    progress: &dyn Progress,
) -> Result<(Network, Report), QuantError> {
    let config = &reference.config;
    let forward = Forward::new(reference, calibration.size)?;
    let mut streams: Vec<Vec<f32>> =
        calibration.images.par_iter().map(|pixels| forward.embed(reference, pixels)).collect();
    let count = streams.len().min(SEARCH_IMAGES);
    let some = |streams: &[Vec<f32>]| -> Vec<Vec<f32>> {
        (0..count).map(|i| streams[i * streams.len() / count].clone()).collect()
    };
    let mut traces = Traces { streams: Vec::new(), features: Vec::new() };
    let mut candidates = Vec::with_capacity(config.depth);
    progress.stage("rounding blocks", config.depth);
    for (i, (block, weights)) in reference.blocks.iter().zip(&weights.blocks).enumerate() {
        traces.streams.push(some(&streams));
        candidates.push(calibrate::candidates(&forward, config, i, block, weights, &mut streams)?);
        progress.step();
    }
    traces.features = some(&streams).iter().map(|x| forward.norm(&reference.norm, x)).collect();

    let mut units = search::units(&forward, reference, &candidates, &traces, progress);
    let mut budget = Errors { cls: BUDGET, patches: BUDGET };
    loop {
        let more = search::spend(&mut units, &budget);
        let network = assemble(reference, &candidates, &search::plan(&units, config.depth));
        let mut report = measure(reference, &network, calibration, progress)?;
        report.meets_target = meets_target(&report.total);
        if report.meets_target || !more {
            return Ok((network, report));
        }
        // Whichever is missed is tightened.
        let Agreement { cls, patches } = report.total;
        if cls.mean < TARGET_MEAN || cls.min < TARGET_CLS_MIN {
            budget.cls *= TIGHTEN;
        }
        if patches.mean < TARGET_MEAN || patches.p1 < TARGET_PATCH_P1 {
            budget.patches *= TIGHTEN;
        }
    }
}

fn meets_target(total: &Agreement) -> bool {
    let Agreement { cls, patches } = total;
    cls.mean >= TARGET_MEAN
        && cls.min >= TARGET_CLS_MIN
        && patches.mean >= TARGET_MEAN
        && patches.p1 >= TARGET_PATCH_P1
}

/// The network of `plan`.
fn assemble(reference: &Network, candidates: &[Candidates], plan: &Plan) -> Network {
    let mut patch = reference.patch.clone();
    half_layer(&mut patch);
    Network {
        config: reference.config,
        patch,
        cls: reference.cls.clone(),
        registers: reference.registers.clone(),
        positions: reference.positions.clone(),
        rope_periods: reference.rope_periods.clone(),
        blocks: candidates.iter().zip(&plan.blocks).map(|(block, plan)| block.at(plan)).collect(),
        norm: reference.norm.clone(),
    }
}

/// `reference` with its matrices in half precision; one that exceeds its range (65504) stays in f32.
fn half(reference: &Network) -> Network {
    let mut network = reference.clone();
    half_layer(&mut network.patch);
    for block in &mut network.blocks {
        half_layer(&mut block.qkv);
        half_layer(&mut block.proj);
        match &mut block.mlp {
            MlpLayers::Gelu { up, down } => [up, down].into_iter().for_each(half_layer),
            MlpLayers::SwiGlu { gate, up, down } => [gate, up, down].into_iter().for_each(half_layer),
        }
    }
    network
}

pub(super) fn half_layer(layer: &mut Layer) {
    if let Matrix::F32(values) = &layer.weight {
        let half: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
        if half.iter().all(|v| v.is_finite()) {
            layer.weight = Matrix::F16(half);
        }
    }
}

/// Compares two networks on the calibration images.
fn measure(
    reference: &Network,
    network: &Network,
    calibration: &Calibration,
    progress: &dyn Progress,
) -> Result<Report, QuantError> {
    let Calibration { from, images, size } = calibration;
    progress.stage("measuring", images.len());
    let forward = Forward::new(reference, *size)?;
    let reference_blocks: Vec<DenseBlock> = reference.blocks.iter().map(DenseBlock::of).collect();
    let network_blocks: Vec<DenseBlock> = network.blocks.iter().map(DenseBlock::of).collect();
    let (dim, prefix) = (reference.config.dim, reference.config.prefix());
    let compare = |(image, pixels): (usize, &Vec<f32>)| {
        let (mut a, mut b) = (forward.embed(reference, pixels), forward.embed(network, pixels));
        let mut cosines = vec![Cosines::default(); reference_blocks.len()];
        for (i, cosines) in cosines.iter_mut().enumerate() {
            forward.block(&reference_blocks[i], &mut a, &mut |_, _| {});
            forward.block(&network_blocks[i], &mut b, &mut |_, _| {});
            check_finite(&a, || format!("block {i}"), image)?;
            cosines.add(&forward.norm(&reference.norm, &a), &forward.norm(&network.norm, &b), dim, prefix);
        }
        progress.step();
        Ok(cosines)
    };
    let images_cosines =
        images.par_iter().enumerate().map(compare).collect::<Result<Vec<_>, QuantError>>()?;
    let mut cosines = vec![Cosines::default(); reference_blocks.len()];
    for image in &images_cosines {
        cosines.iter_mut().zip(image).for_each(|(all, one)| all.append(one));
    }
    let blocks: Vec<Agreement> = cosines.into_iter().map(Cosines::agreement).collect();
    let total = *blocks.last().expect("a network has blocks");
    Ok(Report {
        images_from: from.clone(),
        images: images.len(),
        size: size.to_string(),
        blocks,
        total,
        meets_target: true,
    })
}
