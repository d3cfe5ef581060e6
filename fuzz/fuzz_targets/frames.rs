//! A stream of JPEG and PNG files, all its frames; it goes on after a damaged one.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use microraptor::input::{FrameStream, ReadOptions, StreamFormat};
use microraptor_fuzz::{PIXELS, bounded};

fuzz_target!(|data: &[u8]| {
    let stream = Cursor::new(data.to_vec());
    bounded(data.len(), PIXELS, || {
        let mut frames = FrameStream::new("stream", stream, StreamFormat::Pictures, &ReadOptions::default())?;
        frames.by_ref().find_map(Result::err).map_or(Ok(()), |first| {
            frames.for_each(drop);
            Err(first)
        })
    });
});
