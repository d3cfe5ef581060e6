//! Decodes JPEG with 12 bits per sample, which none of the JPEG decoders used here supports, from the coefficients read
//! by the check.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::frame::{Component, Process};
use super::stream::Stream;

/// Index in its block of each coefficient in zigzag order (T.81, figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Mid-level and maximum of 12-bit samples.
const MIDDLE: f32 = 2048.0;
const LARGEST: f32 = 4095.0;

/// 12-bit samples.
#[derive(Debug, PartialEq)]
pub(in crate::input) struct Deep {
    /// Width in pixels.
    pub(in crate::input) width: usize,
    /// Height in pixels.
    pub(in crate::input) height: usize,
    /// Number of components.
    pub(in crate::input) channels: usize,
    /// Whether three components are luminance and chrominance, according to the stream's markers.
    pub(in crate::input) ycc: bool,
    /// Values 0 to 4095, `[height, width, channels]`.
    pub(in crate::input) samples: Vec<u16>,
}

/// Decodes a sequential or progressive stream with 12 bits per sample and all components in full resolution.
///
/// # Errors
/// Those of [`check`](super::check), and unsupported kinds of stream.
pub(in crate::input) fn decode_12(bytes: &[u8]) -> Result<Deep, String> {
    let Stream { frame, ycc, .. } = Stream::read(bytes, true)?;
    if frame.precision != 12 || frame.process == Process::Lossless {
        return Err(format!("{} bits a sample, not the 12 of DCT coding", frame.precision));
    }
    let (width, height, channels) = (frame.width, frame.height, frame.components.len());
    if !matches!(channels, 1 | 3) || frame.components.iter().any(|c| c.alone != frame.components[0].alone) {
        return Err(
            "a JPEG of 12 bits with four components or with colours of lower resolution, which is not read"
                .into(),
        );
    }
    let basis = basis();
    let mut samples = vec![0; width * height * channels];
    for (channel, component) in frame.components.iter().enumerate() {
        let blocks = component.values.chunks_exact(component.padded[0]);
        for (row, blocks) in blocks.take(component.alone[1]).enumerate() {
            for (column, values) in blocks.iter().take(component.alone[0]).enumerate() {
                let block = block(component, values, &basis);
                for y in row * 8..height.min(row * 8 + 8) {
                    for x in column * 8..width.min(column * 8 + 8) {
                        samples[(y * width + x) * channels + channel] = block[y % 8 * 8 + x % 8];
                    }
                }
            }
        }
    }
    Ok(Deep { width, height, channels, ycc, samples })
}

impl Deep {
    /// The samples as grey or RGB (JFIF 1.02, the conversion of T.871, centred on the 12-bit mid-level).
    pub(in crate::input) fn into_rgb(mut self) -> Vec<u16> {
        if self.ycc {
            for pixel in self.samples.as_chunks_mut::<3>().0 {
                let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
                let (cb, cr) = (cb - MIDDLE, cr - MIDDLE);
                let rgb = [y + 1.402 * cr, y - 0.344_136_3 * cb - 0.714_136_3 * cr, y + 1.772 * cb];
                *pixel = rgb.map(to_sample);
            }
        }
        self.samples
    }
}

fn to_sample(value: f32) -> u16 {
    value.round().clamp(0.0, LARGEST) as u16
}

/// `basis[frequency][position]` of the inverse DCT (A.3.3), with its factor 1/4 split evenly between the two
/// dimensions.
fn basis() -> [[f32; 8]; 8] {
    let scale = |frequency: usize| if frequency == 0 { FRAC_1_SQRT_2 / 2.0 } else { 0.5 };
    let angle = |frequency: usize, place: usize| ((2 * place + 1) * frequency) as f32 * PI / 16.0;
    std::array::from_fn(|f| std::array::from_fn(|x| scale(f) * libm::cosf(angle(f, x))))
}

/// The samples of a block, in row-major order.
fn block(component: &Component, values: &[i16; 64], basis: &[[f32; 8]; 8]) -> [u16; 64] {
    let mut coefficients = [0.0; 64];
    for (k, &place) in ZIGZAG.iter().enumerate() {
        coefficients[usize::from(place)] = f32::from(values[k]) * f32::from(component.steps[k]);
    }
    let rows: [f32; 64] = std::array::from_fn(|at| {
        let (row, x) = (at / 8, at % 8);
        (0..8).map(|f| coefficients[row * 8 + f] * basis[f][x]).sum()
    });
    std::array::from_fn(|at| {
        let (y, x) = (at / 8, at % 8);
        let sum: f32 = (0..8).map(|f| rows[f * 8 + x] * basis[f][y]).sum();
        to_sample(sum + MIDDLE)
    })
}
