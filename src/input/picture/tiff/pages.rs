//! Finds the pages of a TIFF file.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

/// Maximum number of directories: a directory takes at least 6 bytes, so a short file could announce millions.
const MAX_PAGES: usize = 1 << 16;

/// NewSubfileType: bits for a reduced copy of another page, and for a mask.
const NO_PAGE: u32 = 1 | 4;

/// Byte order and offset size of a file.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) little: bool,
    pub(super) big: bool,
}

impl Form {
    /// Identifies the form by a file's first bytes; `None` if it is not TIFF.
    pub(super) fn of(start: &[u8]) -> Option<Form> {
        match start.first_chunk()? {
            b"II*\0" => Some(Form { little: true, big: false }),
            b"MM\0*" => Some(Form { little: false, big: false }),
            b"II+\0" => Some(Form { little: true, big: true }),
            b"MM\0+" => Some(Form { little: false, big: true }),
            _ => None,
        }
    }

    fn number<R: Read>(self, reader: &mut R, bytes: usize) -> std::io::Result<u64> {
        let mut buffer = [0; 8];
        reader.read_exact(&mut buffer[..bytes])?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let digits = &buffer[..bytes];
        Ok(if self.little { digits.iter().rev().fold(0, fold) } else { digits.iter().fold(0, fold) })
    }
}

/// Offsets of the directories of a file's pages. Reduced copies and masks are not pages, and subdirectories are
/// ignored.
pub(super) fn pages<R: Read + Seek>(reader: &mut R, form: Form) -> Result<Vec<u64>, String> {
    let failed = |e: std::io::Error| format!("a directory cannot be read: {e}");
    let width = if form.big { 8 } else { 4 };
    let mut seen = HashSet::new();
    let mut pages = Vec::new();
    reader.seek(SeekFrom::Start(width)).map_err(failed)?;
    let mut next = form.number(reader, width as usize).map_err(failed)?;
    while next != 0 {
        if !seen.insert(next) {
            return Err("its directories form a ring".into());
        }
        if seen.len() > MAX_PAGES {
            return Err(format!("more than {MAX_PAGES} directories"));
        }
        if directory(reader, form, next).map_err(failed)? {
            pages.push(next);
        }
        next = form.number(reader, width as usize).map_err(failed)?;
    }
    Ok(pages)
}

/// Whether the directory at `offset` is a page; leaves the reader at the offset of the next directory.
fn directory<R: Read + Seek>(reader: &mut R, form: Form, offset: u64) -> std::io::Result<bool> {
    const NEW_SUBFILE_TYPE: u64 = 254;
    let (count, entry) = if form.big { (8, 20) } else { (2, 12) };
    reader.seek(SeekFrom::Start(offset))?;
    let entries = form.number(reader, count)?;
    let end = entries.checked_mul(entry).and_then(|n| n.checked_add(offset + count as u64));
    let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let mut is_page = true;
    // Entries are sorted by tag; this is the lowest.
    if entries > 0 && form.number(reader, 2)? == NEW_SUBFILE_TYPE {
        form.number(reader, 2)?;
        form.number(reader, count.max(4))?;
        is_page = form.number(reader, 4)? as u32 & NO_PAGE == 0;
    }
    reader.seek(SeekFrom::Start(end))?;
    Ok(is_page)
}
