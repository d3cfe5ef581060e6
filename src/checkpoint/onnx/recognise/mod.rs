//! Reads a vision transformer's architecture and weights from a typed graph.
//!
//! The exporters differ in the names of nodes and in how they express RoPE, head splitting and the scaling of
//! attention, and they omit what they do not need. All agree on the skeleton: a patch convolution, a Concat with the
//! prefix tokens, and per block one Softmax with a few dense layers around it. The matcher follows that skeleton along
//! the residual stream and ignores what lies between a Softmax and its q and k; the run that follows (`proof.rs`) shows
//! whether that was the right kind of network. What lies before the convolution and behind the stream is not its matter.

mod block;
mod embedding;
mod found;
mod rope;

use tract_core::internal::TypedModel;
use tract_core::ops::nn::Softmax;

use super::walk::{Mismatch, Walk};
use crate::vit::{Config, Norm, Weights};
use block::Reader;
use embedding::{Embedding, Start};
pub(crate) use found::Found;

/// Finds the encoder in a graph whose shapes are all known and whose constants have been propagated.
pub(crate) fn recognise(model: &TypedModel) -> Result<Found, Mismatch> {
    let walk = Walk { model };
    let embedding = embedding::embedding(walk)?;
    let Embedding { side, batch, pixels, patches, size, tokens, stream: embedded, .. } = embedding;
    let dim = embedding.patch.bias.len();
    let mut reader = Reader::new(walk, batch, dim, tokens);
    let (mut blocks, mut streams) = (Vec::new(), Vec::new());
    let mut first = None;
    let mut pending = softmaxes(walk)?;
    loop {
        // A head behind the encoder may have a Softmax of its own; it does not read this stream.
        let stream = streams.last().copied().unwrap_or(embedded);
        let mut reason = "it has no Softmax".to_owned();
        let next = pending.iter().enumerate().find_map(|(place, &softmax)| {
            let found = reader.block(softmax, stream).map_err(|mismatch| reason = mismatch);
            Some((place, found.ok()?))
        });
        let Some((place, (block, next))) = next else {
            if blocks.is_empty() {
                return Err(format!("block 0: {reason}"));
            }
            log::debug!("{} blocks; the next: {reason}", blocks.len());
            break;
        };
        first.get_or_insert(pending.remove(place));
        blocks.push(block);
        streams.push(next);
    }
    let stream = streams.last().copied().ok_or("it has no blocks")?;
    let (tokens, norm) = match reader.last_norm(stream) {
        Some((outlet, norm)) => (Some(outlet), norm),
        None => (None, Norm { weight: vec![1.0; dim], bias: vec![0.0; dim] }),
    };
    let shared = reader.shared;
    let (rows, cols) = size.grid(side).map_err(|error| error.to_string())?;
    let grid = rope::Patches { rows, cols, head_dim: dim / shared.heads };
    let periods = rope::periods(walk, reader.queries(first.ok_or("it has no queries")?)?, grid)?;
    let Start { patch, cls, registers, positions, kind } = embedding.start((rows, cols), periods.is_some());
    let config = Config {
        dim,
        depth: blocks.len(),
        heads: shared.heads,
        patch: side,
        mlp: blocks[0].mlp.kind(),
        hidden: shared.hidden,
        registers: registers.len() / dim,
        positions: kind,
        layer_scale: !blocks[0].scale1.is_empty(),
        norm_eps: shared.eps.ok_or("its norms have no epsilon")?,
    };
    config.validate().map_err(|error| error.to_string())?;
    let rope_periods = periods.unwrap_or_default();
    let weights = Weights { patch, cls, registers, positions, rope_periods, blocks, norm };
    weights.validate(&config).map_err(|error| error.to_string())?;
    Ok(Found { config, weights, pixels, batch, size, patches, embedded, streams, tokens })
}

/// The Softmax nodes in the order of the blocks.
fn softmaxes(walk: Walk<'_>) -> Result<Vec<usize>, Mismatch> {
    let order = walk.model.eval_order().map_err(|error| error.to_string())?;
    Ok(order.into_iter().filter(|&id| walk.node(id).op_is::<Softmax>()).collect())
}
