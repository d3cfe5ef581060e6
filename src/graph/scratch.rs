//! Working memory that all operators of a session share.

use std::fmt;
use std::sync::Arc;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};

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
    pub(super) fn reserve(&self, config: &Config, tokens: usize, threads: usize) {
        let mut buffers = self.borrow();
        let mut grow = |buffer: fn(&mut Buffers) -> &mut Vec<f32>, len: usize| {
            let buffer = buffer(&mut buffers);
            if buffer.len() < len {
                buffer.resize(len, 0.0);
            }
        };
        let patches = (tokens - config.prefix()) * 3 * config.patch * config.patch;
        grow(|b| &mut b.normed, tokens * config.dim);
        grow(|b| &mut b.qkv, 3 * tokens * config.dim);
        grow(|b| &mut b.by_head, tokens * config.dim);
        grow(|b| &mut b.scores, threads.max(1) * attention::scores_len(tokens));
        grow(|b| &mut b.hidden, (tokens * config.hidden).max(patches));
        if config.mlp == Mlp::SwiGlu {
            grow(|b| &mut b.gate, tokens * config.hidden);
        }
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
