//! From frames to features: a backbone run on pictures, clips, volumes and data sets of them, with a cache on disk.
//!
//! [`Extractor`] is the one place where a decoded picture becomes features: it has the preprocessor and the buffers, and gives
//! every thread whole images where there are several. A [`Collector`] puts together what a scan's frames gave.

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
pub use scan::{Geometry, ScanFeatures, cls_and_mean};
pub use tokens::{Grid, Tokens};
