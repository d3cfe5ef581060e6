//! From a file to tract's graph: reads and hashes the file, and refuses damaged files before tract parses them.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tract_core::prelude::{Datum, TractResult, TypedModel};
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{Framework, InferenceModel, InferenceModelExt};
use tract_onnx::tract_hir::infer::InferenceFact;

use super::external::Hashing;
use super::graphs::one_line;
use super::input::{ImageInput, declared_input, first_kernel, image_input};
use super::skim::skim;
use super::{OnnxError, bounds, branch, check, dequantise, external, layer_norm, rewrite};
use crate::checkpoint::file::hex;
use crate::guarded::caught;
use crate::vit::Size;

/// Maximum size of an ONNX file, in bytes: the limit of a protobuf message.
const MAX_FILE: u64 = (1 << 31) - 1;

/// An ONNX file, read whole with its external data, and put into the operators that tract runs.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    path: PathBuf,
    /// SHA-256 of the file and its external data, in hexadecimal.
    pub(crate) sha256: String,
    /// Hash state that [`Document::sha256`] was computed from.
    hash: Sha256,
    /// The file's content, rewritten (`rewrite`).
    pub(super) proto: ModelProto,
    /// Number of tensors stored in the file.
    pub(crate) tensors: usize,
    /// What was rewritten, for people.
    pub(crate) notes: Vec<String>,
}

/// A graph as tract reads it, not yet typed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// [`Document::sha256`].
    pub(crate) sha256: String,
    hash: Sha256,
    model: InferenceModel,
    /// Declared shape of the only input, `None` for a dynamic dimension.
    dims: Result<Vec<Option<usize>>, String>,
    input: Result<ImageInput, String>,
    /// Kernel side of the first convolution, if it cuts the image into patches.
    patch: Option<usize>,
    /// Names of the graph's outputs.
    pub(crate) outputs: Vec<String>,
    /// [`Document::notes`].
    pub(crate) notes: Vec<String>,
}

impl Document {
    /// Reads the file at `path` and its external data.
    pub(crate) fn read(path: &Path) -> Result<Document, OnnxError> {
        let file = open(path)?;
        super::try_out(path, None)?;
        let mut reader = Hashing { inner: file, hash: Sha256::new() };
        let decoded = guarded(|| tract_onnx::onnx().proto_model_for_read(&mut reader));
        let mut proto = decoded.map_err(|reason| undecoded(path, &reason))?;
        let mut hash = reader.hash;
        check::check(&proto, path)?;
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        external::load(&mut proto, directory, &mut hash, path)?;
        Ok(Document::of(path.into(), proto, hash))
    }

    /// The document of a file that was decoded and is complete.
    fn of(path: PathBuf, mut proto: ModelProto, hash: Sha256) -> Document {
        let tensors = proto.graph.as_ref().map_or(0, |graph| graph.initializer.len());
        let notes = rewrite::equivalent(&mut proto);
        Document { path, sha256: hex(&hash.clone().finalize()), hash, proto, tensors, notes }
    }

    /// The document of a graph that is stored in a converted model: `rest`, whose first input is the graph's own. Its
    /// identity is that of the model.
    pub(super) fn stored(path: PathBuf, rest: &ModelProto, sha256: &str, notes: Vec<String>) -> Document {
        let mut own = GraphProto::default();
        own.input.extend(rest.graph.iter().flat_map(|graph| graph.input.first()).cloned());
        let proto = ModelProto { graph: Some(own), ..ModelProto::default() };
        let hash = Sha256::new();
        Document { path, sha256: sha256.to_owned(), hash, proto, tensors: 0, notes }
    }

    /// The whole graph.
    pub(crate) fn source(&self) -> Result<Source, OnnxError> {
        self.parse(&self.proto)
    }

    /// The graph of `proto`, which is this one's or a part of it.
    pub(super) fn parse(&self, proto: &ModelProto) -> Result<Source, OnnxError> {
        let damaged = |reason: String| OnnxError::Damaged { path: self.path.clone(), reason };
        let own = self.proto.graph.as_ref().ok_or_else(|| damaged("it holds no graph".into()))?;
        let graph: &GraphProto = proto.graph.as_ref().ok_or_else(|| damaged("it holds no graph".into()))?;
        let onnx = register();
        check::operators(graph, |op| onnx.op_register.0.contains_key(op), &self.path)?;
        let parsed = guarded(|| onnx.parse(proto, None)).map_err(damaged)?;
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(damaged(format!("nothing in it makes '{}'", one_line(name))));
        }
        let dims = declared_input(own);
        Ok(Source {
            path: self.path.clone(),
            sha256: self.sha256.clone(),
            hash: self.hash.clone(),
            model: parsed.model,
            input: dims.as_deref().map_err(Clone::clone).and_then(|dims| image_input(own, dims)),
            dims,
            patch: first_kernel(own),
            outputs: graph.output.iter().map(|output| output.name.clone()).collect(),
            notes: self.notes.clone(),
        })
    }
}

impl Source {
    /// SHA-256 of the concatenation of the file, its external data and `more`, in hexadecimal.
    pub(crate) fn sha256_with(&self, more: &[u8]) -> String {
        hex(&self.hash.clone().chain_update(more).finalize())
    }

    /// Number of inputs.
    pub(super) fn inputs(&self) -> usize {
        self.model.inputs.len()
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file, for messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The expected input.
    ///
    /// # Errors
    /// [`OnnxError::Input`] if the model does not take exactly one image.
    pub(crate) fn input(&self) -> Result<ImageInput, OnnxError> {
        self.input.clone().map_err(|reason| OnnxError::Input { path: self.path.clone(), reason })
    }

    /// The input size of a model that takes only one.
    pub(crate) fn fixed_size(&self) -> Option<Size> {
        self.input.as_ref().ok()?.fixed_size()
    }

    /// A small input size that a vision transformer with these patches accepts: 4 x 6 patches for dynamic sides. `None`
    /// without patches.
    pub(crate) fn smallest_size(&self) -> Option<Size> {
        let (input, patch) = (self.input.as_ref().ok()?, self.patch?);
        Some(Size { height: input.height.unwrap_or(4 * patch), width: input.width.unwrap_or(6 * patch) })
    }

    /// Rows and columns of patches into which the first convolution cuts an image of `size`.
    pub(crate) fn grid(&self, size: Size) -> Option<(usize, usize)> {
        size.grid(self.patch?).ok()
    }

    /// tract's typed graph for images of `size`, not yet simplified.
    ///
    /// Every dimension is a concrete number: dynamic exports of the dynamo exporter cannot be typed with symbols (tract
    /// 0.23.9, `Split` of a computed size).
    pub(crate) fn typed(&self, size: Size) -> Result<TypedModel, OnnxError> {
        self.typed_for(&[self.image(size)?.to_vec()])
    }

    /// The shape of the input for images of `size`.
    pub(crate) fn image(&self, size: Size) -> Result<[usize; 4], OnnxError> {
        let input = self.input()?;
        Ok([input.batch, input.channels, size.height, size.width])
    }

    /// Declared shape of the only input, whatever it means; `None` for a dynamic dimension.
    ///
    /// # Errors
    /// [`OnnxError::Tract`] if there are several inputs, or the only one is not a tensor of 32-bit floats.
    pub(crate) fn dims(&self) -> Result<&[Option<usize>], OnnxError> {
        let path = self.path.clone();
        self.dims.as_deref().map_err(|reason| OnnxError::Tract { path, reason: reason.clone() })
    }

    /// tract's typed graph for inputs of these shapes, all of 32-bit floats, not yet simplified.
    pub(crate) fn typed_for(&self, shapes: &[Vec<usize>]) -> Result<TypedModel, OnnxError> {
        let model = self.guarded(|| {
            let mut model = self.model.clone();
            for (place, shape) in shapes.iter().enumerate() {
                model.set_input_fact(place, InferenceFact::dt_shape(f32::datum_type(), shape))?;
            }
            // The declared output shapes contain symbols that now have concrete values.
            for output in model.output_outlets()?.to_vec() {
                if !model.input_outlets()?.contains(&output) {
                    model.set_outlet_fact(output, InferenceFact::default())?;
                }
            }
            let mut model = model.into_typed()?;
            dequantise::guard(&mut model);
            Ok(model)
        })?;
        match bounds::excess_of_typed(&model) {
            Some(reason) => Err(OnnxError::Bounds { path: self.path.clone(), reason }),
            None => Ok(model),
        }
    }

    /// Runs `f`, which calls tract; an error or a panic becomes [`OnnxError::Tract`].
    pub(crate) fn guarded<T>(&self, f: impl FnOnce() -> TractResult<T>) -> Result<T, OnnxError> {
        guarded(f).map_err(|reason| OnnxError::Tract { path: self.path.clone(), reason })
    }
}

/// tract's reader, with our guards.
fn register() -> Onnx {
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    layer_norm::guard(&mut onnx);
    branch::guard(&mut onnx);
    onnx
}

fn undecoded(path: &Path, reason: &str) -> OnnxError {
    OnnxError::Damaged { path: path.into(), reason: format!("it does not decode ({reason})") }
}

/// Opens a file whose length protobuf allows and whose fields are complete.
fn open(path: &Path) -> Result<File, OnnxError> {
    let io = |error: io::Error| OnnxError::Read { path: path.into(), reason: error.to_string() };
    let damaged = |reason: String| OnnxError::Damaged { path: path.into(), reason };
    let mut file = crate::files::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_FILE {
        return Err(damaged(format!("its {length} bytes are more than a protobuf can have")));
    }
    skim(&file, length).map_err(|reason| damaged(format!("it does not decode ({reason})")))?;
    file.rewind().map_err(io)?;
    Ok(file)
}

/// The external data files of the ONNX file at `path`.
///
/// # Errors
/// [`OnnxError`] if the file cannot be read as a protobuf.
pub fn external_files(path: &Path) -> Result<Vec<PathBuf>, OnnxError> {
    let mut file = open(path)?;
    let proto = guarded(|| tract_onnx::onnx().proto_model_for_read(&mut file))
        .map_err(|reason| OnnxError::Damaged { path: path.into(), reason })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let locations = proto.graph.iter().flat_map(external::locations);
    Ok(locations.map(|location| folder.join(location)).collect())
}

/// Runs `f`, which calls tract; a panic becomes an error too.
///
/// tract's ONNX reader indexes by values from the file and has `unimplemented!` arms (`tensor.rs`, `model.rs`), so a
/// damaged file can cause panics that our checks do not foresee.
pub(super) fn guarded<T>(f: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    let result = caught(f).map(|result| result.map_err(|error| format!("{error:#}")));
    result.flatten().map_err(|reason| one_line(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_line() {
        let result: Result<(), String> = guarded(|| panic!("index\n out of  bounds"));
        assert_eq!(result, Err("index out of bounds".to_owned()));
        assert!(one_line(&"long ".repeat(1000)).len() < 250);
        assert_eq!(one_line("wrong\n\nStack backtrace:\n   0: main"), "wrong");
    }
}
