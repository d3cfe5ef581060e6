//! The float network that a quantised file stands for: products of codes become products of the weights that they stand
//! for, and activations are not rounded.
//!
//! Only the search for a backbone uses it. What tract runs itself keeps its quantisation.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::nodes::{constants, floats, input, int, node, values};
use super::tidy;

/// The float twin of `proto`, and a line about its weights; `None` if nothing in it is quantised.
pub(in super::super) fn twin(proto: &ModelProto) -> Option<(ModelProto, String)> {
    let quantised = ["DynamicQuantizeLinear", "DequantizeLinear", "DynamicQuantizeMatMul"];
    let graph = proto.graph.as_ref()?;
    if !graph.node.iter().any(|node| quantised.contains(&node.op_type.as_str())) {
        return None;
    }
    let mut twin = proto.clone();
    let graph = twin.graph.as_mut()?;
    let products = products(graph);
    weights(graph);
    unrounded(graph);
    let line = match products {
        0 => "its 8-bit weights are widened to f32, and its activations are not rounded".to_owned(),
        n => format!("{n} matrices of 8-bit weights are widened to f32, and their inputs are not rounded"),
    };
    Some((twin, line))
}

/// Where a node stands, by the name of what it makes and what it reads.
struct Places {
    made: BTreeMap<String, usize>,
    read: BTreeMap<String, Vec<usize>>,
}

impl Places {
    fn of(graph: &GraphProto) -> Places {
        let mut places = Places { made: BTreeMap::new(), read: BTreeMap::new() };
        for (at, node) in graph.node.iter().enumerate() {
            places.made.extend(node.output.iter().map(|name| (name.clone(), at)));
            for name in &node.input {
                places.read.entry(name.clone()).or_default().push(at);
            }
        }
        places
    }

    /// The node that makes `name`, if it is an `operator`.
    fn maker<'a>(&self, graph: &'a GraphProto, name: &str, operator: &str) -> Option<&'a NodeProto> {
        graph.node.get(*self.made.get(name)?).filter(|node| node.op_type == operator)
    }

    /// The only node that reads `name`.
    fn reader<'a>(&self, graph: &'a GraphProto, name: &str) -> Option<&'a NodeProto> {
        match self.read.get(name)?[..] {
            [at] => graph.node.get(at),
            _ => None,
        }
    }
}

/// Replaces products of codes whose activations are quantised as they come. Returns their number.
fn products(graph: &mut GraphProto) -> usize {
    let (mut nodes, mut weights) = (BTreeMap::new(), Vec::new());
    {
        let (places, known) = (Places::of(graph), constants(graph));
        for (at, whole) in graph.node.iter().enumerate() {
            let found = match &whole.op_type[..] {
                "MatMulInteger" | "ConvInteger" => scaled(graph, &places, whole),
                "DynamicQuantizeMatMul" => fused(whole),
                "MatMulIntegerToFloat" => fused_with_scales(graph, &places, whole),
                _ => None,
            };
            let Some(Product { x, weight, zero, scale, bias, output }) = found else { continue };
            let zero = zero.map(|name| known.get(name).copied());
            let widened = known.get(weight).and_then(|weight| {
                let zero = match zero {
                    None => None,
                    Some(zero) => Some(zero?),
                };
                // One scale for each output: the last dimension of a matrix, the first of a kernel.
                let last = weight.dims.len().checked_sub(1)?;
                let axis = if whole.op_type == "ConvInteger" { 0 } else { last };
                widened(weight, *known.get(scale)?, zero, axis)
            });
            let Some(widened) = widened else { continue };
            let name = format!("{output}/microraptor.weight");
            let mut made =
                node(if whole.op_type == "ConvInteger" { "Conv" } else { "MatMul" }, &[x, &name], output);
            if whole.op_type == "ConvInteger" {
                made.attribute.clone_from(&whole.attribute);
            }
            weights.push(floats(&name, &known[weight].dims, widened));
            let mut replaced = vec![made];
            if let Some(bias) = bias {
                let product = format!("{output}/microraptor.product");
                replaced[0].output[0].clone_from(&product);
                replaced[0].name.clone_from(&product);
                replaced.push(node("Add", &[&product, bias], output));
            }
            let end = if whole.output.first().map(String::as_str) == Some(output) {
                Some(&at)
            } else {
                places.made.get(output)
            };
            if let Some(&end) = end {
                nodes.insert(end, replaced);
            }
        }
    }
    let count = weights.len();
    graph.initializer.extend(weights);
    let old = std::mem::take(&mut graph.node);
    graph.node = old
        .into_iter()
        .enumerate()
        .flat_map(|(at, node)| nodes.remove(&at).unwrap_or_else(|| vec![node]))
        .collect();
    count
}

/// A product with codes, by names.
struct Product<'a> {
    /// What is quantised.
    x: &'a str,
    weight: &'a str,
    zero: Option<&'a str>,
    scale: &'a str,
    bias: Option<&'a str>,
    /// The product in floats.
    output: &'a str,
}

/// `Mul(Cast(product), Mul(scale of x, scale of the weight))`
fn scaled<'a>(graph: &'a GraphProto, places: &Places, whole: &'a NodeProto) -> Option<Product<'a>> {
    let quantised = places.maker(graph, input(whole, 0)?, "DynamicQuantizeLinear")?;
    let cast = places.reader(graph, whole.output.first()?).filter(|node| node.op_type == "Cast")?;
    let last = places.reader(graph, cast.output.first()?).filter(|node| node.op_type == "Mul")?;
    let scales = last.input.iter().find(|&name| Some(name) != cast.output.first())?;
    let scales = places.maker(graph, scales, "Mul")?;
    let of_x = quantised.output.get(1)?;
    let scale = scales.input.iter().find(|&name| name != of_x).filter(|_| scales.input.contains(of_x))?;
    let (x, weight) = (input(quantised, 0)?, input(whole, 1)?);
    Some(Product { x, weight, zero: input(whole, 3), scale, bias: None, output: last.output.first()? })
}

/// onnxruntime's DynamicQuantizeMatMul: x, weight, scale, zero point, bias.
fn fused(whole: &NodeProto) -> Option<Product<'_>> {
    let (x, weight, scale) = (input(whole, 0)?, input(whole, 1)?, input(whole, 2)?);
    let (zero, bias) = (input(whole, 3), input(whole, 4));
    Some(Product { x, weight, zero, scale, bias, output: whole.output.first()? })
}

/// onnxruntime's MatMulIntegerToFloat: codes, weight, both scales, both zero points, bias.
fn fused_with_scales<'a>(
    graph: &'a GraphProto,
    places: &Places,
    whole: &'a NodeProto,
) -> Option<Product<'a>> {
    let quantised = places.maker(graph, input(whole, 0)?, "DynamicQuantizeLinear")?;
    let (x, weight, scale) = (input(quantised, 0)?, input(whole, 1)?, input(whole, 3)?);
    let (zero, bias) = (input(whole, 5), input(whole, 6));
    Some(Product { x, weight, zero, scale, bias, output: whole.output.first()? })
}

/// `(code - zero point) * scale`, with one of each for the tensor or for each place along `axis`.
fn widened(
    weight: &TensorProto,
    scale: &TensorProto,
    zero: Option<&TensorProto>,
    axis: usize,
) -> Option<Vec<f32>> {
    let (codes, scales) = (values(weight)?, values(scale)?);
    let zeros = match zero {
        Some(zero) => values(zero)?,
        None => vec![0.0],
    };
    if codes.is_empty() {
        return None;
    }
    let sides = weight.dims.iter().map(|&side| usize::try_from(side).ok()).collect::<Option<Vec<usize>>>()?;
    let length = sides.get(axis).copied().unwrap_or(1);
    let behind: usize = sides.iter().skip(axis + 1).product();
    let fits = |parameters: &[f32]| [1, length].contains(&parameters.len());
    if length == 0 || behind == 0 || !fits(&scales) || !fits(&zeros) {
        return None;
    }
    let of = |parameters: &[f32], place: usize| {
        parameters[if parameters.len() == 1 { 0 } else { place / behind % length }]
    };
    Some((0..codes.len()).map(|i| (codes[i] - of(&zeros, i)) * of(&scales, i)).collect())
}

/// Widens the codes that a DequantizeLinear reads from the file. tract would do it, but not of more than 8 MB (the wide
/// layers of ViT-B).
fn weights(graph: &mut GraphProto) {
    let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let known = constants(graph);
    let of = |node: &NodeProto| {
        let (weight, scale) = (known.get(input(node, 0)?)?, known.get(input(node, 1)?)?);
        let zero = match input(node, 2) {
            None => None,
            Some(zero) => Some(*known.get(zero)?),
        };
        let (axis, rank) = (int(node, "axis").unwrap_or(1), weight.dims.len() as i64);
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        let name = node.output.first().filter(|name| !outputs.contains(name.as_str()))?;
        let whole = node.op_type == "DequantizeLinear" && int(node, "block_size").unwrap_or(0) == 0;
        let widened = whole.then(|| widened(weight, scale, zero, axis))??;
        Some(floats(name, &weight.dims, widened))
    };
    let made: BTreeMap<usize, TensorProto> =
        graph.node.iter().enumerate().filter_map(|(at, node)| Some((at, of(node)?))).collect();
    let mut at = 0..;
    graph.node.retain(|_| at.next().is_none_or(|at| !made.contains_key(&at)));
    graph.initializer.extend(made.into_values());
}

/// Lets the readers of a quantised and dequantised activation read what it was before.
fn unrounded(graph: &mut GraphProto) {
    // By the name of the codes: what they were, their scale and zero point.
    let mut source: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for node in graph.node.iter().filter(|node| node.op_type == "QuantizeLinear") {
        if let (Some(x), Some(codes)) = (input(node, 0), node.output.first()) {
            source.insert(codes.clone(), (x.into(), node.input[1..].to_vec()));
        }
    }
    // With another scale or zero point, a DequantizeLinear gives something else back.
    let before = |node: &NodeProto| match &node.op_type[..] {
        "DequantizeLinear" => {
            let (x, parameters) = source.get(input(node, 0)?)?;
            (node.input[1..] == parameters[..]).then(|| x.clone())
        }
        _ => None,
    };
    tidy::alias(graph, before);
    // What remains makes outputs of the graph.
    for last in &mut graph.node {
        if let (Some(from), Some(to)) = (before(last), last.output.first().cloned()) {
            *last = node("Identity", &[&from], &to);
        }
    }
}
