//! Cache of features on disk, so that a second training on the same images is quick.
//!
//! An entry is a safetensors file named by the SHA-256 of everything that the features depend on: the weights, the
//! input size, the preprocessing, the reading options, the blocks, and the content of the image. The entry stores this
//! name and a digest of itself, so that damage cannot go unnoticed. A damaged or mismatched entry is recomputed; if the
//! cache cannot be written, it is not used.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use half::f16;
use ndarray::Array2;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Geometry, Grid, Request, ScanFeatures, Tokens};
use crate::files::{self, Access, Target, write_atomically};
use crate::input::ReadOptions;
use crate::sealed;

/// Version of the entry format and of the feature computation: entries of another version are not found.
const VERSION: &str = "5";

/// Key of an entry's metadata.
const METADATA: &str = "microraptor.features";

/// Maximum size of an entry, in bytes: the memory that a command may use above the model for one file (docs/limits.md).
const MAX_ENTRY: u64 = 1 << 30;

/// Metadata of an entry.
#[derive(Serialize, Deserialize)]
struct Entry {
    digest: String,
    key: String,
    geometry: Geometry,
}

/// A folder of cached features.
#[derive(Clone, Debug)]
pub struct FeatureCache {
    folder: PathBuf,
}

impl FeatureCache {
    /// A cache in `folder`, which is created when the first entry is written.
    pub fn new(folder: PathBuf) -> FeatureCache {
        FeatureCache { folder }
    }

    /// The user's cache: `microraptor/features` in `$XDG_CACHE_HOME` or `~/.cache`; `None` if neither is known.
    pub fn of_user() -> Option<FeatureCache> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(FeatureCache::new(base.join("microraptor").join("features")))
    }

    /// Name of an entry, from the SHA-256 of the model, that of the image, and how the features are made.
    pub(super) fn key(&self, model: &str, content: &str, request: &Request<'_>) -> String {
        let mut hash = Sha256::new();
        let Request { size, preprocess, read, tokens } = request;
        // The frame limit does not change the frames that a scan has.
        let read = &ReadOptions { max_frames: None, ..(*read).clone() };
        let text = format!("{VERSION}\n{model}\n{content}\n{size:?}\n{preprocess:?}\n{read:?}\n{tokens:?}");
        hash.update(text);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(&key[..2]).join(format!("{key}.safetensors"))
    }

    /// The entry `key`, or `None` if it is absent or damaged.
    pub(super) fn get(&self, key: &str) -> Option<ScanFeatures> {
        let path = self.path(key);
        let found = match files::read(&path, MAX_ENTRY) {
            Ok(bytes) => parse(key, &bytes),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => None,
            Err(_) => return None,
        };
        if found.is_none() {
            log::warn!("{}: is damaged and is made anew", path.display());
        }
        found
    }

    /// Writes an entry; a failure is only logged.
    pub(super) fn put(&self, key: &str, features: &ScanFeatures) {
        let path = self.path(key);
        let folder = path.parent().expect("joined above");
        let whole = serialise(key, features).and_then(|bytes| {
            files::check_length(bytes.len() as u64, MAX_ENTRY).map_err(|e| e.to_string())?;
            Ok(bytes)
        });
        let bytes = match whole {
            Ok(bytes) => bytes,
            Err(error) => return log::warn!("features are not cached: {error}"),
        };
        let target = Target { path: &path, access: Access::Owner };
        let written = make_folder(folder).map_err(|e| format!("{}: {e}", folder.display())).and_then(|()| {
            write_atomically(target, |file| file.write_all(&bytes)).map_err(|e| e.to_string())
        });
        if let Err(error) = written {
            log::warn!("features are not cached: {error}");
        }
    }
}

/// Creates a folder and its parents, accessible to the owner only: the features are derived from patients' images.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn serialise(key: &str, features: &ScanFeatures) -> Result<Vec<u8>, String> {
    let rows: Vec<u8> = features.rows.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = features.rows.shape().to_vec();
    let text = |e: safetensors::SafeTensorError| e.to_string();
    let mut views = vec![("rows", TensorView::new(Dtype::F32, shape, &rows).map_err(text)?)];
    let values: Vec<u8>;
    if let Some(Tokens { grid: Grid { depth, height, width }, channels, values: tokens }) = &features.tokens {
        values = tokens.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![*depth, *height, *width, *channels];
        views.push(("tokens", TensorView::new(Dtype::F16, shape, &values).map_err(text)?));
    }
    let entry = Entry { digest: sealed::blank(), key: key.to_owned(), geometry: features.geometry };
    let entry = serde_json::to_string(&entry).map_err(|e| e.to_string())?;
    let metadata = HashMap::from([(METADATA.to_owned(), entry)]);
    let mut bytes = safetensors::serialize(views, Some(metadata)).map_err(text)?;
    sealed::seal(&mut bytes);
    Ok(bytes)
}

/// The features in `bytes`, if they are the intact entry `key`.
fn parse(key: &str, bytes: &[u8]) -> Option<ScanFeatures> {
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let entry: Entry = serde_json::from_str(metadata.metadata().as_ref()?.get(METADATA)?).ok()?;
    if entry.key != key || !sealed::holds(bytes, &entry.digest) {
        return None;
    }
    let rows = tensors.tensor("rows").ok()?;
    let &[frames, width] = rows.shape() else { return None };
    if rows.dtype() != Dtype::F32 || frames == 0 {
        return None;
    }
    let values = rows.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
    let rows = Array2::from_shape_vec((frames, width), values.collect()).ok()?;
    let tokens = match tensors.tensor("tokens") {
        Ok(tensor) => {
            let &[depth, height, width, channels] = tensor.shape() else { return None };
            let values = tensor.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            let whole = tensor.dtype() == Dtype::F16 && depth == frames;
            whole.then_some(Some(Tokens { grid: Grid { depth, height, width }, channels, values }))?
        }
        Err(_) => None,
    };
    Some(ScanFeatures { rows, tokens, geometry: entry.geometry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ReadOptions, ScanKind};
    use crate::vit::{Preprocess, Size};

    fn features(tokens: bool) -> ScanFeatures {
        let grid = Grid { depth: 2, height: 1, width: 3 };
        let values = (0..24).map(|i| f16::from_f32(i as f32 / 3.0)).collect();
        ScanFeatures {
            rows: Array2::from_shape_fn((2, 5), |(i, j)| (i * 5 + j) as f32 / 7.0),
            tokens: tokens.then_some(Tokens { grid, channels: 4, values }),
            geometry: Geometry { kind: ScanKind::Clip, size: (30, 40), crop: None, spacing: None },
        }
    }

    #[test]
    fn gives_back_what_was_put_unless_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path().join("not/yet"));
        for (key, tokens) in [("abc", true), ("abd", false)] {
            assert!(cache.get(key).is_none());
            cache.put(key, &features(tokens));
            assert!(cache.get(key) == Some(features(tokens)));
        }
        #[cfg(unix)]
        for (path, mode) in [(cache.path("abc"), 0o600), (folder.path().join("not"), 0o700)] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        let bytes = std::fs::read(cache.path("abc")).unwrap();
        for length in 0..bytes.len() {
            assert!(parse("abc", &bytes[..length]).is_none(), "{length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse("abc", &flipped).is_none(), "bit {bit}");
        }
        // An entry stored under another entry's name.
        std::fs::copy(cache.path("abc"), cache.path("abd")).unwrap();
        assert!(cache.get("abd").is_none());
        // An entry above the maximum size is not read.
        std::fs::File::create(cache.path("abd")).unwrap().set_len(MAX_ENTRY + 1).unwrap();
        assert!(cache.get("abd").is_none());
        // If the folder cannot be created, the cache is not used.
        std::fs::write(folder.path().join("file"), "").unwrap();
        let cache = FeatureCache::new(folder.path().join("file"));
        cache.put("abc", &features(true));
        assert!(cache.get("abc").is_none());
    }

    #[test]
    fn the_key_depends_on_everything() {
        let cache = FeatureCache::new(PathBuf::new());
        let read = ReadOptions::default();
        let base =
            Request { size: Size::square(224), preprocess: &Preprocess::IMAGENET, read: &read, tokens: None };
        let cropped = ReadOptions { crop_us: true, ..ReadOptions::default() };
        let plain = Preprocess { mean: [0.5; 3], ..Preprocess::IMAGENET };
        let keys = [
            cache.key("m", "c", &base),
            cache.key("n", "c", &base),
            cache.key("m", "d", &base),
            cache.key("m", "c", &Request { size: Size::square(448), ..base }),
            cache.key("m", "c", &Request { preprocess: &plain, ..base }),
            cache.key("m", "c", &Request { read: &cropped, ..base }),
            cache.key("m", "c", &Request { tokens: Some(&[]), ..base }),
            cache.key("m", "c", &Request { tokens: Some(&[1, 2]), ..base }),
        ];
        assert_eq!(std::collections::BTreeSet::from(keys).len(), 8);
    }
}
