//! The tensors of a network, in file order.

use half::f16;
use safetensors::Dtype;

use super::ConvertedModel;
use crate::quant::{Layer, Matrix};
use crate::vit::{Config, Norm};

/// What the names of the parts of the graph around the backbone begin with.
pub(super) const GRAPH: &str = "graph.";

/// A tensor's values, borrowed.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    I8(&'a [i8]),
    U8(&'a [u8]),
}

/// A named tensor.
pub(super) struct Tensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: View<'a>,
}

impl View<'_> {
    pub fn dtype(&self) -> Dtype {
        match self {
            View::F32(_) => Dtype::F32,
            View::F16(_) => Dtype::F16,
            View::I8(_) => Dtype::I8,
            View::U8(_) => Dtype::U8,
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        match self {
            View::F32(v) => 4 * v.len(),
            View::F16(v) => 2 * v.len(),
            View::I8(v) => v.len(),
            View::U8(v) => v.len(),
        }
    }

    /// The values in little-endian bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            View::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            View::F16(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            View::I8(v) => v.iter().map(|&v| v as u8).collect(),
            View::U8(v) => v.to_vec(),
        }
    }
}

/// Every non-empty tensor of `model`. Wider types come first, so that each tensor is aligned to its type's size.
pub(super) fn tensors(model: &ConvertedModel) -> Vec<Tensor<'_>> {
    let network = &model.network;
    let mut list = List(Vec::new());
    let Config { dim, hidden, patch, .. } = network.config;
    list.layer("patch", &network.patch, dim, 3 * patch * patch);
    list.floats("cls", &[dim], &network.cls);
    list.floats("registers", &[network.config.registers, dim], &network.registers);
    list.floats("positions", &[network.positions.len() / dim, dim], &network.positions);
    list.floats("rope_periods", &[network.rope_periods.len()], &network.rope_periods);
    for (i, block) in network.blocks.iter().enumerate() {
        let at = |name: &str| format!("blocks.{i}.{name}");
        list.norm(&at("norm1"), &block.norm1);
        list.layer(&at("qkv"), &block.qkv, 3 * dim, dim);
        list.floats(&at("key_centre"), &[dim], &block.key_centre);
        list.layer(&at("proj"), &block.proj, dim, dim);
        list.norm(&at("norm2"), &block.norm2);
        if let Some(gate) = block.mlp.gate() {
            list.layer(&at("mlp.gate"), gate, hidden, dim);
        }
        list.layer(&at("mlp.up"), block.mlp.up(), hidden, dim);
        list.floats(&at("hidden_scale"), &[hidden], &block.hidden_scale);
        list.layer(&at("mlp.down"), block.mlp.down(), dim, hidden);
    }
    list.norm("norm", &network.norm);
    for (name, bytes) in model.graph.iter().flat_map(|graph| &graph.parts) {
        list.push(format!("{GRAPH}{name}"), &[bytes.len()], View::U8(bytes));
    }
    list.0.sort_by_key(|tensor| std::cmp::Reverse(tensor.values.dtype().bitsize()));
    list.0
}

struct List<'a>(Vec<Tensor<'a>>);

impl<'a> List<'a> {
    fn push(&mut self, name: String, shape: &[usize], values: View<'a>) {
        self.0.push(Tensor { name, shape: shape.to_vec(), values });
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &'a [f32]) {
        if !values.is_empty() {
            self.push(name.to_owned(), shape, View::F32(values));
        }
    }

    fn norm(&mut self, name: &str, norm: &'a Norm) {
        self.floats(&format!("{name}.weight"), &[norm.weight.len()], &norm.weight);
        self.floats(&format!("{name}.bias"), &[norm.bias.len()], &norm.bias);
    }

    fn layer(&mut self, name: &str, layer: &'a Layer, outputs: usize, inputs: usize) {
        let (weight, shape) = (format!("{name}.weight"), [outputs, inputs]);
        match &layer.weight {
            Matrix::F32(values) => self.push(weight, &shape, View::F32(values)),
            Matrix::F16(values) => self.push(weight, &shape, View::F16(values)),
            Matrix::Int8 { values, scales } => {
                self.push(weight, &shape, View::I8(values));
                self.floats(&format!("{name}.scales"), &[outputs], scales);
            }
        }
        self.floats(&format!("{name}.bias"), &[outputs], &layer.bias);
    }
}
