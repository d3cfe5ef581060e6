//! A safetensors checkpoint; before its file may stand a config.json, ended by a zero byte.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use microraptor::checkpoint;
use microraptor_fuzz::{folder, on_file, tensors};

/// Where the safetensors file begins.
fn start(data: &[u8]) -> usize {
    if data.first() == Some(&b'{') { data.iter().position(|&b| b == 0).map_or(0, |at| at + 1) } else { 0 }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let at = start(&data[..size]);
    // The text, and with it where the file begins, changes now and then.
    if at > 0 && seed % 3 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    at + tensors::mutate(&mut data[at..], size - at, max_size - at, seed / 3)
});

fuzz_target!(|data: &[u8]| {
    let at = start(data);
    let config = folder().join("config.json");
    if at > 0 {
        std::fs::write(config, &data[..at - 1]).expect("the folder is ours");
    } else {
        let _ = std::fs::remove_file(config);
    }
    on_file("model.safetensors", &data[at..], 4 << 20, |path| checkpoint::load(path));
});
