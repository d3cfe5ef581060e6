//! How features are made.

use crate::input::ReadOptions;
use crate::vit::{Preprocess, Size};

/// How features are made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Input size of the backbone.
    pub size: Size,
    /// How pixels become its input.
    pub preprocess: &'a Preprocess,
    /// How files become pixels.
    pub read: &'a ReadOptions,
    /// Whether patch tokens are kept too, and of which blocks (ascending, each once): an empty list is the last one.
    pub tokens: Option<&'a [usize]>,
}
