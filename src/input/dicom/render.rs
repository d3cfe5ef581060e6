//! Renders samples as an image: modality and VOI transforms for grey, conversion to RGB for colour.
//!
//! Grey values pass through the modality LUT or the rescale slope and intercept, then through the first of these that
//! exists: the requested window, the file's first window with its function, the file's first VOI LUT. If there is none,
//! unsigned 8-bit values are shown unchanged, and other values are scaled from the smallest to the largest value of all
//! frames of the scan (without padding), so that slices of one volume stay comparable. MONOCHROME1 is inverted last.
//! The image has 16 bits unless 8-bit values are shown unchanged. Colour becomes 8-bit RGB. Overlays (groups 60xx) are
//! not drawn; those in unused bits of the samples are masked out.

use dicom_core::Tag;
use dicom_core::header::HasLength;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::{items, of_frame, string};
use super::layout::{Layout, Photometric};
use super::lut::{Lut, palette};
use super::samples::Samples;
use super::window::Function;
use crate::input::{Image, InputError, Window};

/// White in a 16-bit image.
const WHITE: f64 = 65535.0;

/// How the frames of a file become images.
pub(super) enum Rendering {
    Grey(Grey),
    /// Tables for red, green and blue, with 8-bit entries.
    Palette(Box<[Lut; 3]>),
    Colour,
}

/// Maps modality values to display values.
enum Voi {
    Function(Function, Window),
    /// The table, and the entry that is shown as white.
    Lut(Lut, f64),
    /// 8-bit values unchanged.
    Identity,
    /// Linear, from the smallest to the largest value.
    Range,
}

/// Maps stored values to modality values, such as Hounsfield units.
#[derive(Clone, Copy)]
enum Modality<'a> {
    Rescale { slope: f64, intercept: f64 },
    Lut(&'a Lut),
}

impl Modality<'_> {
    fn apply(self, value: i64) -> f64 {
        match self {
            Modality::Rescale { slope, intercept } => slope * value as f64 + intercept,
            Modality::Lut(lut) => lut.value(value).into(),
        }
    }
}

/// Parameters for rendering the grey values of a file.
pub(super) struct Grey {
    window: Option<Window>,
    modality: Option<Lut>,
    /// Range of values that are padding (both ends inclusive).
    padding: Option<[i64; 2]>,
}

impl Rendering {
    pub(super) fn of(
        object: &InMemDicomObject,
        layout: &Layout,
        window: Option<Window>,
    ) -> Result<Rendering, String> {
        match layout.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => {
                check_presentation(object, layout)?;
                let modality = items(object, tags::MODALITY_LUT_SEQUENCE).first();
                let modality = modality
                    .map(|item| Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, layout.signed))
                    .transpose()?;
                Ok(Rendering::Grey(Grey { window, modality, padding: padding(object, layout)? }))
            }
            Photometric::Palette => Ok(Rendering::Palette(Box::new(palette(object, layout.signed)?))),
            _ => Ok(Rendering::Colour),
        }
    }

    /// Whether the image depends on the smallest and largest value of the whole scan.
    pub(super) fn needs_range(&self, object: &InMemDicomObject, layout: &Layout) -> bool {
        match self {
            Rendering::Grey(grey) => {
                (0..layout.frames).any(|frame| matches!(grey.voi(object, layout, frame), Ok((_, Voi::Range))))
            }
            _ => false,
        }
    }

    /// The smallest and largest rescaled value of a frame, without padding; `None` for colour, or if the whole frame is
    /// padding.
    pub(super) fn range(
        &self,
        object: &InMemDicomObject,
        layout: &Layout,
        samples: &Samples,
        frame: usize,
    ) -> Option<[f64; 2]> {
        let Rendering::Grey(grey) = self else { return None };
        let (modality, _) = grey.voi(object, layout, frame).ok()?;
        let seen = values(layout, &samples.bytes).filter(|&v| !grey.is_padding(v));
        let widen = |[low, high]: [f64; 2], v: f64| [low.min(v), high.max(v)];
        let nothing = [f64::INFINITY, f64::NEG_INFINITY];
        let [low, high] = match modality {
            Modality::Lut(_) => seen.map(|v| modality.apply(v)).fold(nothing, widen),
            // The transform is linear, so its extremes are at the ends of the range.
            Modality::Rescale { .. } => {
                let [low, high] = seen.fold([i64::MAX, i64::MIN], |[low, high], v| [low.min(v), high.max(v)]);
                if low > high {
                    nothing
                } else {
                    [low, high].map(|v| modality.apply(v)).into_iter().fold(nothing, widen)
                }
            }
        };
        (low <= high).then_some([low, high])
    }

    /// Renders a frame; `range` is that of the whole scan, if needed.
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
                let (modality, voi) = grey.voi(object, layout, frame)?;
                let inverted = layout.photometric == Photometric::Monochrome1;
                if matches!(voi, Voi::Identity) {
                    let shown = |v: i64| if inverted { 255 - v as u8 } else { v as u8 };
                    Image::from_grey8(columns, rows, values(layout, &samples.bytes).map(shown).collect())
                } else {
                    let table = table(layout, modality, &voi, range.unwrap_or([0.0, 1.0]), inverted);
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
    fn is_padding(&self, value: i64) -> bool {
        self.padding.is_some_and(|[low, high]| (low..=high).contains(&value))
    }

    /// The modality transform and VOI transform of a frame.
    fn voi(
        &self,
        object: &InMemDicomObject,
        layout: &Layout,
        frame: usize,
    ) -> Result<(Modality<'_>, Voi), String> {
        let modality = self.modality(object, frame)?;
        if let Some(window) = self.window {
            return Ok((modality, Voi::Function(Function::Linear, window)));
        }
        if let Some((function, window)) = window(object, frame)? {
            return Ok((modality, Voi::Function(function, window)));
        }
        if let Some(item) = items(object, tags::VOILUT_SEQUENCE).first() {
            let signed = match modality {
                Modality::Rescale { intercept, .. } => layout.signed || intercept < 0.0,
                Modality::Lut(_) => false,
            };
            let lut = Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed)?;
            let white = lut.white()?;
            return Ok((modality, Voi::Lut(lut, white)));
        }
        let plain = layout.stored == 8 && layout.allocated == 8 && !layout.signed;
        let unscaled = matches!(modality, Modality::Rescale { slope: 1.0, intercept: 0.0 });
        Ok((modality, if plain && unscaled { Voi::Identity } else { Voi::Range }))
    }

    fn modality(&self, object: &InMemDicomObject, frame: usize) -> Result<Modality<'_>, String> {
        let group = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
        let slope = of_frame(object, frame, group, |o| number(o, tags::RESCALE_SLOPE).transpose());
        let slope = slope.transpose()?.unwrap_or(1.0);
        let intercept = of_frame(object, frame, group, |o| number(o, tags::RESCALE_INTERCEPT).transpose());
        let intercept = intercept.transpose()?.unwrap_or(0.0);
        if slope == 0.0 {
            return Err("has a RescaleSlope of 0, which makes one grey of all values: correct it".into());
        }
        match &self.modality {
            None => Ok(Modality::Rescale { slope, intercept }),
            Some(lut) if slope == 1.0 && intercept == 0.0 => Ok(Modality::Lut(lut)),
            // PS3.3 C.11.1: one or the other.
            Some(_) => {
                Err("has both a modality LUT and a rescale slope and intercept: take one of them out".into())
            }
        }
    }
}

/// The first number of an element; `None` if the element is absent or empty.
fn number(object: &InMemDicomObject, tag: Tag) -> Result<Option<f64>, String> {
    let Some(element) = object.get(tag).filter(|e| !e.is_empty()) else { return Ok(None) };
    let first = element.to_multi_float64().ok().and_then(|values| values.first().copied());
    first
        .filter(|v| v.is_finite())
        .map(Some)
        .ok_or_else(|| format!("has a value at {tag} that is no number: correct it"))
}

/// The first window of a frame, and its function (PS3.3 C.11.2.1.2 and .3).
fn window(object: &InMemDicomObject, frame: usize) -> Result<Option<(Function, Window)>, String> {
    let group = tags::FRAME_VOILUT_SEQUENCE;
    let window = of_frame(object, frame, group, |o| {
        let [center, width] = [tags::WINDOW_CENTER, tags::WINDOW_WIDTH].map(|tag| number(o, tag));
        match (center, width) {
            (Err(problem), _) | (_, Err(problem)) => Some(Err(problem)),
            (Ok(None), Ok(None)) => None,
            (Ok(Some(center)), Ok(Some(width))) if width > 0.0 => Some(Ok(Window { center, width })),
            (Ok(_), Ok(Some(width))) if width <= 0.0 => {
                Some(Err(format!("has a window of the width {width}, which shows nothing: give a window")))
            }
            _ => Some(Err("has only one of WindowCenter and WindowWidth: give a window".into())),
        }
    });
    let Some(window) = window.transpose()? else { return Ok(None) };
    let name = of_frame(object, frame, group, |o| string(o, tags::VOILUT_FUNCTION));
    let function = match name.as_deref() {
        None | Some("LINEAR") => Function::Linear,
        Some("LINEAR_EXACT") => Function::LinearExact,
        Some("SIGMOID") => Function::Sigmoid,
        Some(name) => {
            return Err(format!("has the VOI LUT function '{name}', which is not known: give a window"));
        }
    };
    Ok(Some((function, window)))
}

/// Refuses images that need colours or a lookup table after the window.
fn check_presentation(object: &InMemDicomObject, layout: &Layout) -> Result<(), String> {
    let presentation = string(object, tags::PIXEL_PRESENTATION).unwrap_or_default();
    if matches!(presentation.as_str(), "COLOR" | "MIXED") {
        return Err("shows grey values in colours of a supplemental palette (PixelPresentation), which is not read: save it as RGB".into());
    }
    if !items(object, tags::PRESENTATION_LUT_SEQUENCE).is_empty() {
        return Err("has a presentation LUT, which is not read: save it with a window".into());
    }
    let inverse = layout.photometric == Photometric::Monochrome1;
    match string(object, tags::PRESENTATION_LUT_SHAPE).as_deref() {
        // PS3.3 C.8.11.3.1.2: INVERSE goes with MONOCHROME1, IDENTITY with MONOCHROME2.
        Some(shape @ ("IDENTITY" | "INVERSE")) if inverse != (shape == "INVERSE") => Err(format!(
            "has the PresentationLUTShape {shape}, which contradicts its PhotometricInterpretation MONOCHROME{}: correct one of them",
            if inverse { 1 } else { 2 }
        )),
        _ => Ok(()),
    }
}

/// Range of padding values (PS3.3 C.7.5.1.1.2): PixelPaddingValue alone, or up to PixelPaddingRangeLimit. Both have the
/// data type of the samples, but many files store them unsigned.
fn padding(object: &InMemDicomObject, layout: &Layout) -> Result<Option<[i64; 2]>, String> {
    let value = |tag| -> Result<Option<i64>, String> {
        let Some(element) = object.get(tag).filter(|e| !e.is_empty()) else { return Ok(None) };
        let value: i64 = element
            .to_int()
            .map_err(|_| format!("has a value at {tag} that is no whole number: correct it"))?;
        Ok(Some(match (layout.signed, layout.allocated) {
            (true, 8) => i64::from(value as i8),
            (true, _) => i64::from(value as i16),
            (false, 8) => i64::from(value as u8),
            (false, _) => i64::from(value as u16),
        }))
    };
    let Some(first) = value(tags::PIXEL_PADDING_VALUE)? else { return Ok(None) };
    let last = value(tags::PIXEL_PADDING_RANGE_LIMIT)?.unwrap_or(first);
    Ok(Some([first.min(last), first.max(last)]))
}

/// The 16-bit grey value for each pattern of the stored bits.
fn table(layout: &Layout, modality: Modality, voi: &Voi, [low, high]: [f64; 2], inverted: bool) -> Vec<u16> {
    let shown: Box<dyn Fn(f64) -> f64> = match voi {
        &Voi::Function(function, window) => Box::new(move |v| function.apply(window, v) * WHITE),
        &Voi::Lut(ref lut, white) => {
            Box::new(move |v| f64::from(lut.value(v.round() as i64)) / white * WHITE)
        }
        Voi::Identity | Voi::Range => {
            let scale = if high > low { WHITE / (high - low) } else { 0.0 };
            Box::new(move |v| (v - low) * scale)
        }
    };
    let patterns = 1u32 << layout.stored;
    let grey = |pattern: u32| {
        let white = shown(modality.apply(value(layout, pattern as u16))).clamp(0.0, WHITE).round() as u16;
        if inverted { u16::MAX - white } else { white }
    };
    (0..patterns).map(grey).collect()
}

/// The stored bits of each sample, shifted to the least significant position.
fn raw<'a>(layout: &'a Layout, bytes: &'a [u8]) -> impl Iterator<Item = u16> + 'a {
    let shift = layout.high + 1 - layout.stored;
    let mask = ((1u32 << layout.stored) - 1) as u16;
    let size = layout.allocated as usize / 8;
    bytes
        .chunks_exact(size)
        .map(move |b| (u16::from_le_bytes([b[0], b.get(1).copied().unwrap_or(0)]) >> shift) & mask)
}

/// Converts stored bits to a number.
fn value(layout: &Layout, pattern: u16) -> i64 {
    let sign = 1i64 << (layout.stored - 1);
    let plain = i64::from(pattern);
    if layout.signed && plain & sign != 0 { plain - 2 * sign } else { plain }
}

fn values<'a>(layout: &'a Layout, bytes: &'a [u8]) -> impl Iterator<Item = i64> + 'a {
    raw(layout, bytes).map(move |pattern| value(layout, pattern))
}

/// Samples interleaved by pixel, with chroma for every pixel.
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

/// Converts samples to interleaved RGB.
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
