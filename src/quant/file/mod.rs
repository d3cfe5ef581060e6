//! The model file: a self-describing safetensors file that records what it was made from.
//!
//! The tensors are those of a [`Network`], named after their place in it: a matrix is `NAME.weight` (F32, F16, or I8
//! with `NAME.scales`) and `NAME.bias`. The graph around a backbone, if there is one, is kept as ONNX models, each a
//! tensor of bytes: `graph.rest`, which takes the image and what the backbone makes of it, and, where they are needed,
//! `graph.front`, which makes the backbone's pixels of the image, and `graph.start`, which resamples its positions. The metadata hold, as strings and in this order: the format version, the
//! digest, the name, and as JSON the precision, architecture, plan, preprocessing, source (with its SHA-256), licence
//! measured accuracy and attestation; last, the program that wrote the file.
//!
//! The digest is the SHA-256 of the whole file with the digest's own 64 digits set to `0`, so any damage is detected.
//! The bytes depend on the model alone: no date, path or hash-map order enters them.

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
pub use demo::{DEMO_FILE, demo_attestation};
pub use read::{is_ours, parse, read, read_if_ours};
pub use write::write;

use super::{Attestation, ConversionReport, Cosine, Network, Precision, PrecisionPlan};
use crate::checkpoint::GraphParts;
use crate::names::printable;
use crate::vit::Preprocess;

/// Version of the format. Files of another version are refused.
pub const VERSION: &str = "1";

/// Version of a file that also holds the graph around the backbone, which readers of version 1 would ignore.
pub const GRAPH_VERSION: &str = "2";

/// Name and version of this program.
pub const TOOL: &str = concat!("microraptor ", env!("CARGO_PKG_VERSION"));

/// A network in the precision that the device runs, and its origin: what a model file holds, whether it has been
/// written yet or not.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvertedModel {
    /// Short name, taken from the source.
    pub name: String,
    /// The network.
    pub network: Network,
    /// How pixels become the network's input.
    pub preprocess: Preprocess,
    /// The precision requested of the conversion.
    pub precision: Precision,
    /// The precision of each part.
    pub plan: PrecisionPlan,
    /// The checkpoint that the network was made from.
    pub source: Source,
    /// The licence of the weights.
    pub licence: Option<Licence>,
    /// The graph around the backbone, of an ONNX file that holds more.
    pub graph: Option<GraphParts>,
    /// Accuracy measured by the conversion.
    pub report: ConversionReport,
    /// What it computes of generated pictures, for devices to compare with; `None` in files of older programs, and if the
    /// bits need not be the same everywhere.
    pub attestation: Option<Attestation>,
    /// Name and version of the program that made it.
    pub tool: String,
}

/// A model file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// What it holds.
    pub model: ConvertedModel,
    /// SHA-256 of the file, lower-case hex; heads are bound to it.
    pub sha256: String,
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

/// A model file that [`write()`] wrote: the same numbers as [`read()`] finds in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// [`ModelFile::sha256`].
    pub sha256: String,
    /// [`ModelFile::file_bytes`].
    pub file_bytes: u64,
}

/// The checkpoint that a model was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File name without its folder; empty for weights from a seed.
    pub file: String,
    /// SHA-256 of that file, lower-case hex.
    pub sha256: String,
    /// The naming scheme of its tensors.
    pub naming: String,
    /// Whether the weights were drawn from a seed, and so are untrained.
    pub untrained: bool,
    /// Assumptions made where the checkpoint's files gave no information.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
}

/// The licence under which the weights are distributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Its name.
    pub name: String,
    /// Where it is published.
    pub url: String,
    /// The licence text found beside the checkpoint, if any.
    pub text: Option<String>,
}

impl ConvertedModel {
    /// A summary for people, as names and values.
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
            ("attestation", self.attested()),
        ]);
        if !self.source.assumed.is_empty() {
            lines.push(("assumed", format!("when it was converted: {}", self.source.assumed.join("; "))));
        }
        lines
    }

    /// What devices can compare with, in words.
    fn attested(&self) -> String {
        match &self.attestation {
            Some(Attestation { runs, .. }) => {
                let sizes: Vec<&str> = runs.iter().map(|run| run.size.as_str()).collect();
                printable(&format!("features at {} px", sizes.join(" and "))).into_owned()
            }
            None => "none".into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() { "weights from a seed" } else { &self.file };
        write!(f, "{file}, sha256 {}", self.sha256)
    }
}
