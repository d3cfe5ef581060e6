//! A DICOM file (PS3.10), opened without reading its pixels.
//!
//! `meta.rs` finds where the data set begins, `elements.rs` reads the elements before the pixels, and `fragments.rs`
//! locates the frames of compressed pixels. Pixels stay in the file: only their position is kept, and a frame is read
//! when it is decoded.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::attributes;
use super::bytes::Bytes;
use super::damaged::damaged;
use super::elements::{self, Place};
use super::fragments::Fragments;
use super::guarded::guarded;
use super::meta::{Encoding, Start};
use crate::input::InputError;
use crate::names::one_line;

/// A file that holds an image.
pub(super) struct DicomFile {
    pub(super) path: PathBuf,
    /// The elements before the pixels that this program reads. NumberOfFrames is added if the file lacks it and holds
    /// several compressed frames.
    pub(super) object: InMemDicomObject,
    pub(super) syntax: &'static TransferSyntax,
    pub(super) pixels: Pixels,
    bytes: Bytes,
    encoding: Encoding,
}

/// Where the pixels are in the file.
#[derive(Debug, PartialEq)]
pub(super) enum Pixels {
    /// Uncompressed, one frame after another.
    Native {
        /// Position of the first byte.
        at: u64,
        /// Length in bytes.
        length: u64,
        /// Whether the VR is OW rather than OB: in big-endian files the bytes of OW are swapped.
        words: bool,
    },
    /// Compressed, in fragments (PS3.5 A.4).
    Encapsulated(Fragments),
}

impl DicomFile {
    pub(super) fn open(path: &Path) -> Result<DicomFile, InputError> {
        guarded(|| DicomFile::read(path)).map_err(|problem| InputError::unreadable(path, problem))
    }

    fn read(path: &Path) -> Result<DicomFile, String> {
        let Header { object, syntax, bytes, encoding, pixels } = Header::read(path)?;
        let Some(pixels) = pixels else {
            return Err("holds no pixel data: give an image, or the whole file if it is cut short".into());
        };
        Ok(DicomFile { path: path.into(), object, syntax, pixels, bytes, encoding })
    }

    /// Reads the bytes of frame `frame`; `length` is the size of a frame if the pixels are uncompressed.
    pub(super) fn frame(&self, frame: usize, length: u64) -> Result<Vec<u8>, String> {
        let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");

        match &self.pixels {
            Pixels::Native { at, words, .. } => {
                let start = frame as u64 * length;
                let swap = *words && self.encoding == Encoding::BigEndian;
                // Whole words are swapped, even if a frame begins in the middle of a word.
                let [first, last] =
                    if swap { [start & !1, (start + length + 1) & !1] } else { [start, start + length] };
                let mut bytes = self.bytes.read(at + first, last - first).map_err(io)?;
                if swap {
                    bytes.as_chunks_mut().0.iter_mut().for_each(|word: &mut [u8; 2]| word.reverse());
                    bytes.drain(..(start - first) as usize);
                    bytes.truncate(length as usize);
                }
                Ok(bytes)
            }
            Pixels::Encapsulated(fragments) => fragments.frame(&self.bytes, frame),
        }
    }
}

/// Reads the elements before the pixels of the file at `path`, as far as this program needs them; the file may have no
/// pixels. The error is one line. No more memory is allocated than the file's length justifies.
pub(crate) fn elements(path: &Path) -> Result<InMemDicomObject, String> {
    guarded(|| Header::read(path)).map(|header| header.object).map_err(|problem| one_line(&problem))
}

/// A file up to its pixels, with lengths checked.
struct Header {
    object: InMemDicomObject,
    syntax: &'static TransferSyntax,
    bytes: Bytes,
    encoding: Encoding,
    pixels: Option<Pixels>,
}

impl Header {
    fn read(path: &Path) -> Result<Header, String> {
        let file = Bytes::File(path.into());
        let Start { syntax: announced, at } = Start::read(&file)?;
        let deflated = announced.as_deref() == Some(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
        let (bytes, at) = if deflated { (Bytes::inflate(path, at)?, 0) } else { (file, at) };
        let found = Encoding::found(&bytes, at)
            .ok_or("ends before its data set: it is cut short, give the whole file")?;
        let syntax = known(announced.as_deref().unwrap_or(found.uid()))?;
        let big_endian = syntax.uid() == Encoding::BigEndian.uid();
        if big_endian != (found == Encoding::BigEndian) {
            return Err(format!(
                "says that it is {} but its elements are in the other byte order: the file is damaged",
                syntax.name()
            ));
        }
        let (mut object, place) = elements::read(&bytes, at, known(found.uid())?)?;
        let pixels = match place {
            None => None,
            Some(Place::Native { at, length, vr }) => {
                Some(Pixels::Native { at, length, words: vr == VR::OW })
            }
            Some(Place::Fragments(_)) if announced.is_none() => {
                return Err(
                    "does not say how its pixels are compressed (no TransferSyntaxUID): save it anew with a file meta group".into(),
                );
            }
            Some(Place::Fragments(at)) => {
                let mut fragments = Fragments::read(&bytes, at)?;
                extended_table(&object, &mut fragments)?;
                let frames = attributes::frames(&object)?;
                fragments.find_frames(&bytes, syntax.uid(), frames)?;
                if frames.is_none() && fragments.frames() > 1 {
                    let counted = PrimitiveValue::from(fragments.frames().to_string());
                    object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, counted));
                }
                Some(Pixels::Encapsulated(fragments))
            }
        };
        Ok(Header { object, syntax, bytes, encoding: found, pixels })
    }
}

/// Looks up a transfer syntax; an error if its data sets cannot be read.
fn known(uid: &str) -> Result<&'static TransferSyntax, String> {
    let Some(syntax) = TransferSyntaxRegistry.get(uid) else {
        return Err(format!(
            "is in the unknown transfer syntax '{uid}': save it as Explicit VR Little Endian"
        ));
    };
    if !syntax.can_decode_dataset() && uid != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        return Err(format!(
            "is in the transfer syntax {}, which is not read: save it as Explicit VR Little Endian",
            syntax.name()
        ));
    }
    Ok(syntax)
}

/// Uses the extended offset table (PS3.3 C.7.6.3.1.8), if the file has one.
fn extended_table(object: &InMemDicomObject, fragments: &mut Fragments) -> Result<(), String> {
    let numbers = |tag| -> Result<Option<Vec<u64>>, String> {
        let Some(element) = object.get(tag) else { return Ok(None) };
        let table = element.to_bytes().map_err(|e| damaged("has a damaged offset table", &e))?;
        Ok(Some(table.as_chunks().0.iter().map(|b| u64::from_ne_bytes(*b)).collect()))
    };
    let Some(offsets) = numbers(tags::EXTENDED_OFFSET_TABLE)? else { return Ok(()) };
    if !fragments.offsets.is_empty() && fragments.offsets != offsets {
        return Err("has two offset tables that contradict each other: the file is damaged".into());
    }
    fragments.offsets = offsets;
    fragments.lengths = numbers(tags::EXTENDED_OFFSET_TABLE_LENGTHS)?.unwrap_or_default();
    Ok(())
}
