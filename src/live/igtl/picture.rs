//! The content of IMAGE messages (OpenIGTLink protocol, "IMAGE"): 72 bytes of header, then the samples.

use super::message::{Stamp, message, take};
use crate::features::Geometry;
use crate::input::{Image, LabelMap, ReadOptions, Spacing, Window};

/// Scalar type of 8-bit samples without sign.
const UINT8: u8 = 3;

/// A sender that does not know the spacing states a matrix of unit vectors; within f32's rounding, this is one.
const UNIT: f64 = 1e-5;

/// Rows and columns that are less at right angles than this (cosine) are not those of a picture, so that the product of
/// their spacings is not the area of a pixel.
const SHEAR: f64 = 1e-3;

/// Where a picture lies, as its sender says, to be said of its mask too.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub stamp: Stamp,
    /// Columns and rows.
    pub size: [u16; 2],
    /// 1: RAS, 2: LPS.
    pub coordinates: u8,
    /// Directions of columns, rows and slices times their spacings, and the position: f32, as they came.
    pub matrix: [u8; 48],
}

/// A picture's header.
struct Head {
    components: u8,
    scalar: u8,
    /// 1: big, 2: little.
    endian: u8,
    coordinates: u8,
    /// Columns, rows and slices.
    size: [u16; 3],
    matrix: [u8; 48],
    /// Where the part that was sent begins.
    offset: [u16; 3],
    /// The size of that.
    part: [u16; 3],
}

/// Reads the content of an IMAGE message. The error says what is wrong with it and what to do.
pub(super) fn picture(
    content: &[u8],
    stamp: Stamp,
    options: &ReadOptions,
) -> Result<(Image, Geometry, Place), String> {
    let (head, pixels) = Head::parse(content).ok_or("ends within its header")?;
    head.check()?;
    let bytes = head.bytes().ok_or_else(|| format!("has samples of the unknown type {}", head.scalar))?;
    let Head { components, coordinates, size: [columns, rows, _], matrix, .. } = head;
    let (width, height) = (usize::from(columns), usize::from(rows));
    let expected = width * height * usize::from(components) * bytes;
    if pixels.len() != expected {
        return Err(format!("has {} bytes of pixels, and {width}x{height} px take {expected}", pixels.len()));
    }
    let image = head.image(width, height, pixels, options)?;
    let geometry = Geometry { spacing: spacing(&matrix), ..Geometry::of_image(&image) };
    Ok((image, geometry, Place { stamp, size: [columns, rows], coordinates, matrix }))
}

fn numbers(bytes: [u8; 6]) -> [u16; 3] {
    let [a, b, c, d, e, f] = bytes;
    [[a, b], [c, d], [e, f]].map(u16::from_be_bytes)
}

impl Head {
    /// Reads the header; `None` if it is cut short. What follows are the pixels.
    fn parse(mut content: &[u8]) -> Option<(Head, &[u8])> {
        let rest = &mut content;
        // Version 1 is the only one, whatever the version of the protocol.
        let _version: [u8; 2] = take(rest)?;
        let [components, scalar, endian, coordinates] = take(rest)?;
        let (size, matrix) = (numbers(take(rest)?), take(rest)?);
        let (offset, part) = (numbers(take(rest)?), numbers(take(rest)?));
        Some((Head { components, scalar, endian, coordinates, size, matrix, offset, part }, content))
    }

    /// Refuses what is no whole single picture.
    fn check(&self) -> Result<(), String> {
        let [columns, rows, slices] = self.size;
        if slices != 1 {
            Err(format!("is a volume of {columns}x{rows}x{slices}: send single pictures, one slice each"))
        } else if self.offset != [0; 3] || self.part != self.size {
            Err("holds a part of a picture (sub-volume): send whole ones".into())
        } else if ![1, 3, 4].contains(&self.components) {
            Err(format!("has {} components: send grey (1), RGB (3) or RGBA (4)", self.components))
        } else if ![1, 2].contains(&self.endian) {
            Err(format!("has the unknown byte order {}", self.endian))
        } else if ![1, 2].contains(&self.coordinates) {
            Err(format!("has the unknown coordinate system {}", self.coordinates))
        } else {
            Ok(())
        }
    }

    /// Bytes of a sample.
    fn bytes(&self) -> Option<usize> {
        match self.scalar {
            2 | UINT8 => Some(1),
            4 | 5 => Some(2),
            6 | 7 | 10 => Some(4),
            11 => Some(8),
            _ => None,
        }
    }

    /// The picture. Only for 8 bits is it known which value is white; others need the window that the head was trained
    /// with.
    fn image(
        &self,
        width: usize,
        height: usize,
        pixels: &[u8],
        options: &ReadOptions,
    ) -> Result<Image, String> {
        let image = match (self.scalar, self.components, options.window) {
            (UINT8, 1, _) => Image::from_grey8(width, height, pixels.to_vec()),
            (UINT8, 3, _) => Image::from_rgb8(width, height, pixels.to_vec()),
            // The fourth is opacity, which is left out as in files.
            (UINT8, ..) => {
                let colours = pixels.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]);
                Image::from_rgb8(width, height, colours.collect())
            }
            (_, 1, Some(window)) => Image::from_grey16(width, height, self.windowed(pixels, window)),
            (_, 1, None) => {
                return Err("does not say which of its values are black and white: send 8-bit samples without sign, or use a head that was trained with --window".into());
            }
            _ => return Err("has colours that are not of 8 bits without sign: send those".into()),
        };
        image.map_err(|error| error.to_string())
    }

    /// The samples in the window, as those of NIfTI (DICOM's LINEAR_EXACT); what is not finite is black.
    fn windowed(&self, pixels: &[u8], window: Window) -> Vec<u16> {
        let (low, scale) = (window.center - window.width / 2.0, 65535.0 / window.width);
        let grey = |value: f64| {
            if value.is_finite() { ((value - low) * scale).clamp(0.0, 65535.0).round() as u16 } else { 0 }
        };
        fn each<const N: usize>(pixels: &[u8], little: bool, grey: impl Fn([u8; N]) -> u16) -> Vec<u16> {
            let ordered = |mut bytes: [u8; N]| {
                if little {
                    bytes.reverse();
                }
                bytes
            };
            pixels.as_chunks::<N>().0.iter().map(|&bytes| grey(ordered(bytes))).collect()
        }
        let little = self.endian == 2;
        match self.scalar {
            2 => each(pixels, little, |bytes| grey(i8::from_be_bytes(bytes).into())),
            4 => each(pixels, little, |bytes| grey(i16::from_be_bytes(bytes).into())),
            5 => each(pixels, little, |bytes| grey(u16::from_be_bytes(bytes).into())),
            6 => each(pixels, little, |bytes| grey(i32::from_be_bytes(bytes).into())),
            7 => each(pixels, little, |bytes| grey(u32::from_be_bytes(bytes).into())),
            10 => each(pixels, little, |bytes| grey(f32::from_be_bytes(bytes).into())),
            _ => each(pixels, little, |bytes| grey(f64::from_be_bytes(bytes))),
        }
    }
}

/// The spacing in millimetres: the lengths of the matrix's first two columns, the directions of columns and rows. `None`
/// if there is none that can be relied on.
fn spacing(matrix: &[u8; 48]) -> Option<Spacing> {
    let (values, _) = matrix.as_chunks::<4>();
    let vector = |axis: usize| [0, 1, 2].map(|i| f64::from(f32::from_be_bytes(values[3 * axis + i])));
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let (i, j) = (vector(0), vector(1));
    let (columns, rows) = (dot(i, i).sqrt(), dot(j, j).sqrt());
    let usable = |length: f64| length.is_finite() && length > 0.0;
    let unit = [columns, rows].iter().all(|length| (length - 1.0).abs() < UNIT);
    let sheared = dot(i, j).abs() > SHEAR * columns * rows;
    (usable(columns) && usable(rows) && !unit && !sheared).then_some(Spacing { slices: None, rows, columns })
}

/// An IMAGE message with the labels of each pixel, where the picture lies.
pub(super) fn labels(device: &str, place: &Place, map: &LabelMap) -> Vec<u8> {
    let [columns, rows] = place.size.map(u16::to_be_bytes);
    let one = 1_u16.to_be_bytes();
    let mut body = Vec::with_capacity(72 + map.labels.len());
    body.extend(one);
    // A label is a byte, for which no byte order matters; big-endian is that of the protocol.
    body.extend([1, UINT8, 1, place.coordinates]);
    body.extend([columns, rows, one].concat());
    body.extend(place.matrix);
    body.extend([0; 6]);
    body.extend([columns, rows, one].concat());
    body.extend(&map.labels);
    message("IMAGE", device, place.stamp, &body)
}
