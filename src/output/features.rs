//! Writes the features of many images to one file: safetensors, or NumPy's npz.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayView2, aview1};
use ndarray_npy::{NpzWriter, WriteNpyError, WriteNpyExt, WriteNpzError};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use serde::Serialize;

use super::OutputError;
use crate::files::spool_beside;
use crate::files::{AtomicFile, Target};
use crate::vit::{Features, Size};

/// Metadata of a feature file: the JSON text under the metadata key `microraptor` of a safetensors file, and the bytes
/// of the array `about` of an npz file.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// File name of each row.
    pub names: Vec<String>,
    /// Frame or slice number of each row in its file, from 1.
    pub frames: Vec<usize>,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its weights file.
    pub sha256: String,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Number of patch rows.
    pub rows: usize,
    /// Number of patch columns.
    pub cols: usize,
    /// Version of this program.
    pub version: String,
}

impl About {
    /// Metadata for a model at one input size; images are added later.
    pub fn new(model: &crate::engine::About, size: Size) -> About {
        About {
            names: Vec::new(),
            frames: Vec::new(),
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

/// Writes a feature file: `cls [n, dim]`, `patch [n, rows * cols, dim]`, and [`About`]. Data that precedes the patch
/// tokens grows with each row: `cls`, and in safetensors the metadata. So the patch tokens, nearly all of the data, are
/// spooled to an unnamed file on the same disk. The output bytes depend only on the contents.
pub struct FeatureWriter {
    about: About,
    dim: usize,
    cls: Vec<f32>,
    patch: File,
    file: AtomicFile,
    npz: Option<PathBuf>,
}

impl FeatureWriter {
    /// Creates the target file: npz if its name ends in `.npz`, otherwise safetensors. `about` must not list any rows
    /// yet; `dim` is the width of a token.
    ///
    /// # Errors
    /// [`OutputError`] names the path.
    pub fn create<'a>(
        target: impl Into<Target<'a>>,
        about: About,
        dim: usize,
    ) -> Result<FeatureWriter, OutputError> {
        let target = target.into();
        let path = target.path;
        let npz = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")).then(|| path.to_owned());
        let (file, patch) = (AtomicFile::create(target)?, spool_beside(path)?);
        Ok(FeatureWriter { about, dim, cls: Vec::new(), patch, file, npz })
    }

    /// Adds the next row: frame `frame` (from 1) of the file `name`.
    ///
    /// # Errors
    /// [`OutputError`] names the path; [`OutputError::TooLarge`] if an npz file cannot hold that much data.
    ///
    /// # Panics
    /// If the shape of the features differs from the one in the metadata.
    pub fn push(&mut self, name: String, frame: usize, features: &Features) -> Result<(), OutputError> {
        let patches = self.about.rows * self.about.cols * self.dim;
        assert!((features.cls.len(), features.patch.len()) == (self.dim, patches));
        self.about.names.push(name);
        self.about.frames.push(frame);
        self.check_fits()?;
        self.cls.extend_from_slice(&features.cls);
        let FeatureWriter { file, patch, .. } = self;
        Ok(file.write(|_| patch.write_all(bytes(&features.patch)))?)
    }

    /// Refuses more rows than the archive can hold.
    fn check_fits(&self) -> Result<(), OutputError> {
        let (_, bytes) = sizes(&self.about, self.dim);
        match &self.npz {
            Some(path) if bytes > u64::from(u32::MAX) => {
                Err(OutputError::TooLarge { path: path.clone(), bytes })
            }
            _ => Ok(()),
        }
    }

    /// Completes the file, moves it to its path and returns its metadata. If the writer is dropped instead, no file is
    /// left behind.
    ///
    /// # Errors
    /// [`OutputError`] names the path.
    pub fn finish(self) -> Result<About, OutputError> {
        let FeatureWriter { about, dim, cls, mut patch, mut file, npz } = self;
        file.write(|file| {
            patch.rewind()?;
            if npz.is_some() {
                let patch = Spooled { shape: [about.names.len(), about.rows * about.cols, dim], file: patch };
                return write_npz(file, &about, dim, &cls, &patch).map_err(io::Error::other);
            }
            file.write_all(&safetensors_header(&about, dim).map_err(io::Error::other)?)?;
            file.write_all(bytes(&cls))?;
            io::copy(&mut patch, file).map(drop)
        })?;
        file.commit()?;
        Ok(about)
    }
}

/// Sizes of `cls` and `patch` in bytes.
fn sizes(about: &About, dim: usize) -> (u64, u64) {
    let cls = (about.names.len() * dim * size_of::<f32>()) as u64;
    (cls, cls * (about.rows * about.cols) as u64)
}

fn about_json(about: &About) -> String {
    serde_json::to_string(about).expect("plain strings and numbers")
}

/// Everything before the data, as `safetensors::serialize` writes it.
fn safetensors_header(about: &About, dim: usize) -> Result<Vec<u8>, SafeTensorError> {
    let n = about.names.len();
    let (cls, patch) = sizes(about, dim);
    let (cls, end) = (cls as usize, (cls + patch) as usize);
    let info = |shape, data_offsets| TensorInfo { dtype: Dtype::F32, shape, data_offsets };
    let tensors = vec![
        ("cls".to_owned(), info(vec![n, dim], (0, cls))),
        ("patch".to_owned(), info(vec![n, about.rows * about.cols, dim], (cls, end))),
    ];
    // Only one key: the crate writes the metadata in the order of a HashMap, which differs from run to run.
    let metadata = HashMap::from([("microraptor".to_owned(), about_json(about))]);
    let metadata = Metadata::new(Some(metadata), tensors)?;
    let mut header = vec![0; 8];
    serde_json::to_writer(&mut header, &metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() - 8) as u64;
    header[..8].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

fn write_npz(
    file: &mut BufWriter<File>,
    about: &About,
    dim: usize,
    cls: &[f32],
    patch: &Spooled,
) -> Result<(), WriteNpzError> {
    let cls = ArrayView2::from_shape((about.names.len(), dim), cls).expect("counted as they came");
    let mut npz = NpzWriter::new(file);
    npz.add_array("cls", &cls)?;
    npz.add_array("patch", patch)?;
    npz.add_array("about", &aview1(about_json(about).as_bytes()))?;
    npz.finish().map(|_| ())
}

/// An f32 array whose values are in a file.
struct Spooled {
    shape: [usize; 3],
    file: File,
}

impl WriteNpyExt for Spooled {
    /// Version 1.0 of the format (numpy.lib.format): the magic, the header's length, and the header padded with spaces
    /// to a multiple of 64 bytes.
    fn write_npy<W: Write>(&self, mut writer: W) -> Result<(), WriteNpyError> {
        let [n, patches, dim] = self.shape;
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {patches}, {dim})}}");
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        writer.write_all(b"\x93NUMPY\x01\x00")?;
        writer.write_all(&(length as u16).to_le_bytes())?;
        writeln!(writer, "{header:<width$}", width = length - 1)?;
        io::copy(&mut &self.file, &mut writer)?;
        Ok(writer.flush()?)
    }
}

/// The bytes of f32 values in safetensors' byte order, without a copy.
fn bytes(values: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "safetensors are little-endian") };
    bytemuck::cast_slice(values)
}

/// Refuses a file name whose extension [`FeatureWriter`] does not support.
///
/// # Errors
/// [`OutputError::Extension`] names the path and the two extensions.
pub fn check_extension(path: &Path) -> Result<(), OutputError> {
    let known = |e: &OsStr| ["npz", "safetensors"].iter().any(|k| e.eq_ignore_ascii_case(k));
    if path.extension().is_some_and(known) { Ok(()) } else { Err(OutputError::Extension(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView3;
    use safetensors::tensor::TensorView;

    use super::*;

    const DIM: usize = 3;

    fn about(n: usize) -> About {
        About {
            names: (0..n).map(|i| format!("{i}.png")).collect(),
            frames: (1..=n).collect(),
            model: "m".into(),
            sha256: "ab".into(),
            height: 4,
            width: 6,
            rows: 2,
            cols: 3,
            version: "0".into(),
        }
    }

    fn features(i: usize) -> Features {
        let values = |n: usize| (0..n).map(|j| (i * 100 + j) as f32).collect();
        Features { cls: values(DIM), patch: values(6 * DIM), rows: 2, cols: 3, layers: Vec::new() }
    }

    fn written(name: &str, n: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut writer = FeatureWriter::create(&path, about(0), DIM).unwrap();
        (0..n).for_each(|i| writer.push(format!("{i}.png"), i + 1, &features(i)).unwrap());
        assert_eq!(writer.finish().unwrap().frames.len(), n);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        std::fs::read(path).unwrap()
    }

    /// The streamed bytes equal those that the formats' own libraries write at once.
    #[test]
    fn the_bytes_are_those_of_the_libraries() {
        // With eleven images, the header's length differs from that of one image.
        for n in [1, 11] {
            let all: Vec<Features> = (0..n).map(features).collect();
            let cls: Vec<f32> = all.iter().flat_map(|f| f.cls.clone()).collect();
            let patch: Vec<f32> = all.iter().flat_map(|f| f.patch.clone()).collect();

            let view = |shape, values| TensorView::new(Dtype::F32, shape, bytes(values)).unwrap();
            let tensors = [("cls", view(vec![n, DIM], &cls)), ("patch", view(vec![n, 6, DIM], &patch))];
            let metadata = HashMap::from([("microraptor".to_owned(), about_json(&about(n)))]);
            assert!(written("f.safetensors", n) == safetensors::serialize(tensors, Some(metadata)).unwrap());

            let mut file = io::Cursor::new(Vec::new());
            let mut npz = NpzWriter::new(&mut file);
            npz.add_array("cls", &ArrayView2::from_shape((n, DIM), &cls).unwrap()).unwrap();
            npz.add_array("patch", &ArrayView3::from_shape((n, 6, DIM), &patch).unwrap()).unwrap();
            npz.add_array("about", &aview1(about_json(&about(n)).as_bytes())).unwrap();
            npz.finish().unwrap();
            assert!(written("f.npz", n) == file.into_inner());
        }
    }

    #[test]
    fn half_a_file_is_no_file_and_too_much_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["f.safetensors", "f.npz"] {
            let mut writer = FeatureWriter::create(&folder.path().join(name), about(0), DIM).unwrap();
            writer.push("0.png".into(), 1, &features(0)).unwrap();
        }
        let wide = About { rows: 4096, cols: 4096, ..about(1) };
        let writer = FeatureWriter::create(&folder.path().join("f.npz"), wide, 1024).unwrap();
        let error = writer.check_fits().unwrap_err();
        assert!(error.to_string().contains("f.npz: 68719476736 bytes"), "{error}");
        drop(writer);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
