//! Building and reading nodes.

use std::collections::BTreeMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto};

/// A node of the standard operators.
pub(super) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        // tract refuses two nodes of one name.
        name: format!("{output}/microraptor.node"),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// The same node with a list of whole numbers as an attribute.
pub(super) fn with_ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    let kind = attribute_proto::AttributeType::Ints as i32;
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: kind,
        ints: ints.into(),
        ..Default::default()
    });
    node
}

/// The same node with a whole number as an attribute.
pub(super) fn with_int(mut node: NodeProto, name: &str, i: i64) -> NodeProto {
    let kind = attribute_proto::AttributeType::Int as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type: kind, i, ..Default::default() });
    node
}

/// A tensor of floats.
pub(super) fn floats(name: &str, dims: &[i64], values: impl IntoIterator<Item = f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: DataType::Float as i32,
        raw_data: values.into_iter().flat_map(f32::to_le_bytes).collect(),
        ..TensorProto::default()
    }
}

/// A list of whole numbers.
pub(super) fn longs(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}

/// The name of input number `place`, if the node has it.
pub(super) fn input(node: &NodeProto, place: usize) -> Option<&str> {
    node.input.get(place).map(String::as_str).filter(|name| !name.is_empty())
}

/// The tensors that a graph stores, by name: initialisers and the values of Constant nodes.
pub(super) fn constants(graph: &GraphProto) -> BTreeMap<&str, &TensorProto> {
    let initialisers = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let nodes = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Constant")
        .filter_map(|node| Some((node.output.first()?.as_str(), attribute(node, "value")?.t.as_ref()?)));
    initialisers.chain(nodes).collect()
}

/// All values of a tensor of numbers; `None` for another type or a wrong length.
pub(super) fn values(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = &tensor.raw_data[..];
    let length =
        tensor.dims.iter().try_fold(1_usize, |n, &side| n.checked_mul(usize::try_from(side).ok()?))?;
    let small = || tensor.int32_data.iter().map(|&value| value as f32).collect();
    let values: Vec<f32> = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float if raw.is_empty() => tensor.float_data.clone(),
        DataType::Float => raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DataType::Int32 if !raw.is_empty() => {
            raw.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b) as f32).collect()
        }
        DataType::Int8 if !raw.is_empty() => raw.iter().map(|&b| f32::from(b.cast_signed())).collect(),
        DataType::Uint8 if !raw.is_empty() => raw.iter().map(|&b| f32::from(b)).collect(),
        DataType::Int32 | DataType::Int8 | DataType::Uint8 => small(),
        _ => return None,
    };
    (values.len() == length).then_some(values)
}

/// The bytes of a tensor of 8-bit numbers.
pub(super) fn bytes(tensor: &TensorProto) -> Option<Vec<u8>> {
    let eight = [DataType::Int8 as i32, DataType::Uint8 as i32].contains(&tensor.data_type);
    match &tensor.raw_data[..] {
        _ if !eight => None,
        [] => Some(tensor.int32_data.iter().map(|&value| value as u8).collect()),
        raw => Some(raw.to_vec()),
    }
}
