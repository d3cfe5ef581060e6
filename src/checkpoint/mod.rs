//! Reading checkpoints into [`crate::vit::Weights`]. (in work)

#[cfg(feature = "onnx")]
pub mod onnx;
