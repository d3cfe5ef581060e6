//! The feed-forward half of a block, whatever its layers are: weights, rounded weights, packed ones.

use super::Mlp;

/// The dense layers of an MLP, each an `L`.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedForward<L> {
    /// [`Mlp::Gelu`]: `down(gelu(up(x)))`.
    Gelu {
        /// `[hidden, dim]`
        up: L,
        /// `[dim, hidden]`
        down: L,
    },
    /// [`Mlp::SwiGlu`]: `down(silu(gate(x)) * up(x))`.
    SwiGlu {
        /// `[hidden, dim]`, passes through SiLU.
        gate: L,
        /// `[hidden, dim]`
        up: L,
        /// `[dim, hidden]`
        down: L,
    },
}

impl<L> FeedForward<L> {
    /// Which MLP it is.
    pub fn kind(&self) -> Mlp {
        match self {
            FeedForward::Gelu { .. } => Mlp::Gelu,
            FeedForward::SwiGlu { .. } => Mlp::SwiGlu,
        }
    }

    /// The layer whose outputs are gated; `None` for GELU.
    pub fn gate(&self) -> Option<&L> {
        match self {
            FeedForward::Gelu { .. } => None,
            FeedForward::SwiGlu { gate, .. } => Some(gate),
        }
    }

    /// The layer from the model's width to the hidden width.
    pub fn up(&self) -> &L {
        let (FeedForward::Gelu { up, .. } | FeedForward::SwiGlu { up, .. }) = self;
        up
    }

    /// The layer from the hidden width back.
    pub fn down(&self) -> &L {
        let (FeedForward::Gelu { down, .. } | FeedForward::SwiGlu { down, .. }) = self;
        down
    }

    /// The layer back, to be changed.
    pub fn down_mut(&mut self) -> &mut L {
        let (FeedForward::Gelu { down, .. } | FeedForward::SwiGlu { down, .. }) = self;
        down
    }

    /// The layers that read the block's normalised rows: `up`, or `gate` and `up`.
    pub fn first(&self) -> impl Iterator<Item = &L> {
        self.gate().into_iter().chain([self.up()])
    }

    /// [`FeedForward::first`], to be changed.
    pub fn first_mut(&mut self) -> impl Iterator<Item = &mut L> {
        let (gate, up) = match self {
            FeedForward::Gelu { up, .. } => (None, up),
            FeedForward::SwiGlu { gate, up, .. } => (Some(gate), up),
        };
        gate.into_iter().chain([up])
    }

    /// All layers, in the order in which they run.
    pub fn layers(&self) -> impl Iterator<Item = &L> {
        self.first().chain([self.down()])
    }

    /// [`FeedForward::layers`], to be changed.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut L> {
        let (gate, up, down) = match self {
            FeedForward::Gelu { up, down } => (None, up, down),
            FeedForward::SwiGlu { gate, up, down } => (Some(gate), up, down),
        };
        gate.into_iter().chain([up, down])
    }

    /// The same MLP with each layer through `f`, in the order in which they run.
    pub fn map<'a, M>(&'a self, mut f: impl FnMut(&'a L) -> M) -> FeedForward<M> {
        match self {
            FeedForward::Gelu { up, down } => FeedForward::Gelu { up: f(up), down: f(down) },
            FeedForward::SwiGlu { gate, up, down } => {
                FeedForward::SwiGlu { gate: f(gate), up: f(up), down: f(down) }
            }
        }
    }

    /// [`FeedForward::map`] of a value that is no longer needed.
    pub fn into_map<M>(self, mut f: impl FnMut(L) -> M) -> FeedForward<M> {
        match self {
            FeedForward::Gelu { up, down } => FeedForward::Gelu { up: f(up), down: f(down) },
            FeedForward::SwiGlu { gate, up, down } => {
                FeedForward::SwiGlu { gate: f(gate), up: f(up), down: f(down) }
            }
        }
    }
}
