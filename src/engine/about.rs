//! Description of a backbone and of the code that runs it.

use crate::checkpoint::Assumption;
use crate::kernels::Isa;
use crate::quant::{Attestation, Precision};
use crate::vit::Preprocess;

/// Name of [`Backend::Kernels`].
pub const OURS: &str = "microraptor";

/// The code that runs a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Our encoder, on the kernels of an instruction set.
    Kernels(Isa),
    /// Our encoder within an ONNX graph, of which tract runs the rest.
    Around(Isa),
    /// tract, for ONNX graphs that our encoder does not run.
    Tract,
}

impl Backend {
    /// Name of the backend: `microraptor` where our encoder runs the backbone, else `tract`.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Kernels(_) | Backend::Around(_) => OURS,
            Backend::Tract => "tract",
        }
    }

    /// The instruction set of our kernels; `None` for other backends.
    pub fn isa(self) -> Option<Isa> {
        match self {
            Backend::Kernels(isa) | Backend::Around(isa) => Some(isa),
            Backend::Tract => None,
        }
    }
}

/// Description of a backbone, for people and for the files that refer to it.
#[derive(Clone, Debug)]
pub struct About {
    /// Short name, from the card or the file name.
    pub name: String,
    /// SHA-256 of the weights file, in lower-case hex: the identity to which heads are bound. If hints changed the
    /// network from the one assumed without them, the digest covers both the file and the hints (see
    /// `checkpoint::Model::identity`).
    pub sha256: String,
    /// How to turn pixels into the backbone's input.
    pub preprocess: Preprocess,
    /// Whether the weights are drawn from a seed, so that features are meaningless.
    pub untrained: bool,
    /// Number format of the matrices.
    pub precision: Precision,
    /// The code that runs the backbone.
    pub backend: Backend,
    /// Version of how features are read from a graph that tract runs (`graph::onnx::READING`); 0 if our encoder
    /// computes them.
    pub reading: u32,
    /// Whether JSON files beside the weights were read, which [`About::sha256`] does not cover.
    pub described: bool,
    /// What was assumed because the model's files do not specify it.
    pub assumed: Vec<Assumption>,
    /// What the model computes of generated pictures, if its file stores it ([`attest`](crate::attest)).
    pub attestation: Option<Attestation>,
}

impl About {
    /// Backend and precision, such as `microraptor int8` or `tract f32`.
    pub fn runs_on(&self) -> String {
        format!("{} {}", self.backend.name(), self.precision)
    }
}
