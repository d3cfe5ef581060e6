//! One thread of use of an engine: its pool, its scratch, and a plan for each size that it has met.

use std::sync::Arc;

use rayon::ThreadPool;

use super::{Backbone, Engine, EngineError, Features, MAX_THREADS};
use crate::graph::{GraphError, Scratch, VitPlan};
use crate::vit::{Config, Size};

/// Plans that a session keeps; a further size drops the one that has not been used for longest.
const MAX_PLANS: usize = 8;

/// Runs one image at a time. Make one session for each thread that calls.
pub struct Session {
    engine: Engine,
    /// None with one thread: everything then runs on the caller's.
    pool: Option<Arc<ThreadPool>>,
    scratch: Scratch,
    /// Most recently used last.
    plans: Vec<(Size, Plan)>,
}

enum Plan {
    Vit(VitPlan),
    #[cfg(feature = "onnx")]
    Onnx(crate::graph::onnx::OnnxPlan),
}

impl Session {
    pub(super) fn new(engine: Engine, threads: usize) -> Result<Session, EngineError> {
        let refuse = |reason: String| EngineError::Threads { threads, reason };
        if threads == 0 || threads > MAX_THREADS {
            return Err(refuse(format!("give 1 to {MAX_THREADS}")));
        }
        let pool = match threads {
            1 => None,
            n => {
                let name = |i| format!("microraptor-{i}");
                let builder = rayon::ThreadPoolBuilder::new().num_threads(n).thread_name(name);
                Some(Arc::new(builder.build().map_err(|e| refuse(e.to_string()))?))
            }
        };
        Ok(Session { engine, pool, scratch: Scratch::default(), plans: Vec::new() })
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Threads of the session.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    /// Features of one image: `pixels` are `[3, height, width]`, preprocessed as [`super::About::preprocess`] says.
    ///
    /// The first call at a size builds its plan and grows the scratch; later ones do not.
    ///
    /// # Errors
    /// [`EngineError`]: a size that the model cannot take, the wrong number of pixels, or a layer whose output is not
    /// finite.
    pub fn run(&mut self, pixels: &[f32], size: Size) -> Result<Features, EngineError> {
        self.engine.check_size(size)?;
        let expected = 3 * size.area();
        if pixels.len() != expected {
            return Err(EngineError::Pixels { found: pixels.len(), expected, size });
        }
        let Session { engine, pool, scratch, plans } = self;
        let plan = plan_for(engine, size, scratch, pool.as_ref(), plans)?;
        let result = match pool {
            Some(pool) => pool.install(|| plan.run(engine, pixels, size)),
            None => plan.run(engine, pixels, size),
        };
        result.map_err(|e| engine.graph_error(e))
    }
}

/// The plan for `size`, built if need be, moved to the end of `plans`.
fn plan_for<'a>(
    engine: &Engine,
    size: Size,
    scratch: &Scratch,
    pool: Option<&Arc<ThreadPool>>,
    plans: &'a mut Vec<(Size, Plan)>,
) -> Result<&'a mut Plan, EngineError> {
    let plan = match plans.iter().position(|(s, _)| *s == size) {
        Some(i) => plans.remove(i).1,
        None => {
            if plans.len() == MAX_PLANS {
                plans.remove(0);
            }
            Plan::new(engine, size, scratch, pool).map_err(|e| engine.graph_error(e))?
        }
    };
    plans.push((size, plan));
    Ok(&mut plans.last_mut().expect("pushed on the line above").1)
}

impl Plan {
    fn new(
        engine: &Engine,
        size: Size,
        scratch: &Scratch,
        pool: Option<&Arc<ThreadPool>>,
    ) -> Result<Plan, GraphError> {
        Ok(match &engine.shared.backbone {
            Backbone::Vit { config, weights, .. } => {
                let threads = pool.map_or(1, |pool| pool.current_num_threads());
                Plan::Vit(VitPlan::new(config, weights, size, scratch, threads)?)
            }
            #[cfg(feature = "onnx")]
            Backbone::Onnx(model) => Plan::Onnx(model.plan(size, pool)?),
        })
    }

    fn run(&mut self, engine: &Engine, pixels: &[f32], size: Size) -> Result<Features, GraphError> {
        match (self, &engine.shared.backbone) {
            (Plan::Vit(plan), Backbone::Vit { config, .. }) => run_vit(plan, config, pixels, size),
            #[cfg(feature = "onnx")]
            (Plan::Onnx(plan), _) => Ok(plan.run(pixels)?),
            #[cfg(feature = "onnx")]
            (Plan::Vit(_), Backbone::Onnx(_)) => unreachable!("a session has one engine"),
        }
    }
}

fn run_vit(plan: &mut VitPlan, config: &Config, pixels: &[f32], size: Size) -> Result<Features, GraphError> {
    let (rows, cols) = size.grid(config.patch)?;
    let tokens = plan.run(pixels)?;
    let (cls, rest) = tokens.as_slice().split_at(config.dim);
    let patch = &rest[config.registers * config.dim..];
    Ok(Features { cls: cls.to_vec(), patch: patch.to_vec(), rows, cols })
}
