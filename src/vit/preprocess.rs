//! How pixels become the network's input: what a checkpoint says about it.

use serde::{Deserialize, Serialize};

use crate::kernels::resample::{self, Kernel};

/// The filter of the resize; both are antialiased (the support grows with the scale when an image shrinks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter: DINOv3.
    Bilinear,
    /// Cubic convolution, a = -0.5: timm's and CLIP's ViTs.
    Bicubic,
}

/// Preprocessing of an RGB image whose values lie in [0, 1]: resize straight to the input size, then `(x - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Mean of each channel (red, green, blue).
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Resize filter.
    pub interpolation: Interpolation,
}

impl Preprocess {
    /// ImageNet mean and standard deviation with a bilinear resize: DINOv3's image processor.
    pub const IMAGENET: Preprocess = Preprocess {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        interpolation: Interpolation::Bilinear,
    };
}

impl Interpolation {
    /// The resampling kernel of this filter.
    pub fn kernel(self) -> Kernel {
        match self {
            Interpolation::Bilinear => resample::TRIANGLE,
            Interpolation::Bicubic => resample::CUBIC,
        }
    }
}
