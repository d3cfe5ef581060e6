//! ONNX files of the exporters against what they were exported from.
#![cfg(feature = "onnx")]
