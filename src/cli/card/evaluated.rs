//! An evaluation of the head: what `microraptor evaluate --json` wrote.

use std::path::Path;

use anyhow::{Context, bail};
use microraptor::files;
use microraptor::heads::{CertaintyMetrics, Head, Interval, Metrics};
use serde::{Deserialize, Serialize};

/// Most bytes of the file: a head of a thousand classes has a million counts of confusions.
const MAX_BYTES: u64 = 64 << 20;

/// What is used of it.
#[derive(Serialize, Deserialize)]
pub struct Evaluated {
    /// SHA-256 of the head's file.
    #[serde(default)]
    head_sha256: String,
    /// Which part of the data: train, val, test, all.
    pub split: String,
    /// What makes the numbers less worth.
    pub caveat: Option<String>,
    /// Digest of the images' names and labels.
    pub data_sha256: String,
    pub metrics: Metrics,
    /// Without the head's calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncalibrated: Option<CertaintyMetrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<Sets>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contours: Option<Contours>,
}

/// Sets of classes, measured.
#[derive(Serialize, Deserialize)]
pub struct Sets {
    pub coverage: f64,
    pub images: u64,
    pub covered: u64,
    pub measured: f64,
    pub interval: Interval,
    pub mean_size: f64,
    pub abstained: u64,
}

/// Contours of masks, measured.
#[derive(Serialize, Deserialize)]
pub struct Contours {
    pub coverage: f64,
    pub share: f64,
    pub images: u64,
    pub outer_region: Region,
    pub inner_region: Region,
}

/// One of the two regions.
#[derive(Serialize, Deserialize)]
pub struct Region {
    pub held: u64,
    pub measured: f64,
    pub interval: Interval,
    pub empty: u64,
}

impl Evaluated {
    /// Reads the file at `path`, which must be about the head whose file has the digest `sha256`.
    pub fn read(path: &Path, head: &Head, sha256: &str) -> anyhow::Result<Evaluated> {
        let place = || path.display().to_string();
        let text = files::text(path, MAX_BYTES).with_context(place)?;
        let found: Evaluated = serde_json::from_str(&text)
            .context("give what `microraptor evaluate --json` prints for this head")
            .with_context(place)?;
        if found.head_sha256 != sha256 {
            bail!("{}: evaluates another head (SHA-256 {}): evaluate this one", place(), found.head_sha256);
        }
        let dense = matches!(found.metrics, Metrics::Dense(_));
        if dense != head.model.makes_masks() {
            bail!("{}: has the metrics of another kind of head: evaluate this one", place());
        }
        Ok(found)
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        match &self.metrics {
            Metrics::Classes(report) => report.images,
            Metrics::Dense(report) => report.images,
        }
    }
}
