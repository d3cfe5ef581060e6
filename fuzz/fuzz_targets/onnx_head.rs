//! An ONNX file as a head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microraptor::heads::Head;
use microraptor_fuzz::{folder, on_file};

fuzz_target!(
    init: std::fs::write(folder().join("head.json"), r#"{"classes": ["a", "b"], "size": "32"}"#)
        .expect("the folder is ours"),
    |data: &[u8]| on_file("head.onnx", data, 64 << 20, |path| Head::load(path))
);
