//! Preprocessing of pixels into the network's input, as a checkpoint specifies it.

use serde::{Deserialize, Serialize};

use super::Size;
use crate::kernels::resample::{self, Filter};

/// Filter of the resize; all but nearest-neighbour are antialiased (the support grows with the scale when an image
/// shrinks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter: DINOv3.
    Bilinear,
    /// Cubic convolution, a = -0.5: timm's and CLIP's ViTs.
    Bicubic,
    /// Nearest neighbour.
    Nearest,
    /// Lanczos window of radius 3.
    Lanczos,
    /// Mean of the pixels under a box.
    Box,
    /// Hamming window.
    Hamming,
}

/// Centre crop of the resized image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Resize before the crop.
    pub resize: Resize,
    /// Number of rows kept, about the centre.
    pub height: usize,
    /// Number of columns kept, about the centre.
    pub width: usize,
}

/// A resize before a crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// No resize.
    None,
    /// Resize the shorter side to that many pixels, keeping the aspect ratio.
    ShortestEdge(usize),
    /// Resize to that many rows and columns.
    Exact(usize, usize),
}

/// Preprocessing of an RGB image whose values lie in [0, 1]: resize straight to the input size, or resize and crop,
/// then `(x - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Mean of each channel (red, green, blue).
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Resize filter.
    pub interpolation: Interpolation,
    /// Crop of the resized image; with `None`, the image is resized straight to the input size, whatever its aspect
    /// ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Whether resized values are clipped to [0, 1] and rounded to 255ths, as in image processors that resize bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rounded: bool,
    /// Rows and columns of the input that the checkpoint specifies, used if no size is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(usize, usize)>,
}

impl Preprocess {
    /// ImageNet mean and standard deviation with a bilinear resize: DINOv3's image processor.
    pub const IMAGENET: Preprocess = Preprocess {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        interpolation: Interpolation::Bilinear,
        crop: None,
        rounded: false,
        size: None,
    };

    /// The input size if none is requested: the checkpoint's, else 224 px.
    pub fn default_size(&self) -> Size {
        self.size.map_or(Size::square(224), |(height, width)| Size { height, width })
    }

    /// Placement of an image of `rows` x `cols` pixels in an input of `size`: the size to which the image is resized,
    /// and the row and column of the resized image at which the input begins. These are negative if the input extends
    /// past the image.
    ///
    /// If `size` is not the checkpoint's crop size, the resize (unless it is [`Resize::None`]) scales with it, so that
    /// the crop keeps its share of the image.
    pub fn placed(&self, rows: usize, cols: usize, size: Size) -> (Size, (isize, isize)) {
        let Some(Crop { resize, height, width }) = self.crop else { return (size, (0, 0)) };
        let ratio = (size.height as f64 / height as f64).max(size.width as f64 / width as f64);
        let scaled = |side: usize| ((side as f64 * ratio).round() as usize).max(1);
        let resized = match resize {
            Resize::None => Size { height: rows, width: cols },
            Resize::Exact(height, width) => Size { height: scaled(height), width: scaled(width) },
            Resize::ShortestEdge(edge) => {
                let edge = scaled(edge);
                // transformers' `get_resize_output_image_size` truncates the longer side to a whole number.
                let longer = edge.saturating_mul(rows.max(cols)) / rows.min(cols).max(1);
                if cols <= rows {
                    Size { height: longer, width: edge }
                } else {
                    Size { height: edge, width: longer }
                }
            }
        };
        let begin = |resized: usize, kept: usize| {
            if resized >= kept { ((resized - kept) / 2) as isize } else { -(((kept - resized) / 2) as isize) }
        };
        (resized, (begin(resized.height, size.height), begin(resized.width, size.width)))
    }
}

impl Interpolation {
    /// Filter taps for resampling `input` samples to `output`, for `count` output samples from index `first` on.
    pub fn filter(self, input: usize, output: usize, first: isize, count: usize) -> Filter {
        let kernel = match self {
            Interpolation::Nearest => return Filter::nearest(input, output, first, count),
            Interpolation::Bilinear => resample::TRIANGLE,
            Interpolation::Bicubic => resample::CUBIC,
            Interpolation::Lanczos => resample::LANCZOS,
            Interpolation::Box => resample::BOX,
            Interpolation::Hamming => resample::HAMMING,
        };
        Filter::part(input, output, first, count, kernel)
    }
}
