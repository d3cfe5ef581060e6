//! The sensitivity search: which part of which block is worth more than int8.
//!
//! A unit is one layer of a block (with SwiGLU, gate and up together) or its attention. Its error at a level is what it
//! does to the features when it alone is at that level and all else is f32: the mean over tokens of 1 - cosine. Errors
//! of units add up (on DeiT-Ti their sum is within 5% of the joint error), so a plan is found by spending time where it
//! buys most.

use rayon::prelude::*;

use super::calibrate::Candidates;
use super::convert::Progress;
use super::forward::{DenseBlock, Forward};
use super::report::cosine;
use super::{BlockPlan, Level, Network, Plan, Products};
use crate::vit::{Config, Mlp};

/// Everything as cheap as it gets.
pub(super) const CHEAPEST: BlockPlan = BlockPlan {
    qkv: Level::Int7,
    attention: Products::Int8,
    proj: Level::Int7,
    up: Level::Int7,
    down: Level::Int7,
};

/// Nothing rounded.
const EXACT: BlockPlan = BlockPlan {
    qkv: Level::F32,
    attention: Products::Float,
    proj: Level::F32,
    up: Level::F32,
    down: Level::F32,
};

/// 1 - cosine: of CLS tokens, and of patch tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    pub cls: f64,
    pub patches: f64,
}

/// A part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Qkv,
    Attention,
    Proj,
    Up,
    Down,
}

const PARTS: [Part; 5] = [Part::Qkv, Part::Attention, Part::Proj, Part::Up, Part::Down];

/// Time of one multiply-accumulate, that of a 7-bit product being 1 (AVX2; elsewhere 8 bits cost no more than 7).
const INT7_TIME: f64 = 1.0;
const INT8_TIME: f64 = 1.3;
const FLOAT_TIME: f64 = 2.0;

/// A level of a part: its error, and its time.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Of attention, Int7 stands for integers and Fp16 for floats.
    level: Level,
    error: Errors,
    time: f64,
}

/// A part of a block, with the levels that it may have, the cheapest first.
pub(super) struct Unit {
    block: usize,
    part: Part,
    choices: Vec<Choice>,
    chosen: usize,
}

fn set_level(plan: &mut BlockPlan, part: Part, level: Level) {
    match part {
        Part::Qkv => plan.qkv = level,
        Part::Proj => plan.proj = level,
        Part::Up => plan.up = level,
        Part::Down => plan.down = level,
        Part::Attention => {
            plan.attention = if level == Level::Int7 { Products::Int8 } else { Products::Float };
        }
    }
}

/// What the search needs to know of the f32 network: some images' residual streams before each block, and features.
pub(super) struct Traces {
    /// By block, then by image: `[tokens, dim]`.
    pub streams: Vec<Vec<Vec<f32>>>,
    /// By image: `[tokens, dim]`.
    pub features: Vec<Vec<f32>>,
}

/// Measures every unit by itself.
pub(super) fn units(
    forward: &Forward,
    reference: &Network,
    candidates: &[Candidates],
    traces: &Traces,
    progress: &dyn Progress,
) -> Vec<Unit> {
    let config = &reference.config;
    let dense: Vec<DenseBlock> = reference.blocks.iter().map(DenseBlock::of).collect();
    let mut tasks = Vec::new();
    for block in 0..config.depth {
        for part in PARTS {
            tasks.push((block, part, Level::Int7));
            if part != Part::Attention {
                tasks.push((block, part, Level::Int8));
            }
        }
    }
    progress.stage("searching the plan", tasks.len());
    let errors: Vec<Errors> = tasks
        .par_iter()
        .map(|&(block, part, level)| {
            let mut plan = EXACT;
            set_level(&mut plan, part, level);
            let changed = candidates[block].at(&plan);
            let changed = DenseBlock::of(&changed);
            let mut sum = Errors::default();
            for (stream, features) in traces.streams[block].iter().zip(&traces.features) {
                let mut x = stream.clone();
                forward.block(&changed, &mut x, &mut |_, _| {});
                dense[block + 1..].iter().for_each(|block| forward.block(block, &mut x, &mut |_, _| {}));
                let e = errors_of(&forward.norm(&reference.norm, &x), features, config);
                sum = sum.plus(&e, 1.0 / traces.features.len() as f64);
            }
            progress.step();
            sum
        })
        .collect();
    let tokens = traces.features[0].len() / config.dim;
    let mut units: Vec<Unit> = Vec::new();
    for ((block, part, level), error) in tasks.into_iter().zip(errors) {
        let macs = part.macs(config, tokens);
        let time = match (part, level) {
            (Part::Attention, _) | (_, Level::Int8) => INT8_TIME,
            _ => INT7_TIME,
        };
        let choice = Choice { level, error, time: time * macs };
        if level == Level::Int7 {
            // Rounding to fp16 errs a thousandth of what int8 does.
            let float = Choice { level: Level::Fp16, error: Errors::default(), time: FLOAT_TIME * macs };
            units.push(Unit { block, part, choices: vec![choice, float], chosen: 0 });
        } else {
            units.last_mut().expect("Int7 comes first").choices.insert(1, choice);
        }
    }
    units
}

/// Raises levels until the units' errors add up to no more than `budget`, the cheapest gain first; false when nothing is
/// left to raise.
pub(super) fn spend(units: &mut [Unit], budget: &Errors) -> bool {
    loop {
        let total = units.iter().fold(Errors::default(), |sum, unit| sum.plus(&unit.error(), 1.0));
        // Only what is over its budget counts.
        let weight = |total: f64, budget: f64| if total > budget { 1.0 / budget } else { 0.0 };
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

/// The plan that the units have come to.
pub(super) fn plan(units: &[Unit], depth: usize) -> Plan {
    let mut blocks = vec![CHEAPEST; depth];
    for unit in units {
        set_level(&mut blocks[unit.block], unit.part, unit.choices[unit.chosen].level);
    }
    Plan { patch: Level::Fp16, blocks }
}

impl Unit {
    fn error(&self) -> Errors {
        self.choices[self.chosen].error
    }
}

impl Errors {
    fn plus(&self, other: &Errors, factor: f64) -> Errors {
        Errors { cls: self.cls + factor * other.cls, patches: self.patches + factor * other.patches }
    }
}

impl Part {
    /// Multiply-accumulates at `tokens` tokens.
    fn macs(self, config: &Config, tokens: usize) -> f64 {
        let Config { dim, hidden, .. } = *config;
        let each = match (self, config.mlp) {
            (Part::Qkv, _) => 3 * dim * dim,
            (Part::Attention, _) => 2 * tokens * dim,
            (Part::Proj, _) => dim * dim,
            (Part::Up, Mlp::SwiGlu) => 2 * dim * hidden,
            (Part::Up | Part::Down, _) => dim * hidden,
        };
        (tokens * each) as f64
    }
}

/// Mean over the tokens of one image.
fn errors_of(x: &[f32], features: &[f32], config: &Config) -> Errors {
    let (dim, prefix) = (config.dim, config.prefix());
    let rows = x[prefix * dim..].chunks_exact(dim).zip(features[prefix * dim..].chunks_exact(dim));
    let patches = rows.len() as f64;
    let sum: f64 = rows.map(|(a, b)| 1.0 - cosine(a, b)).sum();
    Errors { cls: 1.0 - cosine(&x[..dim], &features[..dim]), patches: sum / patches }
}
