//! Reads DINOv3's architecture and weights from a typed graph.
//!
//! The exporters differ in the names of nodes and in how they express RoPE, head splitting and the scaling of
//! attention, and they omit what they do not need. All agree on the skeleton: a patch convolution, a Concat with the
//! prefix tokens, and per block one Softmax with six or seven dense layers around it. The matcher follows that skeleton
//! along the residual stream and ignores what lies between a Softmax and its q and k; the run that follows (`proof.rs`)
//! shows whether that was the right kind of rotary embedding.

use tract_core::internal::{OutletId, TypedModel};
use tract_core::ops::array::TypedConcat;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_core::ops::nn::{DataFormat, Softmax};

use super::walk::{Dense, Walk, scalar, values};
use crate::vit::{Block, Config, FeedForward, Linear, Norm, Positions, Size, Weights, default_periods};

/// Result of [`recognise`].
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) weights: Weights,
    /// Index of the graph output that holds all tokens after the final norm.
    pub(super) output: usize,
}

/// Why a graph is not DINOv3.
pub(super) type Mismatch = String;

/// Recognises the graph for one image of `size`, with propagated constants.
pub(super) fn recognise(model: &TypedModel, size: Size) -> Result<Found, Mismatch> {
    let walk = Walk { model };
    let embedding = embedding(walk, size)?;
    let dim = embedding.patch.bias.len();
    let mut reader = Reader { walk, dim, tokens: embedding.tokens, heads: 0, hidden: 0, eps: None };
    let mut stream = embedding.output;
    let mut blocks = Vec::new();
    for softmax in softmaxes(walk)? {
        let (block, next) =
            reader.block(softmax, stream).map_err(|reason| format!("block {}: {reason}", blocks.len()))?;
        blocks.push(block);
        stream = next;
    }
    let first = blocks.first().ok_or("it has no Softmax")?;
    let (mlp, layer_scale) = (first.mlp.kind(), !first.scale1.is_empty());
    let (output, norm) = reader.last_norm(stream)?;
    let config = Config {
        dim,
        depth: blocks.len(),
        heads: reader.heads,
        patch: embedding.side,
        mlp,
        hidden: reader.hidden,
        registers: embedding.prefix.len() / dim - 1,
        positions: Positions::Rope,
        layer_scale,
        norm_eps: reader.eps.ok_or("its norms have no epsilon")?,
    };
    config.validate().map_err(|error| error.to_string())?;
    let (cls, registers) = embedding.prefix.split_at(dim);
    let weights = Weights {
        patch: embedding.patch,
        cls: cls.to_vec(),
        registers: registers.to_vec(),
        positions: Vec::new(),
        rope_periods: default_periods(config.head_dim()),
        blocks,
        norm,
    };
    weights.validate(&config).map_err(|error| error.to_string())?;
    Ok(Found { config, weights, output })
}

/// The start of the residual stream.
struct Embedding {
    patch: Linear,
    /// Side of a patch.
    side: usize,
    /// CLS and registers, concatenated.
    prefix: Vec<f32>,
    tokens: usize,
    output: OutletId,
}

/// The patch convolution, and the Concat that prepends constant tokens to its result.
fn embedding(walk: Walk<'_>, size: Size) -> Result<Embedding, Mismatch> {
    let mut convolutions = walk.model.nodes().iter().filter(|node| node.op_is::<Conv>());
    let (Some(node), None) = (convolutions.next(), convolutions.next()) else {
        return Err("it does not have exactly one convolution".into());
    };
    let conv = node.op_as::<Conv>().ok_or("it has no convolution")?;
    let kernel = walk.constant(node.inputs[1]).ok_or("the kernel of its convolution is not constant")?;
    let &[dim, 3, side, width] = kernel.shape() else {
        return Err(format!("its convolution has a kernel of shape {:?}", kernel.shape()));
    };
    let pool = &conv.pool_spec;
    let unpadded = match &pool.padding {
        PaddingSpec::Valid => true,
        PaddingSpec::Explicit(before, after) => before.iter().chain(after).all(|&pad| pad == 0),
        _ => false,
    };
    let plain = conv.group == 1
        && conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && pool.data_format == DataFormat::NCHW
        && pool.strides.as_deref() == Some(&[side, side][..])
        && pool.dilations.iter().flatten().all(|&dilation| dilation == 1);
    if side != width || !unpadded || !plain {
        return Err("its convolution does not cut the image into square patches".into());
    }
    let (rows, cols) = size.grid(side).map_err(|error| error.to_string())?;
    let bias = match node.inputs.get(2) {
        Some(&bias) => walk.constant(bias).and_then(values).ok_or("the patch bias is not constant")?,
        None => vec![0.0],
    };
    // tract represents an absent bias by a scalar.
    let bias = if bias.len() == 1 { vec![bias[0]; dim] } else { bias };
    let patch = Linear { weight: values(kernel).ok_or("the patch kernel is not f32")?, bias };

    const LAYOUT: [&str; 5] = ["Reshape", "MoveAxis", "AddAxis", "RmAxis", "Cast"];
    let mut patches = OutletId::new(node.id, 0);
    let concat = loop {
        let reader = walk.reader(patches).ok_or("its patch tokens are read in more than one place")?;
        if !LAYOUT.contains(&walk.name(reader).as_str()) {
            break reader;
        }
        patches = OutletId::new(reader, 0);
    };
    let op = walk.node(concat).op_as::<TypedConcat>().ok_or("nothing is put before its patch tokens")?;
    let output = OutletId::new(concat, 0);
    let shape = walk.shape(output).unwrap_or_default();
    let Some((&last, before)) = walk.node(concat).inputs.split_last() else {
        return Err("its Concat is empty".into());
    };
    let mut prefix = Vec::new();
    for &token in before {
        prefix.extend(walk.constant(token).and_then(values).ok_or("its prefix tokens are not constant")?);
    }
    let tokens = prefix.len() / dim + rows * cols;
    if op.axis != 1
        || walk.uncast(last).node != walk.uncast(patches).node
        || shape != [1, tokens, dim]
        || prefix.is_empty()
    {
        return Err(format!("its tokens have the shape {shape:?}, expected [1, {tokens}, {dim}]"));
    }
    Ok(Embedding { patch, side, prefix, tokens, output })
}

/// The Softmax nodes in the order of the blocks.
fn softmaxes(walk: Walk<'_>) -> Result<Vec<usize>, Mismatch> {
    let order = walk.model.eval_order().map_err(|error| error.to_string())?;
    Ok(order.into_iter().filter(|&id| walk.node(id).op_is::<Softmax>()).collect())
}

/// Reads blocks and records the values that all blocks must share.
struct Reader<'a> {
    walk: Walk<'a>,
    dim: usize,
    tokens: usize,
    heads: usize,
    hidden: usize,
    eps: Option<f32>,
}

impl<'a> Reader<'a> {
    /// The block around `softmax` that reads `stream`; returns the block and the stream after it.
    fn block(&mut self, softmax: usize, stream: OutletId) -> Result<(Block, OutletId), Mismatch> {
        let walk = self.walk;
        let (q, k, v, proj) = self.attention(softmax)?;
        if q.input != k.input || q.input != v.input {
            return Err("q, k and v do not read the same tokens".into());
        }
        let mut qkv = Linear::default();
        for part in [q, k, v] {
            let part = self.linear(part, self.dim, self.dim)?;
            qkv.weight.extend(part.weight);
            qkv.bias.extend(part.bias);
        }
        let norm1 = self.norm(q.input, stream)?;
        let (scale1, middle) = self.residual(proj, stream)?;

        // The stream now has two readers: the norm, and the sum that ends the block.
        let down = walk.readers(middle).into_iter().find_map(|reader| {
            let other = self.other_operand(reader, middle)?;
            let mut dense = walk.behind(other, None).dense.into_iter();
            let (Some(node), None) = (dense.next(), dense.next()) else { return None };
            walk.dense(node)
        });
        let down = down.ok_or("no MLP follows")?;
        let (mlp, input) = self.mlp(down)?;
        let norm2 = self.norm(input, middle)?;
        let (scale2, next) = self.residual(down, middle)?;
        if scale1.is_empty() != scale2.is_empty() {
            return Err("only one of its branches is scaled".into());
        }
        let proj = self.linear(proj, self.dim, self.dim)?;
        Ok((Block { norm1, qkv, proj, scale1, norm2, mlp, scale2 }, next))
    }

    /// The dense layers q, k, v and the output projection around a Softmax over `[1, heads, tokens, tokens]`.
    fn attention(
        &mut self,
        softmax: usize,
    ) -> Result<(Dense<'a>, Dense<'a>, Dense<'a>, Dense<'a>), Mismatch> {
        let walk = self.walk;
        let output = OutletId::new(softmax, 0);
        let shape = walk.shape(output).unwrap_or_default();
        let axes = walk.node(softmax).op_as::<Softmax>().map(|op| op.axes.as_slice());
        match *shape {
            [1, heads, rows, cols]
                if rows == self.tokens
                    && cols == rows
                    && axes == Some(&[3])
                    && [0, heads].contains(&self.heads) =>
            {
                self.heads = heads;
            }
            _ => return Err(format!("its Softmax has the shape {shape:?}")),
        }
        // The scores may be scaled or cast on their way to the Softmax.
        let mut scores = walk.uncast(walk.node(softmax).inputs[0]);
        while let Some((input, constant)) =
            walk.with_constant(scores.node, "Mul").or_else(|| walk.with_constant(scores.node, "Div"))
        {
            scalar(constant).ok_or("its scores are scaled by more than one number")?;
            scores = walk.uncast(input);
        }
        // The operands are in the order of torch.matmul(q, k^T), which its exports keep.
        let &[q, k] = &walk.node(scores.node).inputs[..] else {
            return Err("its scores are no product".into());
        };
        let product = walk.reader(output).ok_or("its Softmax is read in more than one place")?;
        let v = self.operand_besides(product, output).ok_or("its Softmax is not multiplied with values")?;
        let both =
            [scores.node, product].map(|node| walk.name(node) == "EinSum" && walk.dense(node).is_none());
        if both != [true, true] {
            return Err("its Softmax does not stand between two products".into());
        }
        let mut merged = OutletId::new(product, 0);
        let proj = loop {
            let reader = walk.reader(merged).ok_or("its heads are read in more than one place")?;
            if let Some(dense) = walk.dense(reader) {
                break dense;
            }
            if !["Reshape", "MoveAxis", "AddAxis", "RmAxis"].contains(&walk.name(reader).as_str()) {
                return Err(format!("its heads pass through {}", walk.name(reader)));
            }
            merged = OutletId::new(reader, 0);
        };
        Ok((self.only_dense("q", q)?, self.only_dense("k", k)?, self.only_dense("v", v)?, proj))
    }

    /// The only dense layer that feeds `outlet`.
    fn only_dense(&self, name: &str, outlet: OutletId) -> Result<Dense<'a>, Mismatch> {
        let behind = self.walk.behind(outlet, None);
        let mut nodes = behind.dense.into_iter();
        match (nodes.next(), nodes.next(), behind.other) {
            (Some(node), None, false) => self.walk.dense(node).ok_or_else(|| format!("{name} is not dense")),
            _ => Err(format!("{name} does not come from one dense layer")),
        }
    }

    /// Checks a layer's shape and returns its parameters.
    fn linear(&self, dense: Dense<'_>, outputs: usize, inputs: usize) -> Result<Linear, Mismatch> {
        if (dense.outputs(), dense.inputs()) != (outputs, inputs) {
            let found = (dense.outputs(), dense.inputs());
            return Err(format!("a dense layer is {found:?}, expected {:?}", (outputs, inputs)));
        }
        dense.linear().ok_or_else(|| "a dense layer is not f32".into())
    }

    /// The MLP that ends in `down`, and its input.
    fn mlp(&mut self, down: Dense<'a>) -> Result<(FeedForward<Linear>, OutletId), Mismatch> {
        let walk = self.walk;
        let behind = walk.behind(down.input, None);
        let uses = |allowed: &[&str]| behind.operators.iter().all(|name| allowed.contains(&name.as_str()));
        let has = |name: &str| behind.operators.contains(name);
        let dense: Vec<Dense<'a>> = behind.dense.iter().filter_map(|&node| walk.dense(node)).collect();
        let hidden = down.inputs();
        if behind.other || ![0, hidden].contains(&self.hidden) {
            return Err("its MLP is not one of dense layers".into());
        }
        self.hidden = hidden;
        let down = self.linear(down, self.dim, hidden)?;
        match dense[..] {
            // The tanh approximation of GELU differs by 5e-4: enough to matter, but too little for the proof to detect.
            [up] if uses(&["Mul", "Add", "Div", "Erf", "GeluExact"]) && (has("Erf") || has("GeluExact")) => {
                Ok((FeedForward::Gelu { up: self.linear(up, hidden, self.dim)?, down }, up.input))
            }
            [a, b] if uses(&["Mul", "Add", "Sigmoid", "Silu"]) && a.input == b.input => {
                let squashed =
                    behind.nodes.iter().find(|&&id| ["Sigmoid", "Silu"].contains(&walk.name(id).as_str()));
                let squashed = squashed.ok_or("its gate has no sigmoid")?;
                let gate = self.only_dense("gate", OutletId::new(*squashed, 0))?;
                let up = if gate.node == a.node { b } else { a };
                let gate = self.linear(gate, hidden, self.dim)?;
                let weights = FeedForward::SwiGlu { gate, up: self.linear(up, hidden, self.dim)?, down };
                Ok((weights, a.input))
            }
            _ => Err(format!("its MLP has {} dense layers and {:?}", dense.len() + 1, behind.operators)),
        }
    }

    /// The sum of `stream` and the output of `dense`, which may be scaled. Returns LayerScale (empty if absent) and the
    /// sum.
    fn residual(&self, dense: Dense<'a>, stream: OutletId) -> Result<(Vec<f32>, OutletId), Mismatch> {
        let walk = self.walk;
        let mut branch = dense.output;
        let mut scale = Vec::new();
        let mut reader = walk.reader(branch).ok_or("a branch is read in more than one place")?;
        if let Some((_, constant)) = walk.with_constant(reader, "Mul") {
            scale = values(constant).ok_or("LayerScale is not f32")?;
            branch = OutletId::new(reader, 0);
            reader = walk.reader(branch).ok_or("a branch is read in more than one place")?;
        }
        match self.other_operand(reader, stream) {
            Some(other) if other == branch => Ok((scale, OutletId::new(reader, 0))),
            _ => Err("a branch does not join the residual stream".into()),
        }
    }

    /// The input of a two-input `Add` that is not `operand`, if it is not constant.
    fn other_operand(&self, add: usize, operand: OutletId) -> Option<OutletId> {
        (self.walk.name(add) == "Add").then(|| self.operand_besides(add, operand))?
    }

    /// The input of a two-input node that is not `operand`, if it is not constant.
    fn operand_besides(&self, node: usize, operand: OutletId) -> Option<OutletId> {
        let &[a, b] = &self.walk.node(node).inputs[..] else { return None };
        let (a, b) = (self.walk.uncast(a), self.walk.uncast(b));
        let other = if a == operand {
            b
        } else if b == operand {
            a
        } else {
            return None;
        };
        self.walk.constant(other).is_none().then_some(other)
    }

    /// The LayerNorm that computes `output` from `input`.
    fn norm(&mut self, output: OutletId, input: OutletId) -> Result<Norm, Mismatch> {
        const STEPS: [&str; 10] = [
            "Sub",
            "Add",
            "Mul",
            "Div",
            "Square",
            "Reduce<Sum>",
            "Reduce<MeanOfSquares>",
            "Rsqrt",
            "Sqrt",
            "Recip",
        ];
        let walk = self.walk;
        let affine = |node: usize, operator: &str| {
            let (value, constant) = walk.with_constant(node, operator)?;
            Some((walk.uncast(value), values(constant).filter(|values| values.len() == self.dim)?))
        };
        let (scaled, bias) = affine(walk.uncast(output).node, "Add").ok_or("a norm adds no bias")?;
        let (normed, weight) = affine(scaled.node, "Mul").ok_or("a norm has no weight")?;
        let behind = walk.behind(normed, Some(input));
        let strange = behind.operators.iter().find(|name| !STEPS.contains(&name.as_str()));
        if let Some(strange) =
            strange.map(String::as_str).or((!behind.dense.is_empty()).then_some("a dense layer"))
        {
            return Err(format!("between the residual stream and a dense layer there is {strange}"));
        }
        let mut added = behind.nodes.iter().filter_map(|&id| scalar(walk.with_constant(id, "Add")?.1));
        let (Some(eps), None) = (added.next(), added.next()) else {
            return Err("a norm has no epsilon".into());
        };
        if behind.other || self.eps.is_some_and(|other| other != eps) {
            return Err(format!("a norm has the epsilon {eps}, another {:?}", self.eps));
        }
        self.eps = Some(eps);
        Ok(Norm { weight, bias })
    }

    /// The graph output that is the norm of the whole stream.
    fn last_norm(&mut self, stream: OutletId) -> Result<(usize, Norm), Mismatch> {
        let outputs = self.walk.model.output_outlets().map_err(|error| error.to_string())?.to_vec();
        for (i, output) in outputs.into_iter().enumerate() {
            if self.walk.shape(output) == Some(&[1, self.tokens, self.dim]) {
                return self.norm(output, stream).map(|norm| (i, norm));
            }
        }
        Err("none of its outputs holds all tokens".into())
    }
}
