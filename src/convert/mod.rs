//! The converter: turns f32 weights into an int8 or fp16 network, calibrated and measured on images.
//!
//! GPTQ, smoothing and a search over precisions choose, block by block, the cheapest precision that is accurate enough.
//! The accuracy is measured with the encoder that will run the network.
//!
//! [`load`] reads a checkpoint, [`convert()`] rounds it, [`write()`] makes the file that [`crate::Engine::open`] reads.

mod attention;
mod calibrate;
mod cosines;
mod error;
mod fake_quant;
mod gptq;
mod progress;
mod recipe;
mod round;
mod search;
mod smooth;

pub use crate::checkpoint::{Model, load, load_with};
pub use crate::quant::file::{ConvertedModel, ModelFile, Written, write};
pub use error::ConvertError;
pub use progress::Progress;
pub use recipe::{Calibration, convert};
