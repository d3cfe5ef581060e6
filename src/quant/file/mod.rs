//! The model file: a safetensors file that says of itself what it holds, and from what it was made.
//!
//! Tensors are those of a [`Network`], named by their place in it: a matrix is `NAME.weight` (F32, F16,
//! or I8 with `NAME.scales`) and `NAME.bias`. The metadata hold, in this order, each a string: the version of the
//! format, a digest, and as JSON the architecture, the plan, preprocessing, the source with its SHA-256 and licence, and
//! the accuracy that was measured.
//!
//! The digest is the SHA-256 of the whole file with its own 64 digits set to `0`, so that no damage goes unnoticed. The
//! bytes depend on nothing but the model: no date, no path, no hash map's order.

#[cfg(feature = "demo")]
mod demo;
mod metadata;
mod read;
mod tensors;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "demo")]
pub use demo::DEMO_FILE;
pub use read::{is_ours, parse, read, read_if_ours};
pub use write::write;

use super::{ConversionReport, Cosine, Network, Precision, PrecisionPlan};
use crate::vit::Preprocess;

/// Version of the format; a file of another version is refused.
pub const VERSION: &str = "1";

/// Name and version of this program.
pub const TOOL: &str = concat!("microraptor ", env!("CARGO_PKG_VERSION"));

/// A network in the precision that a device runs, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantModel {
    /// Short name: that of the source.
    pub name: String,
    /// The network.
    pub network: Network,
    /// How pixels become its input.
    pub preprocess: Preprocess,
    /// What was asked of the conversion.
    pub precision: Precision,
    /// What each part is held in.
    pub plan: PrecisionPlan,
    /// What the network was made from.
    pub source: Source,
    /// The licence of the weights.
    pub licence: Option<Licence>,
    /// What the conversion measured.
    pub report: ConversionReport,
    /// Name and version of the program that made it.
    pub tool: String,
    /// SHA-256 of the model file, lower-case hex; empty while there is none.
    pub sha256: String,
    /// Length of the model file; 0 while there is none.
    pub file_bytes: u64,
}

/// The checkpoint that a model was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of its file, without a folder; empty for weights from a seed.
    pub file: String,
    /// SHA-256 of that file, lower-case hex.
    pub sha256: String,
    /// Whose tensor names it used.
    pub naming: String,
    /// Whether the weights were drawn from a seed and so mean nothing.
    pub untrained: bool,
    /// What the checkpoint's files did not say, and was assumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
}

/// The licence under which weights are handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Its name.
    pub name: String,
    /// Where it is published.
    pub url: String,
    /// The text that lay beside the checkpoint, if any did.
    pub text: Option<String>,
}

impl QuantModel {
    /// What a person wants to know of it, as names and values.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let ConversionReport { images, images_from, size, total, .. } = &self.report;
        let cosine = |c: &Cosine| format!("mean {:.6}, p1 {:.6}, min {:.6}", c.mean, c.p1, c.min);
        let mut lines = vec![("precision", self.precision.to_string()), ("plan", self.plan.to_string())];
        if let Some(Licence { name, url, .. }) = &self.licence {
            lines.push(("licence", format!("{name}, {url}")));
        }
        lines.extend([
            ("measured", format!("cosine with f32 on {images} {images_from} at {size} px")),
            ("  CLS", cosine(&total.cls)),
            ("  patches", cosine(&total.patches)),
            ("made from", self.source.to_string()),
            ("made by", self.tool.clone()),
        ]);
        if !self.source.assumed.is_empty() {
            lines.push(("assumed", format!("when it was converted: {}", self.source.assumed.join("; "))));
        }
        lines
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() { "weights from a seed" } else { &self.file };
        write!(f, "{file}, sha256 {}", self.sha256)
    }
}
