//! Answers, as a structure and as JSON.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::memory::Versioned;
use super::status::{Failure, Status};
use crate::heads::{Head, Outcome};
use crate::pipeline;

/// What a head says of a frame or a clip. Pointers lead into the pipeline's memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answer {
    /// sizeof(mr_answer).
    pub size: usize,
    /// The place of the head among those of the pipeline.
    pub head: usize,
    /// Probability of each class, in their order; NULL for a mask.
    pub probabilities: *const f64,
    /// Their number.
    pub class_count: usize,
    /// The classes that are there: one, unless the head is multi-label.
    pub classes: *const usize,
    /// Their number.
    pub present: usize,
    /// The class of each pixel, row by row, frame by frame, without gaps; NULL for classes.
    pub mask: *const u8,
    /// Number of frames of the mask.
    pub mask_frames: usize,
    /// Height of the mask: that of the frame.
    pub mask_height: usize,
    /// Width of the mask: that of the frame.
    pub mask_width: usize,
    /// How unlike the training images it is: about 1 for those. 0 if the head does not know.
    pub ood_score: f64,
    /// From where on it counts as outside.
    pub ood_threshold: f64,
    /// Whether the head knows how unlike it is.
    pub ood_known: u32,
    /// Whether it counts as outside.
    pub ood_outside: u32,
}

// SAFETY: pointers, integers and floats; the size is first.
unsafe impl Versioned for Answer {
    const NAME: &str = "mr_answer";
}

impl Answer {
    pub(super) fn of(answer: &pipeline::Answer) -> Answer {
        let mut found = Answer { size: size_of::<Answer>(), head: answer.head, ..Answer::zero() };
        match &answer.outcome {
            Outcome::Classes { prediction, .. } => {
                found.probabilities = prediction.probabilities.as_ptr();
                found.class_count = prediction.probabilities.len();
                found.classes = prediction.classes.as_ptr();
                found.present = prediction.classes.len();
            }
            Outcome::Mask(mask) => {
                found.mask = mask.labels.as_ptr();
                (found.mask_frames, found.mask_height, found.mask_width) =
                    (mask.depth, mask.height, mask.width);
            }
        }
        if let Some(ood) = &answer.ood {
            (found.ood_score, found.ood_threshold) = (ood.score, ood.threshold);
            (found.ood_known, found.ood_outside) = (1, ood.outside.into());
        }
        found
    }
}

/// The answers, with the names that `microraptor predict` gives them.
pub(super) fn write_json(heads: &[&Arc<Head>], answers: &[pipeline::Answer]) -> Result<String, Failure> {
    let of = |answer: &pipeline::Answer| {
        let model = &heads[answer.head].model;
        let names = model.classes();
        let mut line = Map::from_iter([
            ("head".to_owned(), json!(answer.head)),
            ("kind".to_owned(), json!(model.kind())),
        ]);
        match &answer.outcome {
            Outcome::Classes { prediction, attention } => {
                let mut present = prediction.classes.iter().map(|&class| json!(names[class]));
                let class = if model.multi_label() {
                    present.collect()
                } else {
                    present.next().unwrap_or(Value::Null)
                };
                let probabilities = prediction.probabilities.iter().map(|&probability| json!(probability));
                line.insert("class".to_owned(), class);
                line.insert(
                    "probabilities".to_owned(),
                    Value::Object(names.iter().cloned().zip(probabilities).collect()),
                );
                if let Ok(Some(rule)) = heads[answer.head].set_rule(None) {
                    let set = rule.set(&prediction.probabilities);
                    let outside = answer.ood.is_some_and(|ood| ood.outside);
                    let abstain = match () {
                        () if outside => Some("out of distribution"),
                        () if set.is_empty() => Some("empty set"),
                        () => None,
                    };
                    line.insert("set".to_owned(), set.into_iter().map(|class| json!(names[class])).collect());
                    line.insert("coverage".to_owned(), json!(rule.coverage));
                    line.extend(abstain.map(|why| ("abstain".to_owned(), json!(why))));
                }
                if let Some(attention) = attention {
                    line.insert("attention".to_owned(), json!(attention));
                }
            }
            Outcome::Mask(mask) => {
                let pixels =
                    |class: usize| mask.labels.iter().filter(|&&label| usize::from(label) == class).count();
                let areas = names.iter().enumerate().skip(1);
                let areas =
                    areas.map(|(class, name)| (name.clone(), json!({"pixels": pixels(class)}))).collect();
                line.insert("areas".to_owned(), Value::Object(areas));
            }
        }
        if let Some(ood) = &answer.ood {
            line.insert("ood".to_owned(), json!(ood));
        }
        Value::Object(line)
    };
    let heads: Vec<Value> = answers.iter().map(of).collect();
    serde_json::to_string(&json!({ "heads": heads })).map_err(|error| Failure::new(Status::Fault, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::{Activation, Conformal, OodScore, OutputHead, Prediction};

    #[test]
    fn the_json_has_a_set_if_the_head_has_a_coverage() {
        let mut model = crate::checkpoint::Model::seeded("deit-tiny", 3).unwrap();
        model.config = crate::Config { dim: 16, depth: 1, heads: 2, patch: 4, hidden: 32, ..model.config };
        model.weights = crate::vit::seeded_weights(&model.config, 3);
        let engine = crate::Engine::from_model(model, crate::Isa::best());
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let output = OutputHead::new("y".into(), names, Activation::Softmax, false, 0.5).unwrap();
        let mut head = Head::of_output(output, engine.about(), crate::Size::square(8));
        let prediction = Prediction { probabilities: vec![0.5, 0.4, 0.1], classes: vec![0] };
        let said = |head: &Head, outside: bool| {
            let outcome = Outcome::Classes { prediction: prediction.clone(), attention: None };
            let ood = Some(OodScore { score: 1.0, threshold: 2.0, outside });
            let answer = pipeline::Answer { head: 0, outcome, ood, explanation: None, contours: None };
            let Ok(text) = write_json(&[&Arc::new(head.clone())], &[answer]) else { panic!("JSON") };
            serde_json::from_str::<Value>(&text).unwrap()["heads"][0].clone()
        };
        assert!(said(&head, false).get("set").is_none());
        for (score, set, abstain) in
            [(0.65, json!(["a", "b"]), Value::Null), (0.45, json!([]), json!("empty set"))]
        {
            head.conformal = Some(Conformal::new(vec![score; 20], Some(0.9)).unwrap());
            let line = said(&head, false);
            assert_eq!((&line["set"], &line["coverage"], &line["abstain"]), (&set, &json!(0.9), &abstain));
            assert_eq!(said(&head, true)["abstain"], "out of distribution");
        }
    }
}
