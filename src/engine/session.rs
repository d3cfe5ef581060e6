//! One thread of use of an engine: its threads, its working memory, and a plan for each size that it has met.

#[cfg(feature = "onnx")]
use std::sync::Arc;

use super::{Backbone, Engine, EngineError, Features, MAX_THREADS};
use crate::encoder::{Encoder, EncoderError, Plan, Workspace};
#[cfg(feature = "onnx")]
use crate::graph::onnx::{OnnxModel, OnnxPlan};
use crate::kernels::pool::Pool;
use crate::vit::Size;

/// Plans that a session keeps; a further size drops the one that has not been used for longest.
const MAX_PLANS: usize = 8;

/// Runs one image at a time. Make one session for each thread that calls.
pub struct Session {
    engine: Engine,
    threads: usize,
    runner: Runner,
    features: Features,
}

enum Runner {
    Vit(Box<VitRunner>),
    #[cfg(feature = "onnx")]
    Onnx {
        /// None with one thread: everything then runs on the caller's.
        pool: Option<Arc<rayon::ThreadPool>>,
        plans: Recent<OnnxPlan>,
    },
}

struct VitRunner {
    pool: Pool,
    workspace: Workspace,
    plans: Recent<Plan>,
}

/// The plans of the last few sizes, most recently used last.
struct Recent<P>(Vec<(Size, P)>);

impl<P> Recent<P> {
    /// The plan for `size`, made by `new` if need be, moved to the end.
    fn get<E>(&mut self, size: Size, new: impl FnOnce() -> Result<P, E>) -> Result<&mut P, E> {
        let Recent(plans) = self;
        match plans.iter().position(|(s, _)| *s == size) {
            Some(i) => plans[i..].rotate_left(1),
            None => {
                let plan = new()?;
                if plans.len() == MAX_PLANS {
                    plans.remove(0);
                }
                plans.push((size, plan));
            }
        }
        Ok(&mut plans.last_mut().expect("found or pushed above").1)
    }
}

impl Session {
    pub(super) fn new(engine: Engine, threads: usize) -> Result<Session, EngineError> {
        let refuse = |reason: String| EngineError::Threads { threads, reason };
        if threads == 0 || threads > MAX_THREADS {
            return Err(refuse(format!("give 1 to {MAX_THREADS}")));
        }
        let runner = match &engine.shared.backbone {
            Backbone::Vit(_) => Runner::Vit(Box::new(VitRunner {
                pool: Pool::new(threads).map_err(|e| refuse(e.to_string()))?,
                workspace: Workspace::default(),
                plans: Recent(Vec::new()),
            })),
            #[cfg(feature = "onnx")]
            Backbone::Onnx(_) => {
                let builder = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("microraptor-{i}"));
                let pool = match threads {
                    1 => None,
                    _ => Some(Arc::new(builder.build().map_err(|e| refuse(e.to_string()))?)),
                };
                Runner::Onnx { pool, plans: Recent(Vec::new()) }
            }
        };
        let features = Features { cls: Vec::new(), patch: Vec::new(), rows: 0, cols: 0 };
        Ok(Session { engine, threads, runner, features })
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Threads of the session.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Features of one image: `pixels` are `[3, height, width]`, preprocessed as [`super::About::preprocess`] says. They
    /// live in the session's memory until its next run.
    ///
    /// The first call at a size builds its plan and grows the working memory; later ones allocate nothing (but where
    /// tract runs the model).
    ///
    /// # Errors
    /// [`EngineError`]: a size that the model cannot take, the wrong number of pixels, or a layer whose output is not
    /// finite.
    pub fn run(&mut self, pixels: &[f32], size: Size) -> Result<&Features, EngineError> {
        self.engine.check_size(size)?;
        let expected = 3 * size.area();
        if pixels.len() != expected {
            return Err(EngineError::Pixels { found: pixels.len(), expected, size });
        }
        let Session { engine, threads, runner, features } = self;
        match (runner, &engine.shared.backbone) {
            (Runner::Vit(runner), Backbone::Vit(encoder)) => {
                runner.run(encoder, *threads, pixels, size, features).map_err(|e| engine.encoder_error(e))?;
            }
            #[cfg(feature = "onnx")]
            (Runner::Onnx { pool, plans }, Backbone::Onnx(model)) => {
                *features =
                    run_onnx(model, pool.as_ref(), plans, pixels, size).map_err(|e| engine.graph_error(e))?;
            }
            #[cfg(feature = "onnx")]
            _ => unreachable!("a session has one engine"),
        }
        Ok(features)
    }
}

impl VitRunner {
    fn run(
        &mut self,
        encoder: &Encoder,
        threads: usize,
        pixels: &[f32],
        size: Size,
        features: &mut Features,
    ) -> Result<(), EncoderError> {
        let VitRunner { pool, workspace, plans } = self;
        let plan = plans.get(size, || {
            let plan = Plan::new(encoder, size, threads)?;
            workspace.reserve(encoder, &plan)?;
            Ok::<_, EncoderError>(plan)
        })?;
        let config = encoder.config();
        let (cls, rest) = encoder.run(plan, workspace, pool, pixels)?.split_at(config.dim);
        let patch = &rest[config.registers * config.dim..];
        features.cls.clear();
        features.cls.extend_from_slice(cls);
        features.patch.clear();
        features.patch.extend_from_slice(patch);
        (features.rows, features.cols) = size.grid(config.patch)?;
        Ok(())
    }
}

#[cfg(feature = "onnx")]
fn run_onnx(
    model: &OnnxModel,
    pool: Option<&Arc<rayon::ThreadPool>>,
    plans: &mut Recent<OnnxPlan>,
    pixels: &[f32],
    size: Size,
) -> Result<Features, crate::graph::GraphError> {
    let plan = plans.get(size, || model.plan(size, pool))?;
    Ok(match pool {
        Some(pool) => pool.install(|| plan.run(pixels)),
        None => plan.run(pixels),
    }?)
}
