//! What a conversion cost: cosines against f32.

use serde::{Deserialize, Serialize};

/// The distribution of a cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// Mean.
    pub mean: f64,
    /// First percentile.
    pub p1: f64,
    /// Smallest.
    pub min: f64,
}

/// Cosines between the tokens of two networks on the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Of the CLS tokens, one an image.
    pub cls: Cosine,
    /// Of all patch tokens of all images.
    pub patches: Cosine,
}

/// What a conversion measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionReport {
    /// Where the images came from: `phantoms` or `images`.
    pub images_from: String,
    /// Number of images.
    pub images: usize,
    /// Input size in pixels.
    pub size: String,
    /// The residual stream after each block, through the final LayerNorm.
    pub blocks: Vec<Agreement>,
    /// The features.
    pub total: Agreement,
    /// Whether `total` meets the accuracy that the plan was made for.
    pub meets_target: bool,
}

impl Cosine {
    /// The distribution of `values`; at least one. Rounded to seven decimals: what f32 supports.
    pub fn of(mut values: Vec<f64>) -> Cosine {
        let round = |v: f64| (v * 1e7).round() / 1e7;
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        // Nearest rank from below: with fewer than 100 values it is the smallest.
        let p1 = values[(values.len() - 1) / 100];
        Cosine { mean: round(mean), p1: round(p1), min: round(values[0]) }
    }
}
