//! Caveats that follow from the head file.

use microraptor::heads::Metrics;

use super::Facts;
use super::blocks::{Block, span};

/// Images of a class below which its sensitivity is hardly measured: with 30, an interval of 0.9 is 0.2 wide.
const FEW: usize = 30;

/// What was not tested, and what weakens the numbers.
pub fn all(facts: &Facts) -> Vec<Block> {
    let head = &facts.head;
    let mut found = Vec::new();
    let unseen = facts.evaluations.iter().any(|evaluation| evaluation.caveat.is_none());
    if !unseen {
        found.push(
            "No evaluation on images that were not used in training is given. Choices (C, k, the epoch, the threshold) \
             were made on the validation images: expect a little less on new ones."
                .to_owned(),
        );
    }
    found.push(
        "Training and validation images come from one list. Other sites, devices and groups of patients were tested only \
         if an evaluation above is on their images."
            .to_owned(),
    );
    if let Some(record) = head.training.record.as_deref() {
        let [widths, heights] = [record.widths, record.heights].map(span);
        found.push(format!(
            "Not among the training and validation images: any that is not {widths} px wide and {heights} px high as \
             stored."
        ));
        let kinds: Vec<&str> = record.kinds.keys().map(String::as_str).collect();
        found.push(format!("Not among them: what is not of the kind {}.", kinds.join(" or ")));
        found.push(match record.dicom {
            true => "Some images were DICOM; the head file does not record their modalities and devices."
                .to_owned(),
            false => {
                "No image was DICOM: windows, colours and text of DICOM files were not tested.".to_owned()
            }
        });
    }
    let validation =
        head.training.record.as_deref().map(|record| ("validation".to_owned(), &record.validation));
    let evaluations =
        facts.evaluations.iter().map(|found| (format!("evaluation ({})", found.split), &found.metrics));
    for (name, metrics) in validation.into_iter().chain(evaluations) {
        let few = few(metrics);
        if !few.is_empty() {
            found.push(format!(
                "Fewer than {FEW} images of a class in the {name}: {}. Their intervals are wide.",
                few.join(", ")
            ));
        }
    }
    if !head.model.makes_masks() && head.model.calibration().is_none() && head.training.calibration.is_none()
    {
        found.push("Nobody tried whether the probabilities are calibrated: read them as scores.".to_owned());
    }
    if head.training.refit {
        found.push("The final fit also used the validation images, after they were measured.".to_owned());
    }
    if head.ood.is_some() {
        found.push(
            "An image that is flagged as unlike the training images is not wrong, and one that is not flagged may be: the \
             score is no measure of error."
                .to_owned(),
        );
    }
    if head.backbone.sha256.is_empty() {
        found.push(
            "The head does not name its backbone: nothing proves that it runs on the right one.".to_owned(),
        );
    }
    vec![Block::List(found)]
}

/// Classes with few images.
fn few(metrics: &Metrics) -> Vec<String> {
    let classes: Vec<(&String, usize)> = match metrics {
        Metrics::Classes(report) => report.classes.iter().map(|c| (&c.class, c.images)).collect(),
        Metrics::Dense(report) => report.classes.iter().map(|c| (&c.class, c.images)).collect(),
    };
    let few = classes.into_iter().filter(|(_, images)| *images < FEW);
    few.map(|(class, images)| format!("{class} ({images})")).collect()
}
