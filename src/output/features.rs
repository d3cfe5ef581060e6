//! Features of many images in one file: safetensors, or NumPy's npz.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ndarray::{ArrayView2, ArrayView3, aview1};
use ndarray_npy::NpzWriter;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;

use super::{OutputError, write_atomically};
use crate::vit::Size;

/// What a feature file says about itself: the JSON text under the metadata key `microraptor` of a safetensors file,
/// and the bytes of the array `about` of an npz file.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Image files, in the order of the rows.
    pub names: Vec<String>,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights file.
    pub sha256: String,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Rows of patches.
    pub rows: usize,
    /// Columns of patches.
    pub cols: usize,
    /// Version of this program.
    pub version: String,
}

impl About {
    /// The record of a model at one input size; images are added as they come.
    pub fn new(model: &crate::engine::About, size: Size) -> About {
        About {
            names: Vec::new(),
            model: model.name.clone(),
            sha256: model.sha256.clone(),
            height: size.height,
            width: size.width,
            rows: 0,
            cols: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Features of several images: row-major, `n = about.names.len()`.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    /// What they are of.
    pub about: About,
    /// `[n, dim]`
    pub cls: Vec<f32>,
    /// `[n, rows * cols, dim]`
    pub patch: Vec<f32>,
    /// Width of a token.
    pub dim: usize,
}

impl FeatureSet {
    /// Writes `path`: npz if its name ends in `.npz`, safetensors otherwise. The bytes depend on the contents alone.
    ///
    /// # Errors
    /// [`OutputError`] names the path; nothing is left behind.
    pub fn save(&self, path: &Path) -> Result<(), OutputError> {
        let npz = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        write_atomically(path, |file| if npz { self.write_npz(file) } else { self.write_safetensors(file) })
    }

    fn shapes(&self) -> ([usize; 2], [usize; 3]) {
        let n = self.about.names.len();
        ([n, self.dim], [n, self.about.rows * self.about.cols, self.dim])
    }

    fn about_json(&self) -> String {
        serde_json::to_string(&self.about).expect("plain strings and numbers")
    }

    fn write_safetensors(&self, file: &mut BufWriter<File>) -> io::Result<()> {
        let (cls_shape, patch_shape) = self.shapes();
        let view = |shape: &[usize], data| {
            TensorView::new(Dtype::F32, shape.to_vec(), data).map_err(io::Error::other)
        };
        let tensors = [
            ("cls", view(&cls_shape, bytes(&self.cls))?),
            ("patch", view(&patch_shape, bytes(&self.patch))?),
        ];
        // One key: the crate writes the metadata in the order of a HashMap, which differs from run to run.
        let metadata = HashMap::from([("microraptor".to_owned(), self.about_json())]);
        let data = safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)?;
        file.write_all(&data)
    }

    fn write_npz(&self, file: &mut BufWriter<File>) -> io::Result<()> {
        let (cls_shape, patch_shape) = self.shapes();
        let cls = ArrayView2::from_shape(cls_shape, &self.cls).map_err(io::Error::other)?;
        let patch = ArrayView3::from_shape(patch_shape, &self.patch).map_err(io::Error::other)?;
        let mut npz = NpzWriter::new(file);
        npz.add_array("cls", &cls).map_err(io::Error::other)?;
        npz.add_array("patch", &patch).map_err(io::Error::other)?;
        npz.add_array("about", &aview1(self.about_json().as_bytes())).map_err(io::Error::other)?;
        npz.finish().map(|_| ()).map_err(io::Error::other)
    }
}

/// The bytes of f32 values as safetensors holds them, without a copy.
fn bytes(values: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "safetensors are little-endian") };
    bytemuck::cast_slice(values)
}

/// Refuses a file name that [`FeatureSet::save`] would not know what to do with.
///
/// # Errors
/// [`OutputError::Extension`] names the path and the two endings.
pub fn check_extension(path: &Path) -> Result<(), OutputError> {
    let known = |e: &OsStr| ["npz", "safetensors"].iter().any(|k| e.eq_ignore_ascii_case(k));
    if path.extension().is_some_and(known) { Ok(()) } else { Err(OutputError::Extension(path.to_owned())) }
}
