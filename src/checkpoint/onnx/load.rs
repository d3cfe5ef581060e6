//! From a file to tract's graph: reads and hashes the file, and refuses damaged files before tract parses them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tract_core::prelude::{Datum, TractResult, TypedModel};
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_proto, tensor_shape_proto,
    type_proto,
};
use tract_onnx::prelude::{Framework, InferenceModel, InferenceModelExt};
use tract_onnx::tract_hir::infer::InferenceFact;

use super::graphs::{for_each_graph, one_line};
use super::skim::skim;
use super::{OnnxError, bounds, dequantise, layer_norm};
use crate::checkpoint::file::hex;
use crate::guarded::caught;
use crate::stamp::Stamp;
use crate::vit::Size;

/// Maximum size of an ONNX file, in bytes: the limit of a protobuf message.
const MAX_FILE: u64 = (1 << 31) - 1;

/// An ONNX model as tract reads it, not yet typed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// SHA-256 of the file and its external data, in hexadecimal.
    pub(crate) sha256: String,
    /// Hash state that [`Source::sha256`] was computed from.
    hash: Sha256,
    model: InferenceModel,
    /// Declared shape of the only input, `None` for a dynamic dimension.
    dims: Result<Vec<Option<usize>>, String>,
    input: Result<ImageInput, String>,
    /// Number of tensors stored in the file.
    pub(crate) tensors: usize,
    /// Kernel side of the first convolution, if it cuts the image into patches.
    patch: Option<usize>,
    /// Names of the graph's outputs.
    pub(crate) outputs: Vec<String>,
}

/// The input of an image model: one f32 tensor `[1, channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageInput {
    /// 3, or 1 for grey.
    pub(crate) channels: usize,
    /// `None` if dynamic.
    pub(crate) height: Option<usize>,
    /// `None` if dynamic.
    pub(crate) width: Option<usize>,
}

impl ImageInput {
    /// The input size of a model that takes only one.
    pub(crate) fn fixed_size(self) -> Option<Size> {
        Some(Size { height: self.height?, width: self.width? })
    }
}

impl Source {
    /// Reads the file at `path` and its external data.
    pub(crate) fn read(path: &Path) -> Result<Source, OnnxError> {
        let damaged = |reason: String| OnnxError::Damaged { path: path.into(), reason };
        let file = open(path)?;
        super::try_out(path, None)?;

        let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
        layer_norm::guard(&mut onnx);
        // tract's default maps files into memory, and a mapped file truncated by another process kills this one.
        onnx.provider = Arc::new(FopenDataResolver);
        let mut reader = Hashing { inner: file, hash: Sha256::new() };
        let proto = guarded(|| onnx.proto_model_for_read(&mut reader))
            .map_err(|reason| damaged(format!("it does not decode ({reason})")))?;
        let mut hash = reader.hash;
        let graph = check(&proto, |op| onnx.op_register.0.contains_key(op), path)?;
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let external = hash_external(graph, directory, &mut hash, path)?;

        // tract takes the folder as text, but needs it only if the model has external data.
        let directory = match directory.to_str() {
            None if !external.is_empty() => {
                let reason =
                    "its weights are in another file, and the name of their folder is not UTF-8: rename it";
                return Err(OnnxError::Read { path: path.into(), reason: reason.into() });
            }
            directory => directory,
        };
        let parsed = guarded(|| onnx.parse(&proto, directory)).map_err(damaged)?;
        // tract has read the external data again, so check that it read what was hashed.
        if let Some(changed) = external.iter().find_map(Stamp::changed) {
            let reason = "changed while it was read: run it again when nothing writes to it".into();
            return Err(OnnxError::Read { path: changed.into(), reason });
        }
        if let Some(name) = parsed.unresolved_inputs.first() {
            return Err(damaged(format!("nothing in it makes '{}'", one_line(name))));
        }
        let sha256 = hex(&hash.clone().finalize());
        let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
        let dims = declared_input(graph);
        Ok(Source {
            path: path.into(),
            sha256,
            hash,
            model: parsed.model,
            input: dims.as_deref().map_err(Clone::clone).and_then(|dims| image_input(graph, dims)),
            dims,
            tensors: graph.initializer.len(),
            patch: first_kernel(graph),
            outputs,
        })
    }

    /// SHA-256 of the concatenation of the file, its external data and `more`, in hexadecimal.
    pub(crate) fn sha256_with(&self, more: &[u8]) -> String {
        hex(&self.hash.clone().chain_update(more).finalize())
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

    /// tract's typed graph for one image of `size`, not yet simplified.
    ///
    /// Every dimension is a concrete number: dynamic exports of the dynamo exporter cannot be typed with symbols (tract
    /// 0.23.9, `Split` of a computed size).
    pub(crate) fn typed(&self, size: Size) -> Result<TypedModel, OnnxError> {
        let input = self.input()?;
        self.typed_for(&[1, input.channels, size.height, size.width])
    }

    /// Declared shape of the only input, whatever it means; `None` for a dynamic dimension.
    ///
    /// # Errors
    /// [`OnnxError::Tract`] if there are several inputs, or the only one is not a tensor of 32-bit floats.
    pub(crate) fn dims(&self) -> Result<&[Option<usize>], OnnxError> {
        let path = self.path.clone();
        self.dims.as_deref().map_err(|reason| OnnxError::Tract { path, reason: reason.clone() })
    }

    /// tract's typed graph for an input of `shape`, not yet simplified.
    pub(crate) fn typed_for(&self, shape: &[usize]) -> Result<TypedModel, OnnxError> {
        let model = self.guarded(|| {
            let mut model = self.model.clone();
            model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
            // The declared output shapes contain symbols that now have concrete values.
            for output in model.output_outlets()?.to_vec() {
                model.set_outlet_fact(output, InferenceFact::default())?;
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
    let locations = proto.graph.iter().flat_map(external_locations);
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

/// Hashes the bytes that are read through it.
struct Hashing {
    inner: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// Refuses a truncated or foreign protobuf, operators that tract lacks, axes out of range and graphs beyond the limits
/// of `bounds`.
fn check<'a>(
    proto: &'a ModelProto,
    known: impl Fn(&str) -> bool,
    path: &Path,
) -> Result<&'a GraphProto, OnnxError> {
    let damaged = |reason: &str| OnnxError::Damaged { path: path.into(), reason: reason.into() };
    // A message cut between two fields still decodes, but lacks fields that every exporter writes.
    let graph = proto.graph.as_ref().ok_or_else(|| damaged("it holds no graph"))?;
    if proto.opset_import.is_empty() {
        return Err(damaged("it does not say which operator set it uses"));
    }
    if graph.node.is_empty() || graph.output.is_empty() {
        return Err(damaged("its graph is empty"));
    }
    let made = graph.node.iter().flat_map(|node| &node.output).chain(graph.input.iter().map(|i| &i.name));
    let made: BTreeSet<&String> = made.chain(graph.initializer.iter().map(|tensor| &tensor.name)).collect();
    if let Some(output) = graph.output.iter().find(|output| !made.contains(&output.name)) {
        return Err(damaged(&format!("nothing in it makes its output '{}'", one_line(&output.name))));
    }
    let mut unsupported = BTreeSet::new();
    let mut astray = None;
    for_each_graph(graph, &mut |graph| {
        astray = astray.take().or_else(|| graph.node.iter().find_map(wrong_axis));
        let foreign = graph.node.iter().filter(|node| !known(&node.op_type));
        unsupported.extend(foreign.map(|node| node.op_type.clone()));
    });
    if !unsupported.is_empty() {
        let operators = unsupported.into_iter().collect::<Vec<_>>().join(", ");
        return Err(OnnxError::Operator { path: path.into(), operators: one_line(&operators) });
    }
    if let Some(problem) = astray {
        return Err(damaged(&problem));
    }
    match bounds::excess(graph) {
        Some(reason) => Err(OnnxError::Bounds { path: path.into(), reason }),
        None => Ok(graph),
    }
}

/// Maximum number of dimensions of a tensor.
const MAX_RANK: i64 = 64;

/// Describes an axis that no tensor can have.
fn wrong_axis(node: &NodeProto) -> Option<String> {
    let named = node.attribute.iter().filter(|a| ["axis", "axes"].contains(&a.name.as_str()));
    let mut axes = named.flat_map(|a| a.ints.iter().chain([&a.i]));
    let axis = axes.find(|axis| !(-MAX_RANK..=MAX_RANK).contains(*axis))?;
    Some(format!(
        "its {} '{}' has the axis {axis}, of -{MAX_RANK} to {MAX_RANK}",
        one_line(&node.op_type),
        one_line(&node.name)
    ))
}

/// Adds the external data files of `graph` to `hash`, in the order of their names: without them the hash would be the
/// same for two fine-tuned models. Returns stamps that show whether the files change later.
fn hash_external(
    graph: &GraphProto,
    directory: &Path,
    hash: &mut Sha256,
    path: &Path,
) -> Result<Vec<Stamp>, OnnxError> {
    let mut stamps = Vec::new();
    for location in external_locations(graph) {
        let error =
            |reason: String| OnnxError::External { path: path.into(), location: one_line(location), reason };
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(location).components().all(inside) {
            return Err(error("it lies outside the folder of the model".into()));
        }
        let data = directory.join(location);
        let file = crate::files::open(&data).map_err(|e| error(e.to_string()))?;
        stamps.push(Stamp::of(&data).map_err(|e| error(e.to_string()))?);
        let mut reader = Hashing { inner: file, hash: std::mem::take(hash) };
        io::copy(&mut reader, &mut io::sink()).map_err(|e| error(e.to_string()))?;
        *hash = reader.hash;
    }
    Ok(stamps)
}

/// The names of the external data files of `graph`, sorted.
fn external_locations(graph: &GraphProto) -> BTreeSet<&str> {
    let mut locations = BTreeSet::new();
    for_each_graph(graph, &mut |graph| {
        let attributes = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|a| a.t.as_ref());
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

/// The only input that is not an initialiser.
fn sole_input(graph: &GraphProto) -> Result<&ValueInfoProto, String> {
    // Before IR version 4, initialisers were listed among the inputs.
    let initialised: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !initialised.contains(input.name.as_str())).collect();
    let &[input] = &inputs[..] else { return Err(format!("it has {} inputs", inputs.len())) };
    Ok(input)
}

/// The shape of the only input, which must be of 32-bit floats; the error describes what was found instead.
fn declared_input(graph: &GraphProto) -> Result<Vec<Option<usize>>, String> {
    use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let input = sole_input(graph)?;
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(format!("input '{}' is not a tensor", one_line(&input.name)));
    };
    if tensor.elem_type != tensor_proto::DataType::Float as i32 {
        return Err(format!("input '{}' is not of 32-bit floats", one_line(&input.name)));
    }
    Ok(tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match &dim.value {
            Some(DimValue(value)) => usize::try_from(*value).ok().filter(|&value| value > 0),
            Some(DimParam(_)) | None => None,
        })
        .collect())
}

/// Interprets the declared shape as that of an image; the error describes what was found instead.
fn image_input(graph: &GraphProto, dims: &[Option<usize>]) -> Result<ImageInput, String> {
    match *dims {
        [None | Some(1), Some(channels @ (1 | 3)), height, width] => {
            Ok(ImageInput { channels, height, width })
        }
        // Some exporters make every dimension dynamic.
        [None | Some(1), None, height, width] => Ok(ImageInput { channels: 3, height, width }),
        _ => {
            let shape: Vec<String> =
                dims.iter().map(|dim| dim.map_or("?".into(), |value| value.to_string())).collect();
            let name = sole_input(graph).map_or(String::new(), |input| one_line(&input.name));
            Err(format!("input '{name}' has the shape [{}]", shape.join(", ")))
        }
    }
}

/// Kernel side of the first convolution (float, or onnxruntime's dynamic int8) if it cuts the image into whole squares:
/// the patch side of a vision transformer.
fn first_kernel(graph: &GraphProto) -> Option<usize> {
    const LARGEST: i64 = 256;
    let conv = graph.node.iter().find(|node| ["Conv", "ConvInteger"].contains(&node.op_type.as_str()))?;
    let attribute = |name: &str| conv.attribute.iter().find(|attribute| attribute.name == name);
    let ints = |name: &str| Some(&attribute(name)?.ints[..]);
    let kernel = ints("kernel_shape")?;
    let &[side, other] = kernel else { return None };
    // A convolution that reads past the border or skips pixels does not cut the image into such patches.
    let padded = attribute("auto_pad").is_some_and(|pad| !matches!(&pad.s[..], b"NOTSET" | b"VALID"))
        || ints("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0))
        || ints("dilations").is_some_and(|dilations| dilations.iter().any(|dilation| *dilation != 1));
    let patches = side == other && (1..=LARGEST).contains(&side) && ints("strides")? == kernel && !padded;
    patches.then_some(side as usize)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
    use tract_onnx::pb::{OperatorSetIdProto, TensorShapeProto, TypeProto};

    use super::*;

    fn input(name: &str, dims: &[i64], elem_type: i32) -> ValueInfoProto {
        let value = |&dim: &i64| if dim > 0 { Value::DimValue(dim) } else { Value::DimParam("free".into()) };
        let dim =
            dims.iter().map(|dim| Dimension { value: Some(value(dim)), ..Dimension::default() }).collect();
        let tensor = type_proto::Tensor { elem_type, shape: Some(TensorShapeProto { dim }) };
        let value = Some(type_proto::Value::TensorType(tensor));
        ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto { value, ..TypeProto::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn tells_images_from_other_inputs() {
        const FLOAT: i32 = tensor_proto::DataType::Float as i32;
        const BYTE: i32 = tensor_proto::DataType::Uint8 as i32;
        let image = |graph: &GraphProto| image_input(graph, &declared_input(graph)?);
        let read = |input: Vec<ValueInfoProto>| image(&GraphProto { input, ..GraphProto::default() });
        let fixed = ImageInput { channels: 3, height: Some(224), width: Some(352) };
        assert_eq!(read(vec![input("x", &[1, 3, 224, 352], FLOAT)]), Ok(fixed));
        assert_eq!(fixed.fixed_size(), Some(Size { height: 224, width: 352 }));
        let free = ImageInput { channels: 1, height: None, width: Some(32) };
        assert_eq!(read(vec![input("x", &[0, 1, 0, 32], FLOAT)]), Ok(free));
        assert_eq!(free.fixed_size(), None);
        for (dims, elem_type, expected) in [
            (&[8, 3, 224, 224][..], FLOAT, "input 'x' has the shape [8, 3, 224, 224]"),
            (&[1, 224, 224, 3], FLOAT, "input 'x' has the shape [1, 224, 224, 3]"),
            (&[1, 4, 0, 0], FLOAT, "input 'x' has the shape [1, 4, ?, ?]"),
            (&[1, 512], FLOAT, "input 'x' has the shape [1, 512]"),
            (&[1, 3, 224, 224], BYTE, "input 'x' is not of 32-bit floats"),
        ] {
            assert_eq!(read(vec![input("x", dims, elem_type)]), Err(expected.to_owned()));
        }
        let two = vec![input("x", &[1, 3, 8, 8], FLOAT), input("mask", &[1, 3, 8, 8], FLOAT)];
        assert_eq!(read(two.clone()), Err("it has 2 inputs".to_owned()));
        // Files of IR version 3 list their initialisers as inputs.
        let mask = TensorProto { name: "mask".into(), ..TensorProto::default() };
        let graph = GraphProto { input: two, initializer: vec![mask], ..GraphProto::default() };
        assert!(image(&graph).is_ok());
    }

    #[test]
    fn names_the_operators_that_tract_lacks_even_inside_branches() {
        let node = |op: &str, out: &str| NodeProto {
            op_type: op.into(),
            output: vec![out.into()],
            ..NodeProto::default()
        };
        let body = GraphProto { node: vec![node("Wavelet", "w")], ..GraphProto::default() };
        let mut branch = node("If", "y");
        branch.attribute.push(tract_onnx::pb::AttributeProto { g: Some(body), ..Default::default() });
        let output = vec![input("y", &[1], 1)];
        let graph = GraphProto { node: vec![branch, node("Add", "z")], output, ..GraphProto::default() };
        let opset_import = vec![OperatorSetIdProto::default()];
        let mut proto = ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() };
        let known = |op: &str| op != "Wavelet";
        let error = check(&proto, known, Path::new("net.onnx")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "net.onnx uses operators that tract lacks: Wavelet; export it with other operators (opset 18)"
        );
        for (op, axis, sound) in [
            ("Softmax", -2, true),
            ("Softmax", -65, false),
            ("LayerNormalization", -1, true),
            ("LayerNormalization", -2, true),
            ("LayerNormalization", i64::MAX, false),
        ] {
            let mut proto = proto.clone();
            let node = &mut proto.graph.as_mut().unwrap().node[1];
            node.op_type = op.into();
            let axis = tract_onnx::pb::AttributeProto { name: "axis".into(), i: axis, ..Default::default() };
            node.attribute.push(axis);
            let result = check(&proto, |_| true, Path::new("net.onnx"));
            assert_eq!(result.is_ok(), sound, "{op}");
        }
        proto.graph.iter_mut().for_each(|graph| graph.output[0].name = "gone".into());
        let error = check(&proto, |_| true, Path::new("net.onnx")).unwrap_err();
        assert!(error.to_string().contains("nothing in it makes its output 'gone'"), "{error}");
    }

    #[test]
    fn patches_are_those_of_a_convolution_that_cuts_squares() {
        use tract_onnx::pb::AttributeProto;
        let ints = |name: &str, ints: &[i64]| AttributeProto {
            name: name.into(),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        };
        let text = |name: &str, s: &[u8]| AttributeProto {
            name: name.into(),
            s: s.to_vec(),
            ..AttributeProto::default()
        };
        let patch = |op: &str, kernel: &[i64], strides: &[i64], more: &[AttributeProto]| {
            let mut attribute = vec![ints("kernel_shape", kernel), ints("strides", strides)];
            attribute.extend_from_slice(more);
            let conv = NodeProto { op_type: op.into(), attribute, ..NodeProto::default() };
            let relu = NodeProto { op_type: "Relu".into(), ..NodeProto::default() };
            first_kernel(&GraphProto { node: vec![relu, conv], ..GraphProto::default() })
        };
        let square: &[i64] = &[16, 16];
        assert_eq!(patch("Conv", square, square, &[]), Some(16));
        assert_eq!(patch("ConvInteger", square, square, &[ints("pads", &[0; 4])]), Some(16));
        assert_eq!(patch("Conv", square, square, &[text("auto_pad", b"VALID")]), Some(16));
        assert_eq!(patch("Conv", &[16, 8], &[16, 8], &[]), None);
        assert_eq!(patch("Conv", square, &[8, 8], &[]), None);
        assert_eq!(patch("Conv", &[16], &[16], &[]), None);
        assert_eq!(patch("Conv", square, square, &[ints("pads", &[1; 4])]), None);
        assert_eq!(patch("Conv", square, square, &[text("auto_pad", b"SAME_UPPER")]), None);
        assert_eq!(patch("Conv", square, square, &[ints("dilations", &[2, 2])]), None);
        assert_eq!(patch("MatMul", square, square, &[]), None);
    }

    #[test]
    fn a_panic_becomes_a_line() {
        let result: Result<(), String> = guarded(|| panic!("index\n out of  bounds"));
        assert_eq!(result, Err("index out of bounds".to_owned()));
        assert!(one_line(&"long ".repeat(1000)).len() < 250);
        assert_eq!(one_line("wrong\n\nStack backtrace:\n   0: main"), "wrong");
    }
}
