//! Reads the elements before the pixel data, as far as this program needs them.
//!
//! dicom-object would build an object of every element: 1.7 GB for 21 MB of nested sequences, because each item is a
//! separate tree. So the library's lazy reader walks over the elements, their lengths are checked against the file's,
//! and only the elements that this program uses are kept: short values of the data set itself, and the sequences in
//! [`SEQUENCES`] and [`GROUPS`].

use std::error::Error;

use dicom_core::header::DataElementHeader;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::TransferSyntax;
use dicom_object::InMemDicomObject;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;

use super::bytes::Bytes;
use super::damaged::damaged;

/// Maximum nesting depth of sequences. Structured reports, which nest the deepest, stay below 20.
const MAX_DEPTH: usize = 64;

/// Maximum size of everything before the pixels, in bytes. Per-frame functional groups of a thousand frames take about
/// one megabyte.
const MAX_HEADER: u64 = 32 << 20;

/// Maximum length of a value that is kept, except for those in [`TABLES`]. A lookup table's descriptor or a window is
/// far shorter.
const MAX_VALUE: u32 = 4096;

/// Maximum total length of the values that are kept, in bytes. A byte of multi-valued text may take 24 bytes in memory.
const MAX_VALUES: u64 = 4 << 20;

/// Maximum number of elements that are kept, where an item counts as [`ITEM`] elements. An element takes about 200
/// bytes, so the limit is about 100 MB. Ten thousand frames with functional groups need half of it.
const MAX_ELEMENTS: u64 = 1 << 19;

/// Number of elements that an item counts as: an item is a B-tree whose first node has room for eleven elements.
const ITEM: u64 = 8;

/// Sequences of the data set that are kept.
const SEQUENCES: [Tag; 6] = [
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::MODALITY_LUT_SEQUENCE,
    tags::VOILUT_SEQUENCE,
    tags::PRESENTATION_LUT_SEQUENCE,
    tags::SEQUENCE_OF_ULTRASOUND_REGIONS,
];

/// Sequences within functional groups that are kept.
const GROUPS: [Tag; 6] = [
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
    tags::FRAME_CONTENT_SEQUENCE,
];

/// Elements with long values.
const TABLES: [Tag; 9] = [
    tags::LUT_DATA,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
];

/// Where the pixels begin.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// `length` bytes from `at`.
    Native { at: u64, length: u64, vr: VR },
    /// Position of the item that holds the basic offset table.
    Fragments(u64),
}

/// Walks over the elements, written as in `encoding`, from `at` to the pixels.
pub(super) fn read(
    bytes: &Bytes,
    at: u64,
    encoding: &TransferSyntax,
) -> Result<(InMemDicomObject, Option<Place>), String> {
    let broken = |e: &dyn Error| damaged("cannot be read as DICOM", e);
    let length = bytes.len().map_err(|e| broken(&e))?;
    let reader = bytes.reader(at).map_err(|e| broken(&e))?;
    let mut walk = LazyDataSetReader::new_with_ts(reader, encoding).map_err(|e| broken(&e))?;
    let mut kept = Kept::new();
    let mut native = None;
    while let Some(token) = walk.advance() {
        match token.map_err(|e| broken(&e))? {
            LazyDataToken::ElementHeader(header) => {
                if kept.open.is_empty() {
                    check_pixels(header.tag)?;
                    if header.tag == tags::PIXEL_DATA {
                        native = header.len.get().map(|len| (len, header.vr));
                        break;
                    }
                }
                check_length(header.tag, header.len.0, length)?;
                check_whole(header.tag, header.vr, header.len.0)?;
            }
            LazyDataToken::SequenceStart { tag, len } => {
                if let Some(len) = len.get() {
                    check_length(tag, len, length)?;
                } else if tag == tags::PIXEL_DATA && kept.open.is_empty() {
                    // Pixel data of undefined length in implicit VR: without a VR the reader takes it for a sequence.
                    let at = walk.into_decoder().position();
                    return check_header(at).map(|()| (kept.root(), Some(Place::Fragments(at))));
                }
                kept.start(tag)?;
            }
            LazyDataToken::PixelSequenceStart if kept.open.is_empty() => {
                let at = walk.into_decoder().position();
                return check_header(at).map(|()| (kept.root(), Some(Place::Fragments(at))));
            }
            // Compressed pixels of an icon image.
            LazyDataToken::PixelSequenceStart => kept.start(tags::PIXEL_DATA)?,
            LazyDataToken::SequenceEnd => kept.end()?,
            LazyDataToken::ItemStart { len } => {
                if let Some(len) = len.get() {
                    check_length(Tag(0xFFFE, 0xE000), len, length)?;
                }
                kept.start_item()?;
            }
            LazyDataToken::ItemEnd => kept.end_item()?,
            LazyDataToken::LazyItemValue { len, decoder } => {
                check_length(Tag(0xFFFE, 0xE000), len, length)?;
                decoder.skip_bytes(len).map_err(|e| broken(&e))?;
                check_header(decoder.position())?;
            }
            LazyDataToken::LazyValue { header, decoder } => {
                if kept.wants(&header) {
                    let value = decoder.read_value_preserved(&header).map_err(|e| broken(&e))?;
                    kept.put(DataElement::new_with_len(header.tag, header.vr, header.len, value))?;
                } else {
                    decoder.skip_bytes(header.len.0).map_err(|e| broken(&e))?;
                }
                check_header(decoder.position())?;
            }
            _ => {}
        }
    }
    let Some((bytes, vr)) = native else { return Ok((kept.root(), None)) };
    let at = walk.into_decoder().position();
    check_header(at)?;
    if at + u64::from(bytes) > length {
        return Err(format!(
            "announces {bytes} bytes of pixels at byte {at} but is {length} bytes long: it is cut short, give the whole file"
        ));
    }
    Ok((kept.root(), Some(Place::Native { at, length: bytes.into(), vr })))
}

/// The object being built, and the walk's position in it.
struct Kept {
    /// The data set, followed by the current item of each open sequence that is kept.
    objects: Vec<InMemDicomObject>,
    open: Vec<Open>,
    elements: u64,
    values: u64,
}

/// A sequence that has begun but not ended.
struct Open {
    tag: Tag,
    items: Vec<InMemDicomObject>,
    kept: bool,
}

impl Kept {
    fn new() -> Kept {
        Kept { objects: vec![InMemDicomObject::new_empty()], open: Vec::new(), elements: 0, values: 0 }
    }

    /// The data set as far as it has been read.
    fn root(mut self) -> InMemDicomObject {
        self.objects.swap_remove(0)
    }

    fn start(&mut self, tag: Tag) -> Result<(), String> {
        if self.open.len() == MAX_DEPTH {
            return Err(format!("nests sequences more than {MAX_DEPTH} deep: the file is damaged"));
        }
        let kept = match self.open.as_slice() {
            [] => SEQUENCES.contains(&tag),
            [outer] => outer.kept && GROUPS.contains(&tag),
            _ => false,
        };
        self.open.push(Open { tag, items: Vec::new(), kept });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Open { tag, items, kept } = self.open.pop().ok_or_else(unbalanced)?;
        if kept {
            self.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)))?;
        }
        Ok(())
    }

    fn start_item(&mut self) -> Result<(), String> {
        if self.open.last().ok_or_else(unbalanced)?.kept {
            self.count(ITEM, 0)?;
            self.objects.push(InMemDicomObject::new_empty());
        }
        Ok(())
    }

    fn end_item(&mut self) -> Result<(), String> {
        let open = self.open.last_mut().ok_or_else(unbalanced)?;
        if open.kept {
            // The data set itself is not an item.
            let item = (self.objects.len() > 1).then(|| self.objects.pop()).flatten();
            open.items.push(item.ok_or_else(unbalanced)?);
        }
        Ok(())
    }

    /// Whether an element's value is read. Those of private elements, which have odd groups, are not.
    fn wants(&self, header: &DataElementHeader) -> bool {
        let here = self.open.last().is_none_or(|open| open.kept);
        let table = TABLES.contains(&header.tag)
            && matches!(header.vr, VR::OB | VR::OW | VR::OV | VR::US | VR::SS | VR::UN);
        here && header.tag.0.is_multiple_of(2) && (table || header.len.0 <= MAX_VALUE)
    }

    fn put(&mut self, element: DataElement<InMemDicomObject>) -> Result<(), String> {
        let bytes = element.header().len.get().unwrap_or(0);
        self.count(1, if TABLES.contains(&element.header().tag) { 0 } else { bytes.into() })?;
        let tag = element.header().tag;
        let twice = self.objects.last_mut().ok_or_else(unbalanced)?.put(element).is_some();
        if twice {
            return Err(format!("has the element {tag} twice: the file is damaged"));
        }
        Ok(())
    }

    /// Refuses data sets that exceed [`MAX_ELEMENTS`] or [`MAX_VALUES`].
    fn count(&mut self, elements: u64, values: u64) -> Result<(), String> {
        self.elements += elements;
        self.values += values;
        if self.elements > MAX_ELEMENTS || self.values > MAX_VALUES {
            return Err(
                "has more elements before its pixels than are read: this is no image as devices write them"
                    .into(),
            );
        }
        Ok(())
    }
}

fn unbalanced() -> String {
    "ends an item or a sequence that has not begun: the file is damaged".into()
}

/// Refuses floating-point pixels (PS3.3 C.7.6.24); their tags come before that of integer pixels.
fn check_pixels(tag: Tag) -> Result<(), String> {
    let kind = match tag {
        tags::FLOAT_PIXEL_DATA => "32-bit floating-point",
        tags::DOUBLE_FLOAT_PIXEL_DATA => "64-bit floating-point",
        _ => return Ok(()),
    };
    Err(format!("has {kind} pixels, which are not read: save it with 8 or 16 bits a sample"))
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

/// Refuses a value whose length is not a multiple of its number size. dicom-parser 0.10 reads the whole numbers only
/// and would parse the rest as the next element, whose length would then be unchecked.
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

/// Refuses a header that would take too long to walk over.
fn check_header(bytes: u64) -> Result<(), String> {
    if bytes <= MAX_HEADER {
        return Ok(());
    }
    Err(format!(
        "has more than {} megabytes before its pixels: this is no image as devices write them",
        MAX_HEADER >> 20
    ))
}
