//! Limits on what a graph may make tract allocate, as far as the file reveals it.
//!
//! The check is an estimate, not a proof: allocations that depend on the values of the image are not detected. A
//! program that opens untrusted files should also have another process try them ([`set_trial`](super::set_trial)).

use std::collections::BTreeMap;

use tract_core::prelude::TypedModel;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto::DataType};

use super::graphs::{for_each_graph, one_line};
use super::skim::bits_of;

/// Maximum number of nodes of a graph and its branches; a TorchScript export of ViT-L has 7000.
const MAX_NODES: usize = 100_000;

/// Maximum number of values of one tensor: 4 GiB of floats. The activations of a convolution with 256 channels on 1024
/// x 1024 pixels take 1 GiB.
pub(super) const MAX_VALUES: u64 = 1 << 30;

/// Maximum kernel size, stride, dilation or padding of a convolution, pooling or padding operator, in pixels.
const MAX_STEP: i64 = 1 << 14;

/// Maximum scale factor of a side.
const MAX_SCALE: f64 = 1024.0;

/// Maximum number of values of a tensor that is examined as a possible shape.
const MAX_SHAPE: usize = 64;

/// Describes the first thing in `graph` that exceeds these limits; `None` if nothing does.
pub(super) fn excess(graph: &GraphProto) -> Option<String> {
    let (mut nodes, mut found) = (0_usize, None);
    let mut constants = BTreeMap::new();
    for_each_graph(graph, &mut |graph| {
        nodes += graph.node.len();
        for tensor in &graph.initializer {
            found = found.take().or_else(|| misfit(tensor));
            constants.insert(tensor.name.as_str(), tensor);
        }
        for node in &graph.node {
            for tensor in node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()) {
                found = found.take().or_else(|| misfit(tensor));
                if let ("Constant", Some(output)) = (node.op_type.as_str(), node.output.first()) {
                    constants.insert(output, tensor);
                }
            }
        }
    });
    if nodes > MAX_NODES {
        return Some(format!("it has {nodes} nodes, of at most {MAX_NODES}"));
    }
    for_each_graph(graph, &mut |graph| {
        for node in &graph.node {
            found = found.take().or_else(|| {
                let problem = step(node).or_else(|| shape(node, &constants))?;
                Some(format!("its {} '{}' {problem}", one_line(&node.op_type), one_line(&node.name)))
            });
        }
    });
    found
}

/// Describes the first tensor of a typed graph that is too large; `None` if there is none.
pub(super) fn excess_of_typed(model: &TypedModel) -> Option<String> {
    let facts =
        model.nodes().iter().flat_map(|node| node.outputs.iter().map(move |output| (node, &output.fact)));
    facts.into_iter().find_map(|(node, fact)| {
        let shape = fact.shape.as_concrete()?;
        let values = product(shape.iter().map(|&side| side as u64));
        (values > MAX_VALUES).then(|| {
            format!(
                "'{}' makes a tensor of shape {shape:?}, of at most {MAX_VALUES} values",
                one_line(&node.name)
            )
        })
    })
}

/// Describes a tensor whose data length contradicts its shape: tract would read the data before comparing.
fn misfit(tensor: &TensorProto) -> Option<String> {
    let expected = bytes_of(tensor)?;
    let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key);
    let held = match entry("length") {
        _ if !tensor.raw_data.is_empty() => tensor.raw_data.len() as u64,
        Some(length) => length.value.parse().ok()?,
        None => return None,
    };
    (held != expected).then(|| {
        let name = one_line(&tensor.name);
        format!("its tensor '{name}' of shape {:?} has {held} bytes instead of {expected}", tensor.dims)
    })
}

/// Number of bytes of a tensor of this shape and type; `None` for a type that tract does not read.
pub(super) fn bytes_of(tensor: &TensorProto) -> Option<u64> {
    let values = product(tensor.dims.iter().map(|&side| side.max(0) as u64));
    Some(values.saturating_mul(bits_of(u64::try_from(tensor.data_type).ok()?)? / 8))
}

/// Describes a kernel size, stride, dilation or padding that is larger than any image.
fn step(node: &NodeProto) -> Option<String> {
    let names = ["pads", "kernel_shape", "strides", "dilations", "output_padding", "output_shape"];
    let named = node.attribute.iter().filter(|attribute| names.contains(&attribute.name.as_str()));
    named.into_iter().find_map(|AttributeProto { name, ints, .. }| {
        let value = ints.iter().find(|value| !(-MAX_STEP..=MAX_STEP).contains(*value))?;
        Some(format!("has the {name} {value}, of at most {MAX_STEP}"))
    })
}

/// Describes a constant shape, scale factor, padding or iteration count that is too large.
fn shape(node: &NodeProto, constants: &BTreeMap<&str, &TensorProto>) -> Option<String> {
    let input =
        |place: usize| constants.get(node.input.get(place)?.as_str()).and_then(|tensor| small(tensor));
    let attribute = |name: &str| {
        let found = node.attribute.iter().find(|attribute| attribute.name == name)?;
        let ints = found.ints.iter().map(|&value| value as f64);
        Some(ints.chain(found.floats.iter().map(|&value| value.into())).collect::<Vec<f64>>())
    };
    let size = |sides: Vec<f64>| {
        let values: f64 = sides.iter().map(|side| side.abs().max(1.0)).product();
        (values > MAX_VALUES as f64)
            .then(|| format!("makes a tensor of shape {sides:?}, of at most {MAX_VALUES} values"))
    };
    let scale = |factors: Vec<f64>| {
        let factor = factors.iter().find(|factor| factor.abs() > MAX_SCALE)?;
        Some(format!("makes a side {factor} times as long, of at most {MAX_SCALE}"))
    };
    match node.op_type.as_str() {
        "ConstantOfShape" => input(0).and_then(size),
        "Expand" => input(1).and_then(size),
        "Tile" => input(1).and_then(size),
        "Resize" => {
            input(2).and_then(scale).or_else(|| input(1).and_then(scale)).or_else(|| input(3).and_then(size))
        }
        "Upsample" => input(1).or_else(|| attribute("scales")).and_then(scale),
        "Pad" => {
            let pads = input(1)?;
            let pad = pads.iter().find(|pad| pad.abs() > MAX_STEP as f64)?;
            Some(format!("has the pads {pad}, of at most {MAX_STEP}"))
        }
        "OneHot" => input(1).and_then(size),
        "Range" => {
            let [start, limit, delta] = [0, 1, 2].map(|place| input(place).and_then(|v| v.first().copied()));
            size(vec![((limit? - start?) / delta?).abs()])
        }
        "RandomNormal" | "RandomUniform" => attribute("shape").and_then(size),
        "Loop" => {
            let turns = input(0)?.first().copied().filter(|turns| *turns > MAX_VALUES as f64)?;
            Some(format!("turns {turns} times, of at most {MAX_VALUES}"))
        }
        _ => None,
    }
}

/// The values of a tensor that may be a shape; `None` if it is too long or of another data type.
fn small(tensor: &TensorProto) -> Option<Vec<f64>> {
    let raw = &tensor.raw_data[..];
    let values: Vec<f64> = match DataType::try_from(tensor.data_type).ok()? {
        _ if raw.len() > 8 * MAX_SHAPE => return None,
        DataType::Int64 if raw.is_empty() => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        DataType::Int64 => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        DataType::Int32 if raw.is_empty() => tensor.int32_data.iter().map(|&v| v.into()).collect(),
        DataType::Int32 => raw.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
        DataType::Float if raw.is_empty() => tensor.float_data.iter().map(|&v| v.into()).collect(),
        DataType::Float => raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
        _ => return None,
    };
    (values.len() <= MAX_SHAPE).then_some(values)
}

fn product(sides: impl Iterator<Item = u64>) -> u64 {
    sides.fold(1, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
        let input = inputs.iter().map(|&name| name.to_owned()).collect();
        NodeProto { op_type: op.into(), name: "n".into(), input, attribute, ..NodeProto::default() }
    }

    fn ints(name: &str, ints: &[i64]) -> AttributeProto {
        AttributeProto { name: name.into(), ints: ints.to_vec(), ..AttributeProto::default() }
    }

    fn tensor(name: &str, data_type: DataType, dims: &[i64]) -> TensorProto {
        let (name, dims) = (name.into(), dims.to_vec());
        TensorProto { name, data_type: data_type as i32, dims, ..TensorProto::default() }
    }

    #[test]
    fn what_asks_for_too_much_is_named() {
        let longs = |name: &str, values: &[i64]| TensorProto {
            int64_data: values.to_vec(),
            ..tensor(name, DataType::Int64, &[values.len() as i64])
        };
        let floats = |name: &str, values: &[f32]| TensorProto {
            float_data: values.to_vec(),
            ..tensor(name, DataType::Float, &[values.len() as i64])
        };
        let raw = TensorProto { raw_data: vec![0; 8], ..tensor("w", DataType::Float, &[1 << 20, 1 << 20]) };
        let cases = [
            (
                node("Conv", &["x"], vec![ints("pads", &[0, 0, 1_000_000_000, 0])]),
                longs("s", &[1]),
                "pads 1000000000",
            ),
            (
                node("AveragePool", &["x"], vec![ints("kernel_shape", &[1 << 40, 1])]),
                longs("s", &[1]),
                "kernel_shape",
            ),
            (
                node("Resize", &["x", "", "s"], vec![]),
                floats("s", &[1.0, 1.0, 1e6, 1e6]),
                "1000000 times as long",
            ),
            (
                node("Resize", &["x", "", "", "s"], vec![]),
                longs("s", &[1, 3, 1 << 20, 1 << 20]),
                "shape [1.0, 3.0, 1048576",
            ),
            (node("ConstantOfShape", &["s"], vec![]), longs("s", &[1 << 40]), "values"),
            (node("Expand", &["x", "s"], vec![]), longs("s", &[1 << 16, 1 << 16]), "values"),
            (node("Tile", &["x", "s"], vec![]), longs("s", &[1, 1, 1 << 16, 1 << 16]), "values"),
            (
                node("Pad", &["x", "s"], vec![]),
                longs("s", &[0, 0, 0, 0, 0, 0, 1 << 30, 0]),
                "pads 1073741824",
            ),
            (node("Relu", &["x"], vec![]), raw, "has 8 bytes instead of 4398046511104"),
        ];
        for (node, tensor, expected) in cases {
            let graph = GraphProto { node: vec![node], initializer: vec![tensor], ..GraphProto::default() };
            let problem = excess(&graph).unwrap_or_else(|| panic!("{expected}: not found"));
            assert!(problem.contains(expected), "{problem}");
        }
        let many = GraphProto { node: vec![NodeProto::default(); MAX_NODES + 1], ..GraphProto::default() };
        assert!(excess(&many).unwrap().contains("nodes"));
        let plain = node("Resize", &["x", "", "s"], vec![ints("pads", &[1, 1, 1, 1])]);
        let initializer = vec![floats("s", &[1.0, 1.0, 2.0, 2.0])];
        assert_eq!(excess(&GraphProto { node: vec![plain], initializer, ..GraphProto::default() }), None);
    }
}
