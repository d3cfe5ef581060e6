//! An ONNX file, and what tract makes of it for one input size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::checkpoint::onnx::Proof;
use microraptor::graph::onnx::{self, OnnxFile, OnnxRunError, Threads};
use microraptor::vit::Size;
use microraptor_fuzz::on_file;

fuzz_target!(|data: &[u8]| on_file("model.onnx", data, 64 << 20, |path| {
    if let OnnxFile::Other(model) = onnx::open(path, Proof::Skip)? {
        model.plan(model.fixed_size().unwrap_or(Size::square(32)), &Threads::default(), &[])?;
    }
    Ok::<(), OnnxRunError>(())
}));
