//! How pixels become the network's input: what a checkpoint says about it.

use serde::{Deserialize, Serialize};

use super::Size;
use crate::kernels::resample::{self, Filter};

/// The filter of the resize; all but the nearest are antialiased (the support grows with the scale when an image shrinks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter: DINOv3.
    Bilinear,
    /// Cubic convolution, a = -0.5: timm's and CLIP's ViTs.
    Bicubic,
    /// The nearest pixel.
    Nearest,
    /// Lanczos' window of radius 3.
    Lanczos,
    /// The mean of the pixels under a box.
    Box,
    /// Hamming's window.
    Hamming,
}

/// What of the resized image becomes the input, where that is not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// How the image is resized before.
    pub resize: Resize,
    /// Rows that are kept, about the centre.
    pub height: usize,
    /// Columns that are kept.
    pub width: usize,
}

/// A resize before a crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// None.
    None,
    /// The shorter side to so many pixels; the sides keep their ratio.
    ShortestEdge(usize),
    /// To so many rows and columns.
    Exact(usize, usize),
}

/// Preprocessing of an RGB image whose values lie in [0, 1]: resize straight to the input size, or resize and crop, then
/// `(x - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Mean of each channel (red, green, blue).
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Resize filter.
    pub interpolation: Interpolation,
    /// What is cut out of the resized image; None resizes straight to the input size, whatever the sides' ratio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Whether resized values are clipped to [0, 1] and rounded to 255ths, as image processors do that resize bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rounded: bool,
    /// Rows and columns of the input that the checkpoint names, for those who ask for none.
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

    /// The input size where nobody asks for another: the checkpoint's, else 224 px.
    pub fn default_size(&self) -> Size {
        self.size.map_or(Size::square(224), |(height, width)| Size { height, width })
    }

    /// How an image of `rows` x `cols` pixels lies in an input of `size`: the size that it is resized to, and the row and
    /// column of the resized image at which the input begins, which is negative where the input reaches past it.
    ///
    /// The crop of another size than the checkpoint's keeps its share of the image.
    pub fn placed(&self, rows: usize, cols: usize, size: Size) -> (Size, (isize, isize)) {
        let Some(Crop { resize, height, width }) = self.crop else { return (size, (0, 0)) };
        let ratio = (size.height as f64 / height as f64).max(size.width as f64 / width as f64);
        let scaled = |side: usize| ((side as f64 * ratio).round() as usize).max(1);
        let resized = match resize {
            Resize::None => Size { height: rows, width: cols },
            Resize::Exact(height, width) => Size { height: scaled(height), width: scaled(width) },
            Resize::ShortestEdge(edge) => {
                let edge = scaled(edge);
                // transformers' `get_resize_output_image_size`: the longer side is cut to a whole number.
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
    /// The taps from `input` samples to `output`, of which `count` from number `first` on are wanted.
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
