//! Compressed pixels: the items of a sequence (PS3.5 A.4), and which of them make up a frame.
//!
//! A frame may span several fragments. The basic or the extended offset table states where frames begin. If both are
//! empty, the streams themselves do: JPEG, JPEG-LS and JPEG 2000 streams each begin with a marker that cannot occur at
//! the beginning of a later fragment. The table must agree with the streams.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use dicom_dictionary_std::uids;

use super::bytes::{Bytes, Random};

/// The items of compressed pixels.
#[derive(Debug, PartialEq)]
pub(super) struct Fragments {
    /// Offset of each frame from the first fragment's item; empty if the file has no offset table.
    pub(super) offsets: Vec<u64>,
    /// Length of each frame in bytes, from the extended offset table.
    pub(super) lengths: Vec<u64>,
    /// Position and length of each fragment that is not empty.
    places: Vec<(u64, u32)>,
    /// The range of fragments that makes up each frame.
    frames: Vec<Range<usize>>,
}

/// The byte sequences with which a compressed stream may begin.
fn marks(syntax: &str) -> &'static [&'static [u8]] {
    match syntax {
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1
        | uids::JPEGLS_LOSSLESS
        | uids::JPEGLS_NEAR_LOSSLESS => &[b"\xff\xd8\xff"],
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => &[b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"],
        _ => &[],
    }
}

impl Fragments {
    /// Reads the items from byte `at`. They are little-endian whatever the encoding of the rest of the file.
    pub(super) fn read(bytes: &Bytes, at: u64) -> Result<Fragments, String> {
        let cut = || {
            "ends within its compressed pixels: it is damaged or cut short, give the whole file".to_string()
        };
        let length = bytes.len().map_err(|_| cut())?;
        let mut reader = bytes.reader(at).map_err(|_| cut())?;
        let mut place = at;
        let mut table = None;
        let mut places = Vec::new();
        loop {
            let mut head = [0; 8];
            reader.read_exact(&mut head).map_err(|_| cut())?;
            let bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            place += 8;
            match head[..4] {
                // Item, and sequence delimiter.
                [0xFE, 0xFF, 0x00, 0xE0] if place + u64::from(bytes) <= length => {}
                [0xFE, 0xFF, 0xDD, 0xE0] => break,
                _ => return Err(cut()),
            }
            if table.is_none() {
                let mut offsets = vec![0; bytes as usize];
                reader.read_exact(&mut offsets).map_err(|_| cut())?;
                table =
                    Some(offsets.as_chunks().0.iter().map(|b| u64::from(u32::from_le_bytes(*b))).collect());
            } else {
                // Empty fragments belong to no frame.
                if bytes > 0 {
                    places.push((place, bytes));
                }
                reader.seek_relative(bytes.into()).map_err(|_| cut())?;
            }
            place += u64::from(bytes);
        }
        Ok(Fragments { offsets: table.unwrap_or_default(), lengths: Vec::new(), places, frames: Vec::new() })
    }

    /// Finds the frames: `announced` of them, or as many as there are if the header does not state a number.
    pub(super) fn find_frames(
        &mut self,
        bytes: &Bytes,
        syntax: &str,
        announced: Option<usize>,
    ) -> Result<(), String> {
        let whole = self.places.len();
        let begins = || begin_streams(bytes, &self.places, marks(syntax));
        let starts = if !self.offsets.is_empty() {
            let starts = self.by_table()?;
            if whole > starts.len() && !marks(syntax).is_empty() && begins()? != starts {
                return Err(table_lies());
            }
            starts
        } else if announced == Some(whole) {
            (0..whole).collect()
        } else if !marks(syntax).is_empty() {
            begins()?
        } else if announced == Some(1) {
            vec![0]
        } else {
            // One fragment per frame (PS3.5 A.4.2, for RLE).
            (0..whole).collect()
        };
        let counted = starts.len();
        if starts.first() != Some(&0) || announced.is_some_and(|announced| announced != counted) {
            return Err(match announced {
                Some(announced) => format!(
                    "announces {announced} frames (NumberOfFrames) but holds {counted} in {whole} fragments: the file is damaged"
                ),
                None => format!("holds no whole frame in {whole} fragments: the file is damaged"),
            });
        }
        let ends = starts.iter().copied().skip(1).chain([whole]);
        self.frames = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
        self.check_lengths()
    }

    /// Index of the first fragment of each frame, according to the offset table.
    fn by_table(&self) -> Result<Vec<usize>, String> {
        let first = self.places.first().map_or(0, |&(at, _)| at);
        let mut starts = Vec::with_capacity(self.offsets.len());
        for offset in &self.offsets {
            let found = self.places.binary_search_by_key(offset, |&(at, _)| at - first);
            starts.push(found.map_err(|_| table_lies())?);
        }
        if starts.is_sorted_by(|a, b| a < b) { Ok(starts) } else { Err(table_lies()) }
    }

    /// Checks the frames against the lengths in the extended offset table, which do not count the byte that pads a
    /// fragment to an even length.
    fn check_lengths(&self) -> Result<(), String> {
        if self.lengths.is_empty() {
            return Ok(());
        }
        let held =
            |frame: &Range<usize>| self.places[frame.clone()].iter().map(|&(_, n)| u64::from(n)).sum::<u64>();
        let fits = |(frame, &said): (&Range<usize>, &u64)| (said..=said + 1).contains(&held(frame));
        if self.lengths.len() == self.frames.len() && self.frames.iter().zip(&self.lengths).all(fits) {
            return Ok(());
        }
        Err(table_lies())
    }

    /// Number of frames.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// All bytes of a frame.
    pub(super) fn frame(&self, bytes: &Bytes, frame: usize) -> Result<Vec<u8>, String> {
        let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");
        let range = self.frames.get(frame).cloned().ok_or_else(table_lies)?;
        let mut all = Vec::new();
        for &(at, length) in &self.places[range] {
            all.append(&mut bytes.read(at, length.into()).map_err(io)?);
        }
        if let Some(&length) = self.lengths.get(frame) {
            all.truncate(length as usize);
        }
        Ok(all)
    }

    /// Total length of all fragments, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.places.iter().map(|&(_, length)| u64::from(length)).sum()
    }
}

fn table_lies() -> String {
    "has an offset table that does not point at its frames: the file is damaged, save it anew".into()
}

/// Indices of the fragments that begin with one of `marks`.
fn begin_streams(bytes: &Bytes, places: &[(u64, u32)], marks: &[&[u8]]) -> Result<Vec<usize>, String> {
    let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");
    let mut reader: BufReader<Box<dyn Random>> = bytes.reader(0).map_err(io)?;
    let mut starts = Vec::new();
    for (n, &(at, length)) in places.iter().enumerate() {
        let mut first = [0; 12];
        let first = &mut first[..(length as usize).min(12)];
        reader.seek(SeekFrom::Start(at)).map_err(io)?;
        reader.read_exact(first).map_err(io)?;
        if marks.iter().any(|mark| first.starts_with(mark)) {
            starts.push(n);
        }
    }
    Ok(starts)
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
