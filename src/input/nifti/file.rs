//! Reads the bytes of a NIfTI volume: gzipped or not, in one file or as a pair of header and voxel files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::header::{Family, HEADER_BYTES, Header};
use crate::input::limits::MAX_RATIO;
use crate::input::{InputError, say};
use crate::names::one_line;

/// Maximum number of voxels in a volume: 1024 slices of 512 x 512, a CT of the whole trunk.
const MAX_VOXELS: u64 = 1 << 28;

/// Maximum number of bytes after the voxels of a gzipped file; they are inflated, because the checksum comes last.
const MAX_TRAILING: u64 = 1 << 28;

/// Compressed bytes that are enough to inflate the header of any gzipped file.
pub(in crate::input) const SNIFF_BYTES: usize = 4096;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether a file that starts with these bytes is NIfTI (or Analyze, which is refused), gzipped or not.
pub(in crate::input) fn is_nifti(start: &[u8]) -> bool {
    family(start).is_some()
}

/// The kind of file that starts with these bytes, gzipped or not.
fn family(start: &[u8]) -> Option<Family> {
    if !start.starts_with(GZIP_MAGIC) {
        return Family::of(start);
    }
    let mut header = Vec::new();
    // The truncated input ends with a decoder error; the bytes inflated before it are used.
    let _ = GzDecoder::new(start).take(HEADER_BYTES as u64).read_to_end(&mut header);
    Family::of(&header)
}

/// Extensions of the two files of a pair.
const PAIR: [&str; 2] = ["hdr", "img"];

/// Whether the name is that of the voxel file of a pair.
pub(in crate::input) fn is_voxels_name(path: &Path) -> bool {
    parted(path).is_some_and(|(_, which, _)| which == 1)
}

/// The stem of a pair's file name, the index of its extension in [`PAIR`], and the suffix after that.
fn parted(path: &Path) -> Option<(&str, usize, &str)> {
    let name = path.file_name()?.to_str()?;
    let tail = if name.to_ascii_lowercase().ends_with(".gz") { name.len() - 3 } else { name.len() };
    let dot = name[..tail].rfind('.')?;
    let which = PAIR.iter().position(|ending| name[dot + 1..tail].eq_ignore_ascii_case(ending))?;
    Some((&name[..=dot], which, &name[tail..]))
}

/// The other file of a pair, if it exists: the extension has the same case; one that is gzipped like this file is
/// preferred.
pub(in crate::input) fn partner(path: &Path) -> Option<PathBuf> {
    let (stem, which, zipped) = parted(path)?;
    let mut ending = PAIR[1 - which].to_owned();
    let name = path.file_name()?.to_str()?;
    if name[stem.len()..].starts_with(|c: char| c.is_ascii_uppercase()) {
        ending.make_ascii_uppercase();
    }
    let other = if zipped.is_empty() { ".gz" } else { "" };
    [zipped, other]
        .map(|zipped| path.with_file_name(format!("{stem}{ending}{zipped}")))
        .into_iter()
        .find(|p| p.is_file())
}

/// The files that make up the volume `path`: the file itself, or the two files of a pair, header first.
pub(in crate::input) fn files(path: &Path) -> Vec<PathBuf> {
    let pair = |header: PathBuf, voxels: PathBuf| vec![header, voxels];
    match partner(path) {
        Some(header) if is_voxels_name(path) => pair(header, path.into()),
        Some(voxels) if is_pair(path) => pair(path.into(), voxels),
        _ => vec![path.into()],
    }
}

/// Whether the voxels for this header are in another file.
fn is_pair(path: &Path) -> bool {
    Bytes::open(path)
        .and_then(|mut bytes| bytes.start())
        .is_ok_and(|start| Family::of(&start) == Some(Family::Pair))
}

/// A NIfTI file whose header has been read.
pub(super) struct NiftiFile {
    /// The requested file.
    path: PathBuf,
    pub header: Header,
    /// The file that holds the voxels, positioned after `read` bytes.
    bytes: Bytes,
    /// Number of bytes read from `bytes` with the header.
    read: u64,
}

impl NiftiFile {
    pub(super) fn open(path: &Path) -> Result<NiftiFile, InputError> {
        let files = files(path);
        let wrong = |problem: String| InputError::unreadable(path, problem);
        if let [alone] = files.as_slice()
            && is_voxels_name(alone)
            && !matches!(family_of(alone)?, Some(Family::Single))
        {
            return Err(wrong(
                "holds the voxels of a pair, and its .hdr file is not beside it: put it there".into(),
            ));
        }
        let open = |path: &Path| Bytes::open(path).map_err(|e| InputError::read(path, &e));
        let mut bytes = open(&files[0])?;
        let start = bytes.start().map_err(|e| wrong(damaged(&e)))?;
        let header = Header::of(&start).map_err(wrong)?;
        let mut read = start.len() as u64;
        if header.family == Family::Pair {
            let Some(voxels) = files.get(1) else {
                return Err(wrong(
                    "is the header of a pair, and its voxels are not beside it: put the .img file of the same name there"
                        .into(),
                ));
            };
            (bytes, read) = (open(voxels)?, 0);
        }
        Ok(NiftiFile { path: path.into(), header, bytes, read })
    }

    /// The voxels of one volume as stored; in a file with several volumes, volume `volume`, counted from 0.
    ///
    /// # Errors
    /// [`InputError`]: a file that is cut short or damaged, a volume that is too large, or no volume with that number.
    pub(super) fn voxels(mut self, volume: Option<usize>) -> Result<Vec<u8>, InputError> {
        let volume = self.choose(volume)?;
        let size = self.header.voxel.bytes() as u64;
        let [i, j, k] = self.header.dims;
        let voxels = [i, j, k].iter().map(|&d| d as u64).product::<u64>();
        let (bytes, all) = (voxels * size, voxels * size * self.header.volumes as u64);
        let length = self.bytes.length;
        let held = if self.bytes.zipped { length.saturating_mul(MAX_RATIO) } else { length };
        let path = self.path.clone();
        let wrong = |problem: String| InputError::unreadable(&path, problem);
        if voxels > MAX_VOXELS || all.saturating_add(self.header.offset) > held {
            return Err(wrong(format!(
                "{i} x {j} x {k} voxels of {size} bytes{} in a file of {length} bytes are refused: give at most {} million, and a whole file",
                if self.header.volumes > 1 {
                    format!(", {} times,", self.header.volumes)
                } else {
                    String::new()
                },
                MAX_VOXELS >> 20
            )));
        }
        let short = |at: u64| wrong(format!("ends after {at} of {all} bytes of voxels: give the whole file"));
        let before = volume as u64 * bytes;
        self.skip_to(before).map_err(wrong)?;
        // Allocated as data arrives, because a gzipped file may hold less than its length allows.
        let mut data = Vec::with_capacity(if self.bytes.zipped { 0 } else { bytes as usize });
        self.bytes.reader.by_ref().take(bytes).read_to_end(&mut data).map_err(|e| wrong(damaged(&e)))?;
        if data.len() as u64 != bytes {
            return Err(short(before + data.len() as u64));
        }
        let after = self.rest(before + bytes).map_err(|e| wrong(damaged(&e)))?;
        let expected = all - before - bytes;
        if after < expected {
            return Err(short(before + bytes + after));
        }
        match after - expected {
            0 => {}
            more if more > MAX_TRAILING => {
                return Err(wrong(format!(
                    "goes on behind its voxels for more than {} million bytes: its header names too few of them",
                    MAX_TRAILING >> 20
                )));
            }
            more => say::once(format!(
                "{}: holds {more} bytes behind the voxels that its header names; they are not read",
                self.path.display()
            )),
        }
        Ok(data)
    }

    /// Refuses a volume that does not exist, and a missing choice if the file has several.
    fn choose(&self, volume: Option<usize>) -> Result<usize, InputError> {
        let count = self.header.volumes;
        let wrong = |problem: String| InputError::unreadable(&self.path, problem);
        match volume {
            None if count == 1 => Ok(0),
            None => {
                let [i, j, k] = self.header.dims;
                Err(wrong(format!(
                    "holds {count} volumes of {i} x {j} x {k} voxels: choose one by the option `volume`, from 0 to {}",
                    count - 1
                )))
            }
            Some(volume) if volume < count => Ok(volume),
            Some(volume) => Err(wrong(format!("has no volume {volume}: it holds {count}, counted from 0"))),
        }
    }

    /// Moves to byte `at` of the voxels.
    fn skip_to(&mut self, at: u64) -> Result<(), String> {
        let end = self.header.offset + at;
        // The voxels may begin before the end of what was read with the header: a NIfTI-1 header is shorter than a
        // NIfTI-2 header.
        if end < self.read {
            return self.bytes.back(self.read - end).map_err(|e| damaged(&e));
        }
        self.bytes.skip(end - self.read).map_err(|e| damaged(&e))
    }

    /// Number of bytes that follow the first `at` bytes of the voxels. A gzipped file is read to its end, where the
    /// checksum is, but not beyond the maximum number of trailing bytes.
    fn rest(&mut self, at: u64) -> io::Result<u64> {
        if !self.bytes.zipped {
            return Ok(self.bytes.length.saturating_sub(self.header.offset + at));
        }
        let voxels: u64 = self.header.dims.iter().map(|&d| d as u64).product();
        let all = voxels * self.header.voxel.bytes() as u64 * self.header.volumes as u64;
        io::copy(&mut self.bytes.reader.by_ref().take(all - at + MAX_TRAILING + 1), &mut io::sink())
    }
}

fn family_of(path: &Path) -> Result<Option<Family>, InputError> {
    let start = Bytes::open(path).and_then(|mut bytes| bytes.start());
    // Data that cannot be inflated is not a header.
    start.map(|start| Family::of(&start)).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Err(InputError::read(path, &e)),
        _ => Ok(None),
    })
}

fn damaged(e: &io::Error) -> String {
    format!("cannot be read as NIfTI ({}): the file is damaged or cut short", one_line(&e.to_string()))
}

/// A file, inflated if it is gzipped, whatever its name.
struct Bytes {
    reader: Box<dyn Read + Send>,
    zipped: bool,
    /// Length of the file on disk.
    length: u64,
    /// The bytes returned by [`Bytes::start`], which [`Bytes::back`] puts back.
    start: Vec<u8>,
}

impl Bytes {
    fn open(path: &Path) -> io::Result<Bytes> {
        let file = crate::files::open(path)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let zipped = file.fill_buf()?.starts_with(GZIP_MAGIC);
        let reader: Box<dyn Read + Send> =
            if zipped { Box::new(Members { decoder: Some(GzDecoder::new(file)) }) } else { Box::new(file) };
        Ok(Bytes { reader, zipped, length, start: Vec::new() })
    }

    /// The first [`HEADER_BYTES`] bytes, or all if there are fewer.
    fn start(&mut self) -> io::Result<Vec<u8>> {
        let mut start = Vec::with_capacity(HEADER_BYTES);
        self.reader.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut start)?;
        self.start.clone_from(&start);
        Ok(start)
    }

    /// Puts the last `count` bytes of [`Bytes::start`] back into the reader.
    fn back(&mut self, count: u64) -> io::Result<()> {
        let start = std::mem::take(&mut self.start);
        let kept = start.len().saturating_sub(count as usize);
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(io::Cursor::new(start[kept..].to_vec()).chain(rest));
        Ok(())
    }

    /// Skips `count` bytes; if the file ends earlier, the next read notices.
    fn skip(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut self.reader.by_ref().take(count), &mut io::sink()).map(drop)
    }
}

/// The consecutive members of a gzip file (RFC 1952, 2.2), each with its checksum verified. Zeros after the last member
/// are padding, as in gzip(1) and Python's gzip; anything else is an error.
struct Members {
    decoder: Option<GzDecoder<BufReader<File>>>,
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(decoder) = &mut self.decoder {
            let read = decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let Some(mut file) = self.decoder.take().map(GzDecoder::into_inner) else { break };
            loop {
                let bytes = file.fill_buf()?;
                let (all, zeros) = (bytes.len(), bytes.iter().take_while(|b| **b == 0).count());
                file.consume(zeros);
                if all == 0 {
                    return Ok(0);
                }
                if zeros < all {
                    break;
                }
            }
            self.decoder = Some(GzDecoder::new(file));
        }
        Ok(0)
    }
}
