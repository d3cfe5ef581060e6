//! `com.microsoft.FusedMatMul`: a product of transposed and scaled matrices, as a Transpose, a MatMul and a Mul.

use std::collections::BTreeMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::nodes::{attribute, constants, floats, input, int, node, with_ints};

/// Maximum number of dimensions of a tensor.
const MAX_RANK: usize = 64;

/// Maximum number of passes through a graph whose nodes are not in the order of their evaluation.
const MAX_PASSES: usize = 64;

/// Replaces every such product whose operands have a known rank.
pub(super) fn expand(graph: &mut GraphProto) {
    if !graph.node.iter().any(|node| node.op_type == "FusedMatMul") {
        return;
    }
    let ranks = ranks(graph);
    let nodes = std::mem::take(&mut graph.node);
    for whole in nodes {
        let parts = (whole.op_type == "FusedMatMul").then(|| product(&whole, &ranks, graph)).flatten();
        graph.node.extend(parts.unwrap_or_else(|| vec![whole]));
    }
}

fn product(
    whole: &NodeProto,
    ranks: &BTreeMap<String, usize>,
    graph: &mut GraphProto,
) -> Option<Vec<NodeProto>> {
    let set = |name: &str| int(whole, name).unwrap_or(0) != 0;
    if set("transBatchA") || set("transBatchB") {
        return None;
    }
    let output = whole.output.first()?;
    let name = |part: &str| format!("{output}/microraptor.{part}");
    let (mut nodes, mut operands) = (Vec::new(), Vec::new());
    for (place, flag) in ["transA", "transB"].into_iter().enumerate() {
        let from = input(whole, place)?;
        if !set(flag) {
            operands.push(from.to_owned());
            continue;
        }
        let rank = *ranks.get(from)?.min(&MAX_RANK) as i64;
        let mut order: Vec<i64> = (0..rank).collect();
        order.swap(usize::try_from(rank - 2).ok()?, (rank - 1) as usize);
        nodes.push(with_ints(node("Transpose", &[from], &name(flag)), "perm", &order));
        operands.push(name(flag));
    }
    let alpha = attribute(whole, "alpha").map_or(1.0, |alpha| alpha.f);
    let (product, factor) = (name("product"), name("alpha"));
    let to = if alpha == 1.0 { output } else { &product };
    nodes.push(node("MatMul", &[&operands[0], &operands[1]], to));
    if alpha != 1.0 {
        graph.initializer.push(floats(&factor, &[], [alpha]));
        nodes.push(node("Mul", &[&product, &factor], output));
    }
    Some(nodes)
}

/// The ranks of values that follow from the operators that make them.
fn ranks(graph: &GraphProto) -> BTreeMap<String, usize> {
    let constants = constants(graph);
    let mut ranks: BTreeMap<String, usize> =
        constants.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.dims.len())).collect();
    // Nodes need not be in the order of their evaluation.
    let mut known = usize::MAX;
    for _ in 0..MAX_PASSES {
        if known == ranks.len() {
            break;
        }
        known = ranks.len();
        for node in &graph.node {
            let of = |place: usize| input(node, place).and_then(|name| ranks.get(name)).copied();
            let rank = match &node.op_type[..] {
                "Transpose" => attribute(node, "perm").map(|perm| perm.ints.len()),
                "Reshape" => input(node, 1).and_then(|shape| {
                    let dims = &constants.get(shape)?.dims;
                    usize::try_from(*dims.first()?).ok().filter(|rank| *rank <= MAX_RANK)
                }),
                "Add" | "Mul" | "Sub" | "Div" | "MatMul" => of(0).zip(of(1)).map(|(a, b)| a.max(b)),
                "Concat" | "Softmax" | "Neg" | "Cast" | "Slice" | "Split" | "Identity"
                | "LayerNormalization" => of(0),
                _ => None,
            };
            if let Some(rank) = rank {
                ranks.extend(node.output.iter().map(|name| (name.clone(), rank)));
            }
        }
    }
    ranks
}
