//! OpenIGTLink messages one after the other, to the end; the sum of the first one is made right, as else nothing in it
//! would be read.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use microraptor::input::{ReadOptions, Window};
use microraptor::live::{IgtlMessage, IgtlReader};
use microraptor_fuzz::bounded;

fuzz_target!(|data: &[u8]| {
    let window = Some(Window { center: 40.0, width: 400.0 });
    let stream = Cursor::new(summed(data.to_vec()));
    bounded(data.len(), 4 << 20, || {
        let mut reader =
            IgtlReader::new("stream", stream, &ReadOptions { window, ..ReadOptions::default() });
        let mut lost = None;
        while let Some(message) = reader.next(&mut |device| device != "Other")? {
            match message {
                IgtlMessage::Lost(problem) => lost = Some(problem),
                IgtlMessage::Picture(picture) => {
                    let image = &picture.image;
                    assert_eq!(picture.geometry.size, (image.height(), image.width()));
                }
                IgtlMessage::Other { .. } => {}
            }
        }
        lost.map_or(Ok(()), Err)
    });
});

/// Corrects the CRC-64 (ECMA-182) of the first message, if it is whole.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.get(42..50).map(|length| u64::from_be_bytes(length.try_into().expect("eight bytes")));
    let end = length.and_then(|length| usize::try_from(length).ok()?.checked_add(58));
    if let Some(body) = end.and_then(|end| bytes.get(58..end)) {
        let step = |sum: u64| (sum << 1) ^ if sum >> 63 == 1 { 0x42f0_e1eb_a9ea_3693 } else { 0 };
        let sum = body.iter().fold(0, |sum, &byte| (0..8).fold(sum ^ (u64::from(byte) << 56), |sum, _| step(sum)));
        bytes[50..58].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}
