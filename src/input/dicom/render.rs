//! From samples to a picture: modality and VOI transforms for grey, RGB for colours.
//!
//! Grey values go through the rescale slope and intercept, then the first of: the window that was asked for, the file's
//! first window with its function (LINEAR, LINEAR_EXACT or SIGMOID, PS3.3 C.11.2.1.2 and .3), its first VOI LUT. Without
//! any of these, unsigned 8-bit values are shown as they are, and others from the smallest to the largest value of all
//! frames of the scan (padding left out), so that slices of one volume stay comparable. MONOCHROME1 is inverted last. The
//! picture has 16 bits unless the values are 8-bit ones as they are. Colours become RGB with 8 bits.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_pixeldata::{Rescale, VoiLutFunction, WindowLevel, WindowLevelTransform};

use super::codec::Samples;
use super::layout::{Layout, Photometric, items, numbers, of_frame, string};
use crate::input::{Image, InputError, Window};

/// White of a 16-bit picture.
const WHITE: f64 = 65535.0;

/// How the frames of a file become pictures.
pub(super) enum Rendering {
    Grey(Grey),
    /// Red, green and blue, with entries of 8 bits.
    Palette(Box<[Lut; 3]>),
    Colour,
}

/// A table of values (PS3.3 C.11.1.1): the first for what is at or below `first`, the last for all above.
pub(super) struct Lut {
    first: i64,
    bits: u32,
    data: Vec<u16>,
}

impl Lut {
    /// From the elements of a descriptor and its data in `object`.
    fn of(object: &InMemDicomObject, descriptor: Tag, data: Tag, signed: bool) -> Result<Lut, String> {
        let wrong = || "has a damaged lookup table: the file is damaged".to_string();
        let values = object.get(descriptor).and_then(|e| e.to_multi_int::<i32>().ok()).ok_or_else(wrong)?;
        let &[entries, first, bits] = values.as_slice() else { return Err(wrong()) };
        // Unsigned 16-bit numbers whatever the element's type; 0 entries stand for 65536.
        let entries = match entries & 0xFFFF {
            0 => 1 << 16,
            n => n as usize,
        };
        let first = if signed { i64::from(first as i16) } else { i64::from(first as u16) };
        let bytes = object.get(data).and_then(|e| e.to_bytes().ok()).ok_or_else(wrong)?;
        // Entries of 8 bits may be packed, two to a word.
        let packed = bits == 8 && bytes.len() < 2 * entries;
        let data: Vec<u16> = if packed {
            bytes.iter().map(|&v| v.into()).collect()
        } else {
            // `to_bytes` gives words in the machine's order.
            bytes.as_chunks().0.iter().map(|b| u16::from_ne_bytes(*b)).collect()
        };
        if !(8..=16).contains(&bits) || data.len() < entries {
            return Err(wrong());
        }
        Ok(Lut { first, bits: bits as u32, data: data[..entries].to_vec() })
    }

    fn value(&self, index: i64) -> u16 {
        let at = (index - self.first).clamp(0, self.data.len() as i64 - 1);
        self.data[at as usize]
    }

    /// The same with entries of 8 bits. Where 16 are announced but all entries are below 256, a known fault of devices,
    /// they are taken as they are, for such a picture would be black.
    fn in_bytes(mut self) -> Lut {
        if self.data.iter().any(|&v| v > 255) {
            let shift = self.bits - 8;
            self.data.iter_mut().for_each(|v| *v = (*v >> shift).min(255));
        }
        Lut { bits: 8, ..self }
    }

    /// White of its entries.
    fn white(&self) -> f64 {
        f64::from((1u32 << self.bits) - 1)
    }
}

/// What makes a grey value visible.
enum Voi {
    Function(VoiLutFunction, Window),
    Lut(Lut),
    /// 8-bit values as they are.
    Identity,
    /// From the smallest to the largest.
    Range,
}

/// Grey values of a file.
pub(super) struct Grey {
    window: Option<Window>,
    padding: Option<i64>,
}

impl Rendering {
    pub(super) fn of(
        object: &InMemDicomObject,
        layout: &Layout,
        window: Option<Window>,
    ) -> Result<Rendering, String> {
        match layout.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => {
                if !items(object, tags::MODALITY_LUT_SEQUENCE).is_empty() {
                    return Err(
                        "has a modality LUT, which is not read: save it with rescale slope and intercept"
                            .into(),
                    );
                }
                let padding = object.get(tags::PIXEL_PADDING_VALUE).and_then(|e| e.to_int::<i64>().ok());
                Ok(Rendering::Grey(Grey { window, padding }))
            }
            Photometric::Palette => {
                if object.get(tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA).is_some() {
                    return Err("has a segmented palette, which is not read: save it as RGB".into());
                }
                let red = (
                    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                );
                let green = (
                    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                );
                let blue = (
                    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                );
                let [red, green, blue]: [Result<Lut, String>; 3] = [red, green, blue]
                    .map(|(d, data)| Ok(Lut::of(object, d, data, layout.signed)?.in_bytes()));
                Ok(Rendering::Palette(Box::new([red?, green?, blue?])))
            }
            _ => Ok(Rendering::Colour),
        }
    }

    /// Whether the picture depends on the smallest and largest value of the whole scan.
    pub(super) fn needs_range(&self, object: &InMemDicomObject, layout: &Layout) -> bool {
        match self {
            Rendering::Grey(grey) => {
                (0..layout.frames).any(|frame| matches!(grey.voi(object, layout, frame), Ok((_, Voi::Range))))
            }
            _ => false,
        }
    }

    /// The smallest and largest rescaled value of a frame; none of colours or where all is padding.
    pub(super) fn range(
        &self,
        object: &InMemDicomObject,
        layout: &Layout,
        samples: &Samples,
        frame: usize,
    ) -> Option<[f64; 2]> {
        let Rendering::Grey(grey) = self else { return None };
        let (rescale, _) = grey.voi(object, layout, frame).ok()?;
        let seen = values(layout, &samples.bytes).filter(|&v| grey.padding != Some(v));
        let [low, high] = seen.fold([i64::MAX, i64::MIN], |[low, high], v| [low.min(v), high.max(v)]);
        let [a, b] = [rescale.apply(low as f64), rescale.apply(high as f64)];
        (low <= high).then(|| [a.min(b), a.max(b)])
    }

    /// A picture of a frame; `range` is that of the scan, where it is needed.
    pub(super) fn image(
        &self,
        object: &InMemDicomObject,
        layout: &Layout,
        samples: Samples,
        frame: usize,
        range: Option<[f64; 2]>,
    ) -> Result<Result<Image, InputError>, String> {
        let Layout { rows, columns, .. } = *layout;
        Ok(match self {
            Rendering::Grey(grey) => {
                let (rescale, voi) = grey.voi(object, layout, frame)?;
                let inverted = layout.photometric == Photometric::Monochrome1;
                if matches!(voi, Voi::Identity) {
                    let shown = |v: i64| if inverted { 255 - v as u8 } else { v as u8 };
                    Image::from_grey8(columns, rows, values(layout, &samples.bytes).map(shown).collect())
                } else {
                    let table = table(layout, rescale, &voi, range.unwrap_or([0.0, 1.0]), inverted);
                    let pixels = raw(layout, &samples.bytes).map(|v| table[usize::from(v)]).collect();
                    Image::from_grey16(columns, rows, pixels)
                }
            }
            Rendering::Palette(luts) => {
                let colour = |v: i64| luts.each_ref().map(|lut| lut.value(v) as u8);
                Image::from_rgb8(columns, rows, values(layout, &samples.bytes).flat_map(colour).collect())
            }
            Rendering::Colour => Image::from_rgb8(columns, rows, rgb(layout, samples)),
        })
    }
}

impl Grey {
    /// The rescaling of a frame, and how it is shown.
    fn voi(
        &self,
        object: &InMemDicomObject,
        layout: &Layout,
        frame: usize,
    ) -> Result<(Rescale, Voi), String> {
        let number = |object: &InMemDicomObject, tag| numbers(object, tag).map(|v| v[0]);
        let group = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
        let slope = of_frame(object, frame, group, |o| number(o, tags::RESCALE_SLOPE)).unwrap_or(1.0);
        let intercept = of_frame(object, frame, group, |o| number(o, tags::RESCALE_INTERCEPT)).unwrap_or(0.0);
        // A slope of 0 is a known fault of devices: all would be one grey.
        let rescale = Rescale::new(if slope == 0.0 { 1.0 } else { slope }, intercept);
        if let Some(window) = self.window {
            return Ok((rescale, Voi::Function(VoiLutFunction::Linear, window)));
        }
        let group = tags::FRAME_VOILUT_SEQUENCE;
        let window = of_frame(object, frame, group, |o| {
            let window =
                Window { center: number(o, tags::WINDOW_CENTER)?, width: number(o, tags::WINDOW_WIDTH)? };
            (window.width > 0.0).then_some(window)
        });
        if let Some(window) = window {
            let name = of_frame(object, frame, group, |o| string(o, tags::VOILUT_FUNCTION));
            let function = match &name {
                None => VoiLutFunction::Linear,
                Some(name) => VoiLutFunction::try_from(name.as_str()).map_err(|_| {
                    format!("has the VOI LUT function '{name}', which is not known: give --window")
                })?,
            };
            return Ok((rescale, Voi::Function(function, window)));
        }
        if let Some(item) = items(object, tags::VOILUT_SEQUENCE).first() {
            let lut = Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, layout.signed || intercept < 0.0)?;
            return Ok((rescale, Voi::Lut(lut)));
        }
        let plain = layout.stored == 8 && layout.allocated == 8 && !layout.signed;
        let unscaled = rescale.slope == 1.0 && rescale.intercept == 0.0;
        Ok((rescale, if plain && unscaled { Voi::Identity } else { Voi::Range }))
    }
}

/// The 16-bit grey for each pattern of the stored bits.
fn table(layout: &Layout, rescale: Rescale, voi: &Voi, [low, high]: [f64; 2], inverted: bool) -> Vec<u16> {
    let shown: Box<dyn Fn(f64) -> f64> = match voi {
        Voi::Function(function, Window { center, width }) => {
            let transform =
                WindowLevelTransform::new(*function, WindowLevel { center: *center, width: *width });
            Box::new(move |v| transform.apply(v, WHITE))
        }
        Voi::Lut(lut) => Box::new(|v| f64::from(lut.value(v.round() as i64)) / lut.white() * WHITE),
        Voi::Identity | Voi::Range => {
            let scale = if high > low { WHITE / (high - low) } else { 0.0 };
            Box::new(move |v| (v - low) * scale)
        }
    };
    let patterns = 1u32 << layout.stored;
    let grey = |pattern: u32| {
        let white =
            shown(rescale.apply(value(layout, pattern as u16) as f64)).clamp(0.0, WHITE).round() as u16;
        if inverted { u16::MAX - white } else { white }
    };
    (0..patterns).map(grey).collect()
}

/// The stored bits of each sample, moved to the lowest places.
fn raw<'a>(layout: &'a Layout, bytes: &'a [u8]) -> impl Iterator<Item = u16> + 'a {
    let shift = layout.high + 1 - layout.stored;
    let mask = ((1u32 << layout.stored) - 1) as u16;
    let size = layout.allocated as usize / 8;
    bytes
        .chunks_exact(size)
        .map(move |b| (u16::from_le_bytes([b[0], b.get(1).copied().unwrap_or(0)]) >> shift) & mask)
}

/// Stored bits as a number.
fn value(layout: &Layout, pattern: u16) -> i64 {
    let sign = 1i64 << (layout.stored - 1);
    let plain = i64::from(pattern);
    if layout.signed && plain & sign != 0 { plain - 2 * sign } else { plain }
}

fn values<'a>(layout: &'a Layout, bytes: &'a [u8]) -> impl Iterator<Item = i64> + 'a {
    raw(layout, bytes).map(move |pattern| value(layout, pattern))
}

/// The samples of each pixel together, with chroma for each.
pub(super) fn interleaved(layout: &Layout, samples: Samples) -> Vec<u8> {
    match (samples.photometric, samples.planar) {
        // Two pixels in four bytes: Y, Y, Cb, Cr (PS3.3 C.7.6.3.1.2).
        (Photometric::YbrFull422, _) => {
            let pairs = samples.bytes.as_chunks().0.iter();
            pairs.flat_map(|&[y0, y1, blue, red]: &[u8; 4]| [y0, blue, red, y1, blue, red]).collect()
        }
        (_, true) => {
            let plane = layout.rows * layout.columns;
            (0..plane).flat_map(|i| [0, 1, 2].map(|channel| samples.bytes[channel * plane + i])).collect()
        }
        (_, false) => samples.bytes,
    }
}

/// Interleaved RGB.
fn rgb(layout: &Layout, samples: Samples) -> Vec<u8> {
    let transformed = matches!(samples.photometric, Photometric::YbrFull | Photometric::YbrFull422);
    let mut pixels = interleaved(layout, samples);
    if transformed {
        pixels.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = from_ybr(*pixel));
    }
    pixels
}

/// Full-range BT.601 (PS3.3 C.7.6.3.1.2), rounded.
fn from_ybr(pixel: [u8; 3]) -> [u8; 3] {
    let [y, blue, red] = pixel.map(f32::from);
    let [blue, red] = [blue - 128.0, red - 128.0];
    let green = y - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red;
    [y + 1.402 * red, green, y + 1.772 * blue].map(|v| v.round() as u8)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
