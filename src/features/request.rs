//! How features are made.

use crate::input::ReadOptions;
use crate::vit::{Preprocess, Size};

/// How features are made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Input size of the backbone.
    pub size: Size,
    /// How pixels become the backbone's input.
    pub preprocess: &'a Preprocess,
    /// How files become pixels.
    pub read: &'a ReadOptions,
    /// Blocks whose patch tokens are kept too (ascending, without duplicates; empty for the last block); `None` to keep
    /// no patch tokens.
    pub tokens: Option<&'a [usize]>,
}
