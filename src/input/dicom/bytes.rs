//! Source of a data set's bytes: the file, or memory if the whole data set is deflated (PS3.5 A.5).

use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

/// Maximum size of an inflated data set, in bytes. A megabyte of deflated zeros inflates to a gigabyte, which would
/// stall the machine.
const MAX_INFLATED: usize = 256 << 20;

/// Number of bytes by which the output buffer grows while inflating.
const CHUNK: usize = 1 << 16;

/// Bytes with random access.
#[derive(Clone)]
pub(super) enum Bytes {
    File(PathBuf),
    Inflated(Arc<Vec<u8>>),
}

/// A reader that can seek.
pub(super) trait Random: Read + Seek {}
impl<T: Read + Seek> Random for T {}

impl Bytes {
    /// A reader that starts at byte `at`.
    pub(super) fn reader(&self, at: u64) -> std::io::Result<BufReader<Box<dyn Random>>> {
        let mut reader: Box<dyn Random> = match self {
            Bytes::File(path) => Box::new(crate::files::open(path)?),
            Bytes::Inflated(bytes) => Box::new(Cursor::new(Shared(bytes.clone()))),
        };
        reader.seek(SeekFrom::Start(at))?;
        Ok(BufReader::new(reader))
    }

    pub(super) fn len(&self) -> std::io::Result<u64> {
        match self {
            Bytes::File(path) => Ok(std::fs::metadata(path)?.len()),
            Bytes::Inflated(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Reads `length` bytes from `at`; the caller must have checked that the source holds them.
    pub(super) fn read(&self, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length as usize);
        let mut reader = match self {
            // These reads are large, so no buffer is needed.
            Bytes::File(path) => {
                let mut file = crate::files::open(path)?;
                file.seek(SeekFrom::Start(at))?;
                Box::new(file) as Box<dyn Read>
            }
            Bytes::Inflated(_) => Box::new(self.reader(at)?),
        };
        if reader.as_mut().take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    /// Inflates the contents of the file at `path` from byte `at` to its end. The stream has no checksum, but it has an
    /// end marker, and at most one byte may follow it, which makes the file's length even.
    pub(super) fn inflate(path: &Path, at: u64) -> Result<Bytes, String> {
        let damaged =
            || "has a damaged deflated data set: it is damaged or cut short, give the whole file".to_string();
        let mut file = crate::files::open(path).map_err(|_| damaged())?;
        file.seek(SeekFrom::Start(at)).map_err(|_| damaged())?;
        let mut deflated = Vec::new();
        file.read_to_end(&mut deflated).map_err(|_| damaged())?;
        let mut state = Decompress::new(false);
        let mut bytes = Vec::new();
        loop {
            let used = state.total_in() as usize;
            bytes.reserve(CHUNK);
            let status = state
                .decompress_vec(&deflated[used..], &mut bytes, FlushDecompress::None)
                .map_err(|_| damaged())?;
            if bytes.len() > MAX_INFLATED {
                return Err(format!(
                    "inflates to more than {} megabytes, which is refused: save it as Explicit VR Little Endian",
                    MAX_INFLATED >> 20
                ));
            }
            let left = deflated.len() - state.total_in() as usize;
            match status {
                Status::StreamEnd if left <= 1 => break,
                Status::StreamEnd => {
                    return Err(format!("has {left} bytes after its deflated data set: the file is damaged"));
                }
                _ if left == 0 && bytes.len() < bytes.capacity() => return Err(damaged()),
                _ => {}
            }
        }
        bytes.shrink_to_fit();
        Ok(Bytes::Inflated(Arc::new(bytes)))
    }
}

/// A shared buffer that a cursor can read from.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::DeflateEncoder};

    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_is_inflated_to_its_end_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let inflate = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Bytes::inflate(&path, 0).map(|bytes| bytes.read(2, 3).unwrap())
        };
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let stream = deflated(&text);
        assert_eq!(inflate(&stream), Ok(text[2..5].to_vec()));
        let padded = [stream.as_slice(), &[0]].concat();
        assert_eq!(inflate(&padded), Ok(text[2..5].to_vec()));
        assert!(inflate(&[padded.as_slice(), &[0]].concat()).unwrap_err().contains("2 bytes after"));
        for cut in (0..stream.len()).step_by(997) {
            assert!(inflate(&stream[..cut]).unwrap_err().contains("cut short"), "{cut}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, deflated(&vec![0; MAX_INFLATED + 1])).unwrap();
        assert!(Bytes::inflate(&path, 0).err().unwrap().contains("more than 256 megabytes"));
    }
}
