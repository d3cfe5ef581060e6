//! A DICOM file (PS3.10) opened without its pixels.
//!
//! dicom-object allocates what an element's length says before it reads it, and descends into nested sequences by
//! recursion. So every element is stepped over first, by the same library's lazy reader, and compared with the file's
//! length; only then are those before the pixels read. Pixels stay in the file: their place is kept and a frame is read
//! when it is decoded.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use dicom_transfer_syntax_registry::{TransferSyntaxRegistry, entries};

use super::guarded::guarded;
use crate::input::InputError;
use crate::input::image::one_line;

/// Sequences within sequences. Structured reports, the deepest that there are, stay below 20.
const MAX_DEPTH: usize = 64;

/// Bytes of everything before the pixels. Per-frame functional groups of a thousand frames take about one megabyte.
const MAX_HEADER: u64 = 32 << 20;

/// Explicit VR Big Endian (PS3.5 A.3): retired, but archives hold such files.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A file that holds an image.
pub(super) struct DicomFile {
    pub(super) path: PathBuf,
    /// All elements before the pixels.
    pub(super) object: DefaultDicomObject,
    pub(super) syntax: &'static TransferSyntax,
    pub(super) pixels: Pixels,
}

/// Where the pixels are in the file.
#[derive(Debug, PartialEq)]
pub(super) enum Pixels {
    /// Plain, all frames one after the other.
    Native {
        /// Of the first byte.
        at: u64,
        /// In bytes.
        length: u64,
        /// OB or OW: with big-endian files the latter's bytes are swapped.
        words: bool,
    },
    /// In fragments (PS3.5 A.4).
    Encapsulated {
        /// Offsets of the frames from the first fragment's item; empty if the file has none.
        offsets: Vec<u64>,
        /// Place and length of each fragment.
        fragments: Vec<(u64, u32)>,
    },
}

impl DicomFile {
    pub(super) fn open(path: &Path) -> Result<DicomFile, InputError> {
        guarded(|| DicomFile::read(path)).map_err(|problem| InputError::unreadable(path, problem))
    }

    fn read(path: &Path) -> Result<DicomFile, String> {
        let Header { object, syntax, pixels } = Header::read(path)?;
        let Some(mut pixels) = pixels else {
            return Err("holds no pixel data: give an image, or the whole file if it is cut short".into());
        };
        if let (Pixels::Encapsulated { offsets, .. }, Ok(element)) =
            (&mut pixels, object.element(tags::EXTENDED_OFFSET_TABLE))
        {
            let table = element.to_bytes().map_err(|e| damaged("has a damaged offset table", &e))?;
            *offsets = table.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        }
        Ok(DicomFile { path: path.into(), object, syntax, pixels })
    }

    /// The bytes of the frame `frame`, of which there are `frames` with `length` bytes each where they are not compressed.
    pub(super) fn frame(&self, frame: usize, frames: usize, length: u64) -> Result<Vec<u8>, String> {
        let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");
        let mut file = crate::files::open(&self.path).map_err(io)?;
        match &self.pixels {
            Pixels::Native { at, words, .. } => {
                let start = frame as u64 * length;
                let swap = *words && !self.little_endian();
                // Words are swapped whole, also where a frame begins in the midst of one.
                let [first, last] =
                    if swap { [start & !1, (start + length + 1) & !1] } else { [start, start + length] };
                let mut bytes = read_at(&mut file, at + first, last - first).map_err(io)?;
                if swap {
                    bytes.as_chunks_mut().0.iter_mut().for_each(|word: &mut [u8; 2]| word.reverse());
                    bytes.drain(..(start - first) as usize);
                    bytes.truncate(length as usize);
                }
                Ok(bytes)
            }
            Pixels::Encapsulated { offsets, fragments } => {
                let mut bytes = Vec::new();
                for &(at, length) in fragments_of(frame, frames, offsets, fragments)? {
                    bytes.append(&mut read_at(&mut file, at, length.into()).map_err(io)?);
                }
                Ok(bytes)
            }
        }
    }

    pub(super) fn little_endian(&self) -> bool {
        self.syntax.uid() != BIG_ENDIAN
    }
}

/// All elements of the file at `path` before its pixels, if it has any; what is wrong with it, in one line, if it cannot be
/// read. Nothing is allocated that the file is too short for.
pub(crate) fn elements(path: &Path) -> Result<DefaultDicomObject, String> {
    guarded(|| Header::read(path)).map(|header| header.object).map_err(|problem| one_line(&problem))
}

/// A file up to its pixels, whose lengths have been checked.
struct Header {
    object: DefaultDicomObject,
    syntax: &'static TransferSyntax,
    pixels: Option<Pixels>,
}

impl Header {
    fn read(path: &Path) -> Result<Header, String> {
        let io = |e: std::io::Error| format!("cannot be read ({e}): check the path and its permissions");
        let file = crate::files::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(128)).map_err(io)?;
        let mut magic = [0; 4];
        if reader.read_exact(&mut magic).is_err() || &magic != b"DICM" {
            return Err(
                "is no DICOM file: DICM is missing at byte 128, so it is damaged or another format".into()
            );
        }
        let meta = dicom_object::FileMetaTable::from_reader(checked_meta(&mut reader, length)?.as_slice())
            .map_err(|e| damaged("has a damaged file meta group", &e))?;
        let uid = meta.transfer_syntax();
        let Some(syntax) = TransferSyntaxRegistry.get(uid) else {
            return Err(format!(
                "is in the unknown transfer syntax '{uid}': save it as Explicit VR Little Endian"
            ));
        };
        if !syntax.can_decode_dataset() {
            return Err(format!(
                "is in the transfer syntax {}, which is not read: save it as Explicit VR Little Endian",
                syntax.name()
            ));
        }
        let again = reader.get_ref().try_clone().map_err(io)?;
        let pixels = match find_pixels(reader, syntax, length)? {
            Place::None => None,
            Place::Native(pixels) => Some(pixels),
            Place::Fragments(at) => Some(fragments(BufReader::new(again), at, length)?),
        };
        let object = OpenFileOptions::new()
            .read_until(tags::PIXEL_DATA)
            .open_file(path)
            .map_err(|e| damaged("cannot be read as DICOM", &e))?;
        Ok(Header { object, syntax, pixels })
    }
}

/// One line of an error and of what caused it.
pub(super) fn damaged(what: &str, error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = source.source();
    }
    format!("{what} ({}): the file is damaged or cut short", one_line(&text))
}

fn read_at(file: &mut File, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::with_capacity(length as usize);
    if file.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// The fragments of one frame (PS3.5 A.4): all for a single frame, one each where there are as many, else by the offsets.
fn fragments_of<'f>(
    frame: usize,
    frames: usize,
    offsets: &[u64],
    fragments: &'f [(u64, u32)],
) -> Result<&'f [(u64, u32)], String> {
    if frames == 1 {
        return Ok(fragments);
    }
    if fragments.len() == frames {
        return Ok(&fragments[frame..=frame]);
    }
    let damaged = || {
        format!(
            "has {frames} frames in {} fragments and no usable offset table: the file is damaged",
            fragments.len()
        )
    };
    let Some(&(first, _)) = fragments.first() else { return Err(damaged()) };
    let place = |offset: u64| fragments.iter().position(|&(at, _)| at - first == offset);
    let start = offsets.get(frame).and_then(|&offset| place(offset)).ok_or_else(damaged)?;
    let end = match offsets.get(frame + 1) {
        Some(&offset) => place(offset).ok_or_else(damaged)?,
        None => fragments.len(),
    };
    fragments.get(start..end).filter(|f| !f.is_empty()).ok_or_else(damaged)
}

/// The file meta group, from `DICM` on, once it is known that its elements lie within it.
fn checked_meta(reader: &mut BufReader<File>, length: u64) -> Result<Vec<u8>, String> {
    let cut = || "has a damaged file meta group: the file is damaged or cut short".to_string();
    // (0002,0000), UL, 4 bytes: how long the rest of the group is.
    let mut head = [0; 12];
    reader.read_exact(&mut head).map_err(|_| cut())?;
    let rest = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    // A megabyte: it holds a few UIDs and names, and rarely a private block.
    if head[..8] != [2, 0, 0, 0, b'U', b'L', 4, 0] || rest > 1 << 20 || u64::from(rest) > length {
        return Err(cut());
    }
    let mut group = b"DICM".to_vec();
    group.extend(head);
    reader.take(rest.into()).read_to_end(&mut group).map_err(|_| cut())?;
    if group.len() != 16 + rest as usize {
        return Err(cut());
    }
    let explicit = entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    let elements = std::io::Cursor::new(group[16..].to_vec());
    let mut walk = LazyDataSetReader::new_with_ts(elements, &explicit).map_err(|_| cut())?;
    while let Some(token) = walk.advance() {
        match token.map_err(|_| cut())? {
            LazyDataToken::ElementHeader(header) if header.len.0 > rest => return Err(cut()),
            LazyDataToken::LazyValue { header, decoder } => {
                decoder.skip_bytes(header.len.0).map_err(|_| cut())?
            }
            LazyDataToken::ElementHeader(_) => {}
            _ => return Err(cut()),
        }
    }
    Ok(group)
}

/// Where the walk over the elements came out.
enum Place {
    None,
    Native(Pixels),
    /// At the item of the offset table.
    Fragments(u64),
}

/// Steps over the elements after the meta group to the pixels.
fn find_pixels(reader: BufReader<File>, syntax: &TransferSyntax, length: u64) -> Result<Place, String> {
    let broken = |e: &dyn Error| damaged("cannot be read as DICOM", e);
    let mut walk = LazyDataSetReader::new_with_ts(reader, syntax).map_err(|e| broken(&e))?;
    let mut depth = 0usize;
    let mut found = None;
    while let Some(token) = walk.advance() {
        match token.map_err(|e| broken(&e))? {
            LazyDataToken::ElementHeader(header) => {
                if header.tag == tags::PIXEL_DATA && depth == 0 {
                    found = Some(header);
                    break;
                }
                check_length(header.tag, header.len.0, length)?;
                check_whole(header.tag, header.vr, header.len.0)?;
            }
            LazyDataToken::SequenceStart { tag, len } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("nests sequences more than {MAX_DEPTH} deep: the file is damaged"));
                }
                if let Some(len) = len.get() {
                    check_length(tag, len, length)?;
                }
            }
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            LazyDataToken::ItemStart { len } => {
                if let Some(len) = len.get() {
                    check_length(Tag(0xFFFE, 0xE000), len, length)?;
                }
            }
            LazyDataToken::PixelSequenceStart if depth == 0 => {
                let at = walk.into_decoder().position();
                return check_header(at).map(|()| Place::Fragments(at));
            }
            LazyDataToken::PixelSequenceStart => {
                return Err(
                    "has compressed pixels within a sequence, which is not read: take the icon out".into()
                );
            }
            LazyDataToken::LazyValue { header, decoder } => {
                decoder.skip_bytes(header.len.0).map_err(|e| broken(&e))?;
                check_header(decoder.position())?;
            }
            _ => {}
        }
    }
    let Some((header, bytes)) = found.and_then(|header| Some((header, header.len.get()?))) else {
        return Ok(Place::None);
    };
    let at = walk.into_decoder().position();
    check_header(at)?;
    if at + u64::from(bytes) > length {
        return Err(format!(
            "announces {bytes} bytes of pixels at byte {at} but is {length} bytes long: it is cut short, give the whole file"
        ));
    }
    Ok(Place::Native(Pixels::Native { at, length: bytes.into(), words: header.vr == VR::OW }))
}

/// Refuses an element that is longer than the file.
fn check_length(tag: Tag, bytes: u32, length: u64) -> Result<(), String> {
    if u64::from(bytes) <= length {
        return Ok(());
    }
    Err(format!(
        "announces {bytes} bytes for {tag} but is {length} bytes long: it is cut short, give the whole file"
    ))
}

/// Refuses part of a number. dicom-object reads whole numbers and leaves the rest to be taken for the next element
/// (dicom-parser 0.10), whose length nobody has looked at then.
fn check_whole(tag: Tag, vr: VR, bytes: u32) -> Result<(), String> {
    let size = match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::AT | VR::FL | VR::OF | VR::SL | VR::UL | VR::OL => 4,
        VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => 8,
        _ => 1,
    };
    if bytes.is_multiple_of(size) {
        return Ok(());
    }
    Err(format!(
        "has {bytes} bytes of {vr} numbers at {tag}, which are {size} bytes each: the file is damaged"
    ))
}

/// Refuses a header that would fill the memory.
fn check_header(bytes: u64) -> Result<(), String> {
    if bytes <= MAX_HEADER {
        return Ok(());
    }
    Err(format!(
        "has more than {} megabytes before its pixels: this is no image as devices write them",
        MAX_HEADER >> 20
    ))
}

/// The items of compressed pixels, from byte `at` on: little-endian whatever the rest of the file is (PS3.5 A.4).
fn fragments(mut reader: BufReader<File>, at: u64, length: u64) -> Result<Pixels, String> {
    let cut =
        || "ends within its compressed pixels: it is damaged or cut short, give the whole file".to_string();
    reader.seek(SeekFrom::Start(at)).map_err(|_| cut())?;
    let mut place = at;
    let mut table = None;
    let mut fragments = Vec::new();
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
            table = Some(offsets.as_chunks().0.iter().map(|b| u64::from(u32::from_le_bytes(*b))).collect());
        } else {
            fragments.push((place, bytes));
            reader.seek_relative(bytes.into()).map_err(|_| cut())?;
        }
        place += u64::from(bytes);
    }
    Ok(Pixels::Encapsulated { offsets: table.unwrap_or_default(), fragments })
}
