//! What a decoded file must satisfy before tract sees it.

use std::collections::BTreeSet;
use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::graphs::{for_each_graph, one_line};
use super::{OnnxError, bounds};

/// Refuses a truncated or foreign protobuf, axes out of range and graphs beyond the limits of `bounds`.
pub(super) fn check<'a>(proto: &'a ModelProto, path: &Path) -> Result<&'a GraphProto, OnnxError> {
    let damaged = |reason: &str| OnnxError::Damaged { path: path.into(), reason: reason.into() };
    // A message cut between two fields still decodes, but lacks fields that every exporter writes.
    let graph = proto.graph.as_ref().ok_or_else(|| damaged("it holds no graph"))?;
    if proto.opset_import.is_empty() {
        return Err(damaged("it does not say which operator set it uses"));
    }
    if graph.node.is_empty() {
        return Err(damaged("its graph is empty"));
    }
    bounded(proto, path)?;
    Ok(graph)
}

/// As [`check`], for a graph that may have no nodes.
pub(super) fn bounded(proto: &ModelProto, path: &Path) -> Result<(), OnnxError> {
    let damaged = |reason: &str| OnnxError::Damaged { path: path.into(), reason: reason.into() };
    let Some(graph) = proto.graph.as_ref().filter(|graph| !graph.output.is_empty()) else {
        return Err(damaged("its graph is empty"));
    };
    let made = graph.node.iter().flat_map(|node| &node.output).chain(graph.input.iter().map(|i| &i.name));
    let made: BTreeSet<&String> = made.chain(graph.initializer.iter().map(|tensor| &tensor.name)).collect();
    if let Some(output) = graph.output.iter().find(|output| !made.contains(&output.name)) {
        return Err(damaged(&format!("nothing in it makes its output '{}'", one_line(&output.name))));
    }
    if nesting(graph) > MAX_NESTING {
        return Err(damaged("its branches lie too deep within each other"));
    }
    let mut astray = None;
    for_each_graph(graph, &mut |graph| {
        astray = astray.take().or_else(|| graph.node.iter().find_map(wrong_axis));
    });
    if let Some(problem) = astray {
        return Err(damaged(&problem));
    }
    match bounds::excess(graph) {
        Some(reason) => Err(OnnxError::Bounds { path: path.into(), reason }),
        None => Ok(()),
    }
}

/// Operators of onnxruntime's own domain that tract has, and that it tells apart from the standard's by their names. Its
/// `Attention` has other inputs than the standard's.
const MICROSOFT: [&str; 12] = [
    "BiasGelu",
    "FastGelu",
    "GatherBlockQuantized",
    "Gelu",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuickGelu",
    "RotaryEmbedding",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Whether the operator is the one that tract takes it for. tract looks at the name alone, but onnxruntime's blocked layout
/// (`com.microsoft.nchwc`) computes something else under the same names, and so may any other domain.
fn of_known_domain(node: &NodeProto) -> bool {
    match &node.domain[..] {
        "" | "ai.onnx" | "ai.onnx.ml" => true,
        "com.microsoft" => MICROSOFT.contains(&node.op_type.as_str()),
        _ => false,
    }
}

/// Refuses operators that are not `known`.
pub(super) fn operators(
    graph: &GraphProto,
    known: impl Fn(&str) -> bool,
    path: &Path,
) -> Result<(), OnnxError> {
    let mut unsupported = BTreeSet::new();
    for_each_graph(graph, &mut |graph| {
        let foreign = graph.node.iter().filter(|node| !known(&node.op_type) || !of_known_domain(node));
        unsupported.extend(foreign.map(|node| match &node.domain[..] {
            "" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        }));
    });
    if unsupported.is_empty() {
        return Ok(());
    }
    let operators = unsupported.into_iter().collect::<Vec<_>>().join(", ");
    Err(OnnxError::Operator { path: path.into(), operators: one_line(&operators) })
}

/// Maximum depth of branches within branches: tract reads the bodies of each twice as often as those around it.
const MAX_NESTING: usize = 4;

/// How deep the bodies of branches lie within each other. Protobuf decoding limits it.
fn nesting(graph: &GraphProto) -> usize {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let bodies = attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    bodies.map(|body| 1 + nesting(body)).max().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{OperatorSetIdProto, ValueInfoProto};

    use super::*;

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
        let output = vec![ValueInfoProto { name: "y".into(), ..Default::default() }];
        let graph = GraphProto { node: vec![branch, node("Add", "z")], output, ..GraphProto::default() };
        let opset_import = vec![OperatorSetIdProto::default()];
        let mut proto = ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() };
        let known = |op: &str| op != "Wavelet";
        let graph = proto.graph.as_ref().unwrap();
        let error = operators(graph, known, Path::new("net.onnx")).unwrap_err();
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
            let result = check(&proto, Path::new("net.onnx"));
            assert_eq!(result.is_ok(), sound, "{op}");
        }
        proto.graph.iter_mut().for_each(|graph| graph.output[0].name = "gone".into());
        let error = check(&proto, Path::new("net.onnx")).unwrap_err();
        assert!(error.to_string().contains("nothing in it makes its output 'gone'"), "{error}");
    }
}
