//! A head file. Its digest is set right, for nothing behind it is read otherwise.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use microraptor::heads::Head;
use microraptor_fuzz::{on_file, tensors};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    tensors::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| on_file("head.safetensors", &tensors::sealed(data), 4 << 20, |path| Head::load(path)));
