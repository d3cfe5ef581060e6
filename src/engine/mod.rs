//! An [`Engine`] is a loaded backbone, immutable and shared. A [`Session`] holds the threads and working memory to
//! run it.

mod about;
mod agreement;
mod backend;
mod error;
mod open;
mod plans;
mod session;
#[cfg(feature = "onnx")]
mod tract;
mod vit;

use std::sync::Arc;

pub use crate::encoder::{Macs, Operator, OperatorTimes};
pub use crate::vit::Features;
pub use about::{About, Backend, OURS};
pub use agreement::output_agreement;
pub use error::EngineError;
pub use open::{DEMO, UNTRAINED, is_name, is_onnx};
pub use session::Session;

use crate::board::Cores;
use crate::vit::{Config, Size};
use backend::Backbone;

/// Maximum number of threads of a session.
pub const MAX_THREADS: usize = 256;

/// A loaded backbone; cloning it shares the weights.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    about: About,
    backbone: Box<dyn Backbone>,
}

impl Engine {
    fn new(about: About, backbone: impl Backbone + 'static) -> Engine {
        Engine { shared: Arc::new(Shared { about, backbone: Box::new(backbone) }) }
    }

    /// Description of the backbone.
    pub fn about(&self) -> &About {
        &self.shared.about
    }

    /// The architecture; `None` if tract runs the model.
    pub fn config(&self) -> Option<&Config> {
        self.shared.backbone.config()
    }

    /// The names that an ONNX graph gives to its outputs; empty for a bare backbone.
    pub fn outputs(&self) -> &[String] {
        self.shared.backbone.outputs()
    }

    /// Whether the features have the same bits on every machine, every instruction set and for any number of threads: not if
    /// tract computes the backbone's pixels, its positions or more.
    pub fn is_exact(&self) -> bool {
        self.shared.backbone.is_exact()
    }

    /// What was rewritten to run an ONNX graph, such as fp16 to f32: lines for people.
    pub fn notes(&self) -> &[String] {
        self.shared.backbone.notes()
    }

    /// Multiply-accumulates of an operator on an image of `size`, by data type; `None` if tract runs the model.
    ///
    /// # Errors
    /// [`EngineError::Size`] if `size` is not a whole number of patches.
    pub fn macs(&self, operator: Operator, size: Size) -> Result<Option<Macs>, EngineError> {
        Ok(self.shared.backbone.macs(operator, size)?)
    }

    /// The only size that the model takes, if it is an ONNX file exported for a fixed size.
    pub fn fixed_size(&self) -> Option<Size> {
        self.shared.backbone.fixed_size()
    }

    /// Side of a patch, of which both sides of an image must be multiples; `None` of other networks than ours, and of a
    /// graph that resizes images first.
    pub fn patch(&self) -> Option<usize> {
        self.shared.backbone.patch()
    }

    /// Checks that the model can take `size`.
    ///
    /// # Errors
    /// [`EngineError::Size`] or [`EngineError::FixedSize`] if it cannot.
    pub fn check_size(&self, size: Size) -> Result<(), EngineError> {
        if let Some(patch) = self.patch() {
            size.grid(patch)?;
        }
        if let Some(expected) = self.fixed_size().filter(|&fixed| fixed != size) {
            let model = self.about().name.clone();
            return Err(EngineError::FixedSize { model, expected, found: size });
        }
        Ok(())
    }

    /// Creates a session with the given number of threads (one thread is the caller's), on any cores or restricted to
    /// some [`Cores`].
    ///
    /// Given cores, only the session's own threads are restricted to them; [`Session::pin_caller`] also moves the
    /// caller's.
    ///
    /// # Errors
    /// [`EngineError::Threads`] if the number of threads is 0 or above 256, the pool cannot be started,
    /// or none of the cores is available.
    pub fn session(&self, cores: impl Into<Cores>) -> Result<Session, EngineError> {
        Session::new(self.clone(), cores.into())
    }
}
