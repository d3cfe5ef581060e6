//! An ONNX file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::checkpoint::onnx::Proof;
use microraptor::graph::onnx;
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("model.onnx", data, 64 << 20, |path| onnx::open(path, Proof::Skip)));
