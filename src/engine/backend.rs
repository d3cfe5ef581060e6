//! What an engine needs of the code that runs a backbone. Ours, tract and, one day, a GPU stand behind it.

use super::{Features, Macs, Operator, OperatorTimes};
use crate::board::Cores;
use crate::encoder::EncoderError;
#[cfg(feature = "onnx")]
use crate::graph::GraphError;
use crate::vit::{Config, Size, SizeError};

/// Why a backend could not run.
#[derive(Debug)]
pub(super) enum RunError {
    /// Our encoder.
    Encoder(EncoderError),
    /// tract.
    #[cfg(feature = "onnx")]
    Graph(GraphError),
    /// It has no features of earlier layers.
    #[cfg_attr(not(feature = "onnx"), expect(dead_code, reason = "our encoder has them"))]
    NoLayers,
    /// Its threads could not be started.
    Threads(String),
}

impl From<EncoderError> for RunError {
    fn from(error: EncoderError) -> RunError {
        RunError::Encoder(error)
    }
}

/// A loaded backbone, immutable, shared by its sessions.
pub(super) trait Backbone: Send + Sync {
    /// Threads and working memory for it, on `cores`.
    fn runner(&self, cores: &Cores) -> Result<Box<dyn Runner>, RunError>;

    /// The architecture, if it is one of the family.
    fn config(&self) -> Option<&Config> {
        None
    }

    /// The only size that it takes, if it is so.
    fn fixed_size(&self) -> Option<Size> {
        None
    }

    /// The multiply-accumulates of an operator on an image of `size`, where they are known.
    fn macs(&self, operator: Operator, size: Size) -> Result<Option<Macs>, SizeError> {
        let _ = (operator, size);
        Ok(None)
    }
}

/// A backbone with threads and working memory of its own. Pixels have been checked for their number, and the caller's thread has
/// been put where it belongs.
pub(super) trait Runner: Send {
    /// As [`Session::keep_layers`](super::Session::keep_layers).
    fn keep_layers(&mut self, layers: &[usize]) -> Result<(), RunError>;

    /// The features of one image, into `features`.
    fn run(&mut self, pixels: &[f32], size: Size, features: &mut Features) -> Result<(), RunError>;

    /// The features of several images, each as [`Runner::run`] gives them.
    fn run_batch(&mut self, images: &[&[f32]], size: Size) -> Result<Vec<Features>, RunError> {
        let one = |pixels: &&[f32]| {
            let mut features = Features::default();
            self.run(pixels, size, &mut features).map(|()| features)
        };
        images.iter().map(one).collect()
    }

    /// Times the operators of [`Runner::run`] from now on, or no longer, where it can.
    fn time_operators(&mut self, on: bool) {
        let _ = on;
    }

    /// How long the operators of the last run took, where they were timed.
    fn operator_times(&self) -> Option<OperatorTimes> {
        None
    }
}
