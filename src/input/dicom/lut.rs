//! Lookup tables (PS3.3 C.11.1, C.11.2 and C.7.6.3.1.5), plain and segmented (C.7.9.2).

use dicom_core::Tag;
use dicom_core::header::HasLength;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// A lookup table: inputs at or below `first` map to the first entry, inputs past the end to the last.
#[derive(Debug, PartialEq)]
pub(super) struct Lut {
    first: i64,
    bits: u32,
    data: Vec<u16>,
}

impl Lut {
    /// Reads the table from its descriptor and data elements in `object`. `signed` states whether the values to be
    /// looked up are signed.
    pub(super) fn of(
        object: &InMemDicomObject,
        descriptor: Tag,
        data: Tag,
        signed: bool,
    ) -> Result<Lut, String> {
        Lut::read(object, [descriptor, data], signed, plain)
    }

    /// Reads the table from its descriptor and data elements; `unpack` converts the data to entries, or returns `None`
    /// if it cannot.
    fn read(
        object: &InMemDicomObject,
        [descriptor, data]: [Tag; 2],
        signed: bool,
        unpack: impl Fn(&[u8], &Descriptor) -> Option<Vec<u16>>,
    ) -> Result<Lut, String> {
        let descriptor = Descriptor::of(object, descriptor, signed)?;
        let bytes = object.get(data).and_then(|e| e.to_bytes().ok()).ok_or_else(damaged)?;
        let data = unpack(&bytes, &descriptor).ok_or_else(damaged)?;
        let lut = Lut { first: descriptor.first, bits: descriptor.bits, data };
        if lut.most() >> lut.bits != 0 {
            return Err(format!(
                "has a lookup table of {} bits that holds {}: the file is damaged",
                lut.bits,
                lut.most()
            ));
        }
        Ok(lut)
    }

    fn most(&self) -> u32 {
        self.data.iter().copied().max().unwrap_or(0).into()
    }

    pub(super) fn value(&self, index: i64) -> u16 {
        let at = (index - self.first).clamp(0, self.data.len() as i64 - 1);
        self.data[at as usize]
    }

    /// The output value of a VOI LUT that is shown as white.
    ///
    /// Descriptors often state 16 or 14 bits although all entries use fewer; taken literally, the image would be too
    /// dark (dicom-pixeldata 0.10 and dcm4che go by the entries). If the number of bits in use is a common bit depth of
    /// devices, that depth is used; otherwise white is unknown and the table is refused.
    pub(super) fn white(&self) -> Result<f64, String> {
        let most = self.most();
        let used = u32::BITS - most.leading_zeros();
        let bits = match (self.bits, used) {
            (bits, used) if most == 0 || used + 1 >= bits => bits,
            (14.., 8 | 10 | 12 | 14) => used,
            (bits, _) => {
                return Err(format!(
                    "has a VOI LUT of {bits} bits whose largest entry is {most}, so that white is not known: give a window"
                ));
            }
        };
        Ok(f64::from((1u32 << bits) - 1))
    }
}

/// A LUT descriptor: (0028,3002), (0028,1101) and so on.
struct Descriptor {
    entries: usize,
    first: i64,
    bits: u32,
}

impl Descriptor {
    fn of(object: &InMemDicomObject, tag: Tag, signed: bool) -> Result<Descriptor, String> {
        let values = object.get(tag).and_then(|e| e.to_multi_int::<i32>().ok()).ok_or_else(damaged)?;
        let &[entries, first, bits] = values.as_slice() else { return Err(damaged()) };
        if !(8..=16).contains(&bits) {
            return Err(damaged());
        }
        // These are unsigned 16-bit numbers whatever the element's VR; 0 entries means 65536.
        let entries = match entries & 0xFFFF {
            0 => 1 << 16,
            n => n as usize,
        };
        // The standard gives it the signedness of the values looked up, but many files store it unsigned.
        let first = if signed || first < 0 { i64::from(first as i16) } else { i64::from(first as u16) };
        Ok(Descriptor { entries, first, bits: bits as u32 })
    }
}

fn damaged() -> String {
    "has a damaged lookup table, or lacks its data: the file is damaged".into()
}

/// `to_bytes` returns words in native byte order.
fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|b| u16::from_ne_bytes(*b)).collect()
}

/// Unpacks plain entries.
fn plain(bytes: &[u8], &Descriptor { entries, bits, .. }: &Descriptor) -> Option<Vec<u16>> {
    // 8-bit entries may be packed, two to a word.
    let packed = bits == 8 && bytes.len() < 2 * entries;
    let mut data = if packed { widened(bytes) } else { words(bytes) };
    data.truncate(entries);
    (data.len() == entries).then_some(data)
}

/// Unpacks segmented entries.
fn segmented(bytes: &[u8], &Descriptor { entries, bits, .. }: &Descriptor) -> Option<Vec<u16>> {
    if bits == 8 { expand(&widened(bytes), 1, entries) } else { expand(&words(bytes), 2, entries) }
}

fn widened(bytes: &[u8]) -> Vec<u16> {
    bytes.iter().map(|&byte| byte.into()).collect()
}

/// Expands segments (C.7.9.2) to `entries` values; `None` if they expand to a different number. A word has `size`
/// bytes.
fn expand(words: &[u16], size: usize, entries: usize) -> Option<Vec<u16>> {
    let mut out = Vec::with_capacity(entries);
    let mut at = 0;
    // A single word left over is padding.
    while at + 1 < words.len() {
        at = segment(words, at, size, entries, &mut out, true)?;
    }
    (out.len() == entries).then_some(out)
}

/// Expands the segment at word `at` and returns the index of the word after it.
fn segment(
    words: &[u16],
    at: usize,
    size: usize,
    entries: usize,
    out: &mut Vec<u16>,
    indirect: bool,
) -> Option<usize> {
    let (&kind, &length) = (words.get(at)?, words.get(at + 1)?);
    let at = at + 2;
    let count = usize::from(length);
    match kind {
        // Discrete segment: literal values.
        0 => {
            out.extend_from_slice(words.get(at..at + count)?);
            (out.len() <= entries).then_some(at + count)
        }
        // Linear segment: values on a line from the previous value to this one.
        1 => {
            let (&from, &to) = (out.last()?, words.get(at)?);
            let step = (f64::from(to) - f64::from(from)) / f64::from(length);
            out.extend(
                (1..=length).map(|n| (f64::from(from) + f64::from(n) * step).round_ties_even() as u16),
            );
            (out.len() <= entries).then_some(at + 1)
        }
        // Indirect segment: repeats segments that begin at a byte offset into the table. The least significant word of
        // the offset comes first.
        2 if indirect => {
            let parts = words.get(at..at + 4 / size)?;
            let byte = parts.iter().rev().fold(0usize, |byte, &part| byte << (8 * size) | usize::from(part));
            let mut again = byte / size;
            for _ in 0..count {
                again = segment(words, again, size, entries, out, false)?;
            }
            Some(at + 4 / size)
        }
        _ => None,
    }
}

/// The red, green and blue tables of a palette, reduced to 8-bit entries.
pub(super) fn palette(object: &InMemDicomObject, signed: bool) -> Result<[Lut; 3], String> {
    let colours = [
        (
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ),
        (
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ),
        (
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ),
    ];
    let there = |tag: Tag| object.get(tag).is_some_and(|e| !e.is_empty());
    let (_, red, segmented_red) = colours[0];
    if !there(red) && !there(segmented_red) && there(tags::PALETTE_COLOR_LOOKUP_TABLE_UID) {
        return Err("names its palette by a UID, which is not read: save it as RGB".into());
    }
    let [red, green, blue] = colours.map(|(descriptor, data, in_segments)| {
        if there(in_segments) && !there(data) {
            Lut::read(object, [descriptor, in_segments], signed, segmented)
        } else {
            Lut::read(object, [descriptor, data], signed, plain)
        }
    });
    Ok(in_bytes([red?, green?, blue?]))
}

/// Reduces entries to 8 bits. If the descriptors state 16 bits but all entries of all three colours are below 256, a
/// known fault of devices, the entries are used unchanged, because the image would be black otherwise. One colour alone
/// may well be that dark.
fn in_bytes(luts: [Lut; 3]) -> [Lut; 3] {
    let mislabelled = luts.iter().all(|lut| lut.most() <= 255);
    luts.map(|lut| {
        let shift = if mislabelled { 0 } else { lut.bits - 8 };
        let data = lut.data.iter().map(|&v| v >> shift).collect();
        Lut { bits: 8, data, ..lut }
    })
}

#[cfg(test)]
#[path = "lut_tests.rs"]
mod tests;
