//! Accuracy lost in a conversion: cosine similarity with f32.

use serde::{Deserialize, Serialize};

/// Summary of a distribution of cosine similarities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// Mean.
    pub mean: f64,
    /// First percentile.
    pub p1: f64,
    /// Minimum.
    pub min: f64,
}

/// Cosine similarities between the tokens of two networks on the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Of the CLS tokens, one per image.
    pub cls: Cosine,
    /// Of all patch tokens of all images.
    pub patches: Cosine,
}

/// Agreement of an output of a graph with that of the graph around the f32 backbone, on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputAgreement {
    /// Its name.
    pub name: String,
    /// Cosine similarity of the whole output, one for each image.
    pub cosine: Cosine,
    /// Largest difference of a value, divided by the largest value of the f32 output, over all images.
    pub difference: f64,
    /// Share of places (pixels, or images for a vector) whose largest channel is the same; `None` for a single channel.
    pub same_class: Option<f64>,
}

/// The measurements of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionReport {
    /// Where the images came from: `phantoms` or `images`.
    pub images_from: String,
    /// Number of images.
    pub images: usize,
    /// Input size in pixels.
    pub size: String,
    /// Agreement of the residual stream after each block, passed through the final LayerNorm.
    pub blocks: Vec<Agreement>,
    /// Agreement of the final features.
    pub total: Agreement,
    /// Agreement of each output of the graph around the backbone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputAgreement>,
    /// Whether `total` meets the accuracy target of the plan.
    pub meets_target: bool,
}

impl Cosine {
    /// Summarises `values`, of which there must be at least one. Rounded to seven decimals, the precision of f32.
    pub fn of(mut values: Vec<f64>) -> Cosine {
        let round = |v: f64| (v * 1e7).round() / 1e7;
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        // Nearest rank, rounded down: the minimum for up to 100 values.
        let p1 = values[(values.len() - 1) / 100];
        Cosine { mean: round(mean), p1: round(p1), min: round(values[0]) }
    }
}
