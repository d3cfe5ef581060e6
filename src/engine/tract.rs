//! tract as a backend, for ONNX graphs: all of those that hold more than a backbone.

use std::sync::{Arc, Mutex};

use super::Features;
use super::backend::{Backbone, RunError, Runner};
use super::plans::Recent;
use super::vit::{cache, select};
use crate::board::Cores;
use crate::encoder::{EncoderError, Interrupt};
use crate::graph::onnx::{OnnxModel, OnnxPlan, Threads};
use crate::kernels::pool::Pool;
use crate::vit::{Config, Size};

impl Backbone for OnnxModel {
    fn runner(&self, cores: &Cores, interrupt: &Arc<Interrupt>) -> Result<Box<dyn Runner>, RunError> {
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.threads())
            .thread_name(|i| format!("microraptor-{i}"));
        let pool = match cores.threads() {
            1 => None,
            _ => Some(Arc::new(builder.build().map_err(|e| RunError::Threads(e.to_string()))?)),
        };
        let encoder = match (&pool, self.encoder()) {
            (Some(_), Some(_)) => {
                let pool = Pool::new(cores.threads()).map_err(|e| RunError::Threads(e.to_string()))?;
                Some(Arc::new(Mutex::new(pool)))
            }
            _ => None,
        };
        let threads = Threads { pool, encoder, cache: Some(cache(cores)), interrupt: interrupt.clone() };
        Ok(Box::new(TractRunner { model: self.clone(), threads, plans: Recent::new(), layers: Vec::new() }))
    }

    fn config(&self) -> Option<&Config> {
        OnnxModel::config(self)
    }

    fn fixed_size(&self) -> Option<Size> {
        OnnxModel::fixed_size(self)
    }

    fn patch(&self) -> Option<usize> {
        self.config().filter(|_| self.reads_pixels()).map(|config| config.patch)
    }

    fn is_exact(&self) -> bool {
        OnnxModel::is_exact(self)
    }

    fn outputs(&self) -> &[String] {
        OnnxModel::outputs(self)
    }

    fn notes(&self) -> &[String] {
        OnnxModel::notes(self)
    }
}

/// An ONNX graph with its threads and plans.
struct TractRunner {
    model: OnnxModel,
    threads: Threads,
    plans: Recent<OnnxPlan>,
    /// Blocks of the backbone whose patch tokens are kept, ascending.
    layers: Vec<usize>,
}

impl Runner for TractRunner {
    fn keep_layers(&mut self, layers: &[usize]) -> Result<(), RunError> {
        let blocks = self.model.config().map_or(0, |config| config.depth);
        if blocks == 0 && !layers.is_empty() {
            return Err(RunError::NoLayers);
        }
        select(layers, blocks, &mut self.layers)
    }

    fn run(&mut self, pixels: &[f32], size: Size, features: &mut Features) -> Result<(), RunError> {
        let TractRunner { model, threads, plans, layers } = self;
        threads.interrupt.check().map_err(EncoderError::from)?;
        let graph = |error| RunError::Graph(crate::graph::GraphError::from(error));
        let plan = plans.get(size, layers, || model.plan(size, threads, layers)).map_err(graph)?;
        *features = plan.run(pixels).map_err(graph)?;
        Ok(())
    }
}
