//! Weights in one safetensors file, or in several listed by `model.safetensors.index.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::CheckpointError;
use super::description::json;
use super::file::{Contents, Entry, TensorFile, hex};

/// The index that transformers writes beside shards.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Maximum size of an index, in bytes; that of a ViT-7B has 40 kB.
const MAX_INDEX: u64 = 16 << 20;

/// Maximum number of shards.
const MAX_SHARDS: usize = 256;

/// The weights files that `source` refers to: `source` itself, or the shards that it lists as an index.
pub(super) fn files(source: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    if !source.ends_with(INDEX) {
        return Ok(vec![source.to_owned()]);
    }
    let index = Index::read(source)?;
    Ok(index.shards(source)?.into_iter().map(|name| source.with_file_name(name)).collect())
}

#[derive(Deserialize)]
struct Index {
    /// File of each tensor, indexed by tensor name.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Index, CheckpointError> {
        let text = crate::files::read(path, MAX_INDEX).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => json(path, format!("has more than {MAX_INDEX} bytes")),
            _ => CheckpointError::Io { path: path.to_owned(), source },
        })?;
        serde_json::from_slice(&text).map_err(|e| json(path, format!("cannot be used: {e}")))
    }

    /// The names of the shards, each a file in the same folder as the index, which is at `path`.
    fn shards(&self, path: &Path) -> Result<BTreeSet<&str>, CheckpointError> {
        let names: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        if names.is_empty() || names.len() > MAX_SHARDS {
            return Err(json(path, format!("lists {} files, expected 1 to {MAX_SHARDS}", names.len())));
        }
        let beside = |name: &str| {
            let plain = Path::new(name).file_name().is_some_and(|file| file == name);
            plain && name.ends_with(".safetensors")
        };
        match names.iter().find(|name| !beside(name)) {
            Some(name) => Err(json(path, format!("lists '{name}', which is no safetensors file beside it"))),
            None => Ok(names),
        }
    }
}

/// The open files with their names, sorted by name.
pub(super) struct Shards {
    files: Vec<(String, TensorFile<'static>)>,
}

impl Shards {
    /// Opens the file `source`, or the shards listed by the index `source` in the same folder.
    pub fn open(source: &Path) -> Result<Shards, CheckpointError> {
        if !source.ends_with(INDEX) {
            return Ok(Shards { files: vec![(String::new(), TensorFile::open(source)?)] });
        }
        let wrong = |problem: String| json(source, problem);
        let index = Index::read(source)?;
        let (weight_map, names) = (&index.weight_map, index.shards(source)?);
        let mut files = Vec::with_capacity(names.len());
        let mut found = BTreeSet::new();
        for name in names {
            let file = TensorFile::open(&source.with_file_name(name))?;
            for entry in &file.entries {
                if weight_map.get(&entry.name).map(String::as_str) != Some(name) {
                    return Err(wrong(format!("does not list tensor {} of {name}", entry.name)));
                }
                found.insert(entry.name.clone());
            }
            files.push((name.to_owned(), file));
        }
        match weight_map.iter().find(|(tensor, _)| !found.contains(*tensor)) {
            Some((tensor, file)) => Err(wrong(format!("lists tensor {tensor}, which {file} does not hold"))),
            None => Ok(Shards { files }),
        }
    }

    /// The tensors of all files.
    pub fn entries(&self) -> Vec<Entry> {
        self.files.iter().flat_map(|(_, file)| file.entries.iter().cloned()).collect()
    }

    /// Total length of all files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.bytes).sum()
    }

    /// [`TensorFile::read`] for all files. The digest of several files is that of the lines `sha256sum` prints for
    /// them, sorted by name.
    pub fn read(self, wanted: impl Fn(&str) -> bool) -> Result<Contents, CheckpointError> {
        let several = self.files.len() > 1 || self.files.iter().any(|(name, _)| !name.is_empty());
        let (mut values, mut sums, mut one) = (BTreeMap::new(), String::new(), String::new());
        for (name, file) in self.files {
            let contents = file.read(&wanted)?;
            values.extend(contents.values);
            sums += &format!("{}  {name}\n", contents.sha256);
            one = contents.sha256;
        }
        let sha256 = if several { hex(&Sha256::digest(sums)) } else { one };
        Ok(Contents { values, sha256 })
    }
}
