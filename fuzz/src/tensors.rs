//! Mutations that keep a safetensors file a safetensors file, or few would pass its first eight bytes.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How the digest stands in the header of a model file, and of a head's, where it is inside a string.
const DIGESTS: [&[u8]; 2] = [b"\"digest\":\"", b"\\\"digest\\\":\\\""];

/// libFuzzer's mutation of the file at `start` in `data`; then, three times in four, the header's length is set to where its
/// JSON ends, and the data to as many bytes as it speaks of.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 4 == 0 { size } else { repaired(data, size).unwrap_or(size) }
}

fn repaired(data: &mut [u8], size: usize) -> Option<usize> {
    let header = data.get(8..size)?;
    let mut values = serde_json::Deserializer::from_slice(header).into_iter::<Value>();
    let json = values.next()?.ok()?;
    let end = values.byte_offset();
    data[..8].copy_from_slice(&(end as u64).to_le_bytes());
    let last = |tensor: &Value| tensor.get("data_offsets")?.get(1)?.as_u64();
    let bytes = json.as_object()?.values().filter_map(last).max()? as usize;
    let whole = (8 + end).checked_add(bytes).filter(|&whole| whole <= data.len())?;
    data[size.min(whole)..whole].fill(0);
    Some(whole)
}

/// Sets the digest of a model file or a head right, where it has one.
pub fn sealed(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let after = |key: &&[u8]| file.windows(key.len()).position(|w| w == *key).map(|at| at + key.len());
    let Some(at) = DIGESTS.iter().find_map(after) else {
        return file;
    };
    if matches!(file.get(at + 64), Some(b'"' | b'\\')) {
        file[at..at + 64].fill(b'0');
        let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        file[at..at + 64].copy_from_slice(digest.as_bytes());
    }
    file
}
