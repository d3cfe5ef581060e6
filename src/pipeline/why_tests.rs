//! Explanations: terms sum to logits, and logits give the answers.

use std::sync::Arc;

use super::tests::{engine, frame, geometry, heads};
use super::*;
use crate::heads::{
    Against, Calibration, Contributions, Explanation, HeadModel, LinearHead, Outcome, Summed, Unexplained,
};

/// Features are rounded to 24 bits; the logits here are sums of 32 terms of the order of 1.
const TOLERANCE: f64 = 1e-5;

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The sums of a logit's terms, one for each of its values.
fn sums(all: &Contributions, logit: usize) -> Vec<f64> {
    let logit = &all.logits[logit];
    let positions = all.grid.0 * all.grid.1;
    assert_eq!((logit.cls.len(), logit.patches.len()), (all.frames, all.frames * positions));
    let frame =
        |n: usize| logit.cls[n] + logit.patches[n * positions..(n + 1) * positions].iter().sum::<f64>();
    match all.summed {
        Summed::EachFrame => (0..all.frames).map(|n| logit.bias + frame(n)).collect(),
        _ => vec![logit.bias + (0..all.frames).map(frame).sum::<f64>()],
    }
}

fn close(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < TOLERANCE)
}

/// Checks the answer of a head with two classes.
fn check(answer: &Answer, frames: usize) {
    let Outcome::Classes { prediction, .. } = &answer.outcome else {
        return assert_eq!(answer.explanation, Some(Explanation::Nothing(Unexplained::Mask)));
    };
    let positive = prediction.probabilities[1];
    match answer.explanation.as_ref().unwrap() {
        Explanation::Contributions(all) => {
            assert_eq!((all.frames, all.logits.len(), all.multi_label), (frames, 1, false));
            let logit = &all.logits[0];
            assert_eq!((logit.class, logit.against), (1, Some(0)));
            assert!(close(&sums(all, 0), &logit.values), "{:?} {:?}", sums(all, 0), logit.values);
            let [scale, offset] = logit.calibration.unwrap_or([1.0, 0.0]);
            let each: Vec<f64> = logit.values.iter().map(|z| sigmoid(scale * z + offset)).collect();
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            assert!((mean - positive).abs() < 1e-12, "{mean} {positive}");
            assert_eq!(all.shown(&prediction.classes).against, Against::Class(0));
        }
        Explanation::Neighbours(found) => {
            let share = |class: usize| {
                found.all.iter().filter(|n| n.classes.contains(&class)).map(|n| n.share).sum::<f64>()
            };
            assert!((share(1) - positive).abs() < 1e-12 && (share(0) + positive - 1.0).abs() < 1e-12);
            assert!(found.all.windows(2).all(|pair| pair[0].share >= pair[1].share));
        }
        Explanation::Nothing(why) => panic!("{why}"),
    }
}

#[test]
fn terms_sum_to_logits_and_logits_give_the_answers() {
    let engine = engine();
    let mut heads = heads(&engine);
    for head in [0, 2, 4] {
        let model = &mut Arc::make_mut(&mut heads[head]).model;
        model.set_calibration(Some(Calibration::Platt(vec![[0.7, -0.3]]))).unwrap();
    }
    let frames: Vec<Image> = (0..4).map(frame).collect();
    let mut pipeline = Pipeline::new(engine.session(2).unwrap(), &heads).unwrap();
    let clip = |pipeline: &mut Pipeline| {
        pipeline.begin("clip", geometry());
        pipeline.extend(&frames).unwrap();
        pipeline.finish().unwrap()
    };
    let plain = clip(&mut pipeline);
    assert!(plain.iter().all(|answer| answer.explanation.is_none()));
    pipeline.explain(true);
    let explained = clip(&mut pipeline);
    explained.iter().for_each(|answer| check(answer, 4));
    let kinds = |summed: Summed| {
        let of = |answer: &&Answer| matches!(&answer.explanation, Some(Explanation::Contributions(all)) if all.summed == summed);
        explained.iter().filter(of).count()
    };
    assert_eq!([Summed::EachFrame, Summed::Mean, Summed::Weighted].map(kinds), [2, 1, 1]);
    // Frame by frame, and then the whole; another session explains too.
    let mut pipeline = pipeline.with_session(engine.session(1).unwrap()).unwrap();
    pipeline.begin("clip", geometry());
    for frame in &frames {
        pipeline.push(frame).unwrap().iter().for_each(|answer| check(answer, 1));
    }
    let whole = pipeline.finish().unwrap();
    assert_eq!(whole.iter().filter(|answer| answer.head < 5).count(), 5);
    assert!(whole.iter().zip(&explained).all(|(a, b)| a.head != b.head || a == b));
    // The answers are those without explanations.
    pipeline.explain(false);
    assert_eq!(clip(&mut pipeline), plain);
}

#[test]
fn a_window_is_explained_once_all_of_its_frames_were() {
    let engine = engine();
    let heads = heads(&engine);
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &heads).unwrap();
    pipeline.slide(3);
    for number in 0..8 {
        if number == 3 {
            pipeline.explain(true);
        }
        pipeline.begin("live", geometry());
        for answer in pipeline.push(&frame(number)).unwrap() {
            let bags = [2, 4].contains(&answer.head);
            let there = if bags { number >= 5 } else { number >= 3 };
            assert_eq!(answer.explanation.is_some(), there, "head {} frame {number}", answer.head);
            if there {
                check(&answer, if bags { 3 } else { 1 });
            }
        }
    }
}

#[test]
fn labels_and_several_classes_have_a_logit_each() {
    let engine = engine();
    let of = &heads(&engine)[0];
    let HeadModel::Linear(two) = &of.model else { panic!("the first is linear") };
    let dim = two.dim();
    let head = |multi_label: bool| {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let weight = (0..3 * dim).map(|i| (i as f64 * 0.9).cos()).collect();
        let parts = [two.mean().to_vec(), two.std().to_vec(), weight, vec![0.1, -0.3, 0.2]];
        let linear = LinearHead::new(names, multi_label, 0.5, parts).unwrap();
        Arc::new(Head { model: HeadModel::Linear(linear), ..Head::clone(of) })
    };
    let mut pipeline = Pipeline::new(engine.session(1).unwrap(), &[head(false), head(true)]).unwrap();
    pipeline.explain(true);
    let answers = pipeline.push(&frame(3)).unwrap();
    for answer in &answers {
        let (Outcome::Classes { prediction, .. }, Some(Explanation::Contributions(all))) =
            (&answer.outcome, &answer.explanation)
        else {
            panic!("{answer:?}")
        };
        let logits: Vec<f64> = all.logits.iter().flat_map(|logit| logit.values.clone()).collect();
        let found: Vec<f64> = (0..3).flat_map(|logit| sums(all, logit)).collect();
        assert!(close(&found, &logits), "{found:?} {logits:?}");
        let largest = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        let map = all.shown(&prediction.classes);
        assert_eq!(map.class, largest);
        let patch = |logit: usize| all.logits[logit].patches[5];
        let (others, against) = match answer.head {
            0 => ((0..3).filter(|&k| k != largest).map(patch).sum::<f64>() / 2.0, Against::Others),
            _ => (0.0, Against::Nothing),
        };
        assert_eq!(map.against, against);
        assert!((map.patches[5] - (patch(largest) - others)).abs() < 1e-12);
        if answer.head == 1 {
            assert!((sigmoid(logits[0]) - prediction.probabilities[0]).abs() < 1e-12);
        }
    }
}
