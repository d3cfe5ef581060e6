//! Features of an image, a clip or a volume, and the geometry of its pixels.

use ndarray::Array2;

use super::Tokens;
use crate::input::{Image, Region, ScanInfo, ScanKind, Spacing};

/// Features of an image, a clip or a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanFeatures {
    /// CLS ++ mean(patch tokens) of each frame, `[frames, 2 * dim]`.
    pub rows: Array2<f32>,
    /// Patch tokens of all frames, if requested.
    pub tokens: Option<Tokens>,
    /// Geometry of the frames.
    pub geometry: Geometry,
}

/// Geometry of the frames' pixels.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Geometry {
    /// Image, clip or volume.
    pub kind: ScanKind,
    /// Rows and columns of a frame as stored.
    pub size: (usize, usize),
    /// The region that the backbone sees, if it is not the whole frame.
    pub crop: Option<Region>,
    /// Pixel spacing in millimetres, if known.
    pub spacing: Option<Spacing>,
}

impl ScanFeatures {
    /// Mean of the frames' rows, `[2 * dim]`; a single frame's row is returned unchanged.
    pub fn mean_row(&self) -> Vec<f32> {
        if self.rows.nrows() == 1 {
            return self.rows.row(0).to_vec();
        }
        let n = self.rows.nrows() as f64;
        let mean =
            |column: ndarray::ArrayView1<f32>| (column.iter().map(|&v| f64::from(v)).sum::<f64>() / n) as f32;
        self.rows.columns().into_iter().map(mean).collect()
    }
}

impl Geometry {
    /// Geometry of a scan, of which `frame` is one frame.
    pub fn of(info: &ScanInfo, frame: &Image) -> Geometry {
        let size = info.size.unwrap_or((frame.height(), frame.width()));
        Geometry { kind: info.kind, size, crop: info.crop, spacing: info.spacing }
    }

    /// Geometry of images of which only the pixels are known.
    pub fn of_image(frame: &Image) -> Geometry {
        Geometry::of_size(frame.height(), frame.width())
    }

    /// As [`Geometry::of_image`], for images of so many rows and columns.
    pub fn of_size(height: usize, width: usize) -> Geometry {
        let size = (height, width);
        Geometry { kind: ScanKind::Image, size, crop: None, spacing: None }
    }

    /// Rows and columns that the backbone sees.
    pub fn seen(&self) -> (usize, usize) {
        self.crop.map_or(self.size, |region| (region.height, region.width))
    }
}

/// The feature row of one image: CLS followed by the mean of its patch tokens (DINOv3's linear probe, arXiv
/// 2508.10104), `[2 * dim]`.
///
/// `cls` is `[dim]`, `patch` is `[n, dim]` row-major. The mean is summed in f64 in patch order, so the same tokens give
/// the same bits everywhere. Without patches the row is CLS alone, `[dim]`; any incomplete last patch is ignored.
///
/// ```
/// # use microraptor::features::cls_and_mean;
/// assert_eq!(cls_and_mean(&[1.0, 2.0], &[3.0, 4.0, 5.0, 8.0]), [1.0, 2.0, 4.0, 6.0]);
/// ```
pub fn cls_and_mean(cls: &[f32], patch: &[f32]) -> Vec<f32> {
    let mut row = Vec::new();
    cls_and_mean_into(cls, patch, &mut row, &mut Vec::new());
    row
}

/// As [`cls_and_mean`], into `row`; `sum` is working memory.
pub(crate) fn cls_and_mean_into(cls: &[f32], patch: &[f32], row: &mut Vec<f32>, sum: &mut Vec<f64>) {
    row.clear();
    row.extend_from_slice(cls);
    if cls.is_empty() || patch.len() < cls.len() {
        return;
    }
    sum.clear();
    sum.resize(cls.len(), 0.0);
    let patches = patch.chunks_exact(cls.len());
    let n = patches.len() as f64;
    for token in patches {
        for (sum, &value) in sum.iter_mut().zip(token) {
            *sum += f64::from(value);
        }
    }
    row.extend(sum.iter().map(|sum| (sum / n) as f32));
}
