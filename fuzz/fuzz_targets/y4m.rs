//! A YUV4MPEG2 stream, all its frames.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use microraptor::input::{Scan, StreamFormat};
use microraptor_fuzz::bounded;

fuzz_target!(|data: &[u8]| {
    let stream = Cursor::new(data.to_vec());
    bounded(data.len(), 4 << 20, || {
        Scan::from_reader("stream", stream, StreamFormat::Y4m)?.try_for_each(|frame| frame.map(|_| ()))
    });
});
