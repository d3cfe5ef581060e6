//! The sensitivity search: which parts of which blocks need more than int8.
//!
//! A unit is one layer of a block (with SwiGLU, gate and up together) or its attention. Its error at a precision is its
//! effect on the features when it alone has that precision and all else is f32: the mean over tokens of 1 - cosine.
//! Errors of units add up (on DeiT-Ti their sum is within 5% of the joint error), so the search spends time where it
//! reduces the error most.

use rayon::prelude::*;

use super::calibrate::Candidates;
use super::cosines::cosine;
use super::fake_quant::{DenseBlock, Forward};
use super::progress::Progress;
use crate::quant::{BlockPrecision, Network, PrecisionPlan, Products, WeightPrecision};
use crate::vit::{Config, MatMul};

/// The cheapest precision everywhere.
pub(super) const CHEAPEST: BlockPrecision = BlockPrecision {
    qkv: WeightPrecision::Int7,
    attention: Products::Int8,
    proj: WeightPrecision::Int7,
    up: WeightPrecision::Int7,
    down: WeightPrecision::Int7,
};

/// f32 everywhere.
const EXACT: BlockPrecision = BlockPrecision {
    qkv: WeightPrecision::F32,
    attention: Products::Float,
    proj: WeightPrecision::F32,
    up: WeightPrecision::F32,
    down: WeightPrecision::F32,
};

/// Mean of 1 - cosine, for CLS tokens and for patch tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    pub cls: f64,
    pub patches: f64,
}

/// Time of one multiply-accumulate, relative to a 7-bit product (AVX2; elsewhere 8 bits cost no more than 7).
const INT7_TIME: f64 = 1.0;
const INT8_TIME: f64 = 1.3;
const FLOAT_TIME: f64 = 2.0;

/// A precision of a part, with its error and time.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// For attention, Int7 stands for integers and Fp16 for floats.
    level: WeightPrecision,
    error: Errors,
    time: f64,
}

/// A part of a block, with the precisions available to it, cheapest first.
pub(super) struct Unit {
    block: usize,
    part: MatMul,
    choices: Vec<Choice>,
    chosen: usize,
}

fn set_level(plan: &mut BlockPrecision, part: MatMul, level: WeightPrecision) {
    match part {
        MatMul::Qkv => plan.qkv = level,
        MatMul::Proj => plan.proj = level,
        MatMul::Up => plan.up = level,
        MatMul::Down => plan.down = level,
        MatMul::Attention => {
            plan.attention = if level == WeightPrecision::Int7 { Products::Int8 } else { Products::Float };
        }
    }
}

/// f32 data for the search: residual streams of some images before each block, and their features.
pub(super) struct Traces {
    /// `[tokens, dim]`, indexed by block, then by image.
    pub streams: Vec<Vec<Vec<f32>>>,
    /// `[tokens, dim]`, indexed by image.
    pub features: Vec<Vec<f32>>,
}

/// Measures each unit on its own: at its cheapest precision, and also at Int8 if its error matters to `budget`.
/// Attention that cannot run in integers is not a unit.
pub(super) fn units(
    forward: &Forward,
    reference: &Network,
    candidates: &[Candidates],
    traces: &Traces,
    cheapest: &BlockPrecision,
    budget: &Errors,
    progress: &dyn Progress,
) -> Vec<Unit> {
    let config = &reference.config;
    let bench = Bench { forward, reference, candidates, traces };
    let tokens = traces.features[0].len() / config.dim;
    let fixed = |part: &MatMul| *part == MatMul::Attention && cheapest.attention == Products::Float;
    let parts: Vec<MatMul> = MatMul::ALL.into_iter().filter(|part| !fixed(part)).collect();
    let of_block = |block| parts.iter().map(move |&part| (block, part, WeightPrecision::Int7));
    let all: Vec<Task> = (0..config.depth).flat_map(of_block).collect();
    progress.stage("measuring parts", all.len());
    let unit = |((block, part, _), error): (Task, Errors)| {
        let macs = config.macs_of(part, tokens) as f64;
        let time = if part == MatMul::Attention { INT8_TIME } else { INT7_TIME };
        let cheapest = Choice { level: WeightPrecision::Int7, error, time: time * macs };
        // Rounding to fp16 has a thousandth of the error of int8.
        let float =
            Choice { level: WeightPrecision::Fp16, error: Errors::default(), time: FLOAT_TIME * macs };
        Unit { block, part, choices: vec![cheapest, float], chosen: 0 }
    };
    let mut units: Vec<Unit> = all.iter().copied().zip(bench.errors(&all, progress)).map(unit).collect();

    let total = units.iter().fold(Errors::default(), |sum, unit| sum.plus(&unit.error(), 1.0));
    if total.within(budget) {
        return units;
    }
    // Units whose error is below a quarter of an equal share of the budget are not measured at Int8.
    let share = Errors::default().plus(budget, 0.25 / units.len() as f64);
    let which = |unit: &Unit| unit.part != MatMul::Attention && !unit.error().within(&share);
    let chosen: Vec<usize> = (0..units.len()).filter(|&u| which(&units[u])).collect();
    let wider: Vec<Task> =
        chosen.iter().map(|&u| (units[u].block, units[u].part, WeightPrecision::Int8)).collect();
    progress.stage("measuring int8", wider.len());
    for (u, error) in chosen.into_iter().zip(bench.errors(&wider, progress)) {
        let time = INT8_TIME * config.macs_of(units[u].part, tokens) as f64;
        units[u].choices.insert(1, Choice { level: WeightPrecision::Int8, error, time });
    }
    units
}

/// A part of a block, and the precision to measure it at.
type Task = (usize, MatMul, WeightPrecision);

/// The inputs of the unit measurements.
struct Bench<'a> {
    forward: &'a Forward,
    reference: &'a Network,
    candidates: &'a [Candidates],
    traces: &'a Traces,
}

impl Bench<'_> {
    fn errors(&self, tasks: &[Task], progress: &dyn Progress) -> Vec<Errors> {
        let Bench { forward, reference, candidates, traces } = *self;
        let dense: Vec<DenseBlock> = reference.blocks.iter().map(DenseBlock::of).collect();
        let measure = |&(block, part, level): &Task| {
            let mut plan = EXACT;
            set_level(&mut plan, part, level);
            let changed = candidates[block].at(&reference.blocks[block], &plan);
            let changed = DenseBlock::of(&changed);
            let mut mean = Errors::default();
            for (stream, features) in traces.streams[block].iter().zip(&traces.features) {
                let mut x = stream.clone();
                forward.block(&changed, &mut x, &mut |_, _| {});
                dense[block + 1..].iter().for_each(|block| forward.block(block, &mut x, &mut |_, _| {}));
                let e = errors_of(&forward.norm(&reference.norm, &x), features, &reference.config);
                mean = mean.plus(&e, 1.0 / traces.features.len() as f64);
            }
            progress.step();
            let Errors { cls, patches } = mean;
            log::debug!(
                "block {block} {part:?} at {level}: 1 - cosine {cls:.2e} of CLS, {patches:.2e} of patches"
            );
            mean
        };
        tasks.par_iter().map(measure).collect()
    }
}

/// Raises precisions until the sum of the units' errors is within `budget`, choosing the largest error reduction per
/// added time first. Returns false if nothing is left to raise.
pub(super) fn spend(units: &mut [Unit], budget: &Errors) -> bool {
    loop {
        let total = units.iter().fold(Errors::default(), |sum, unit| sum.plus(&unit.error(), 1.0));
        // Only an error that exceeds its budget counts.
        let weight = |total: f64, budget: f64| if total > budget { 1.0 / budget.max(1e-12) } else { 0.0 };
        let (cls, patches) = (weight(total.cls, budget.cls), weight(total.patches, budget.patches));
        if cls == 0.0 && patches == 0.0 {
            return true;
        }
        let mut best: Option<(f64, usize, usize)> = None;
        for (u, unit) in units.iter().enumerate() {
            let now = unit.choices[unit.chosen];
            for (c, choice) in unit.choices.iter().enumerate().skip(unit.chosen + 1) {
                let gain = cls * (now.error.cls - choice.error.cls)
                    + patches * (now.error.patches - choice.error.patches);
                let rate = gain / (choice.time - now.time);
                if gain > 0.0 && best.is_none_or(|(most, ..)| rate > most) {
                    best = Some((rate, u, c));
                }
            }
        }
        match best {
            Some((_, u, c)) => units[u].chosen = c,
            None => return false,
        }
    }
}

/// The plan that the units have arrived at. Parts that are not units are as in `cheapest`.
pub(super) fn plan(units: &[Unit], depth: usize, cheapest: BlockPrecision) -> PrecisionPlan {
    let mut blocks = vec![cheapest; depth];
    for unit in units {
        set_level(&mut blocks[unit.block], unit.part, unit.choices[unit.chosen].level);
    }
    PrecisionPlan { patch: WeightPrecision::Fp16, blocks }
}

impl Unit {
    fn error(&self) -> Errors {
        self.choices[self.chosen].error
    }
}

impl Errors {
    fn within(&self, budget: &Errors) -> bool {
        self.cls <= budget.cls && self.patches <= budget.patches
    }

    fn plus(&self, other: &Errors, factor: f64) -> Errors {
        Errors { cls: self.cls + factor * other.cls, patches: self.patches + factor * other.patches }
    }
}

/// Errors of one image: of its CLS token, and the mean over its patch tokens.
fn errors_of(x: &[f32], features: &[f32], config: &Config) -> Errors {
    let (dim, prefix) = (config.dim, config.prefix());
    let rows = x[prefix * dim..].chunks_exact(dim).zip(features[prefix * dim..].chunks_exact(dim));
    let patches = rows.len() as f64;
    let sum: f64 = rows.map(|(a, b)| 1.0 - cosine(a, b)).sum();
    Errors { cls: 1.0 - cosine(&x[..dim], &features[..dim]), patches: sum / patches }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(part: MatMul, errors: [f64; 2], macs: f64) -> Unit {
        let choice = |level, error: f64, time| Choice {
            level,
            error: Errors { cls: error / 2.0, patches: error },
            time: time * macs,
        };
        let choices = vec![
            choice(WeightPrecision::Int7, errors[0], INT7_TIME),
            choice(WeightPrecision::Int8, errors[1], INT8_TIME),
            choice(WeightPrecision::Fp16, 0.0, FLOAT_TIME),
        ];
        Unit { block: 0, part, choices, chosen: 0 }
    }

    #[test]
    fn time_is_spent_where_it_buys_most() {
        let units = || {
            vec![
                unit(MatMul::Qkv, [4e-4, 1e-4], 3.0),
                unit(MatMul::Proj, [4e-4, 1e-4], 1.0),
                unit(MatMul::Down, [1e-5, 9e-6], 4.0),
            ]
        };
        let levels = |budget: f64| {
            let mut units = units();
            let reached = spend(&mut units, &Errors { cls: budget, patches: budget });
            let BlockPrecision { qkv, proj, down, .. } = plan(&units, 1, CHEAPEST).blocks[0];
            (reached, [qkv, proj, down])
        };
        use WeightPrecision::{Fp16, Int7, Int8};
        assert_eq!(levels(1e-3), (true, [Int7, Int7, Int7]), "cheap enough as it is");
        assert_eq!(levels(6e-4), (true, [Int7, Int8, Int7]), "proj is a third of qkv's time");
        assert_eq!(levels(3e-4), (true, [Int8, Int8, Int7]));
        assert_eq!(levels(1e-5), (true, [Fp16, Fp16, Int7]));
        assert_eq!(levels(0.0), (true, [Fp16, Fp16, Fp16]));
        assert_eq!(levels(-1.0), (false, [Fp16, Fp16, Fp16]), "nothing is left to raise");
    }
}
