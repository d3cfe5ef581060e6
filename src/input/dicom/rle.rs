//! RLE Lossless (PS3.5 annex G): one run-length encoded segment for each byte of a pixel.

use super::layout::Layout;

/// Size of the header in bytes; it holds the number of segments and the offset of each.
const HEADER: usize = 64;

/// Decodes a frame. Every segment must yield one byte for each pixel, with no bytes left over except the one that pads
/// it to an even length (G.3.1).
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let segments = segments(layout, bytes)?;
    let size = layout.allocated as usize / 8;
    let pixels = layout.rows * layout.columns;
    let mut out = vec![0; layout.frame_bytes()];
    let mut plane = Vec::new();
    for (n, segment) in segments.iter().enumerate() {
        plane.clear();
        plane.reserve(pixels);
        unpack(segment, pixels, &mut plane).ok_or_else(|| {
            format!(
                "has an RLE segment (number {} of {}) that does not hold {pixels} samples: the file is damaged or cut short",
                n + 1,
                segments.len()
            )
        })?;
        // The most significant byte of a sample comes first.
        let first = n / size * size + (size - 1 - n % size);
        let step = segments.len();
        for (pixel, &byte) in plane.iter().enumerate() {
            out[pixel * step + first] = byte;
        }
    }
    Ok(out)
}

/// Splits the frame into segments: one for each byte of a pixel, all within the fragment.
fn segments<'b>(layout: &Layout, bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, String> {
    let damaged = || "has an RLE frame without a header that can be read: the file is damaged".to_string();
    let header: Vec<usize> = bytes
        .get(..HEADER)
        .ok_or_else(damaged)?
        .as_chunks()
        .0
        .iter()
        .map(|b| u32::from_le_bytes(*b) as usize)
        .collect();
    let count = layout.samples * layout.allocated as usize / 8;
    let starts = &header[1..=count];
    if header[0] != count || starts[0] < HEADER {
        return Err(damaged());
    }
    let ends = starts[1..].iter().copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| bytes.get(start..end).ok_or_else(damaged)).collect()
}

/// Unpacks exactly `count` bytes (G.3.2); `None` if the segment holds fewer or more.
fn unpack(mut packed: &[u8], count: usize, out: &mut Vec<u8>) -> Option<()> {
    while out.len() < count {
        let (&code, rest) = packed.split_first()?;
        packed = match code {
            0x80 => rest,
            0..0x80 => {
                let (literal, rest) = rest.split_at_checked(usize::from(code) + 1)?;
                out.extend_from_slice(literal);
                rest
            }
            _ => {
                let (&byte, rest) = rest.split_first()?;
                out.resize(out.len() + 257 - usize::from(code), byte);
                rest
            }
        };
    }
    (out.len() == count && packed.len() <= 1).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(samples: usize, allocated: u32) -> Layout {
        let (stored, high) = (allocated, allocated - 1);
        Layout { rows: 2, columns: 3, samples, allocated, stored, high, ..Layout::grey() }
    }

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut at = 64;
        let mut bytes = (segments.len() as u32).to_le_bytes().to_vec();
        for segment in segments {
            bytes.extend((at as u32).to_le_bytes());
            at += segment.len();
        }
        bytes.resize(64, 0);
        bytes.extend(segments.concat());
        bytes
    }

    #[test]
    fn segments_are_planes_of_bytes_the_highest_first() {
        // A run of three (PS3.5 G.3.1: 257 - code), a no-op code, three literal bytes and a padding byte.
        let high: &[u8] = &[254, 1, 0x80, 2, 4, 5, 6];
        let low: &[u8] = &[5, 10, 11, 12, 13, 14, 15, 0];
        assert_eq!(decode(&layout(1, 8), &frame(&[high])), Ok(vec![1, 1, 1, 4, 5, 6]));
        let words = [10, 1, 11, 1, 12, 1, 13, 4, 14, 5, 15, 6];
        assert_eq!(decode(&layout(1, 16), &frame(&[high, low])), Ok(words.to_vec()));
        let colours = decode(&layout(3, 8), &frame(&[high, low, high])).unwrap();
        assert_eq!(colours[..6], [1, 10, 1, 1, 11, 1]);
    }

    #[test]
    fn a_segment_of_another_length_is_refused() {
        let whole: &[u8] = &[254, 1, 2, 4, 5, 6];
        for wrong in [&whole[..5], &[254, 1], &[250, 1], &[251, 1, 0, 0], &[254, 1, 3, 4, 5, 6, 7], &[]] {
            let message = decode(&layout(1, 16), &frame(&[wrong, whole])).unwrap_err();
            assert!(message.contains("number 1 of 2"), "{message}");
        }
    }

    #[test]
    fn a_header_must_fit_its_frame() {
        let bytes = frame(&[&[251, 1]]);
        assert!(decode(&layout(1, 8), &bytes).is_ok());
        assert!(decode(&layout(3, 8), &bytes).is_err());
        assert!(decode(&layout(1, 8), &bytes[..63]).is_err());
        for start in [0, 63, 67, u32::MAX] {
            let mut bytes = bytes.clone();
            bytes[4..8].copy_from_slice(&start.to_le_bytes());
            assert!(decode(&layout(1, 8), &bytes).is_err(), "{start}");
        }
        // Four billion segments.
        let mut bytes = bytes;
        bytes[..4].fill(0xFF);
        assert!(decode(&layout(1, 8), &bytes).is_err());
    }
}
