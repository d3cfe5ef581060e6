//! The heads that measured accuracy, kept for `predict`.

use std::path::Path;

use ndarray::Array2;

use super::accuracy::Measured;
use super::data::{Data, Roles};
use super::{Options, ProfileError};
use crate::engine::{About, Engine};
use crate::heads::{
    Backbone, DrawnSplit, Fitted, Head, OutOfDistribution, Recipe, ScanFeatures, TrainingSummary,
    ValidationSummary,
};
use crate::input::ReadOptions;
use crate::vit::Size;

/// The name of a head's file: the model, its precision, the first digits of its SHA-256, the size.
pub(super) fn name(about: &About, size: Size) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' }).collect()
    };
    let precision = about.backend.rsplit(' ').next().unwrap_or_default();
    let digits: String = about.sha256.chars().take(8).collect();
    format!("{}-{}-{digits}-{size}.safetensors", plain(&about.name), plain(precision))
}

/// Writes the head to `file`.
///
/// # Errors
/// [`ProfileError::Head`] when it cannot be written.
#[expect(clippy::too_many_arguments, reason = "all that a head's file says")]
pub(super) fn save(
    file: &Path,
    engine: &Engine,
    size: Size,
    fitted: &Fitted,
    measured: &Measured,
    data: &Data,
    roles: &Roles,
    features: &[ScanFeatures],
    options: &Options,
) -> Result<(), ProfileError> {
    let about = engine.about();
    let used = roles.used();
    let rows = |indices: &[usize]| {
        let of = |i: &usize| used.binary_search(i).ok().map(|place| &features[place]);
        let rows: Vec<Vec<f32>> = indices.iter().filter_map(of).map(ScanFeatures::mean_row).collect();
        let width = rows.first().map_or(0, Vec::len);
        Array2::from_shape_vec((rows.len(), width), rows.concat()).expect("rows of one width")
    };
    let ood = OutOfDistribution::fit(rows(&roles.train).view(), rows(&roles.choose).view())?;
    let accuracy = &measured.accuracy;
    let number = |metric: &str| (accuracy.metric == metric).then_some(accuracy.value);
    let validation = ValidationSummary {
        images: accuracy.images,
        auc: number("AUC"),
        accuracy: number("accuracy"),
        dice: number("Dice"),
        ..ValidationSummary::default()
    };
    let drawn = data.set.samples.iter().all(|s| s.split.is_none());
    let head = Head {
        training: TrainingSummary {
            seed: fitted.epoch.map(|_| options.seed),
            refit: matches!(options.recipe, Recipe::Linear(..) | Recipe::Knn { .. }),
            drawn: drawn.then(|| DrawnSplit {
                digest: data.set.digest(),
                seed: options.seed,
                val_share: options.val_share,
            }),
            ..TrainingSummary::new(&data.set, &data.masks, &roles.train, fitted, validation)
        },
        model: fitted.model.clone(),
        ood: Some(ood),
        preprocess: about.preprocess,
        read: ReadOptions::default(),
        size,
        backbone: Backbone { name: about.name.clone(), sha256: about.sha256.clone() },
        tool: Head::TOOL.to_owned(),
    };
    Ok(head.save(file)?)
}
