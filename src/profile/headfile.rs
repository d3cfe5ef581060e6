//! Saves the heads that accuracy was measured with, for `predict`.

use std::path::Path;

use super::ProfileError;
use super::accuracy::{Examination, Measured};
use crate::attest::of_head;
use crate::engine::{About, Engine};
use crate::features::ScanFeatures;
use crate::heads::{DrawnSplit, Fitted, Head, Provenance, ValidationSummary};
use crate::vit::Size;

/// File name of a head: model, precision, first digits of the model's SHA-256, and input size.
pub(super) fn name(about: &About, size: Size) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let name: String = about.name.chars().map(plain).collect();
    let digits: String = about.sha256.chars().take(8).collect();
    format!("{name}-{}-{digits}-{size}.safetensors", about.precision)
}

/// Writes a head fitted on `features` of `engine` to `file`.
///
/// # Errors
/// [`ProfileError::Head`] if the head cannot be written, [`ProfileError::Attest`] if it cannot be run.
pub(super) fn save(
    file: &Path,
    engine: &Engine,
    size: Size,
    examination: &Examination<'_>,
    features: &[ScanFeatures],
    fitted: Fitted,
    measured: &Measured,
) -> Result<(), ProfileError> {
    let (set, (train, choose)) = (examination.examined(features), examination.examples());
    let Examination { data, options, .. } = examination;
    let provenance = Provenance {
        read: options.read.clone(),
        drawn: DrawnSplit::of(&data.set, options.seed, options.val_share),
    };
    let examples = (train.as_slice(), choose.as_slice());
    let validation = validation(measured);
    let mut head = Head::fitted(engine.about(), size, &set, examples, fitted, validation, provenance)?;
    head.attestation = of_head(engine, &head)?;
    Ok(head.save(file)?)
}

/// The head's accuracy on the held-out images, as its validation summary.
fn validation(measured: &Measured) -> ValidationSummary {
    let accuracy = &measured.accuracy;
    let number = |metric: &str| (accuracy.metric == metric).then_some(accuracy.value);
    ValidationSummary {
        images: accuracy.images,
        auc: number("AUC"),
        accuracy: number("accuracy"),
        dice: number("Dice"),
        ..ValidationSummary::default()
    }
}
