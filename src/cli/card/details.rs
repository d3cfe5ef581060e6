//! What the head file says of the model and its data.

use microraptor::checkpoint::Card;
use microraptor::heads::{Calibration, Head, HeadModel, TrainingRecord};
use microraptor::input::ReadOptions;

use super::Facts;
use super::blocks::{Block, fact, span};
use crate::cli::info::preprocessing;

/// For what a head file lacks that was written before it was recorded, or elsewhere.
pub const NOT_RECORDED: &str =
    "not recorded in the head file: train the head again with this version, or give --evaluation";

/// Head, backbone and input.
pub fn model(facts: &Facts) -> Vec<Block> {
    let Facts { head, sha256, given, .. } = facts;
    let Head { model, backbone, training, .. } = head;
    let given = |names: &[&'static str]| names.iter().map(|name| given.block(name)).collect::<Vec<_>>();
    let mut own = vec![
        fact("File (SHA-256)", sha256),
        fact("Kind", format!("{} ({})", model.kind(), method(model))),
        fact("Classes", classes(head)),
        fact("Decision", decision(head)),
    ];
    if !head.tool.is_empty() {
        own.push(fact("Written by", &head.tool));
    }
    if !model.makes_masks() {
        own.push(fact("Calibration", calibration(head)));
        own.push(fact("Sets of classes", sets(head)));
    }
    if model.kind() == "segment" {
        own.push(fact("Contours", contours(head)));
    }
    own.push(fact("Fit", fit(head)));
    let unknown = "not recorded";
    let named = |text: &str| if text.is_empty() { unknown.to_owned() } else { text.to_owned() };
    let precision = training.record.as_ref().map_or(unknown, |record| record.precision.as_str());
    let backbone = vec![
        fact("Name", named(&backbone.name)),
        fact("Weights (SHA-256)", named(&backbone.sha256)),
        fact("Number format", precision),
        fact("Licence of the weights", licence(&backbone.name)),
    ];
    let input = vec![
        fact("Size", format!("{} px", head.size)),
        fact("Preprocessing", preprocessing(&head.preprocess)),
        fact("Reading of files", reading(&head.read)),
    ];
    [
        given(&["developer", "version", "contact", "licence", "citation"]),
        vec![Block::Heading("Head".into()), Block::Facts(own)],
        vec![Block::Heading("Backbone".into()), Block::Facts(backbone)],
        vec![Block::Heading("Input".into()), Block::Facts(input)],
    ]
    .concat()
}

fn method(model: &HeadModel) -> &'static str {
    match model.kind() {
        "linear" => "logistic regression on the features of an image",
        "volume" => "logistic regression on the mean features of a clip's or volume's frames",
        "knn" => "vote of the nearest training images",
        "abmil" => "gated-attention pooling over the frames of a clip or volume",
        "segment" => "a class for each pixel",
        "segment3d" => "a class for each voxel",
        _ => "trained elsewhere",
    }
}

fn classes(head: &Head) -> String {
    let classes = head.model.classes();
    let kind = match (head.model.makes_masks(), head.model.multi_label()) {
        (true, _) => "one for each pixel",
        (_, true) => "any number of them for an image",
        _ => "one for an image",
    };
    format!("{} ({} in all, {kind})", classes.join(", "), classes.len())
}

fn decision(head: &Head) -> String {
    let classes = head.model.classes();
    match (head.model.threshold(), classes) {
        _ if head.model.makes_masks() => "the most probable class of each pixel".into(),
        (Some(threshold), _) if head.model.multi_label() => {
            format!("each label from a probability of {threshold:.4}")
        }
        (Some(threshold), [_, second]) => format!("{second} from a probability of {threshold:.4}"),
        _ => "the most probable class".into(),
    }
}

fn calibration(head: &Head) -> String {
    match head.model.calibration() {
        Some(Calibration::Temperature(t)) => format!("temperature {t:.4}"),
        Some(Calibration::Platt(pairs)) => {
            let pairs: Vec<String> =
                pairs.iter().map(|[slope, offset]| format!("slope {slope:.4}, offset {offset:.4}")).collect();
            format!("Platt: {}", pairs.join("; "))
        }
        None if head.training.calibration.is_some() => {
            "none: tried, and it would not lower the log loss".into()
        }
        None => "none: not tried in training".into(),
    }
}

fn sets(head: &Head) -> String {
    match &head.conformal {
        Some(conformal) => format!(
            "scores of {} {}; {}",
            conformal.scores().len(),
            match head.training.set_aside {
                Some(_) => "images set aside from everything else: a finite-sample guarantee",
                None => "held-out images",
            },
            by_default(conformal.coverage)
        ),
        None => "none".into(),
    }
}

fn contours(head: &Head) -> String {
    match &head.contours {
        Some(contours) => format!(
            "inner and outer, each about {} of the pixels, by {} images set aside from everything else: a finite-sample \
             guarantee; {}",
            contours.share,
            contours.images(),
            by_default(contours.coverage)
        ),
        None => "none".into(),
    }
}

fn by_default(coverage: Option<f64>) -> String {
    coverage.map_or("no coverage by default".into(), |c| format!("coverage {c} by default"))
}

fn fit(head: &Head) -> String {
    let training = &head.training;
    let mut parts = Vec::new();
    parts.extend(training.c.map(|c| format!("C {c:.3e} (inverse strength of the L2 penalty)")));
    parts.extend(training.epoch.map(|epoch| format!("AdamW, epoch {epoch} kept")));
    parts.extend(training.seed.map(|seed| format!("seed {seed}")));
    if let HeadModel::Knn(knn) = &head.model {
        parts.push(format!("k {}", knn.k));
    }
    if training.balanced {
        parts.push("classes weighted to count equally".into());
    }
    if training.refit {
        parts.push("final fit on training and validation images".into());
    }
    if parts.is_empty() { "not recorded".into() } else { parts.join("; ") }
}

/// The licence of the built-in card with this name; converted models have the name of what they were made of.
fn licence(name: &str) -> String {
    match Card::by_name(name) {
        Ok(card) => {
            format!(
                "{} ({}), if these are the weights that {} names",
                card.licence.name, card.licence.url, card.title
            )
        }
        Err(_) => "not known to this program: see where the weights come from".into(),
    }
}

fn reading(read: &ReadOptions) -> String {
    let mut parts = Vec::new();
    match &read.window {
        Some(window) => parts.push(format!("window of centre {}, width {}", window.center, window.width)),
        None => parts.push("window of the file, else the range of its values".into()),
    }
    if read.crop_us {
        parts.push("ultrasound cropped to its largest region".into());
    }
    parts.extend(read.axis.map(|axis| format!("NIfTI sliced along {axis:?}").to_lowercase()));
    parts.join("; ")
}

/// What no head file knows.
pub fn factors() -> Vec<Block> {
    vec![Block::Text(
        "The program evaluates by class only: it does not know age, sex, device or site, and no number below is \
         divided by them."
            .into(),
    )]
}

/// The images that were evaluated on.
pub fn evaluation_data(facts: &Facts) -> Vec<Block> {
    let training = &facts.head.training;
    let mut blocks = vec![Block::Heading("Validation images".into())];
    match (&training.record, &training.validation) {
        (Some(record), validation) => blocks.push(Block::Facts(vec![
            fact("Images", validation.map_or(0, |found| found.images)),
            fact("Of each class", counts(facts.head.model.classes(), &record.validation_per_class)),
            fact("Split", split(facts)),
        ])),
        (None, Some(validation)) => {
            blocks.push(Block::Facts(vec![fact("Images", validation.images), fact("Split", split(facts))]));
        }
        (None, None) => blocks.push(Block::Missing(format!("Validation images: {NOT_RECORDED}"))),
    }
    for evaluation in &facts.evaluations {
        blocks.push(Block::Heading(format!("Evaluation ({})", evaluation.split)));
        blocks.push(Block::Facts(vec![
            fact("Images", evaluation.images()),
            fact("Names and labels (SHA-256)", &evaluation.data_sha256),
            fact("Part of the data", &evaluation.split),
        ]));
        blocks.extend(evaluation.caveat.clone().map(Block::Text));
    }
    blocks
}

fn split(facts: &Facts) -> String {
    let training = &facts.head.training;
    match (&training.drawn, &training.record) {
        (Some(drawn), _) => {
            format!("drawn image by image, {:.0}% held out, seed {}", 100.0 * drawn.val_share, drawn.seed)
        }
        (None, Some(_)) => "as the data state it".into(),
        (None, None) => "not recorded".into(),
    }
}

/// The images that were trained on.
pub fn training_data(facts: &Facts) -> Vec<Block> {
    let Facts { head, given, .. } = facts;
    let mut about = Vec::new();
    let classes = &head.training.images_per_class;
    if !classes.is_empty() {
        about.push(fact("Of each class", counts(head.model.classes(), classes)));
    }
    let mut blocks = Vec::new();
    match head.training.record.as_deref() {
        Some(record) => about.extend(recorded(record)),
        None => blocks.push(Block::Missing(format!("Digest, sizes and kinds of the images: {NOT_RECORDED}"))),
    }
    if !about.is_empty() {
        blocks.insert(0, Block::Facts(about));
    }
    blocks.push(given.block("patient_grouping"));
    blocks.push(Block::Text(
        "The program divides data image by image and does not know which images are of one patient. If the data state \
         their own split, it is used."
            .into(),
    ));
    blocks
}

fn recorded(record: &TrainingRecord) -> Vec<(String, String)> {
    let kinds: Vec<String> = record.kinds.iter().map(|(kind, n)| format!("{n} {kind}s")).collect();
    let [widths, heights] = [record.widths, record.heights].map(span);
    vec![
        fact("Images", record.train_images),
        fact("Kinds, with the validation images", kinds.join(", ")),
        fact("Pixels, with the validation images", format!("{widths} wide, {heights} high")),
        fact("DICOM", if record.dicom { "some or all" } else { "none" }),
        fact("Names and labels, with the validation images (SHA-256)", &record.data),
        fact("Set aside for testing", record.test_images),
    ]
}

fn counts(classes: &[String], counts: &[usize]) -> String {
    let each = classes.iter().zip(counts).map(|(class, images)| format!("{class} {images}"));
    each.collect::<Vec<_>>().join(", ")
}
