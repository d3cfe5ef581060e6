//! Interface between an engine and the code that runs a backbone: our encoder, tract and, in future, a GPU.

use std::sync::Arc;

use super::{Features, Macs, Operator, OperatorTimes};
use crate::board::Cores;
use crate::encoder::{EncoderError, Interrupt};
#[cfg(feature = "onnx")]
use crate::graph::GraphError;
use crate::vit::{Config, Size, SizeError};

/// Why a backend could not run.
#[derive(Debug)]
pub(super) enum RunError {
    /// An error of our encoder.
    Encoder(EncoderError),
    /// An error of tract.
    #[cfg(feature = "onnx")]
    Graph(GraphError),
    /// The backend has no features of earlier layers.
    #[cfg_attr(not(feature = "onnx"), expect(dead_code, reason = "our encoder has them"))]
    NoLayers,
    /// The threads could not be started, with the reason.
    Threads(String),
}

impl From<EncoderError> for RunError {
    fn from(error: EncoderError) -> RunError {
        RunError::Encoder(error)
    }
}

/// A loaded backbone, immutable, shared by its sessions.
pub(super) trait Backbone: Send + Sync {
    /// Creates a runner with its own threads on `cores`, and its own working memory, whose runs `interrupt` may end.
    fn runner(&self, cores: &Cores, interrupt: &Arc<Interrupt>) -> Result<Box<dyn Runner>, RunError>;

    /// The architecture, if our encoder runs the backbone.
    fn config(&self) -> Option<&Config> {
        None
    }

    /// The only input size that the backbone takes, if it has a fixed size.
    fn fixed_size(&self) -> Option<Size> {
        None
    }

    /// The side of a patch, of which both sides of an image must be multiples; `None` if a graph resizes images first.
    fn patch(&self) -> Option<usize> {
        self.config().map(|config| config.patch)
    }

    /// Whether the features have the same bits on every machine.
    fn is_exact(&self) -> bool {
        true
    }

    /// Names of the outputs of a graph.
    fn outputs(&self) -> &[String] {
        &[]
    }

    /// What was rewritten to run a graph: lines for people.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Multiply-accumulates of an operator on an image of `size`, if known.
    fn macs(&self, operator: Operator, size: Size) -> Result<Option<Macs>, SizeError> {
        let _ = (operator, size);
        Ok(None)
    }
}

/// A backbone with its own threads and working memory. The session has already checked the number of pixels and, if
/// requested, pinned the calling thread.
pub(super) trait Runner: Send {
    /// As [`Session::keep_layers`](super::Session::keep_layers).
    fn keep_layers(&mut self, layers: &[usize]) -> Result<(), RunError>;

    /// Computes the features of one image into `features`.
    fn run(&mut self, pixels: &[f32], size: Size, features: &mut Features) -> Result<(), RunError>;

    /// Features of several images, each as [`Runner::run`] computes them.
    fn run_batch(&mut self, images: &[&[f32]], size: Size) -> Result<Vec<Features>, RunError> {
        let one = |pixels: &&[f32]| {
            let mut features = Features::default();
            self.run(pixels, size, &mut features).map(|()| features)
        };
        images.iter().map(one).collect()
    }

    /// Switches timing of the operators of [`Runner::run`] on or off, if the backend supports it.
    fn time_operators(&mut self, on: bool) {
        let _ = on;
    }

    /// Times of the operators of the last run, if they were timed.
    fn operator_times(&self) -> Option<OperatorTimes> {
        None
    }
}
