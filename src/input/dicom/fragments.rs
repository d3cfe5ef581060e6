//! Compressed pixels: items of a sequence (PS3.5 A.4), and which of them make a frame.
//!
//! A frame may be in several fragments. Where they begin is said by the basic offset table or the extended one; where both
//! are empty, by the streams themselves, for each of JPEG, JPEG-LS and JPEG 2000 begins with a mark that cannot stand at the
//! beginning of a later fragment. What the table says must be what the streams say.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use dicom_dictionary_std::uids;

use super::bytes::{Bytes, Random};

/// The items of compressed pixels.
#[derive(Debug, PartialEq)]
pub(super) struct Fragments {
    /// Offsets of the frames from the first fragment's item; empty if the file has none.
    pub(super) offsets: Vec<u64>,
    /// Of the extended offset table: bytes of each frame.
    pub(super) lengths: Vec<u64>,
    /// Place and length of each fragment that is not empty.
    places: Vec<(u64, u32)>,
    /// Which fragments make each frame.
    frames: Vec<Range<usize>>,
}

/// How a compressed stream begins.
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
    /// Reads the items from the byte `at` on: little-endian whatever the rest of the file is.
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
                // Item, and the delimiter of the sequence.
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
                // Empty ones hold nothing of any frame.
                if bytes > 0 {
                    places.push((place, bytes));
                }
                reader.seek_relative(bytes.into()).map_err(|_| cut())?;
            }
            place += u64::from(bytes);
        }
        Ok(Fragments { offsets: table.unwrap_or_default(), lengths: Vec::new(), places, frames: Vec::new() })
    }

    /// Finds the frames: `announced` of them, or as many as there are.
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
            // One fragment is one frame (PS3.5 A.4.2 of RLE).
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

    /// The first fragment of each frame, as the offset table has it.
    fn by_table(&self) -> Result<Vec<usize>, String> {
        let first = self.places.first().map_or(0, |&(at, _)| at);
        let mut starts = Vec::with_capacity(self.offsets.len());
        for offset in &self.offsets {
            let found = self.places.binary_search_by_key(offset, |&(at, _)| at - first);
            starts.push(found.map_err(|_| table_lies())?);
        }
        if starts.is_sorted_by(|a, b| a < b) { Ok(starts) } else { Err(table_lies()) }
    }

    /// Compares the frames with the lengths of the extended offset table, which leave out the byte that makes a length even.
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

    /// How many frames there are.
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

    /// Bytes of all fragments.
    pub(super) fn bytes(&self) -> u64 {
        self.places.iter().map(|&(_, length)| u64::from(length)).sum()
    }
}

fn table_lies() -> String {
    "has an offset table that does not point at its frames: the file is damaged, save it anew".into()
}

/// The fragments that begin with one of `marks`.
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
