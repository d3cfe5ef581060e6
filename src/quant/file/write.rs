//! Writing a model file.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use sha2::{Digest, Sha256};

use super::metadata::{DIGITS, Metadata};
use super::tensors::{Tensor, tensors};
use super::{ConvertedModel, Written};
use crate::checkpoint::file::hex;
use crate::files::write_atomically;
use crate::quant::QuantError;

/// The header: metadata, then the tensors in the order of their data. A map type of our own keeps that order.
struct Header<'a> {
    metadata: &'a Metadata,
    tensors: &'a [Tensor<'a>],
}

/// The safetensors description of a tensor.
#[derive(Serialize)]
struct Info<'a> {
    dtype: String,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.tensors.len()))?;
        map.serialize_entry("__metadata__", self.metadata)?;
        let mut at = 0;
        for Tensor { name, shape, values } in self.tensors {
            let data_offsets = [at, at + values.len()];
            at = data_offsets[1];
            let info = Info { dtype: format!("{:?}", values.dtype()), shape, data_offsets };
            map.serialize_entry(name, &info)?;
        }
        map.end()
    }
}

/// Writes `model` atomically. The same model gives the same bytes, and so the same result.
///
/// # Errors
/// [`QuantError::Write`] names the path and says what to do.
pub fn write(path: &Path, model: &ConvertedModel) -> Result<Written, QuantError> {
    let tensors = tensors(model);
    let mut head = head(&Metadata::of(model), &tensors);
    let mut digest = Sha256::new();
    digest.update(&head);
    tensors.iter().for_each(|tensor| digest.update(tensor.values.bytes()));
    seal(&mut head, &hex(&digest.finalize()));

    let mut sha256 = Sha256::new();
    let mut file_bytes = 0;
    write_atomically(path, |file| {
        let mut put = |part: &[u8]| {
            sha256.update(part);
            file_bytes += part.len() as u64;
            file.write_all(part)
        };
        put(&head)?;
        tensors.iter().try_for_each(|tensor| put(&tensor.values.bytes()))
    })?;
    Ok(Written { sha256: hex(&sha256.finalize()), file_bytes })
}

/// The 8 length bytes and the header, padded with spaces so that the data begin at a multiple of 8.
fn head(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let mut head = vec![0; 8];
    serde_json::to_writer(&mut head, &Header { metadata, tensors }).expect("plain data into memory");
    head.resize(head.len().next_multiple_of(8), b' ');
    let length = (head.len() - 8) as u64;
    head[..8].copy_from_slice(&length.to_le_bytes());
    head
}

/// Replaces the zeros with `digest`.
fn seal(head: &mut [u8], digest: &str) {
    let at = digest_at(head, &"0".repeat(DIGITS)).expect("the header was just written");
    head[at..at + DIGITS].copy_from_slice(digest.as_bytes());
}

/// Offset of the digest `digits` in the header. Quotes inside a JSON string are escaped, so only the entry itself can
/// match.
pub(super) fn digest_at(head: &[u8], digits: &str) -> Option<usize> {
    let entry = format!("\"digest\":\"{digits}\"");
    let at = head.windows(entry.len()).position(|window| window == entry.as_bytes())?;
    Some(at + entry.len() - 1 - DIGITS)
}
