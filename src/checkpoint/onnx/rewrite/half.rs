//! Half precision: tensors and operators in fp16 or bf16 become f32, which holds every value of both.
//!
//! tract has no bf16, and fails to plan some graphs in fp16 (a Flatten of a dynamic export). In f32 a graph computes what
//! its half-precision operators round.

use std::collections::BTreeSet;

use half::{bf16, f16};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, TensorProto, ValueInfoProto, type_proto};

use super::nodes::{constants, input, int};
use super::tidy;
use crate::checkpoint::onnx::graphs::for_each_graph_mut;

/// Widens every tensor of `graph`; returns a line about it if there was any.
pub(super) fn widen(graph: &mut GraphProto) -> Option<String> {
    let mut found = [0; 2];
    for_each_graph_mut(graph, &mut |graph| {
        graph.initializer.iter_mut().for_each(|tensor| tensor_to_f32(tensor, &mut found));
        for values in [&mut graph.input, &mut graph.output, &mut graph.value_info] {
            values.iter_mut().for_each(value_to_f32);
        }
        for node in &mut graph.node {
            for attribute in &mut node.attribute {
                let tensors = attribute.t.iter_mut().chain(&mut attribute.tensors);
                tensors.for_each(|tensor| tensor_to_f32(tensor, &mut found));
                attribute_to_f32(&node.op_type, attribute);
            }
        }
    });
    let name = match found {
        [0, 0] => return None,
        [_, 0] => "fp16",
        [0, _] => "bf16",
        _ => "fp16 and bf16",
    };
    casts(graph);
    Some(format!("{} tensors in {name} are widened to f32", found[0] + found[1]))
}

/// Maximum number of passes through a graph whose nodes are not in the order of their evaluation.
const MAX_PASSES: usize = 64;

/// Removes casts of floats to floats, which a mixed graph is full of: tract evaluates shapes and conditions of branches
/// while it reads a graph, and a cast would stop it.
fn casts(graph: &mut GraphProto) {
    let float = DataType::Float as i32;
    let typed = |value: &ValueInfoProto| match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => (tensor.elem_type == float).then(|| value.name.clone()),
    };
    let mut floats: BTreeSet<String> = graph.input.iter().filter_map(typed).collect();
    let stored = constants(graph).into_iter().filter(|(_, tensor)| tensor.data_type == float);
    floats.extend(stored.map(|(name, _)| name.to_owned()));
    // Nodes need not be in the order of their evaluation.
    let mut known = 0;
    for _ in 0..MAX_PASSES {
        if known == floats.len() {
            break;
        }
        known = floats.len();
        more_floats(graph, &mut floats);
    }
    tidy::alias(graph, |node| {
        let to_float = node.op_type == "Cast" && int(node, "to") == Some(i64::from(float));
        input(node, 0).filter(|name| to_float && floats.contains(*name)).map(str::to_owned)
    });
}

/// Adds what nodes make of floats to the names of `floats`.
fn more_floats(graph: &GraphProto, floats: &mut BTreeSet<String>) {
    const KEEP_TYPE: [&str; 38] = [
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Conv",
        "Cos",
        "Div",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gelu",
        "Gemm",
        "LayerNormalization",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ];
    for node in &graph.node {
        let is_float = match &node.op_type[..] {
            "Cast" => int(node, "to") == Some(DataType::Float as i64),
            name if KEEP_TYPE.contains(&name) => input(node, 0).is_some_and(|name| floats.contains(name)),
            _ => false,
        };
        if is_float {
            floats.extend(node.output.iter().cloned());
        }
    }
}

fn is_half(code: i32) -> bool {
    [DataType::Float16 as i32, DataType::Bfloat16 as i32].contains(&code)
}

fn tensor_to_f32(tensor: &mut TensorProto, found: &mut [usize; 2]) {
    if !is_half(tensor.data_type) {
        return;
    }
    let brain = tensor.data_type == DataType::Bfloat16 as i32;
    let bits: Vec<u16> = match tensor.raw_data.as_chunks().0 {
        // Bits of 16 are in the low half of `int32_data`.
        [] => tensor.int32_data.iter().map(|&bits| bits as u16).collect(),
        raw => raw.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect(),
    };
    let wide = |bits| if brain { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() };
    tensor.raw_data = bits.into_iter().flat_map(|bits| wide(bits).to_le_bytes()).collect();
    tensor.int32_data.clear();
    tensor.data_type = DataType::Float as i32;
    found[usize::from(brain)] += 1;
}

fn value_to_f32(value: &mut ValueInfoProto) {
    if let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
        && is_half(tensor.elem_type)
    {
        tensor.elem_type = DataType::Float as i32;
    }
}

/// Types that are named by an attribute: of a Cast (`to`), of constants and random numbers (`dtype`), of quantisation.
fn attribute_to_f32(operator: &str, attribute: &mut AttributeProto) {
    let names_type = ["to", "dtype", "output_dtype", "stash_type", "softmax_precision"];
    if names_type.contains(&attribute.name.as_str()) && is_half(attribute.i as i32) && operator != "BitCast" {
        attribute.i = DataType::Float as i64;
    }
}
