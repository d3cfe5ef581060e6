//! The layout of a picture according to its TIFF directory (TIFF 6.0, and its supplements for tiles, JPEG and Deflate).

use std::io::{Read, Seek};

use tiff::TiffResult;
use tiff::decoder::{Decoder, IfdDecoder};
use tiff::tags::{IfdPointer, Tag};

use super::pages::Form;

/// FillOrder (266), for which the tiff crate has no name.
const FILL_ORDER: Tag = Tag::Unknown(266);

/// Compression of the chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compression {
    None,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

/// Meaning of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// Meaning of the first sample beyond the colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extra {
    /// Ignored.
    Ignored,
    /// Opacity by which the colours have been multiplied.
    Premultiplied,
}

/// A directory of a supported kind.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bits per sample: 1 to 16, or 16, 32 and 64 for floating point.
    pub(super) bits: usize,
    pub(super) float: bool,
    /// Samples per pixel, including those beyond the colour.
    pub(super) samples: usize,
    pub(super) extra: Extra,
    pub(super) photometric: Photometric,
    pub(super) compression: Compression,
    /// 1 for none, 2 for horizontal differences, 3 for floating-point differences.
    pub(super) predictor: u16,
    /// Whether each sample of a pixel is in a separate plane.
    pub(super) planar: bool,
    /// Whether the bits of each byte are stored lowest first.
    pub(super) reversed: bool,
    /// Columns and rows of a strip or tile.
    pub(super) chunk: [usize; 2],
    pub(super) tiled: bool,
    /// Offset and length of each chunk in the file.
    pub(super) chunks: Vec<(u64, u64)>,
    /// 16-bit values, first all red, then green and blue.
    pub(super) palette: Vec<u16>,
    pub(super) jpeg_tables: Vec<u8>,
    /// The ICC profile.
    pub(super) profile: Option<Vec<u8>>,
    pub(super) orientation: u8,
    pub(super) little: bool,
}

/// Reads numbers from a directory.
struct Tags<'a>(IfdDecoder<'a>);

impl Tags<'_> {
    fn list(&mut self, tag: Tag) -> Result<Option<Vec<u64>>, String> {
        self.0.find_tag_unsigned_vec(tag).map_err(|e| e.to_string())
    }

    fn number(&mut self, tag: Tag, default: u64) -> Result<u64, String> {
        Ok(self.list(tag)?.and_then(|list| list.first().copied()).unwrap_or(default))
    }

    fn size(&mut self, tag: Tag) -> Result<usize, String> {
        let size = self.number(tag, 0)?;
        usize::try_from(size).ok().filter(|n| *n > 0).ok_or_else(|| format!("{tag:?} is {size}"))
    }

    /// The value that all samples share.
    fn common(&mut self, tag: Tag, default: u64) -> Result<u64, String> {
        let list = self.list(tag)?.filter(|list| !list.is_empty()).unwrap_or_else(|| vec![default]);
        if list.iter().any(|value| *value != list[0]) {
            return Err(format!("{tag:?} differs between samples, which is not read"));
        }
        Ok(list[0])
    }
}

impl Layout {
    /// Parses the directory at `offset`.
    pub(super) fn read<R: Read + Seek>(
        decoder: &mut Decoder<R>,
        offset: u64,
        form: Form,
    ) -> Result<Layout, String> {
        let directory = text(decoder.read_directory(IfdPointer(offset)))?;
        let mut tags = Tags(decoder.read_directory_tags(&directory));
        let (width, height) = (tags.size(Tag::ImageWidth)?, tags.size(Tag::ImageLength)?);
        let samples = tags.number(Tag::SamplesPerPixel, 1)? as usize;
        let planar = tags.number(Tag::PlanarConfiguration, 1)? == 2 && samples > 1;
        let tiled = directory.contains(Tag::TileOffsets);
        let (chunk, chunks) = chunks(&mut tags, tiled, [width, height])?;
        let extras = tags.list(Tag::ExtraSamples)?.unwrap_or_default();
        let layout = Layout {
            width,
            height,
            bits: tags.common(Tag::BitsPerSample, 1)? as usize,
            float: sample_format(&mut tags)?,
            samples,
            extra: if extras.first() == Some(&1) { Extra::Premultiplied } else { Extra::Ignored },
            photometric: photometric(&mut tags)?,
            compression: compression(&mut tags)?,
            predictor: tags.number(Tag::Predictor, 1)? as u16,
            planar,
            reversed: tags.number(FILL_ORDER, 1)? == 2,
            chunk,
            tiled,
            chunks,
            palette: tags.list(Tag::ColorMap)?.unwrap_or_default().into_iter().map(|v| v as u16).collect(),
            jpeg_tables: match tags.0.find_tag(Tag::JPEGTables).map_err(|e| e.to_string())? {
                Some(value) => text(value.into_u8_vec())?,
                None => Vec::new(),
            },
            // An unreadable profile is ignored.
            profile: tags
                .0
                .find_tag(Tag::IccProfile)
                .ok()
                .flatten()
                .and_then(|value| value.into_u8_vec().ok()),
            orientation: tags.number(Tag::Orientation, 1)?.min(255) as u8,
            little: form.little,
        };
        layout.check()?;
        Ok(layout)
    }

    /// Number of samples that make up the colour.
    pub(super) fn colours(&self) -> usize {
        match self.photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => 1,
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Cmyk => 4,
        }
    }

    /// Memory for decoding the picture, in bytes: for all its samples and for the converted pixels.
    pub(super) fn decoded(&self) -> u64 {
        let each = match (self.float, self.bits) {
            (true, _) => 4 * self.samples + 12,
            (false, 0..=8) => self.samples + 3,
            _ => 2 * self.samples + 6,
        };
        (self.width as u64).saturating_mul(self.height as u64).saturating_mul(each as u64)
    }

    /// Refuses unsupported combinations, each with its reason.
    fn check(&self) -> Result<(), String> {
        let Layout { bits, float, samples, photometric, compression, predictor, .. } = *self;
        let grey = matches!(photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero);
        let depth = match (float, photometric) {
            (true, _) => matches!(bits, 16 | 32 | 64),
            (false, Photometric::Palette) => matches!(bits, 1 | 2 | 4 | 8),
            (false, _) if grey && samples == 1 => (1..=16).contains(&bits),
            (false, _) => matches!(bits, 8 | 16),
        };
        if !depth {
            let kind = if float { "floating point" } else { "integers" };
            return Err(format!("{kind} of {bits} bits, whose range is not known: scale it to 8 or 16 bits"));
        }
        if samples < self.colours() {
            return Err(format!(
                "{samples} samples a pixel, of which {photometric:?} needs {}",
                self.colours()
            ));
        }
        if float && !matches!(photometric, Photometric::BlackIsZero | Photometric::Rgb) {
            return Err(format!("floating point as {photometric:?}, which is not read"));
        }
        if photometric == Photometric::Palette && self.palette.len() != 3 << bits {
            return Err(format!("a palette of {} values for {bits} bits", self.palette.len()));
        }
        if photometric == Photometric::YCbCr && compression != Compression::Jpeg {
            return Err("YCbCr without JPEG, which is not read".into());
        }
        if compression == Compression::Jpeg && (bits != 8 || self.planar || samples != self.colours()) {
            return Err("JPEG of this depth or with more samples than colours, which is not read".into());
        }
        if compression == Compression::Group4 && (bits != 1 || samples != 1) {
            return Err("a fax of more than one bit".into());
        }
        let predicted = match predictor {
            1 => true,
            2 => matches!(bits, 8 | 16 | 32 | 64),
            3 => float,
            _ => false,
        };
        let with = matches!(compression, Compression::Lzw | Compression::Deflate);
        if !predicted || (predictor > 1 && !with) {
            return Err(format!("the predictor {predictor}, which is not read here"));
        }
        Ok(())
    }
}

fn text<T>(result: TiffResult<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

/// Columns and rows of a chunk; offset and length of each.
type Chunks = ([usize; 2], Vec<(u64, u64)>);

/// The strips or tiles of a picture of `size`.
fn chunks(tags: &mut Tags, tiled: bool, size: [usize; 2]) -> Result<Chunks, String> {
    let (chunk, offsets, lengths) = if tiled {
        ([tags.size(Tag::TileWidth)?, tags.size(Tag::TileLength)?], Tag::TileOffsets, Tag::TileByteCounts)
    } else {
        let rows = tags.number(Tag::RowsPerStrip, u64::MAX)?.min(size[1] as u64) as usize;
        ([size[0], rows], Tag::StripOffsets, Tag::StripByteCounts)
    };
    if chunk[1] == 0 {
        return Err("strips of no rows".into());
    }
    let (offsets, lengths) =
        (tags.list(offsets)?.unwrap_or_default(), tags.list(lengths)?.unwrap_or_default());
    if offsets.len() != lengths.len() || offsets.is_empty() {
        return Err(format!("{} offsets but {} lengths", offsets.len(), lengths.len()));
    }
    Ok((chunk, offsets.into_iter().zip(lengths).collect()))
}

/// Whether samples are floating point.
fn sample_format(tags: &mut Tags) -> Result<bool, String> {
    match tags.common(Tag::SampleFormat, 1)? {
        // 4 is "undefined", which the standard says to treat as 1.
        1 | 4 => Ok(false),
        3 => Ok(true),
        2 => Err(
            "signed integers, of which black and white are not known: shift and scale them to 8 or 16 bits"
                .into(),
        ),
        format => Err(format!("complex numbers (SampleFormat {format}), which are not read")),
    }
}

fn photometric(tags: &mut Tags) -> Result<Photometric, String> {
    match tags.number(Tag::PhotometricInterpretation, u64::MAX)? {
        0 => Ok(Photometric::WhiteIsZero),
        1 => Ok(Photometric::BlackIsZero),
        2 => Ok(Photometric::Rgb),
        3 => Ok(Photometric::Palette),
        5 => Ok(Photometric::Cmyk),
        6 => Ok(Photometric::YCbCr),
        u64::MAX => Err("no PhotometricInterpretation".into()),
        other => {
            Err(format!("the PhotometricInterpretation {other}, which is not read: save it as grey or RGB"))
        }
    }
}

fn compression(tags: &mut Tags) -> Result<Compression, String> {
    match tags.number(Tag::Compression, 1)? {
        1 => Ok(Compression::None),
        4 => Ok(Compression::Group4),
        5 => Ok(Compression::Lzw),
        7 => Ok(Compression::Jpeg),
        8 | 32946 => Ok(Compression::Deflate),
        32773 => Ok(Compression::PackBits),
        2 | 3 => Err("a fax of group 3, which is not read: save it as group 4".into()),
        other => Err(format!("the compression {other}, which is not read: save it with LZW or Deflate")),
    }
}
