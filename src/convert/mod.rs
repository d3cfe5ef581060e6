//! The converter: from weights in f32 to a network in int8 or fp16, calibrated and measured on images.
//!
//! GPTQ, smoothing and a search over levels choose, block by block, the cheapest precision that is accurate enough; what that costs
//! is measured with the encoder that will run it.

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

pub use error::ConvertError;
pub use progress::Progress;
pub use recipe::{Calibration, convert};
