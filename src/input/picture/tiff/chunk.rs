//! Decodes a strip or tile: decompresses it to exactly its size and undoes the predictor.

use flate2::{Decompress, FlushDecompress, Status};
use weezl::LzwStatus;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::fax;
use super::layout::{Compression, Layout, Photometric};
use crate::input::jpeg;

/// Maximum number of padding bytes after a chunk's data, to fill a word.
const FILLING: usize = 3;

impl Layout {
    /// Bytes per row of a chunk, and samples per pixel in it.
    pub(super) fn chunk_row(&self) -> (usize, usize) {
        let samples = if self.planar { 1 } else { self.samples };
        (self.chunk[0].saturating_mul(samples).saturating_mul(self.bits).div_ceil(8), samples)
    }

    /// Decompresses a chunk of which `rows` rows belong to the picture, to rows of bytes with the first sample first.
    pub(super) fn decompress(&self, bytes: &[u8], rows: usize) -> Result<Vec<u8>, String> {
        let (row, _) = self.chunk_row();
        // Some encoders pad the last strip to full size.
        let (needed, full) = (row.saturating_mul(rows), row.saturating_mul(self.chunk[1]));
        let reversed;
        let bytes = if self.reversed && self.compression != Compression::Jpeg {
            reversed = bytes.iter().map(|byte| byte.reverse_bits()).collect::<Vec<u8>>();
            &reversed
        } else {
            bytes
        };
        let mut decoded = match self.compression {
            Compression::None => bytes.into(),
            Compression::PackBits => unpack(bytes, full)?,
            Compression::Lzw => lzw(bytes, full)?,
            Compression::Deflate => inflate(bytes, full)?,
            Compression::Group4 => fax::group4(bytes, self.chunk[0], rows)?,
            Compression::Jpeg => self.jpeg(bytes, rows)?,
        };
        let filled =
            self.compression == Compression::None && (needed..=needed + FILLING).contains(&decoded.len());
        if decoded.len() != needed && decoded.len() != full && !filled {
            return Err(format!("{} bytes of {needed}", decoded.len()));
        }
        decoded.truncate(needed);
        Ok(decoded)
    }

    /// Decodes JPEG, whose tables may be in a separate tag (the supplement TTN2).
    fn jpeg(&self, bytes: &[u8], rows: usize) -> Result<Vec<u8>, String> {
        let mut stream = Vec::new();
        match (self.jpeg_tables.strip_suffix(&[0xFF, 0xD9]), bytes.strip_prefix(&[0xFF, 0xD8])) {
            (Some(tables), Some(rest)) => {
                stream.extend_from_slice(tables);
                stream.extend_from_slice(rest);
            }
            _ => stream.extend_from_slice(bytes),
        }
        let (precision, size) = jpeg::header(&stream).ok_or("no JPEG frame header")?;
        let [width, height] = size.map(usize::from);
        if precision != 8 || width != self.chunk[0] || (height != rows && height != self.chunk[1]) {
            return Err(format!("a JPEG of {width}x{height} px in a chunk of {}x{rows}", self.chunk[0]));
        }
        jpeg::check(&stream)?;
        let mut decoder = JpegDecoder::new(ZCursor::new(&stream));
        decoder.decode_headers().map_err(|e| e.to_string())?;
        let found = decoder.input_colorspace().ok_or("no JPEG colours")?;
        if found.num_components() != self.samples {
            return Err(format!("a JPEG of {} components", found.num_components()));
        }
        // The tags define the colour space, not the stream.
        let wanted = if self.photometric == Photometric::YCbCr { ColorSpace::RGB } else { found };
        decoder.set_options(DecoderOptions::default().jpeg_set_out_colorspace(wanted));
        decoder.decode().map_err(|e| e.to_string())
    }

    /// Undoes the predictor in rows of samples, which are then in native byte order.
    pub(super) fn undo_differences(&self, decoded: &mut [u8]) {
        let (row, samples) = self.chunk_row();
        let width = self.bits / 8;
        for row in decoded.chunks_exact_mut(row.max(1)) {
            match (self.predictor, self.bits) {
                (3, _) => unshuffle(row, samples, width),
                (_, 16) => self.order::<2>(row),
                (_, 32) => self.order::<4>(row),
                (_, 64) => self.order::<8>(row),
                _ => {}
            }
            if self.predictor == 2 {
                match self.bits {
                    8 => {
                        (samples..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - samples]))
                    }
                    16 => sum(row, samples, |a, b| {
                        u16::from_ne_bytes(a).wrapping_add(u16::from_ne_bytes(b)).to_ne_bytes()
                    }),
                    32 => sum(row, samples, |a, b| {
                        u32::from_ne_bytes(a).wrapping_add(u32::from_ne_bytes(b)).to_ne_bytes()
                    }),
                    _ => sum(row, samples, |a, b| {
                        u64::from_ne_bytes(a).wrapping_add(u64::from_ne_bytes(b)).to_ne_bytes()
                    }),
                }
            }
        }
    }

    fn order<const N: usize>(&self, row: &mut [u8]) {
        if self.little != cfg!(target_endian = "little") {
            row.as_chunks_mut::<N>().0.iter_mut().for_each(|bytes| bytes.reverse());
        }
    }
}

/// Adds to each value that of the preceding pixel.
fn sum<const N: usize>(row: &mut [u8], samples: usize, add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let values = row.as_chunks_mut::<N>().0;
    for at in samples..values.len() {
        values[at] = add(values[at], values[at - samples]);
    }
}

/// Undoes the predictor of Adobe's TIFF Technical Note 3: byte differences, the highest bytes of all values first.
fn unshuffle(row: &mut [u8], samples: usize, width: usize) {
    (samples..row.len()).for_each(|at| row[at] = row[at].wrapping_add(row[at - samples]));
    let values = row.len() / width;
    let planes = row.to_vec();
    for value in 0..values {
        for byte in 0..width {
            let place = if cfg!(target_endian = "little") { width - 1 - byte } else { byte };
            row[value * width + place] = planes[byte * values + value];
        }
    }
}

/// Refuses surplus data at the end of a chunk.
fn check_rest(rest: usize) -> Result<(), String> {
    if rest > FILLING { Err(format!("{rest} bytes remain after its last row")) } else { Ok(()) }
}

/// PackBits (TIFF 6.0, section 9).
fn unpack(mut bytes: &[u8], full: usize) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::new();
    while let [head, rest @ ..] = bytes
        && decoded.len() < full
    {
        let count = (*head as i8).unsigned_abs();
        bytes = match *head as i8 {
            -128 => rest,
            0.. => {
                let (literal, rest) =
                    rest.split_at_checked(usize::from(count) + 1).ok_or("it ends within a run")?;
                decoded.extend_from_slice(literal);
                rest
            }
            _ => {
                let (value, rest) = rest.split_first().ok_or("it ends within a run")?;
                decoded.resize(decoded.len() + usize::from(count) + 1, *value);
                rest
            }
        };
    }
    check_rest(bytes.len())?;
    Ok(decoded)
}

fn lzw(mut bytes: &[u8], full: usize) -> Result<Vec<u8>, String> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let (mut decoded, mut buffer) = (Vec::new(), vec![0; 1 << 15]);
    while !bytes.is_empty() && decoded.len() <= full {
        let result = decoder.decode_bytes(bytes, &mut buffer);
        decoded.extend_from_slice(&buffer[..result.consumed_out]);
        bytes = &bytes[result.consumed_in..];
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done | LzwStatus::NoProgress) => break,
            Err(e) => return Err(e.to_string()),
        }
    }
    check_rest(bytes.len())?;
    Ok(decoded)
}

fn inflate(bytes: &[u8], full: usize) -> Result<Vec<u8>, String> {
    let mut inflate = Decompress::new(true);
    let (mut decoded, mut buffer) = (Vec::new(), vec![0; 1 << 15]);
    loop {
        let (used, produced) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(&bytes[used as usize..], &mut buffer, FlushDecompress::None);
        let status = status.map_err(|e| e.to_string())?;
        decoded.extend_from_slice(&buffer[..(inflate.total_out() - produced) as usize]);
        if status == Status::StreamEnd {
            check_rest(bytes.len() - inflate.total_in() as usize)?;
            return Ok(decoded);
        }
        if decoded.len() > full {
            return Err("more rows than its size says".into());
        }
        if inflate.total_in() == used && inflate.total_out() == produced {
            return Err("its compressed data has no end".into());
        }
    }
}
