//! A safetensors file, read one tensor at a time.
//!
//! It uses ordinary reads, not a memory map: if a mapped file is truncated while in use, the process dies of SIGBUS,
//! which no error handling can catch. Every size in the header is checked against the length of the file before
//! anything is allocated for it. A file embedded in the program is read in the same way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use half::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use sha2::{Digest, Sha256};

use super::CheckpointError;
use crate::guarded::guarded;
use crate::names::one_line;

/// Maximum size of a header, in bytes (16 MiB); a ViT-L's has 45 kB. The safetensors library accepts 100 MB, but
/// parsing that much JSON with many small values takes gigabytes.
const MAX_HEADER: u64 = 16 << 20;

/// Chunk size for hashing a tensor that is not wanted, in bytes.
const CHUNK: usize = 1 << 20;

/// Header entry of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Length of the data in bytes; it starts where the preceding tensor ends.
    bytes: u64,
}

/// An open file whose header has been checked.
pub(crate) struct TensorFile<'a> {
    path: PathBuf,
    file: Box<dyn Read + Send + 'a>,
    /// The 8-byte length and the header, kept for the digest.
    head: Vec<u8>,
    /// In the order of the data, without gaps, up to the end of the file.
    pub entries: Vec<Entry>,
    pub bytes: u64,
}

/// Values of the wanted tensors, and the digest of the whole file.
pub(super) struct Contents {
    pub values: BTreeMap<String, Vec<f32>>,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

impl<'a> TensorFile<'a> {
    /// Opens `path` and checks its header.
    pub fn open(path: &Path) -> Result<TensorFile<'static>, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
        TensorFile::of_file(path, crate::files::open(path).map_err(io)?)
    }

    /// [`TensorFile::open`] for a file that is already open and at its start.
    pub fn of_file(path: &Path, file: File) -> Result<TensorFile<'static>, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
        let bytes = file.metadata().map_err(io)?.len();
        TensorFile::new(path, Box::new(file), bytes)
    }

    /// [`TensorFile::open`] for a file in memory; error messages call it `name`.
    pub fn of_bytes(name: &Path, bytes: &'a [u8]) -> Result<TensorFile<'a>, CheckpointError> {
        TensorFile::new(name, Box::new(bytes), bytes.len() as u64)
    }

    /// Checks the header of `file`, which has `bytes` bytes.
    fn new(path: &Path, mut file: Box<dyn Read + Send + 'a>, bytes: u64) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { path: path.to_owned(), source };
        let header = |problem: String| CheckpointError::Header { path: path.to_owned(), problem };
        if bytes < 8 {
            return Err(header(format!("is absent: the file has {bytes} bytes")));
        }
        let mut head = vec![0; 8];
        file.read_exact(&mut head).map_err(io)?;
        let length = u64::from_le_bytes(head[..8].try_into().expect("8 bytes"));
        if length > MAX_HEADER || length > bytes - 8 {
            return Err(header(format!("claims {length} bytes in a file of {bytes}")));
        }
        head.resize(8 + length as usize, 0);
        file.read_exact(&mut head[8..]).map_err(io)?;
        let gave_up = |reason: &str| header(format!("cannot be read: {reason}"));
        let entries = guarded(|| entries(path, &head[8..], bytes - 8 - length, bytes), gave_up)?;
        Ok(TensorFile { path: path.to_owned(), file, head, entries, bytes })
    }

    /// The 8-byte length and the header.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Passes each tensor's bytes to `f`, in the order of the data; the next tensor is read while `f` runs.
    pub fn for_each(mut self, mut f: impl FnMut(Entry, Vec<u8>) + Send) -> Result<(), CheckpointError> {
        let mut entries = std::mem::take(&mut self.entries).into_iter();
        let mut read_next = || match entries.next() {
            None => Ok(None),
            Some(entry) => {
                let mut bytes = vec![0; entry.bytes as usize];
                let io = |source| CheckpointError::Io { path: self.path.clone(), source };
                self.file.read_exact(&mut bytes).map_err(io)?;
                Ok(Some((entry, bytes)))
            }
        };
        let mut next = read_next()?;
        while let Some((entry, bytes)) = next {
            next = rayon::join(|| f(entry, bytes), &mut read_next).1?;
        }
        Ok(())
    }

    /// Reads the tensors for which `wanted` holds and hashes the whole file, in one pass, so that the digest covers
    /// exactly the bytes that became weights. The hash (about 1.5 GB/s with SHA instructions) runs in parallel with the
    /// conversion.
    pub(super) fn read(mut self, wanted: impl Fn(&str) -> bool) -> Result<Contents, CheckpointError> {
        let mut hash = Sha256::new();
        hash.update(&self.head);
        let mut values = BTreeMap::new();
        let mut buffer = Vec::new();
        for entry in &self.entries {
            let io = |source| CheckpointError::Io { path: self.path.clone(), source };
            if !wanted(&entry.name) {
                let mut left = entry.bytes;
                while left > 0 {
                    let n = left.min(CHUNK as u64) as usize;
                    buffer.resize(n, 0);
                    self.file.read_exact(&mut buffer).map_err(io)?;
                    hash.update(&buffer);
                    left -= n as u64;
                }
                continue;
            }
            if !matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                return Err(CheckpointError::Dtype {
                    path: self.path.clone(),
                    tensor: entry.name.clone(),
                    found: format!("{:?}", entry.dtype),
                });
            }
            buffer.resize(entry.bytes as usize, 0);
            self.file.read_exact(&mut buffer).map_err(io)?;
            let (converted, ()) = rayon::join(|| to_f32(entry.dtype, &buffer), || hash.update(&buffer));
            if let Some(index) = converted.iter().position(|v| !v.is_finite()) {
                return Err(CheckpointError::NonFinite {
                    path: self.path,
                    tensor: entry.name.clone(),
                    index,
                });
            }
            values.insert(entry.name.clone(), converted);
        }
        Ok(Contents { values, sha256: hex(&hash.finalize()) })
    }
}

/// Parses a header and checks that its tensors fill the `data` bytes after it, without gap or overlap.
fn entries(path: &Path, header: &[u8], data: u64, bytes: u64) -> Result<Vec<Entry>, CheckpointError> {
    let bad =
        |problem: String| CheckpointError::Header { path: path.to_owned(), problem: one_line(&problem) };
    let mut json: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|e| bad(format!("is not JSON ({e})")))?;
    json.remove("__metadata__");
    let mut infos = Vec::with_capacity(json.len());
    for (name, value) in json {
        // Error messages contain tensor names and must be one line.
        if name.contains(char::is_control) {
            return Err(bad(format!("names a tensor {name:?}, with a control character")));
        }
        let info: TensorInfo = serde_json::from_value(value)
            .map_err(|e| bad(format!("does not describe tensor {name} ({e})")))?;
        infos.push((name, info));
    }
    infos.sort_by_key(|(_, info)| info.data_offsets);

    let mut end = 0_u64;
    let mut entries = Vec::with_capacity(infos.len());
    for (name, TensorInfo { dtype, shape, data_offsets: (from, to) }) in infos {
        let wrong = |problem: String| CheckpointError::Offsets {
            path: path.to_owned(),
            tensor: name.clone(),
            problem,
        };
        if from as u64 != end || to < from {
            return Err(wrong(format!(
                "lies at bytes {from} to {to} where {end} was expected (overlap or gap)"
            )));
        }
        let bits = shape.iter().try_fold(dtype.bitsize() as u64, |n, &side| n.checked_mul(side as u64));
        let held = (to - from) as u64;
        if bits.is_none_or(|bits| !bits.is_multiple_of(8) || bits / 8 != held) {
            return Err(wrong(format!("of type {dtype:?} and shape {shape:?} cannot fill {held} bytes")));
        }
        end = to as u64;
        if end > data {
            return Err(length_error(path, format!("tensor {name}"), end, data, bytes));
        }
        entries.push(Entry { name, dtype, shape, bytes: held });
    }
    if end != data {
        let last = entries.last().map_or("the header".to_owned(), |e| format!("tensor {}", e.name));
        return Err(length_error(path, last, end, data, bytes));
    }
    Ok(entries)
}

fn length_error(path: &Path, tensor: String, end: u64, data: u64, bytes: u64) -> CheckpointError {
    let expected = (bytes - data).saturating_add(end);
    CheckpointError::Length { path: path.to_owned(), tensor, expected, found: bytes }
}

/// Converts little-endian bytes of a data type that [`TensorFile::read`] accepts.
fn to_f32(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let bits = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let mut out = vec![0.0; bytes.len() * 8 / dtype.bitsize()];
    match dtype {
        Dtype::F16 => bits().map(f16::from_bits).collect::<Vec<_>>().convert_to_f32_slice(&mut out),
        Dtype::BF16 => bits().map(bf16::from_bits).collect::<Vec<_>>().convert_to_f32_slice(&mut out),
        _ => {
            for (value, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
    }
    out
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
