//! Microraptor: frozen DINOv3 features and light probe heads on the machine beside the patient.
//!
//! The layers, each ignorant of those after it: [`kernels`], [`vit`], [`checkpoint`], [`quant`], [`encoder`], [`convert`], `graph`, [`engine`],
//! [`input`] and [`output`], [`features`], [`heads`], [`pipeline`], [`profile`]; the command line sits on top, in the binary. [`board`] stands beside them;
//! [`files`], [`names`] and [`stamp`] are below all of them.
//! `docs/architecture.md` tells how they fit together.

pub mod board;
pub mod checkpoint;
pub mod convert;
pub mod encoder;
pub mod engine;
pub mod features;
pub mod files;
#[cfg(feature = "onnx")]
pub mod graph;
mod guarded;
pub mod heads;
pub mod input;
pub mod kernels;
pub mod names;
pub mod output;
mod parallel;
pub mod pipeline;
pub mod profile;
pub mod quant;
mod sealed;
pub mod stamp;
pub mod vit;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
