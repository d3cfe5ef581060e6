//! What a head says of an image, in JSON (docs/output-schema.json).

use microraptor::features::Geometry;
use microraptor::heads::{Explanation, HeadModel, OodScore, Outcome};
use microraptor::input::{INNER, LabelMap, OUTSIDE, ScanInfo, ScanKind};
use microraptor::names::shown;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::explained;
use super::loaded::Loaded;

/// The result of one head.
#[derive(Serialize)]
pub struct HeadLine {
    head: String,
    sha256: String,
    kind: &'static str,
    /// One class, or for a multi-label head the list of the classes that are present.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Map<String, Value>>,
    /// The classes of which the true one is with the probability `coverage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<f64>,
    /// Why the set is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    abstain: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Vec<f64>>,
    /// Why it says so (`explained.rs`).
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    areas: Option<Map<String, Value>>,
    /// How large the regions of the contours are.
    #[serde(skip_serializing_if = "Option::is_none")]
    contours: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ood: Option<OodScore>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<&'static str>,
    /// Files written: `mask`, `overlay`, `nifti`, `dicom_seg`, `dicom_sr`.
    #[serde(flatten)]
    pub written: Map<String, Value>,
}

impl HeadLine {
    /// What `outcome` says; the weights of frames are in its order.
    pub fn new(loaded: &Loaded, outcome: &Outcome) -> HeadLine {
        let model = &loaded.head.model;
        let names = model.classes();
        let mut line = HeadLine::unanswered(loaded, None);
        if let Outcome::Classes { prediction, attention } = outcome {
            let mut present = prediction.classes.iter().map(|&c| names[c].clone());
            line.class = Some(if model.multi_label() { present.collect() } else { present.next().into() });
            let probabilities = prediction.probabilities.iter().map(|&p| p.into());
            line.probabilities = Some(names.iter().cloned().zip(probabilities).collect());
            line.attention = attention.clone();
            if let Some(rule) = &loaded.sets {
                let set = rule.set(&prediction.probabilities);
                line.abstain = set.is_empty().then_some("empty set");
                line.set = Some(set.into_iter().map(|class| names[class].clone()).collect());
                line.coverage = Some(rule.coverage);
            }
        }
        line
    }

    /// A head that gave no answer, for the reason `withheld`.
    pub fn unanswered(loaded: &Loaded, withheld: Option<&'static str>) -> HeadLine {
        HeadLine {
            head: shown(&loaded.path),
            sha256: loaded.sha256.clone(),
            kind: loaded.head.model.kind(),
            class: None,
            probabilities: None,
            set: None,
            coverage: None,
            abstain: None,
            attention: None,
            explanation: None,
            areas: None,
            contours: None,
            ood: None,
            withheld,
            written: Map::new(),
        }
    }

    /// Says how unlike the training images the input is; a set for one that is outside is no answer.
    pub fn unlike(&mut self, ood: Option<OodScore>) {
        self.ood = ood;
        self.abstain_outside();
    }

    fn abstain_outside(&mut self) {
        let promises = self.set.is_some() || self.contours.is_some();
        if promises && self.ood.is_some_and(|ood| ood.outside) {
            self.abstain = Some("out of distribution");
        }
    }

    /// Says how large the regions of the contours are; `zones` is `None` for an answer without contours.
    pub fn contour(&mut self, loaded: &Loaded, zones: Option<&LabelMap>, geometry: &Geometry) {
        let (Some(zones), Some(rule)) = (zones, &loaded.contours) else { return };
        let count = |test: fn(u8) -> bool| zones.labels.iter().filter(|&&zone| test(zone)).count();
        self.contours = Some(json!({
            "coverage": rule.coverage, "share": rule.share,
            "inner": area(count(|zone| zone == INNER), geometry),
            "outer": area(count(|zone| zone != OUTSIDE), geometry),
        }));
        self.abstain_outside();
    }

    /// Says why, by a record of `explained.rs`.
    pub fn because(&mut self, explanation: Value) {
        self.explanation = Some(explanation);
    }

    /// Says why a live frame has this answer.
    pub fn explain(&mut self, model: &HeadModel, outcome: &Outcome, explanation: &Explanation) {
        let frames = if let Explanation::Contributions(all) = explanation { all.frames } else { 1 };
        let order: Vec<usize> = (0..frames).collect();
        self.because(explained::record(explanation, model, outcome.predicted(), &order, false));
    }

    /// Puts the weights of frames into the order of their source.
    pub fn in_source_order(&mut self, info: &ScanInfo) {
        if let Some(weights) = &mut self.attention {
            *weights = info.source_order(weights.len()).into_iter().map(|n| weights[n]).collect();
        }
    }

    /// The head's file.
    pub fn file(&self) -> &str {
        &self.head
    }

    /// SHA-256 of it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether there is no answer.
    pub fn is_withheld(&self) -> bool {
        self.withheld.is_some()
    }

    /// Takes the answer back, for the reason `why`.
    pub fn withhold(&mut self, why: &'static str) {
        (self.class, self.probabilities, self.attention, self.areas) = (None, None, None, None);
        (self.set, self.coverage, self.abstain) = (None, None, None);
        (self.explanation, self.contours) = (None, None);
        self.withheld = Some(why);
    }

    /// Adds the area or volume of each class except the background.
    pub fn measure(&mut self, loaded: &Loaded, mask: &LabelMap, geometry: &Geometry) {
        let area = |(class, name): (usize, &String)| {
            let pixels = mask.labels.iter().filter(|&&label| usize::from(label) == class).count();
            (name.clone(), area(pixels, geometry))
        };
        self.areas = Some(loaded.head.model.classes().iter().enumerate().skip(1).map(area).collect());
    }
}

/// So many pixels or voxels, with their area or volume where their size is known.
fn area(pixels: usize, geometry: &Geometry) -> Value {
    let mut area = Map::from_iter([("pixels".to_owned(), json!(pixels))]);
    if let Some(spacing) = geometry.spacing {
        let plane = pixels as f64 * spacing.rows * spacing.columns;
        match (geometry.kind, spacing.slices) {
            (ScanKind::Image, _) => drop(area.insert("mm2".into(), json!(plane))),
            (ScanKind::Volume, Some(slices)) => {
                area.insert("mm3".into(), json!(plane * slices));
            }
            _ => {}
        }
    }
    Value::Object(area)
}
