//! Feature extraction: runs a backbone on images, clips, volumes and data sets, with a cache on disk.
//!
//! [`Extractor`] is the only code that turns decoded images into features: it owns the preprocessor and the buffers,
//! and gives each thread whole images when several are queued. A [`Collector`] gathers the features of a scan's frames.

mod cache;
mod collector;
mod error;
mod extractor;
mod gather;
mod request;
mod scan;
mod tokens;

pub use cache::FeatureCache;
pub use collector::Collector;
pub use error::FeatureError;
pub use extractor::{Elapsed, Extractor};
pub use gather::gather;
pub use request::Request;
pub(crate) use scan::cls_and_mean_into;
pub use scan::{Geometry, ScanFeatures, cls_and_mean};
pub use tokens::{Grid, Tokens};
