//! Weights that an ONNX file keeps in other files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, tensor_proto};

use super::OnnxError;
use super::bounds::bytes_of;
use super::graphs::{for_each_graph, for_each_graph_mut, one_line};
use crate::stamp::Stamp;

/// Reads the external data of `proto` into it, so that nothing reads these files again, and adds the files to `hash` in
/// the order of their names: without them the hash would be the same for two fine-tuned models.
///
/// # Errors
/// [`OnnxError::External`] if a file is missing, too short, or lies outside `directory`; [`OnnxError::Read`] if it changes
/// meanwhile.
pub(super) fn load(
    proto: &mut ModelProto,
    directory: &Path,
    hash: &mut Sha256,
    path: &Path,
) -> Result<(), OnnxError> {
    let Some(graph) = &mut proto.graph else { return Ok(()) };
    let locations: Vec<String> = locations(graph).into_iter().map(str::to_owned).collect();
    for location in locations {
        let error =
            |reason: String| OnnxError::External { path: path.into(), location: one_line(&location), reason };
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(&location).components().all(inside) {
            return Err(error("it lies outside the folder of the model".into()));
        }
        let data = directory.join(&location);
        let file = crate::files::open(&data).map_err(|e| error(e.to_string()))?;
        let stamp = Stamp::of(&data).map_err(|e| error(e.to_string()))?;
        let mut reader = Hashing { inner: file, hash: std::mem::take(hash) };
        let length = io::copy(&mut reader, &mut io::sink()).map_err(|e| error(e.to_string()))?;
        *hash = reader.hash;
        let mut file = reader.inner;
        let mut result = Ok(());
        for_each_tensor(graph, &mut |tensor| {
            if result.is_ok() && external_location(tensor) == Some(&location) {
                result = fill(tensor, &mut file, length);
            }
        });
        result.map_err(error)?;
        // The values are read after the hash: they must be those that were hashed.
        if let Some(changed) = stamp.changed() {
            let reason = "changed while it was read: run it again when nothing writes to it".into();
            return Err(OnnxError::Read { path: changed.into(), reason });
        }
    }
    Ok(())
}

/// Reads the values of `tensor` from `file`, which has `length` bytes.
fn fill(tensor: &mut TensorProto, file: &mut File, length: u64) -> Result<(), String> {
    let number = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key == key)?;
        Some(entry.value.parse::<u64>().map_err(|_| format!("its {key} is no number")))
    };
    let name = one_line(&tensor.name);
    let offset = number("offset").transpose()?.unwrap_or(0);
    let bytes = bytes_of(tensor).ok_or_else(|| format!("'{name}' has an unknown type"))?;
    if offset.checked_add(bytes).is_none_or(|end| end > length) {
        return Err(format!("'{name}' needs {bytes} bytes from byte {offset} of {length}"));
    }
    let mut values = vec![0; bytes as usize];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut values))
        .map_err(|e| e.to_string())?;
    tensor.raw_data = values;
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(())
}

/// Calls `f` for every tensor that a graph stores.
fn for_each_tensor(graph: &mut GraphProto, f: &mut impl FnMut(&mut TensorProto)) {
    for_each_graph_mut(graph, &mut |graph| {
        let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
        let tensors = attributes.flat_map(|attribute| attribute.t.iter_mut().chain(&mut attribute.tensors));
        graph.initializer.iter_mut().chain(tensors).for_each(&mut *f);
    });
}

/// Hashes the bytes that are read through it.
pub(super) struct Hashing {
    pub inner: File,
    pub hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// The names of the external data files of `graph`, sorted.
pub(super) fn locations(graph: &GraphProto) -> BTreeSet<&str> {
    let mut locations = BTreeSet::new();
    for_each_graph(graph, &mut |graph| {
        let attributes =
            graph.node.iter().flat_map(|node| &node.attribute).flat_map(|a| a.t.iter().chain(&a.tensors));
        locations.extend(graph.initializer.iter().chain(attributes).filter_map(external_location));
    });
    locations
}

/// The external data file of `tensor`, if it has one.
fn external_location(tensor: &TensorProto) -> Option<&str> {
    if tensor.data_location != Some(tensor_proto::DataLocation::External as i32) {
        return None;
    }
    tensor.external_data.iter().find(|entry| entry.key == "location").map(|entry| entry.value.as_str())
}
