//! From a checkpoint to a model in the requested precision.

use std::time::Instant;

use rayon::prelude::*;

use super::calibrate::{self, Candidates};
use super::cosines::Cosines;
use super::error::ConvertError;
use super::fake_quant::{DenseBlock, Forward, check_finite};
use super::progress::Progress;
use super::search::{self, Errors, Traces};
#[cfg(feature = "onnx")]
use crate::checkpoint::GraphParts;
use crate::checkpoint::{Model, Naming};
use crate::encoder::{self, Encoder, Workspace};
use crate::kernels::Isa;
use crate::kernels::linear::MAX_INPUTS;
use crate::kernels::pool::Pool;
use crate::parallel::in_pool;
use crate::quant::file::{ConvertedModel, Licence, Source, TOOL};
use crate::quant::{
    Agreement, BlockPrecision, ConversionReport, Network, Precision, PrecisionPlan, Products,
};
use crate::vit::{Config, Size};

/// Number of images on which each unit is measured on its own.
const SEARCH_IMAGES: usize = 4;

/// Upper bound on the mean of 1 - cosine in the search. It is tighter for CLS, which nearest-neighbour search uses: on
/// BUSI, whose images are alike, 2% of the votes of 20 neighbours change at 0.0004.
const BUDGET: Errors = Errors { cls: 0.0004, patches: 0.0007 };

/// Factor applied to a budget when its plan is not accurate enough.
const TIGHTEN: f64 = 0.75;

/// Accuracy target on the calibration images: the product's requirements (means above 0.999, CLS never below 0.997, at
/// most one patch in a hundred below 0.99) with a margin for images outside the calibration set.
const TARGET_CLS_MEAN: f64 = 0.9996;
const TARGET_PATCH_MEAN: f64 = 0.9992;
const TARGET_CLS_MIN: f64 = 0.998;
const TARGET_PATCH_P1: f64 = 0.993;

/// Images on which a conversion is calibrated and measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Kind of images: `phantoms` or `images`.
    pub from: String,
    /// Each `[3, height, width]`, preprocessed; at least one.
    pub images: Vec<Vec<f32>>,
    /// Size of each image.
    pub size: Size,
}

/// Converts `model` to `precision`, and measures the loss of accuracy on `calibration` with the kernels of `isa`. Runs
/// on the caller's rayon pool if it has one; the result depends neither on the pool's size nor on `isa`.
///
/// # Errors
/// [`ConvertError`]: there are no images, a layer is too wide for integers, the size does not suit the model, or a
/// layer's output is not finite.
pub fn convert(
    #[cfg_attr(not(feature = "onnx"), allow(unused_mut, reason = "a graph around the backbone changes it"))]
    mut model: Model,
    precision: Precision,
    calibration: &Calibration,
    licence_text: Option<String>,
    isa: Isa,
    progress: &dyn Progress,
) -> Result<ConvertedModel, ConvertError> {
    if calibration.images.is_empty() {
        return Err(ConvertError::NoImages);
    }
    #[cfg(feature = "onnx")]
    let (graph, calibration) = around(&mut model, calibration)?;
    #[cfg(not(feature = "onnx"))]
    let (graph, calibration) = (None, calibration.clone());
    let calibration = &calibration;
    calibration.size.grid(model.config.patch)?;
    let Config { hidden, .. } = model.config;
    if precision == Precision::Int8 && hidden > MAX_INPUTS {
        return Err(ConvertError::TooWide { layer: "mlp.down", inputs: hidden });
    }
    // Seeded weights share a card's architecture but none of its weights, so its licence does not apply.
    let licence = model.card.filter(|_| model.naming != Naming::Seeded).map(|card| Licence {
        name: card.licence.name.clone(),
        url: card.licence.url.clone(),
        text: licence_text,
    });
    let source = Source {
        file: model.source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: model.sha256,
        naming: model.naming.to_string(),
        untrained: model.naming == Naming::Seeded,
        assumed: model.assumed.iter().map(ToString::to_string).collect(),
    };
    let reference = Network::from_weights(&model.config, model.weights);
    let (network, report) = in_pool(|| {
        let evaluator = Evaluator::new(&reference, calibration, isa)?;
        let network = match precision {
            Precision::F32 => reference.clone(),
            Precision::Fp16 => reference.halved(),
            Precision::Int8 => int8(&evaluator, progress)?,
        };
        let report = evaluator.report(&network, progress)?;
        Ok::<_, ConvertError>((network, report))
    })?;
    Ok(ConvertedModel {
        name: model.name,
        plan: PrecisionPlan::of(&network),
        network,
        preprocess: model.preprocess,
        precision,
        source,
        licence,
        graph,
        report,
        attestation: None,
        tool: TOOL.to_owned(),
    })
}

/// The graph around the backbone as it is stored, and the images that the backbone sees; positions that the graph
/// resamples become parameters.
#[cfg(feature = "onnx")]
fn around(
    model: &mut Model,
    calibration: &Calibration,
) -> Result<(Option<GraphParts>, Calibration), ConvertError> {
    let Some(graph) = &model.graph else { return Ok((None, calibration.clone())) };
    let (images, size) = graph.seen(&calibration.images, calibration.size)?;
    graph.place(&mut model.config, &mut model.weights, calibration.size)?;
    Ok((Some(graph.stored()), Calibration { images, size, from: calibration.from.clone() }))
}

/// Builds the cheapest plan that meets the accuracy target. If none does, the result has no integer layers left.
fn int8(evaluator: &Evaluator, progress: &dyn Progress) -> Result<Network, ConvertError> {
    let Evaluator { reference, calibration, forward, .. } = evaluator;
    let config = &reference.config;
    let mut streams: Vec<Vec<f32>> =
        calibration.images.par_iter().map(|pixels| forward.embed(reference, pixels)).collect();
    let count = streams.len().min(SEARCH_IMAGES);
    let some = |streams: &[Vec<f32>]| -> Vec<Vec<f32>> {
        (0..count).map(|i| streams[i * streams.len() / count].clone()).collect()
    };
    let mut traces = Traces { streams: Vec::new(), features: Vec::new() };
    let mut candidates = Vec::with_capacity(config.depth);
    progress.stage("rounding blocks", config.depth);
    let start = Instant::now();
    for (i, block) in reference.blocks.iter().enumerate() {
        traces.streams.push(some(&streams));
        candidates.push(calibrate::candidates(forward, config, i, block, &mut streams)?);
        progress.step();
    }
    traces.features = some(&streams).iter().map(|x| forward.norm(&reference.norm, x)).collect();

    log::info!("rounded {} blocks in {:.1} s", config.depth, start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut budget = BUDGET;
    let cheapest = BlockPrecision { attention: Products::cheapest(config.head_dim()), ..search::CHEAPEST };
    if cheapest.attention == Products::Float {
        log::warn!(
            "attention stays in float: a head has {} channels, and integers take a multiple of 4",
            config.head_dim()
        );
    }
    let mut units = search::units(forward, reference, &candidates, &traces, &cheapest, &budget, progress);
    log::info!("measured {} parts in {:.1} s", units.len(), start.elapsed().as_secs_f64());
    loop {
        let more = search::spend(&mut units, &budget);
        log::info!("planned within {budget:?}");
        let network = assemble(reference, &candidates, &search::plan(&units, config.depth, cheapest));
        let total = evaluator.total(&network)?;
        if meets_target(&total) || !more {
            return Ok(network);
        }
        // Tighten each budget whose target is missed.
        let Agreement { cls, patches } = total;
        if cls.mean < TARGET_CLS_MEAN || cls.min < TARGET_CLS_MIN {
            budget.cls *= TIGHTEN;
        }
        if patches.mean < TARGET_PATCH_MEAN || patches.p1 < TARGET_PATCH_P1 {
            budget.patches *= TIGHTEN;
        }
    }
}

fn meets_target(total: &Agreement) -> bool {
    let Agreement { cls, patches } = total;
    cls.mean >= TARGET_CLS_MEAN
        && cls.min >= TARGET_CLS_MIN
        && patches.mean >= TARGET_PATCH_MEAN
        && patches.p1 >= TARGET_PATCH_P1
}

/// Assembles the network that `plan` describes.
fn assemble(reference: &Network, candidates: &[Candidates], plan: &PrecisionPlan) -> Network {
    let mut patch = reference.patch.clone();
    patch.halve();
    let blocks = reference.blocks.iter().zip(candidates).zip(&plan.blocks);
    Network {
        config: reference.config,
        patch,
        cls: reference.cls.clone(),
        registers: reference.registers.clone(),
        positions: reference.positions.clone(),
        rope_periods: reference.rope_periods.clone(),
        blocks: blocks.map(|((block, candidates), plan)| candidates.at(block, plan)).collect(),
        norm: reference.norm.clone(),
    }
}

/// The f32 reference that networks are compared with. Keeping the residual stream of every block would take too much
/// memory, so only the features are kept.
struct Evaluator<'a> {
    reference: &'a Network,
    calibration: &'a Calibration,
    forward: Forward,
    /// `[tokens, dim]`, indexed by image.
    features: Vec<Vec<f32>>,
}

impl<'a> Evaluator<'a> {
    fn new(
        reference: &'a Network,
        calibration: &'a Calibration,
        isa: Isa,
    ) -> Result<Evaluator<'a>, ConvertError> {
        let forward = Forward::new(reference, calibration.size, isa)?;
        let blocks: Vec<DenseBlock> = reference.blocks.iter().map(DenseBlock::of).collect();
        let features = |(image, pixels): (usize, &Vec<f32>)| {
            let mut x = forward.embed(reference, pixels);
            for (i, block) in blocks.iter().enumerate() {
                forward.block(block, &mut x, &mut |_, _| {});
                check_finite(&x, || format!("block {i}"), image)?;
            }
            Ok(forward.norm(&reference.norm, &x))
        };
        let features =
            calibration.images.par_iter().enumerate().map(features).collect::<Result<_, ConvertError>>()?;
        Ok(Evaluator { reference, calibration, forward, features })
    }

    /// Agreement of the features of `network`, computed by the device's kernels, with f32.
    fn total(&self, network: &Network) -> Result<Agreement, ConvertError> {
        let Config { dim, .. } = network.config;
        let encoder = Encoder::new(network.clone(), self.forward.isa);
        let plan = encoder::Plan::new(&encoder, self.calibration.size, 1)?;
        let session = || {
            let pool = Pool::new(1).expect("a pool of the calling thread alone starts none");
            let mut workspace = Workspace::default();
            workspace.reserve(&encoder, &plan).map(|()| (workspace, pool))
        };
        let compare = |(pixels, features): (&Vec<f32>, &Vec<f32>)| {
            let (mut workspace, mut pool) = session()?;
            let tokens = encoder.run(&plan, &mut workspace, &mut pool, pixels)?;
            let mut cosines = Cosines::default();
            cosines.add(features, tokens, dim, network.config.prefix());
            Ok(cosines)
        };
        let images = self.calibration.images.par_iter().zip(&self.features).map(compare);
        let images = images.collect::<Result<Vec<_>, ConvertError>>()?;
        let agreement = joined(&images).agreement();
        log::info!("measured on {}: {agreement:?}", encoder.isa());
        Ok(agreement)
    }

    /// Agreement with f32 of the residual stream of `network` after each block, through the final LayerNorm. Each block
    /// runs on all images before the next, so that only one block is dequantised at a time.
    fn blocks(&self, network: &Network, progress: &dyn Progress) -> Vec<Agreement> {
        let Config { dim, depth, .. } = network.config;
        let (reference, forward) = (self.reference, &self.forward);
        progress.stage("measuring", depth);
        let embed = |network: &Network| -> Vec<Vec<f32>> {
            self.calibration.images.par_iter().map(|pixels| forward.embed(network, pixels)).collect()
        };
        let (mut exact, mut rounded) = (embed(reference), embed(network));
        let compare = |(exact_block, rounded_block)| {
            let (exact_block, rounded_block) = (DenseBlock::of(exact_block), DenseBlock::of(rounded_block));
            let compare = |(a, b): (&mut Vec<f32>, &mut Vec<f32>)| {
                forward.block(&exact_block, a, &mut |_, _| {});
                forward.block(&rounded_block, b, &mut |_, _| {});
                let (a, b) = (forward.norm(&reference.norm, a), forward.norm(&network.norm, b));
                let mut cosines = Cosines::default();
                cosines.add(&a, &b, dim, network.config.prefix());
                cosines
            };
            let images: Vec<Cosines> = exact.par_iter_mut().zip(&mut rounded).map(compare).collect();
            progress.step();
            joined(&images).agreement()
        };
        reference.blocks.iter().zip(&network.blocks).map(compare).collect()
    }

    fn report(&self, network: &Network, progress: &dyn Progress) -> Result<ConversionReport, ConvertError> {
        let Calibration { from, images, size } = self.calibration;
        let total = self.total(network)?;
        Ok(ConversionReport {
            images_from: from.clone(),
            images: images.len(),
            size: size.to_string(),
            blocks: self.blocks(network, progress),
            total,
            outputs: Vec::new(),
            meets_target: meets_target(&total),
        })
    }
}

fn joined<'a>(cosines: impl IntoIterator<Item = &'a Cosines>) -> Cosines {
    cosines.into_iter().fold(Cosines::default(), |mut all, one| {
        all.append(one);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_layers_that_integers_cannot_sum() {
        let mut model = Model::seeded("deit-tiny", 1).unwrap();
        model.config.hidden = MAX_INPUTS + 1;
        let size = Size::square(32);
        let calibration =
            Calibration { from: "images".into(), images: vec![vec![0.0; 3 * size.area()]], size };
        let error =
            convert(model, Precision::Int8, &calibration, None, Isa::best(), &()).unwrap_err().to_string();
        assert!(error.contains("66001 inputs") && error.contains("convert to fp16"), "{error}");
    }
}
