//! Writes the features of many images to one file: safetensors, or NumPy's npz.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use ndarray::aview1;
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

/// Writes a feature file: an array for each part of the features, whose first dimension is that of the images, and
/// [`About`]. `cls [n, dim]` and `patch [n, rows * cols, dim]` are there if the model has a class token and patch tokens;
/// any other output of a graph has the graph's own name. All are spooled to unnamed files on the same disk, since their
/// lengths are known only at the end. The output bytes depend only on the contents.
pub struct FeatureWriter {
    about: About,
    arrays: Vec<Spooled>,
    file: AtomicFile,
    npz: Option<PathBuf>,
}

impl FeatureWriter {
    /// Creates the target file: npz if its name ends in `.npz`, otherwise safetensors. `about` must not list any rows
    /// yet; the features to come have the parts and shapes of `like`.
    ///
    /// # Errors
    /// [`OutputError`] names the path.
    pub fn create<'a>(
        target: impl Into<Target<'a>>,
        about: About,
        like: &Features,
    ) -> Result<FeatureWriter, OutputError> {
        let target = target.into();
        let path = target.path;
        let npz = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")).then(|| path.to_owned());
        let file = AtomicFile::create(target)?;
        let mut arrays = Vec::new();
        for Part { name, shape, .. } in parts(like) {
            arrays.push(Spooled { name: name.into_owned(), shape, rows: 0, file: spool_beside(path)? });
        }
        Ok(FeatureWriter { about, arrays, file, npz })
    }

    /// Adds the next row: frame `frame` (from 1) of the file `name`.
    ///
    /// # Errors
    /// [`OutputError`] names the path; [`OutputError::TooLarge`] if an npz file cannot hold that much data,
    /// [`OutputError::Shapes`] if the parts of the features or their shapes differ from those that it was created with.
    pub fn push(&mut self, name: String, frame: usize, features: &Features) -> Result<(), OutputError> {
        self.about.names.push(name);
        self.about.frames.push(frame);
        let parts = parts(features);
        let same =
            |(array, part): (&Spooled, &Part<'_>)| array.name == part.name && array.shape == part.shape;
        if parts.len() != self.arrays.len() || !self.arrays.iter().zip(&parts).all(same) {
            return Err(OutputError::Shapes(self.about.names.pop().unwrap_or_default()));
        }
        for (array, part) in self.arrays.iter_mut().zip(parts) {
            array.rows += 1;
            let spool = &mut array.file;
            self.file.write(|_| spool.write_all(bytes(part.values)))?;
        }
        self.check_fits()
    }

    /// Names and shapes of the arrays so far.
    pub fn arrays(&self) -> Vec<(String, Vec<usize>)> {
        self.arrays.iter().map(|array| (array.name.clone(), array.whole())).collect()
    }

    /// Refuses more rows than the archive can hold.
    fn check_fits(&self) -> Result<(), OutputError> {
        let bytes = self.arrays.iter().map(Spooled::bytes).max().unwrap_or(0);
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
        let FeatureWriter { about, mut arrays, mut file, npz } = self;
        file.write(|file| {
            arrays.iter_mut().try_for_each(|array| array.file.rewind())?;
            if npz.is_some() {
                return write_npz(file, &about, &arrays).map_err(io::Error::other);
            }
            file.write_all(&safetensors_header(&about, &arrays).map_err(io::Error::other)?)?;
            arrays.iter_mut().try_for_each(|array| io::copy(&mut array.file, file).map(drop))
        })?;
        file.commit()?;
        Ok(about)
    }
}

/// A part of the features of one image.
struct Part<'a> {
    name: Cow<'a, str>,
    /// Without the dimension of the images.
    shape: Vec<usize>,
    values: &'a [f32],
}

/// What is written of `features`, by name.
fn parts(features: &Features) -> Vec<Part<'_>> {
    let dim = features.dim();
    let tokens = features.patch.len().checked_div(dim).unwrap_or(0);
    let own = [
        (!features.stand_in.cls, Part { name: "cls".into(), shape: vec![dim], values: &features.cls }),
        (
            !features.stand_in.patch,
            Part { name: "patch".into(), shape: vec![tokens, dim], values: &features.patch },
        ),
    ];
    let named = features.outputs.iter().map(|output| {
        // An image's own dimension of one becomes that of all images.
        let shape = output.shape.strip_prefix(&[1]).unwrap_or(&output.shape).to_vec();
        let name = match &output.name[..] {
            // A graph may call something else so.
            "cls" | "patch" | "about" => format!("output.{}", output.name).into(),
            name => name.into(),
        };
        Part { name, shape, values: &output.values }
    });
    let mut parts: Vec<Part<'_>> =
        own.into_iter().filter(|(known, _)| *known).map(|(_, part)| part).chain(named).collect();
    // The order of safetensors.
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    parts
}

fn about_json(about: &About) -> String {
    serde_json::to_string(about).expect("plain strings and numbers")
}

/// Everything before the data, as `safetensors::serialize` writes it.
fn safetensors_header(about: &About, arrays: &[Spooled]) -> Result<Vec<u8>, SafeTensorError> {
    let mut at = 0;
    let tensors = arrays.iter().map(|array| {
        let start = at;
        at += array.bytes() as usize;
        let info = TensorInfo { dtype: Dtype::F32, shape: array.whole(), data_offsets: (start, at) };
        (array.name.clone(), info)
    });
    let tensors = tensors.collect();
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

fn write_npz(file: &mut BufWriter<File>, about: &About, arrays: &[Spooled]) -> Result<(), WriteNpzError> {
    let mut npz = NpzWriter::new(file);
    arrays.iter().try_for_each(|array| npz.add_array(array.name.as_str(), array))?;
    npz.add_array("about", &aview1(about_json(about).as_bytes()))?;
    npz.finish().map(|_| ())
}

/// An f32 array whose values are in a file.
struct Spooled {
    name: String,
    /// Of one row.
    shape: Vec<usize>,
    rows: usize,
    file: File,
}

impl Spooled {
    /// The shape of the whole array.
    fn whole(&self) -> Vec<usize> {
        [&[self.rows], &self.shape[..]].concat()
    }

    fn bytes(&self) -> u64 {
        self.whole().iter().map(|&side| side as u64).product::<u64>() * size_of::<f32>() as u64
    }
}

impl WriteNpyExt for Spooled {
    /// Version 1.0 of the format (numpy.lib.format): the magic, the header's length, and the header padded with spaces
    /// to a multiple of 64 bytes.
    fn write_npy<W: Write>(&self, mut writer: W) -> Result<(), WriteNpyError> {
        let sides: Vec<String> = self.whole().iter().map(usize::to_string).collect();
        // A tuple of one has a comma.
        let shape = if sides.len() == 1 { format!("{},", sides[0]) } else { sides.join(", ") };
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape})}}");
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
    use ndarray::{ArrayView2, ArrayView3, ArrayViewD};
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::vit::Output;

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
        let map = Output { name: "logits".into(), shape: vec![1, 2, 2, 2], values: values(8) };
        let (cls, patch) = (values(DIM), values(6 * DIM));
        Features { cls, patch, rows: 2, cols: 3, outputs: vec![map], ..Features::default() }
    }

    fn written(name: &str, n: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut writer = FeatureWriter::create(&path, about(0), &features(0)).unwrap();
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
            let logits: Vec<f32> = all.iter().flat_map(|f| f.outputs[0].values.clone()).collect();

            let view = |shape, values| TensorView::new(Dtype::F32, shape, bytes(values)).unwrap();
            let tensors = [
                ("cls", view(vec![n, DIM], &cls)),
                ("patch", view(vec![n, 6, DIM], &patch)),
                ("logits", view(vec![n, 2, 2, 2], &logits)),
            ];
            let metadata = HashMap::from([("microraptor".to_owned(), about_json(&about(n)))]);
            assert!(written("f.safetensors", n) == safetensors::serialize(tensors, Some(metadata)).unwrap());

            let mut file = io::Cursor::new(Vec::new());
            let mut npz = NpzWriter::new(&mut file);
            npz.add_array("cls", &ArrayView2::from_shape((n, DIM), &cls).unwrap()).unwrap();
            npz.add_array("logits", &ArrayViewD::from_shape(vec![n, 2, 2, 2], &logits).unwrap()).unwrap();
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
            let mut writer =
                FeatureWriter::create(&folder.path().join(name), about(0), &features(0)).unwrap();
            writer.push("0.png".into(), 1, &features(0)).unwrap();
        }
        let mut writer = FeatureWriter::create(&folder.path().join("f.npz"), about(1), &features(0)).unwrap();
        (writer.arrays[1].shape, writer.arrays[1].rows) = (vec![4096 * 4096, 1024], 1);
        let error = writer.check_fits().unwrap_err();
        assert!(error.to_string().contains("f.npz: 68719476736 bytes"), "{error}");
        drop(writer);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
