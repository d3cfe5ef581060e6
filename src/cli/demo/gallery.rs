//! Predictions of the heads on a few held-out phantoms, with pictures.

use std::path::Path;

use anyhow::Context;
use microraptor::heads::{Evaluation, overlaps};
use microraptor::output::{write_comparison, write_picture};
use serde::Serialize;

use super::heads::Heads;
use super::phantoms::Phantoms;

/// Number of phantoms of each kind that are shown.
const EACH: usize = 3;

/// One held-out phantom.
#[derive(Debug, Serialize)]
pub struct Example {
    /// Its name in `labels.csv`.
    pub name: String,
    /// True class.
    pub truth: String,
    /// Predicted class.
    pub class: String,
    /// Each class with its probability.
    pub probabilities: Vec<(String, f64)>,
    /// Number of pixels predicted as lesion.
    pub pixels: u64,
    /// Dice of the predicted and the true lesion; `None` if there is no lesion.
    pub dice: Option<f64>,
    /// Paths of the picture and of the picture with both masks, relative to the page.
    pub pictures: [String; 2],
}

/// Writes pictures of the first held-out phantoms of each kind into `folder/pictures`, and returns the predictions.
///
/// # Errors
/// If a phantom cannot be read or a picture cannot be written; the message has the path.
pub fn make(folder: &Path, phantoms: &Phantoms, heads: &Heads) -> anyhow::Result<Vec<Example>> {
    let path = folder.join("pictures");
    std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    let classes = &phantoms.set.classes;
    let mut examples = Vec::new();
    for class in 0..classes.len() {
        let of_class = |place: &usize| phantoms.set.samples[heads.test[*place]].labels.contains(&class);
        for place in (0..heads.test.len()).filter(of_class).take(EACH) {
            examples.push(example(folder, phantoms, heads, place)?);
        }
    }
    Ok(examples)
}

/// The held-out phantom of index `place` in `heads.test`.
fn example(folder: &Path, phantoms: &Phantoms, heads: &Heads, place: usize) -> anyhow::Result<Example> {
    let number = heads.test[place];
    let (sample, truth, found) =
        (&phantoms.set.samples[number], &phantoms.masks[number], &heads.found[place]);
    let stem = Path::new(&sample.name).file_stem().unwrap_or_default().to_string_lossy();
    let pictures = ["", "-masks"].map(|what| format!("pictures/{stem}{what}.png"));
    let image = sample.source.open()?;
    write_picture(&folder.join(&pictures[0]), &image)?;
    write_comparison(&folder.join(&pictures[1]), &image, found, truth)?;
    let classes = &phantoms.set.classes;
    let probabilities: Vec<f64> = match &heads.class.judgement {
        Evaluation::Classes(rows, _) => rows.row(place).to_vec(),
        Evaluation::Dense(..) => Vec::new(),
    };
    let largest = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let lesion = overlaps(truth, found, phantoms.mask_classes.len())?.swap_remove(1);
    Ok(Example {
        name: sample.name.clone(),
        truth: classes[sample.labels[0]].clone(),
        class: largest.map(|class| classes[class].clone()).unwrap_or_default(),
        probabilities: classes.iter().cloned().zip(probabilities).collect(),
        pixels: lesion.predicted,
        dice: (lesion.truth > 0).then(|| lesion.dice()).flatten(),
        pictures,
    })
}
