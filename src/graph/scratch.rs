//! Working memory that all operators of a session share.

use std::fmt;
use std::sync::Arc;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use tract_core::internal::{TractResult, bail};

use crate::kernels::attention;
use crate::vit::{Config, Mlp};

/// A session's working memory. A clone is another handle to the same memory.
///
/// Operators run one after another, so borrowing never waits; the flag that proves it costs one atomic operation.
#[derive(Clone, Default)]
pub struct Scratch(Arc<AtomicRefCell<Buffers>>);

/// The buffers; grown by [`Scratch::reserve`], never shrunk.
#[derive(Default)]
pub(super) struct Buffers {
    /// `[tokens, dim]`: a normalised copy of the stream, then attention's output.
    pub normed: Vec<f32>,
    /// `[tokens, 3 * dim]`
    pub qkv: Vec<f32>,
    /// `[heads, tokens, head_dim]`
    pub by_head: Vec<f32>,
    /// `[threads, scores_len(tokens)]`
    pub scores: Vec<f32>,
    /// `[tokens, hidden]`; also the patches of the image.
    pub hidden: Vec<f32>,
    /// `[tokens, hidden]`, for SwiGLU.
    pub gate: Vec<f32>,
}

impl Scratch {
    /// Makes room for `tokens` tokens of `config` on `threads` threads.
    ///
    /// # Errors
    /// When the system does not give that much memory.
    pub(super) fn reserve(&self, config: &Config, tokens: usize, threads: usize) -> TractResult<()> {
        let mut buffers = self.borrow();
        let Buffers { normed, qkv, by_head, scores, hidden, gate } = &mut *buffers;
        let patches = (tokens - config.prefix()) * 3 * config.patch * config.patch;
        let gated = if config.mlp == Mlp::SwiGlu { tokens * config.hidden } else { 0 };
        let wanted = [
            (normed, tokens * config.dim),
            (qkv, 3 * tokens * config.dim),
            (by_head, tokens * config.dim),
            (scores, threads.max(1) * attention::scores_len(tokens)),
            (hidden, (tokens * config.hidden).max(patches)),
            (gate, gated),
        ];
        let megabytes = wanted.iter().map(|(_, len)| len * size_of::<f32>()).sum::<usize>() / 1_000_000;
        for (buffer, len) in wanted {
            if buffer.len() < len {
                let more = len - buffer.len();
                if buffer.try_reserve_exact(more).is_err() {
                    bail!(
                        "{tokens} tokens on {threads} threads need {megabytes} MB of working memory, more than there \
                         is: take a smaller --size or fewer --threads"
                    );
                }
                buffer.resize(len, 0.0);
            }
        }
        Ok(())
    }

    pub(super) fn borrow(&self) -> AtomicRefMut<'_, Buffers> {
        self.0.borrow_mut()
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}
