//! Traversal of protobuf graphs, and names and messages as one line.

use tract_onnx::pb::GraphProto;

use crate::names;

/// Shortens `text` to one line: tract's messages quote whole nodes, but the first words identify the node.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    // With RUST_BACKTRACE set, tract's errors contain a backtrace.
    let text = text.split("Stack backtrace:").next().unwrap_or_default();
    let mut line = names::one_line(text);
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

/// Calls `f` for `graph` and for the bodies of its `If`s and `Loop`s. Protobuf decoding limits their depth.
pub(super) fn for_each_graph<'a>(graph: &'a GraphProto, f: &mut impl FnMut(&'a GraphProto)) {
    f(graph);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        for body in attribute.g.iter().chain(&attribute.graphs) {
            for_each_graph(body, f);
        }
    }
}

/// As [`for_each_graph`], to change them: the bodies first.
pub(super) fn for_each_graph_mut(graph: &mut GraphProto, f: &mut impl FnMut(&mut GraphProto)) {
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            for_each_graph_mut(body, f);
        }
    }
    f(graph);
}
