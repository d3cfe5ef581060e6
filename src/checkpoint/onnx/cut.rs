//! Cuts an encoder out of a file's graph, by the names that the file gives to its values.

use std::collections::{BTreeMap, BTreeSet};

use tract_core::internal::{OutletId, TypedModel};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto, tensor_proto::DataType, type_proto,
};

use super::graphs::for_each_graph;
use super::recognise::Found;
use super::walk::Walk;

/// A value that the encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Joint {
    /// The residual stream after a block, counted from 0.
    Stream(usize),
    /// All tokens after the final norm.
    Tokens,
}

/// A graph without its encoder.
pub(super) struct Cut {
    /// What remains. Its first input is the graph's own, the others are `joints`; its last output is the pixels that the
    /// encoder reads, if there is a `front`.
    pub rest: ModelProto,
    /// What the encoder makes for each further input of `rest`.
    pub joints: Vec<Joint>,
    /// The part of the graph that makes the pixels, if it makes them.
    pub front: Option<ModelProto>,
    /// The part that makes the stream before the first block from the graph's input and the embedded patches, under each
    /// name that it reads them by.
    pub start: Option<ModelProto>,
}

/// Cuts `found`, which was recognised in `model`, the typed graph of `searched`, out of `proto`, which differs from it only
/// where it is quantised; `None` if the file has no names for its ends.
pub(super) fn cut(
    proto: &ModelProto,
    searched: &ModelProto,
    model: &TypedModel,
    found: &Found,
) -> Option<Cut> {
    let graph = proto.graph.as_ref()?;
    let [input] = &graph.input[..] else { return None };
    let names = Names { walk: Walk { model }, graph };
    let pixels = names.of(found.pixels).into_iter().next()?;
    let pixels_made = !names.of(found.pixels).contains(&input.name.as_str());
    let mut made = BTreeMap::new();
    for (block, &stream) in found.streams.iter().enumerate() {
        made.extend(names.of(stream).into_iter().map(|name| (name, Joint::Stream(block))));
    }
    made.extend(found.tokens.iter().flat_map(|&t| names.of(t)).map(|name| (name, Joint::Tokens)));
    made.remove(input.name.as_str());

    let mut outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    if pixels_made {
        outputs.push(pixels);
    }
    let given: BTreeSet<&str> = made.keys().copied().collect();
    let part = Part::of(graph, &outputs, &given);
    let ends: Vec<&str> = given.iter().copied().filter(|name| part.read.contains(name)).collect();
    let joints = ends.iter().map(|name| made[name]).collect();
    let rest = part.model(proto, &ends, &outputs);
    let front =
        pixels_made.then(|| Part::of(graph, &[pixels], &BTreeSet::new()).model(proto, &[], &[pixels]));
    let embedded = names.of(found.embedded).into_iter().next()?;
    let patches: BTreeSet<&str> = names.of(found.patches).into_iter().collect();
    let start = Part::of(searched.graph.as_ref()?, &[embedded], &patches);
    let ends: Vec<&str> = patches.iter().copied().filter(|name| start.read.contains(name)).collect();
    let start = start.model(searched, &ends, &[embedded]);
    Some(Cut { rest, joints, front, start: Some(start) })
}

/// The names that a file has for the values of its typed graph.
struct Names<'a> {
    walk: Walk<'a>,
    graph: &'a GraphProto,
}

impl<'a> Names<'a> {
    /// All names of a value, and of its casts to the same type, in the order of the alphabet.
    fn of(&self, outlet: OutletId) -> Vec<&'a str> {
        let outlet = self.walk.uncast(outlet);
        let labels = self.walk.model.outlet_labels.iter();
        let same = labels.filter(|(at, _)| self.walk.uncast(**at) == outlet).map(|(_, label)| label.as_str());
        let source = self.walk.node(outlet.node);
        let own = source.inputs.is_empty().then_some(source.name.as_str());
        let known: BTreeSet<&str> = same.chain(own).collect();
        let nodes = self.graph.node.iter().flat_map(|node| &node.output);
        let names = nodes.chain(self.graph.input.iter().map(|input| &input.name));
        let found: BTreeSet<&str> = names.map(String::as_str).filter(|name| known.contains(name)).collect();
        found.into_iter().collect()
    }
}

/// The nodes that some values need.
struct Part<'a> {
    graph: &'a GraphProto,
    /// Whether each node is needed.
    nodes: Vec<bool>,
    /// Every name that is read.
    read: BTreeSet<&'a str>,
}

impl<'a> Part<'a> {
    /// What `outputs` need of `graph` if the values `given` come from elsewhere.
    fn of(graph: &'a GraphProto, outputs: &[&'a str], given: &BTreeSet<&str>) -> Part<'a> {
        let made: BTreeMap<&str, usize> = graph
            .node
            .iter()
            .enumerate()
            .flat_map(|(at, node)| node.output.iter().map(move |output| (output.as_str(), at)))
            .collect();
        let mut part = Part { graph, nodes: vec![false; graph.node.len()], read: BTreeSet::new() };
        let mut pending: Vec<&str> = outputs.to_vec();
        while let Some(name) = pending.pop() {
            if !part.read.insert(name) || given.contains(name) {
                continue;
            }
            if let Some(&node) = made.get(name)
                && !std::mem::replace(&mut part.nodes[node], true)
            {
                pending.extend(reads(&graph.node[node]));
            }
        }
        part
    }

    /// A model of these nodes, with the graph's own input and `ends` as inputs.
    fn model(&self, proto: &ModelProto, ends: &[&str], outputs: &[&str]) -> ModelProto {
        let graph = self.graph;
        let kept = graph.node.iter().zip(&self.nodes).filter(|(_, needed)| **needed);
        let own = graph.output.iter();
        let output = outputs
            .iter()
            .map(|&name| own.clone().find(|value| value.name == name).cloned().unwrap_or(float(name)));
        let input = graph.input.iter().cloned().chain(ends.iter().map(|&name| float(name)));
        let initializer = graph.initializer.iter().filter(|tensor| self.read.contains(tensor.name.as_str()));
        let part = GraphProto {
            node: kept.map(|(node, _)| node.clone()).collect(),
            name: graph.name.clone(),
            initializer: initializer.cloned().collect(),
            input: input.collect(),
            output: output.collect(),
            ..GraphProto::default()
        };
        ModelProto {
            graph: Some(part),
            ir_version: proto.ir_version,
            opset_import: proto.opset_import.clone(),
            functions: proto.functions.clone(),
            ..ModelProto::default()
        }
    }
}

/// Every name that a node reads, also within the bodies of its branches.
fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> =
        node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for attribute in &node.attribute {
        for body in attribute.g.iter().chain(&attribute.graphs) {
            for_each_graph(body, &mut |graph| {
                names.extend(graph.node.iter().flat_map(|node| &node.input).map(String::as_str));
                names.extend(graph.output.iter().map(|output| output.name.as_str()));
            });
        }
    }
    names
}

/// A value of 32-bit floats, of any shape.
fn float(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: None };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { value, ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
