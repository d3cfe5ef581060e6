//! One block of the encoder: attention around a Softmax, an MLP, and the residual stream through both.

use std::collections::BTreeSet;

use tract_core::internal::OutletId;
use tract_core::ops::nn::Softmax;

use crate::checkpoint::onnx::walk::{Dense, Mismatch, Walk, scalar, values};
use crate::vit::{Block, FeedForward, Linear, Norm};

/// Operators of a LayerNorm.
const STEPS: [&str; 11] = [
    "Sub",
    "Add",
    "Mul",
    "Div",
    "Square",
    "Pow",
    "Reduce<Sum>",
    "Reduce<MeanOfSquares>",
    "Rsqrt",
    "Sqrt",
    "Recip",
];

/// Reads blocks and records the values that all blocks must share.
pub(super) struct Reader<'a> {
    walk: Walk<'a>,
    batch: usize,
    dim: usize,
    tokens: usize,
    pub(super) shared: Shared,
}

/// What all blocks have in common; 0 or `None` before the first.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    pub heads: usize,
    pub hidden: usize,
    pub eps: Option<f32>,
}

/// A branch that has joined the residual stream.
struct Joined {
    /// LayerScale; empty if there is none.
    scale: Vec<f32>,
    /// What is added to the sum; empty if nothing is.
    bias: Vec<f32>,
    /// The stream after it.
    sum: OutletId,
}

/// Adds `bias` to `layer`, whose outputs are then multiplied with `scale`.
fn add_bias(layer: &mut Linear, scale: &[f32], bias: &[f32]) {
    for (i, (own, more)) in layer.bias.iter_mut().zip(bias).enumerate() {
        *own += more / scale.get(i).copied().unwrap_or(1.0);
    }
}

impl<'a> Reader<'a> {
    /// Reads blocks on `[batch, tokens, dim]`.
    pub(super) fn new(walk: Walk<'a>, batch: usize, dim: usize, tokens: usize) -> Reader<'a> {
        Reader { walk, batch, dim, tokens, shared: Shared::default() }
    }

    /// The block around `softmax` that reads `stream`; returns the block and the stream after it.
    pub(super) fn block(&mut self, softmax: usize, stream: OutletId) -> Result<(Block, OutletId), Mismatch> {
        let before = self.shared;
        let found = self.whole_block(softmax, stream);
        if found.is_err() {
            self.shared = before;
        }
        found
    }

    /// What the queries of the block around `softmax` are when they are multiplied with the keys.
    pub(super) fn queries(&self, softmax: usize) -> Result<OutletId, Mismatch> {
        self.scores(softmax).map(|(queries, _)| queries)
    }

    fn whole_block(&mut self, softmax: usize, stream: OutletId) -> Result<(Block, OutletId), Mismatch> {
        let walk = self.walk;
        let (q, k, v, proj) = self.attention(softmax)?;
        if q.input != k.input || q.input != v.input {
            return Err("q, k and v do not read the same tokens".into());
        }
        let qkv = self.qkv(softmax, [q, k, v])?;
        let norm1 = self.norm(q.input, stream)?;
        let Joined { scale: scale1, bias: bias1, sum: middle } = self.residual(proj, stream)?;

        // The stream now has two readers: the norm, and the sum that ends the block.
        let down = walk.readers(middle).into_iter().find_map(|reader| {
            let other = self.other_operand(reader, middle)?;
            let mut dense = walk.behind(other, None).dense.into_iter();
            let (Some(node), None) = (dense.next(), dense.next()) else { return None };
            walk.dense(node)
        });
        let down = down.ok_or("no MLP follows")?;
        let (mut mlp, input) = self.mlp(down)?;
        let norm2 = self.norm(input, middle)?;
        let Joined { scale: scale2, bias: bias2, sum: next } = self.residual(down, middle)?;
        if scale1.is_empty() != scale2.is_empty() {
            return Err("only one of its branches is scaled".into());
        }
        let mut proj = self.linear(proj, self.dim, self.dim)?;
        add_bias(&mut proj, &scale1, &bias1);
        add_bias(mlp.down_mut(), &scale2, &bias2);
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
        let (rows, cols, heads) = match *shape {
            [batch, heads, rows, cols] if batch == self.batch => (rows, cols, heads),
            [all, rows, cols] if all.is_multiple_of(self.batch) => (rows, cols, all / self.batch),
            _ => (0, 0, 0),
        };
        let known = [0, heads].contains(&self.shared.heads);
        if (rows, cols) != (self.tokens, self.tokens)
            || axes != Some(&[shape.len() - 1])
            || heads == 0
            || !known
        {
            return Err(format!("its Softmax has the shape {shape:?}"));
        }
        self.shared.heads = heads;
        let [q, k, v] = self.operands(softmax)?;
        let product =
            walk.reader(self.without_nan(output)).ok_or("its Softmax is read in more than one place")?;
        if walk.name(product) != "EinSum" || walk.dense(product).is_some() {
            return Err("its Softmax is not multiplied with values".into());
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

    /// What is read in place of `probabilities`: where torch's exporter sees a mask, even one that masks nothing, it puts
    /// zeros for NaN.
    fn without_nan(&self, probabilities: OutletId) -> OutletId {
        let walk = self.walk;
        let readers = walk.readers(probabilities);
        let chosen = readers.iter().copied().find(|&reader| walk.name(reader) == "Iff");
        let checked =
            readers.iter().any(|&reader| walk.name(reader) == "IsNan" || walk.name(reader) == "IsNaN");
        match chosen {
            Some(chosen) if checked && readers.len() == 2 => OutletId::new(chosen, 0),
            _ => probabilities,
        }
    }

    /// The operands of the product that `softmax` reads, which may be scaled or cast on its way. They are in the order of
    /// torch.matmul(q, k^T), which its exports keep.
    fn scores(&self, softmax: usize) -> Result<(OutletId, OutletId), Mismatch> {
        let walk = self.walk;
        let mut scores = walk.uncast(walk.node(softmax).inputs[0]);
        loop {
            let scaled =
                walk.with_constant(scores.node, "Mul").or_else(|| walk.with_constant(scores.node, "Div"));
            let input = match (scaled, walk.with_constant(scores.node, "Add")) {
                (Some((input, constant)), _) => {
                    scalar(constant).ok_or("its scores are scaled by more than one number")?;
                    input
                }
                (None, Some((input, mask))) => {
                    let masks = values(mask).is_none_or(|mask| mask.iter().any(|&value| value != 0.0));
                    if masks {
                        return Err("its scores are masked".into());
                    }
                    input
                }
                (None, None) => break,
            };
            scores = walk.uncast(input);
        }
        match walk.node(scores.node).inputs[..] {
            [q, k] if walk.name(scores.node) == "EinSum" && walk.dense(scores.node).is_none() => Ok((q, k)),
            _ => Err("its scores are no product".into()),
        }
    }

    /// The projection to queries, keys and values: three layers, or one whose outputs are parted. Biases may be added
    /// after they are parted, and queries and keys scaled by another number than our encoder's.
    fn qkv(&self, softmax: usize, parts: [Dense<'a>; 3]) -> Result<Linear, Mismatch> {
        let [q, k, v] = parts;
        let operands = self.operands(softmax)?;
        let mut qkv = Linear::default();
        if q.node == k.node && q.node == v.node {
            qkv = self.linear(q, 3 * self.dim, self.dim)?;
        } else {
            for part in parts {
                let part = self.linear(part, self.dim, self.dim)?;
                qkv.weight.extend(part.weight);
                qkv.bias.extend(part.bias);
            }
        }
        for ((operand, part), bias) in
            operands.into_iter().zip(parts).zip(qkv.bias.chunks_exact_mut(self.dim))
        {
            for &node in &self.walk.behind(operand, None).nodes {
                // The layer's own bias has been read with it.
                if part.output.node != node
                    && part.bias_node != Some(node)
                    && let Some((_, more)) = self.walk.with_constant(node, "Add")
                {
                    let more = values(more).filter(|more| more.len() == self.dim);
                    let more = more.ok_or("something is added to its queries, keys or values")?;
                    bias.iter_mut().zip(more).for_each(|(bias, more)| *bias += more);
                }
            }
        }
        self.scale_queries(softmax, &mut qkv)?;
        Ok(qkv)
    }

    /// Multiplies the queries' weights where the graph's scale is not that of our encoder, one over the root of a head's
    /// width: in half precision it is a rounded constant.
    fn scale_queries(&self, softmax: usize, qkv: &mut Linear) -> Result<(), Mismatch> {
        let walk = self.walk;
        let factor = |node: usize| {
            let by = walk.with_constant(node, "Mul").and_then(|(_, constant)| scalar(constant));
            let over = walk.with_constant(node, "Div").and_then(|(_, constant)| scalar(constant));
            f64::from(by.unwrap_or(1.0)) / f64::from(over.unwrap_or(1.0))
        };
        let (queries, keys) = self.scores(softmax)?;
        let mut scale: f64 = [queries, keys]
            .into_iter()
            .flat_map(|operand| walk.behind(operand, None).nodes)
            .map(factor)
            .product();
        let mut scores = walk.uncast(walk.node(softmax).inputs[0]);
        while walk.name(scores.node) != "EinSum" {
            scale *= factor(scores.node);
            scores = walk.uncast(walk.node(scores.node).inputs[0]);
        }
        let ratio = scale * ((self.dim / self.shared.heads) as f64).sqrt();
        // Nearer is the rounding of f32; what is farther away was not read as it was meant, which the proof will tell.
        if (1e-5..0.02).contains(&(ratio - 1.0).abs()) {
            let rows = qkv.weight[..self.dim * self.dim].iter_mut().chain(&mut qkv.bias[..self.dim]);
            rows.for_each(|value| *value = (f64::from(*value) * ratio) as f32);
        }
        Ok(())
    }

    /// What is multiplied in attention: queries and keys, and values.
    fn operands(&self, softmax: usize) -> Result<[OutletId; 3], Mismatch> {
        let output = self.without_nan(OutletId::new(softmax, 0));
        let product = self.walk.reader(output).ok_or("its Softmax is read in more than one place")?;
        let v = self.operand_besides(product, output).ok_or("its Softmax is not multiplied with values")?;
        let (q, k) = self.scores(softmax)?;
        Ok([q, k, v])
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
        if behind.other || ![0, hidden].contains(&self.shared.hidden) {
            return Err("its MLP is not one of dense layers".into());
        }
        self.shared.hidden = hidden;
        let down = self.linear(down, self.dim, hidden)?;
        match dense[..] {
            // The tanh approximation of GELU differs by 5e-4: enough to matter, but too little for the proof to detect.
            [up] if uses(&["Mul", "Add", "Div", "Erf", "GeluExact", "Reshape", "AddAxis", "RmAxis"])
                && (has("Erf") || has("GeluExact")) =>
            {
                Ok((FeedForward::Gelu { up: self.linear(up, hidden, self.dim)?, down }, up.input))
            }
            [a, b]
                if uses(&["Mul", "Add", "Sigmoid", "Silu", "Reshape", "AddAxis", "RmAxis"])
                    && a.input == b.input =>
            {
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

    /// The sum of `stream` and the output of `dense`, which may be scaled.
    fn residual(&self, dense: Dense<'a>, stream: OutletId) -> Result<Joined, Mismatch> {
        let walk = self.walk;
        let mut branch = dense.output;
        let mut scale = Vec::new();
        let mut reader = walk.reader(branch).ok_or("a branch is read in more than one place")?;
        if let Some((_, constant)) = walk.with_constant(reader, "Mul") {
            scale = values(constant).ok_or("LayerScale is not f32")?;
            branch = OutletId::new(reader, 0);
            reader = walk.reader(branch).ok_or("a branch is read in more than one place")?;
        }
        if self.other_operand(reader, stream) != Some(branch) {
            return Err("a branch does not join the residual stream".into());
        }
        let sum = OutletId::new(reader, 0);
        // onnxruntime's SkipLayerNormalization adds the layer's bias to the sum.
        let after = walk.reader(sum).and_then(|reader| Some((reader, walk.with_constant(reader, "Add")?.1)));
        Ok(
            match after
                .and_then(|(reader, bias)| Some((reader, values(bias).filter(|b| b.len() == self.dim)?)))
            {
                Some((reader, bias)) => Joined { scale, bias, sum: OutletId::new(reader, 0) },
                None => Joined { scale, bias: Vec::new(), sum },
            },
        )
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
        let walk = self.walk;
        let affine = |node: usize, operator: &str| {
            let (value, constant) = walk.with_constant(node, operator)?;
            Some((walk.uncast(value), values(constant).filter(|values| values.len() == self.dim)?))
        };
        let output = walk.unshaped(output);
        let (scaled, bias) = affine(output.node, "Add").ok_or("a norm adds no bias")?;
        let (normed, weight) = affine(scaled.node, "Mul").ok_or("a norm has no weight")?;
        let behind = walk.behind(normed, Some(input));
        let strange = behind.operators.iter().find(|name| !STEPS.contains(&name.as_str()));
        if let Some(strange) =
            strange.map(String::as_str).or((!behind.dense.is_empty()).then_some("a dense layer"))
        {
            return Err(format!("between the residual stream and a dense layer there is {strange}"));
        }
        let mut added = behind.nodes.iter().filter_map(|&id| Some(walk.with_constant(id, "Add")?.1));
        let (Some(eps), None) = (added.next().and_then(scalar), added.next()) else {
            return Err("a norm has no epsilon, or adds something else".into());
        };
        if behind.other || self.shared.eps.is_some_and(|other| other != eps) {
            return Err(format!("a norm has the epsilon {eps}, another {:?}", self.shared.eps));
        }
        self.shared.eps = Some(eps);
        Ok(Norm { weight, bias })
    }

    /// The norm of the whole stream that follows the last block, and its result. There is none if the stream goes on, in
    /// a block that was not understood, or if several norms read it.
    pub(super) fn last_norm(&mut self, stream: OutletId) -> Option<(OutletId, Norm)> {
        let walk = self.walk;
        if walk.readers(stream).into_iter().any(|reader| self.other_operand(reader, stream).is_some()) {
            return None;
        }
        let (mut seen, mut pending) = (BTreeSet::new(), vec![stream]);
        let mut found = None;
        while let Some(at) = pending.pop() {
            for reader in walk.readers(at) {
                let output = OutletId::new(reader, 0);
                if !seen.insert(reader) || !STEPS.contains(&walk.name(reader).as_str()) {
                    continue;
                }
                let whole = walk.shape(output) == Some(&[self.batch, self.tokens, self.dim]);
                match whole.then(|| self.norm(output, stream).ok()).flatten() {
                    Some(_) if found.is_some() => return None,
                    Some(norm) => found = Some((output, norm)),
                    None => pending.push(output),
                }
            }
        }
        found
    }
}
