//! tract as a backend, for any ONNX graph that our encoder does not run.

use std::sync::Arc;

use rayon::ThreadPool;

use super::Features;
use super::backend::{Backbone, RunError, Runner};
use super::plans::Recent;
use crate::board::Cores;
use crate::graph::onnx::{OnnxModel, OnnxPlan};
use crate::vit::Size;

impl Backbone for OnnxModel {
    fn runner(&self, cores: &Cores) -> Result<Box<dyn Runner>, RunError> {
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.threads())
            .thread_name(|i| format!("microraptor-{i}"));
        let pool = match cores.threads() {
            1 => None,
            _ => Some(Arc::new(builder.build().map_err(|e| RunError::Threads(e.to_string()))?)),
        };
        Ok(Box::new(TractRunner { model: self.clone(), pool, plans: Recent::new() }))
    }

    fn fixed_size(&self) -> Option<Size> {
        OnnxModel::fixed_size(self)
    }
}

/// An ONNX graph with its threads and plans.
struct TractRunner {
    model: OnnxModel,
    /// `None` with one thread: everything then runs on the caller's.
    pool: Option<Arc<ThreadPool>>,
    plans: Recent<OnnxPlan>,
}

impl Runner for TractRunner {
    fn keep_layers(&mut self, layers: &[usize]) -> Result<(), RunError> {
        if layers.is_empty() { Ok(()) } else { Err(RunError::NoLayers) }
    }

    fn run(&mut self, pixels: &[f32], size: Size, features: &mut Features) -> Result<(), RunError> {
        let TractRunner { model, pool, plans } = self;
        let graph = |error| RunError::Graph(crate::graph::GraphError::from(error));
        let plan = plans.get(size, &[], || model.plan(size, pool.as_ref())).map_err(graph)?;
        let found = match pool {
            Some(pool) => pool.install(|| plan.run(pixels)),
            None => plan.run(pixels),
        };
        *features = found.map_err(graph)?;
        Ok(())
    }
}
