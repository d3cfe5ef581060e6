//! The operator `Attention` of opset 23 and `Swish` of opset 24, in operators of before.

use tract_onnx::pb::{GraphProto, NodeProto, attribute_proto};

use super::nodes::{attribute, floats, input, int, longs, node, with_int, with_ints};

/// Replaces every Attention that is a plain one: without masks, caches, or a cap on its scores.
pub(super) fn expand(graph: &mut GraphProto) {
    let nodes = std::mem::take(&mut graph.node);
    for whole in nodes {
        let parts = match (&whole.op_type[..], &whole.domain[..]) {
            ("Attention", "" | "ai.onnx") => attention(&whole, graph),
            ("Swish", "" | "ai.onnx") => swish(&whole, graph),
            _ => None,
        };
        graph.node.extend(parts.unwrap_or_else(|| vec![whole]));
    }
}

/// `softmax(scale q k^T) v`; q, k and v are `[batch, heads, n, width]` or `[batch, n, heads * width]`.
fn attention(whole: &NodeProto, graph: &mut GraphProto) -> Option<Vec<NodeProto>> {
    let masked = (3..whole.input.len()).any(|place| input(whole, place).is_some());
    let outputs = whole.output.iter().filter(|name| !name.is_empty()).count();
    let capped = attribute(whole, "softcap").is_some_and(|softcap| softcap.f != 0.0);
    let (q_heads, kv_heads) = (int(whole, "q_num_heads"), int(whole, "kv_num_heads"));
    if masked || outputs != 1 || capped || int(whole, "is_causal").unwrap_or(0) != 0 || q_heads != kv_heads {
        return None;
    }
    let output = whole.output.first()?;
    let name = |part: &str| format!("{output}/microraptor.{part}");
    let mut nodes = Vec::new();
    let mut headed = Vec::new();
    for (place, part) in ["q", "k", "v"].into_iter().enumerate() {
        let from = input(whole, place)?;
        headed.push(match q_heads {
            None => from.to_owned(),
            Some(heads) => {
                let (shape, split, turned) =
                    (name(&format!("{part}.shape")), name(&format!("{part}.split")), name(part));
                graph.initializer.push(longs(&shape, &[0, 0, heads, -1]));
                nodes.push(node("Reshape", &[from, &shape], &split));
                nodes.push(with_ints(node("Transpose", &[&split], &turned), "perm", &[0, 2, 1, 3]));
                turned
            }
        });
    }
    let (scale, turned, scores) = (name("scale"), name("keys"), name("scores"));
    match attribute(whole, "scale") {
        Some(given) => graph.initializer.push(floats(&scale, &[], [given.f])),
        None => {
            // One over the root of the width, which only the shape of the queries tells.
            let (shape, last, width) = (name("shape"), name("last"), name("width"));
            let (float, root) = (name("float"), name("root"));
            graph.initializer.push(longs(&last, &[3]));
            nodes.push(node("Shape", &[&headed[0]], &shape));
            nodes.push(node("Gather", &[&shape, &last], &width));
            nodes.push(with_int(node("Cast", &[&width], &float), "to", 1));
            nodes.push(node("Sqrt", &[&float], &root));
            nodes.push(node("Reciprocal", &[&root], &scale));
        }
    }
    let (product, probabilities) = (name("product"), name("probabilities"));
    nodes.push(with_ints(node("Transpose", &[&headed[1]], &turned), "perm", &[0, 1, 3, 2]));
    nodes.push(node("MatMul", &[&headed[0], &turned], &scores));
    nodes.push(node("Mul", &[&scores, &scale], &product));
    nodes.push(with_int(node("Softmax", &[&product], &probabilities), "axis", -1));
    match q_heads {
        None => nodes.push(node("MatMul", &[&probabilities, &headed[2]], output)),
        Some(_) => {
            let (heads, merged, shape) = (name("heads"), name("merged"), name("merged.shape"));
            graph.initializer.push(longs(&shape, &[0, 0, -1]));
            nodes.push(node("MatMul", &[&probabilities, &headed[2]], &heads));
            nodes.push(with_ints(node("Transpose", &[&heads], &merged), "perm", &[0, 2, 1, 3]));
            nodes.push(node("Reshape", &[&merged, &shape], output));
        }
    }
    Some(nodes)
}

/// `x sigmoid(alpha x)`
fn swish(whole: &NodeProto, graph: &mut GraphProto) -> Option<Vec<NodeProto>> {
    let (x, output) = (input(whole, 0)?, whole.output.first()?);
    let name = |part: &str| format!("{output}/microraptor.{part}");
    let alpha = attribute(whole, "alpha")
        .filter(|alpha| alpha.r#type == attribute_proto::AttributeType::Float as i32)
        .map_or(1.0, |alpha| alpha.f);
    let (scaled, squashed) = (name("scaled"), name("squashed"));
    let mut nodes = Vec::new();
    let argument = if alpha == 1.0 {
        x
    } else {
        let factor = name("alpha");
        graph.initializer.push(floats(&factor, &[], [alpha]));
        nodes.push(node("Mul", &[x, &factor], &scaled));
        &scaled
    };
    nodes.push(node("Sigmoid", &[argument], &squashed));
    nodes.push(node("Mul", &[x, &squashed], output));
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use tract_core::prelude::{DatumExt, IntoRunnable, Tensor, tvec};
    use tract_onnx::pb::{
        AttributeProto, ModelProto, OperatorSetIdProto, TypeProto, ValueInfoProto, tensor_proto, type_proto,
    };
    use tract_onnx::prelude::{Framework, InferenceModelExt};

    use super::*;

    fn value(name: &str) -> ValueInfoProto {
        let elem_type = tensor_proto::DataType::Float as i32;
        let value = Some(type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape: None }));
        ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto { value, ..TypeProto::default() }),
            ..ValueInfoProto::default()
        }
    }

    fn run(graph: GraphProto, inputs: &[(&[usize], &[f32])]) -> Vec<f32> {
        let opset_import = vec![OperatorSetIdProto { version: 24, ..OperatorSetIdProto::default() }];
        let proto = ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() };
        let mut model = tract_onnx::onnx().model_for_proto_model(&proto).unwrap();
        let mut values = tvec![];
        for (place, (shape, input)) in inputs.iter().enumerate() {
            model.set_input_fact(place, f32::fact(*shape).into()).unwrap();
            values.push(Tensor::from_shape(shape, input).unwrap().into());
        }
        let found = model.into_optimized().unwrap().into_runnable().unwrap().run(values).unwrap();
        found[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
    }

    /// tract's own operators are the other implementation.
    fn agrees(whole: NodeProto, inputs: &[(&[usize], &[f32])]) {
        let graph = GraphProto {
            input: whole.input.iter().map(|name| value(name)).collect(),
            output: vec![value("y")],
            node: vec![whole],
            ..GraphProto::default()
        };
        let mut expanded = graph.clone();
        expand(&mut expanded);
        assert!(expanded.node.len() > 1 && !expanded.node.iter().any(|node| node.op_type == "Attention"));
        let (expected, found) = (run(graph, inputs), run(expanded, inputs));
        assert_eq!(expected.len(), found.len());
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn what_is_expanded_computes_the_same() {
        let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
        let (q, k, v) = (wave(40, 0.7), wave(40, 0.3), wave(40, 1.1));
        let attention = node("Attention", &["q", "k", "v"], "y");
        let four: &[usize] = &[1, 2, 5, 4];
        agrees(attention.clone(), &[(four, &q), (four, &k), (four, &v)]);
        let kind = attribute_proto::AttributeType::Float as i32;
        let mut scaled = attention.clone();
        scaled.attribute.push(AttributeProto {
            name: "scale".into(),
            r#type: kind,
            f: 0.9,
            ..Default::default()
        });
        agrees(scaled, &[(four, &q), (four, &k), (four, &v)]);
        let three: &[usize] = &[1, 5, 8];
        let headed = with_int(with_int(attention, "q_num_heads", 2), "kv_num_heads", 2);
        agrees(headed, &[(three, &q), (three, &k), (three, &v)]);
        let mut swish = node("Swish", &["q"], "y");
        agrees(swish.clone(), &[(three, &q)]);
        swish.attribute.push(AttributeProto {
            name: "alpha".into(),
            r#type: kind,
            f: 1.7,
            ..Default::default()
        });
        // tract 0.23.9 ignores alpha: the formula of the standard instead.
        let mut graph = GraphProto {
            input: vec![value("q")],
            output: vec![value("y")],
            node: vec![swish],
            ..GraphProto::default()
        };
        expand(&mut graph);
        for (found, x) in run(graph, &[(three, &q)]).iter().zip(&q) {
            assert!((found - x / (1.0 + (-1.7 * x).exp())).abs() < 1e-5, "{found} {x}");
        }
    }

    #[test]
    fn attention_with_a_mask_or_a_cache_is_left_to_tract() {
        let mut graph =
            GraphProto { node: vec![node("Attention", &["q", "k", "v", "mask"], "y")], ..Default::default() };
        expand(&mut graph);
        assert_eq!(graph.node.len(), 1);
    }
}
