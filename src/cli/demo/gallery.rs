//! Predictions of the heads on a few held-out phantoms, with pictures.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use microraptor::engine::Session;
use microraptor::features::Geometry;
use microraptor::heads::{Evaluation, Explanation, overlaps};
use microraptor::input::Image;
use microraptor::output::{PatchMap, write_comparison, write_heat_map, write_picture};
use microraptor::pipeline::Pipeline;
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
    /// Paths of the picture, of the picture with both masks, and of the picture with what each patch adds to the answer,
    /// relative to the page.
    pub pictures: [String; 3],
    /// The largest magnitude in the last one.
    pub scale: f64,
}

/// Writes pictures of the first held-out phantoms of each kind into `folder/pictures`, and returns the predictions.
///
/// # Errors
/// If a phantom cannot be read or a picture cannot be written; the message has the path.
pub fn make(
    folder: &Path,
    phantoms: &Phantoms,
    heads: &Heads,
    session: Session,
) -> anyhow::Result<Vec<Example>> {
    let path = folder.join("pictures");
    std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
    let classes = &phantoms.set.classes;
    let mut pipeline = Pipeline::new(session, &[Arc::new(heads.class.head.clone())])?;
    pipeline.explain(true);
    let mut examples = Vec::new();
    for class in 0..classes.len() {
        let of_class = |place: &usize| phantoms.set.samples[heads.test[*place]].labels.contains(&class);
        for place in (0..heads.test.len()).filter(of_class).take(EACH) {
            examples.push(example(folder, phantoms, heads, &mut pipeline, place)?);
        }
    }
    Ok(examples)
}

/// The held-out phantom of index `place` in `heads.test`.
fn example(
    folder: &Path,
    phantoms: &Phantoms,
    heads: &Heads,
    pipeline: &mut Pipeline,
    place: usize,
) -> anyhow::Result<Example> {
    let number = heads.test[place];
    let (sample, truth, found) =
        (&phantoms.set.samples[number], &phantoms.masks[number], &heads.found[place]);
    let stem = Path::new(&sample.name).file_stem().unwrap_or_default().to_string_lossy();
    let pictures = ["", "-masks", "-why"].map(|what| format!("pictures/{stem}{what}.png"));
    let image = sample.source.open()?;
    write_picture(&folder.join(&pictures[0]), &image)?;
    write_comparison(&folder.join(&pictures[1]), &image, found, truth)?;
    let scale = why(&folder.join(&pictures[2]), &image, pipeline)?;
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
        scale,
    })
}

/// Draws what each patch adds to the predicted class's logit, against the mean of the others; the largest magnitude.
fn why(path: &Path, image: &Image, pipeline: &mut Pipeline) -> anyhow::Result<f64> {
    pipeline.begin(&path.display().to_string(), Geometry::of_image(image));
    let answers = pipeline.push(image)?;
    let Some((answer, Some(Explanation::Contributions(all)))) =
        answers.first().map(|answer| (answer, &answer.explanation))
    else {
        bail!("{}: the head for the class has no sum over patches", path.display());
    };
    let map = all.shown(answer.outcome.predicted());
    let Some(head) = pipeline.heads().next() else { bail!("{}: no head", path.display()) };
    let patches = PatchMap::new(all.grid, head.size, &head.preprocess, (image.height(), image.width()));
    write_heat_map(path, image, &patches, &map.patches, map.scale())?;
    Ok(map.scale())
}
