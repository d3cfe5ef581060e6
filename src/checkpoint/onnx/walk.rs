//! Queries on tract's typed graph: what feeds a value, what reads it, which node is a dense layer.

use std::collections::BTreeSet;

use tract_core::internal::{InOut, OutletId, Tensor, TractResult, TypedModel, TypedNode};
use tract_core::ops::einsum::EinSum;

use crate::vit::Linear;

/// Lets what reads `from` read `to` instead.
pub(crate) fn reroute(model: &mut TypedModel, from: OutletId, to: OutletId) -> TractResult<()> {
    let readers = model.node(from.node).outputs[from.slot].successors.clone();
    readers.into_iter().try_for_each(|reader| model.add_edge(to, reader))
}

/// Why a graph holds no encoder.
pub(super) type Mismatch = String;

/// Operators that change the rank of a value, or would if it needed that.
const RANK: [&str; 4] = ["Reshape", "AddAxis", "RmAxis", "Cast"];

/// A typed graph whose constants have been propagated.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) model: &'a TypedModel,
}

/// A product with a constant matrix, plus a constant bias vector if there is one.
#[derive(Clone, Copy)]
pub(super) struct Dense<'a> {
    /// The node of the product.
    pub(super) node: usize,
    /// The input of the product.
    pub(super) input: OutletId,
    /// The result, including the bias.
    pub(super) output: OutletId,
    weight: &'a Tensor,
    /// Whether `weight` is `[inputs, outputs]`.
    inputs_first: bool,
    bias: Option<&'a Tensor>,
    /// The node that adds the bias.
    pub(super) bias_node: Option<usize>,
}

/// What feeds a value.
#[derive(Default)]
pub(super) struct Behind {
    /// Nodes of the nearest dense layers.
    pub(super) dense: BTreeSet<usize>,
    /// Names of the operators between those layers and the value.
    pub(super) operators: BTreeSet<String>,
    /// Nodes of those operators.
    pub(super) nodes: BTreeSet<usize>,
    /// Whether the walk reached something else that depends on the image: the input itself or a convolution.
    pub(super) other: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn node(self, id: usize) -> &'a TypedNode {
        self.model.node(id)
    }

    pub(super) fn name(self, id: usize) -> String {
        self.node(id).op.name().into_owned()
    }

    /// Concrete dimensions of a value.
    pub(super) fn shape(self, outlet: OutletId) -> Option<&'a [usize]> {
        self.model.outlet_fact(outlet).ok()?.shape.as_concrete()
    }

    /// The value before casts to the same type, of which tract's translation of LayerNorm has many.
    pub(super) fn uncast(self, mut outlet: OutletId) -> OutletId {
        while self.name(outlet.node) == "Cast" {
            let input = self.node(outlet.node).inputs[0];
            let same = self.same_type(input, outlet);
            if !same {
                break;
            }
            outlet = input;
        }
        outlet
    }

    fn same_type(self, a: OutletId, b: OutletId) -> bool {
        match (self.model.outlet_fact(a), self.model.outlet_fact(b)) {
            (Ok(a), Ok(b)) => a.datum_type == b.datum_type,
            _ => false,
        }
    }

    /// The value before casts and changes of its rank that keep the last dimension, such as those around a Gemm.
    pub(super) fn unshaped(self, outlet: OutletId) -> OutletId {
        let mut outlet = self.uncast(outlet);
        while RANK.contains(&self.name(outlet.node).as_str()) {
            let input = self.node(outlet.node).inputs[0];
            if self.width(input).is_none() || self.width(input) != self.width(outlet) {
                break;
            }
            outlet = self.uncast(input);
        }
        outlet
    }

    /// The value after changes of its rank that keep the last dimension, as far as nothing else reads it.
    fn reshaped(self, mut outlet: OutletId) -> OutletId {
        while let Some(reader) = self.reader(outlet) {
            let output = OutletId::new(reader, 0);
            if !RANK.contains(&self.name(reader).as_str()) || self.width(output) != self.width(outlet) {
                break;
            }
            outlet = output;
        }
        outlet
    }

    /// The last dimension of a value.
    fn width(self, outlet: OutletId) -> Option<usize> {
        self.shape(outlet)?.last().copied()
    }

    /// The nodes that read `outlet`, looking through casts to the same type.
    pub(super) fn readers(self, outlet: OutletId) -> Vec<usize> {
        let (mut readers, mut pending) = (Vec::new(), vec![outlet]);
        while let Some(outlet) = pending.pop() {
            for inlet in &self.node(outlet.node).outputs[outlet.slot].successors {
                let output = OutletId::new(inlet.node, 0);
                if self.name(inlet.node) == "Cast" && self.same_type(outlet, output) {
                    pending.push(output);
                } else {
                    readers.push(inlet.node);
                }
            }
        }
        readers
    }

    /// The node that reads `outlet`, if there is exactly one.
    pub(super) fn reader(self, outlet: OutletId) -> Option<usize> {
        match self.readers(outlet)[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    pub(super) fn constant(self, outlet: OutletId) -> Option<&'a Tensor> {
        self.model.outlet_fact(outlet).ok()?.konst.as_deref()
    }

    /// For a node `operator(value, constant)` or `operator(constant, value)`, the value and the constant.
    pub(super) fn with_constant(self, node: usize, operator: &str) -> Option<(OutletId, &'a Tensor)> {
        if self.name(node) != operator {
            return None;
        }
        let &[a, b] = &self.node(node).inputs[..] else { return None };
        match (self.constant(a), self.constant(b)) {
            (None, Some(constant)) => Some((a, constant)),
            (Some(constant), None) => Some((b, constant)),
            _ => None,
        }
    }

    /// The dense layer whose product is `node`.
    pub(super) fn dense(self, node: usize) -> Option<Dense<'a>> {
        let (input, weight) = self.with_constant(node, "EinSum")?;
        let einsum = self.node(node).op_as::<EinSum>()?;
        // The matrix may have leading dimensions of one.
        let rank = weight.rank();
        if einsum.q_params.is_some() || rank < 2 || weight.shape()[..rank - 2].iter().any(|&d| d != 1) {
            return None;
        }
        let slot = usize::from(self.node(node).inputs[0] == input);
        let last = self.shape(OutletId::new(node, 0))?.len() - 1;
        let summed = |axis: usize| {
            let axis = einsum.axes.axis((InOut::In(slot), axis)).ok()?;
            Some(axis.outputs[0].is_empty() && !axis.inputs[1 - slot].is_empty())
        };
        let kept = |axis: usize| {
            let axis = einsum.axes.axis((InOut::In(slot), axis)).ok()?;
            Some(axis.outputs[0][..] == [last] && axis.inputs[1 - slot].is_empty())
        };
        let inputs_first = match (summed(rank - 2)?, kept(rank - 1)?, kept(rank - 2)?, summed(rank - 1)?) {
            (true, true, ..) => true,
            (_, _, true, true) => false,
            _ => return None,
        };
        let mut dense = Dense {
            node,
            input: self.unshaped(input),
            output: OutletId::new(node, 0),
            weight,
            inputs_first,
            bias: None,
            bias_node: None,
        };
        for output in [dense.output, self.reshaped(dense.output)] {
            if let Some(reader) = self.reader(output)
                && let Some((_, bias)) = self.with_constant(reader, "Add")
                && bias.len() == dense.outputs()
            {
                dense.bias = Some(bias);
                dense.bias_node = Some(reader);
                dense.output = OutletId::new(reader, 0);
                break;
            }
        }
        dense.output = self.reshaped(dense.output);
        Some(dense)
    }

    /// Walks backwards from `outlet` to the nearest dense layers, or to `stop`.
    pub(super) fn behind(self, outlet: OutletId, stop: Option<OutletId>) -> Behind {
        let mut behind = Behind::default();
        let mut pending = vec![outlet];
        while let Some(outlet) = pending.pop().map(|outlet| self.uncast(outlet)) {
            let id = outlet.node;
            if self.constant(outlet).is_some() || Some(outlet) == stop || behind.nodes.contains(&id) {
                continue;
            }
            let name = self.name(id);
            if name == "Conv" || self.node(id).inputs.is_empty() {
                behind.other = true;
            } else if self.dense(id).is_some() {
                behind.dense.insert(id);
            } else {
                behind.nodes.insert(id);
                behind.operators.insert(name);
                pending.extend(&self.node(id).inputs);
            }
        }
        behind
    }
}

impl Dense<'_> {
    fn matrix(&self) -> (usize, usize) {
        let shape = self.weight.shape();
        (shape[shape.len() - 2], shape[shape.len() - 1])
    }

    pub(super) fn outputs(&self) -> usize {
        if self.inputs_first { self.matrix().1 } else { self.matrix().0 }
    }

    pub(super) fn inputs(&self) -> usize {
        if self.inputs_first { self.matrix().0 } else { self.matrix().1 }
    }

    /// The parameters, in our layout.
    pub(super) fn linear(&self) -> Option<Linear> {
        let values = values(self.weight)?;
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let weight = if self.inputs_first {
            (0..inputs * outputs).map(|i| values[i % inputs * outputs + i / inputs]).collect()
        } else {
            values
        };
        let bias = self.bias.map_or_else(|| Some(vec![0.0; outputs]), self::values)?;
        Some(Linear { weight, bias })
    }
}

/// All values of an f32 tensor, row-major.
pub(super) fn values(tensor: &Tensor) -> Option<Vec<f32>> {
    tensor.to_plain_array_view::<f32>().ok().map(|view| view.iter().copied().collect())
}

/// The value of an f32 tensor that has exactly one.
pub(super) fn scalar(tensor: &Tensor) -> Option<f32> {
    (tensor.len() == 1).then(|| values(tensor))??.first().copied()
}
