//! The model: its [`Config`], its [`Weights`], rotary positions, and a plain f32 forward pass.
//!
//! This module is meant to be read alongside the papers: DINOv3 (arXiv 2508.10104), ViT (arXiv 2010.11929) and DeiT
//! (arXiv 2012.12877). [`forward()`] is the reference for every faster path.

mod config;
mod features;
mod feed_forward;
mod forward;
mod position;
mod preprocess;
mod seeded;
mod size;
mod weights;

pub(crate) use config::MatMul;
pub use config::{Config, ConfigError, Mlp, PositionResize, Positions};
pub use features::{Features, Output, StandIn};
pub use feed_forward::FeedForward;
pub use forward::{Trace, forward};
pub use position::{RopeTable, default_periods, learned_positions, rope_periods};
pub use preprocess::{Crop, Interpolation, Preprocess, Resize};
pub use seeded::seeded_weights;
pub use size::{MAX_SIDE, Size, SizeError};
pub use weights::{Block, Linear, Norm, Weights, WeightsError};
