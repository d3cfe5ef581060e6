//! Which places of the pictures the answers of a linear head come from.

use serde::{Deserialize, Serialize};

use super::ProfileError;
use crate::engine::{Engine, Session};
use crate::features::cls_and_mean;
use crate::heads::{Explainer, Explanation, HeadModel, PackedHead, Summed};
use crate::input::{Dataset, Preprocessor, ReadOptions};
use crate::kernels::Isa;
use crate::vit::Size;

/// Maximum number of images that are explained, spread over those that accuracy was measured on: a few percent of their
/// time.
const IMAGES: usize = 16;

/// Rows and columns of the map at most; neighbouring patches are added up beyond.
const CELLS: usize = 16;

/// Magnitudes of the terms of the answers' logits, averaged over images. No single picture can be told from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the weights file.
    pub sha256: String,
    /// The code that ran the model, with its precision.
    pub backend: String,
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Number of images.
    pub images: usize,
    /// Rows of the map.
    pub rows: usize,
    /// Columns of the map.
    pub cols: usize,
    /// Mean magnitude of what the patches of each cell add, `[rows, cols]`.
    pub cells: Vec<f64>,
    /// Mean magnitude of what all patches add.
    pub patches: f64,
    /// Mean magnitude of what the CLS token adds.
    pub cls: f64,
}

/// Explains the answers of the head `model` to images `indices` of `data`; `None` if its logits are no sums over patches
/// of single images.
///
/// # Errors
/// [`ProfileError`] if a file cannot be read, or the backbone or the head fails.
pub(super) fn measure(
    engine: &Engine,
    session: &mut Session,
    (model, size): (&HeadModel, Size),
    (data, indices, read): (&Dataset, &[usize], &ReadOptions),
) -> Result<Option<Why>, ProfileError> {
    let HeadModel::Linear(head) = model else { return Ok(None) };
    let about = engine.about();
    let packed = PackedHead::new(model, Isa::best());
    let mut explainer = Explainer::new(model, None);
    let mut preprocessor = Preprocessor::new(size, about.preprocess);
    let mut pixels = Vec::new();
    let mut found: Option<Why> = None;
    session.keep_layers(&[])?;
    for &index in indices.iter().step_by(indices.len().div_ceil(IMAGES).max(1)) {
        let Some(frame) = data.samples[index].source.scan(read)?.next().transpose()? else { continue };
        preprocessor.run(&frame, &mut pixels);
        let features = session.run(&pixels, size)?;
        let row = cls_and_mean(&features.cls, &features.patch);
        explainer.clear();
        explainer.take((model, &packed), &row, features)?;
        let Some(Explanation::Contributions(all)) = explainer.of_frame(model) else { return Ok(None) };
        debug_assert_eq!(all.summed, Summed::EachFrame);
        let map = all.shown(&head.predict(&row)?.classes);
        let (grid, step) = (all.grid, all.grid.0.max(all.grid.1).div_ceil(CELLS));
        let (rows, cols) = (grid.0.div_ceil(step), grid.1.div_ceil(step));
        let why = found.get_or_insert_with(|| Why {
            model: about.name.clone(),
            sha256: about.sha256.clone(),
            backend: about.runs_on(),
            height: size.height,
            width: size.width,
            images: 0,
            rows,
            cols,
            cells: vec![0.0; rows * cols],
            patches: 0.0,
            cls: 0.0,
        });
        let mut cells = vec![0.0; rows * cols];
        for (place, value) in map.patches.iter().enumerate() {
            cells[place / grid.1 / step * cols + place % grid.1 / step] += value;
        }
        why.images += 1;
        why.cells.iter_mut().zip(&cells).for_each(|(sum, cell)| *sum += cell.abs());
        why.patches += map.patches.iter().sum::<f64>().abs();
        why.cls += map.cls[0].abs();
    }
    if let Some(why) = &mut found {
        let n = why.images as f64;
        why.cells.iter_mut().chain([&mut why.patches, &mut why.cls]).for_each(|sum| *sum /= n);
    }
    Ok(found)
}
