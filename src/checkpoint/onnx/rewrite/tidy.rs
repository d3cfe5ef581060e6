//! Removes what has no effect.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::checkpoint::onnx::graphs::{for_each_graph, for_each_graph_mut};

/// Removes inputs that are initialisers, as files before IR version 4 list them, and inputs that nothing reads.
pub(super) fn inputs(graph: &mut GraphProto) {
    let read: BTreeSet<String> = read_by_any(graph).into_iter().map(str::to_owned).collect();
    let initialised: BTreeSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|input| read.contains(&input.name) && !initialised.contains(&input.name));
}

/// The names that a node reads, at any depth, or that are outputs.
fn read_by_any(graph: &GraphProto) -> BTreeSet<&str> {
    let mut read = BTreeSet::new();
    for_each_graph(graph, &mut |graph| {
        read.extend(graph.node.iter().flat_map(|node| &node.input).map(String::as_str));
        read.extend(graph.output.iter().map(|output| output.name.as_str()));
    });
    read
}

/// Lets the readers of an Identity read what it reads. One that makes an output of the graph stays.
pub(super) fn identities(graph: &mut GraphProto) {
    alias(graph, |node| match (&node.op_type[..], &node.input[..]) {
        ("Identity", [from]) => Some(from.clone()),
        _ => None,
    });
}

/// Lets the readers of a node with one output read another name instead, where `same` gives one, and removes the node,
/// unless it makes an output of the graph.
pub(super) fn alias(graph: &mut GraphProto, same: impl Fn(&NodeProto) -> Option<String>) {
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    graph.node.retain(|node| match (&node.output[..], same(node)) {
        ([to], Some(from)) if !outputs.contains(to.as_str()) && *to != from => {
            found.insert(to.clone(), from);
            false
        }
        _ => true,
    });
    if found.is_empty() {
        return;
    }
    // Nodes need not be in the order of their evaluation. A name that is followed once needs no other way.
    let names: Vec<String> = found.keys().cloned().collect();
    for name in names {
        let (mut end, mut way) = (name, BTreeSet::new());
        while let Some(next) = found.get(&end).filter(|next| !way.contains(*next)).cloned() {
            way.insert(std::mem::replace(&mut end, next));
        }
        for passed in way {
            found.insert(passed, end.clone());
        }
    }
    // Bodies of branches read names of the graph around them.
    for_each_graph_mut(graph, &mut |graph| {
        let names = graph.node.iter_mut().flat_map(|node| &mut node.input);
        for name in names.chain(graph.output.iter_mut().map(|output| &mut output.name)) {
            if let Some(from) = found.get(name.as_str()) {
                name.clone_from(from);
            }
        }
    });
}
