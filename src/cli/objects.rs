//! A head's answer as a DICOM object: a Segmentation of a mask, or a Structured Report of probabilities.

use std::path::Path;

use microraptor::engine::About;
use microraptor::heads::{OodScore, Outcome};
use microraptor::input::ScanInfo;
use microraptor::output::dicom::{
    Algorithm, Code, Finding, OutOfDistribution, Segment, Sources, write_report, write_segmentation,
};

use super::loaded::Loaded;

/// What kind of object an answer becomes, as in the names of files.
pub fn kind(outcome: &Outcome) -> &'static str {
    if matches!(outcome, Outcome::Mask(_)) { "seg" } else { "sr" }
}

/// Writes the answer of the head `loaded` on the DICOM input `info` to the file `to`.
pub fn write(
    to: &Path,
    info: &ScanInfo,
    loaded: &Loaded,
    outcome: &Outcome,
    ood: Option<OodScore>,
    about: &About,
) -> anyhow::Result<()> {
    let sources = Sources::of_scan(info)?;
    let algorithm = Algorithm {
        name: loaded.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model_sha256: about.sha256.clone(),
        head_sha256: loaded.sha256.clone(),
    };
    let names = loaded.head.model.classes();
    let now = chrono::Local::now().naive_local();
    match outcome {
        Outcome::Mask(mask) => {
            let segments: Vec<Segment> = names[1..].iter().map(|name| Segment::new(name)).collect();
            write_segmentation(to, &sources, mask, &segments, &algorithm, now)?;
        }
        Outcome::Classes { prediction, .. } => {
            let of = |c: usize| (Code::private(&names[c]), prediction.probabilities[c]);
            let score = ood.map(|ood| OutOfDistribution {
                score: ood.score,
                threshold: ood.threshold,
                outside: ood.outside,
            });
            let finding = Finding {
                name: algorithm.name.clone(),
                algorithm,
                finding: prediction.classes.first().map(|&c| Code::private(&names[c])),
                probabilities: (0..names.len()).map(of).collect(),
                measurements: Vec::new(),
                out_of_distribution: score,
            };
            write_report(to, &sources, &[finding], now)?;
        }
    }
    Ok(())
}
