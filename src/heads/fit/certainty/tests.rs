//! Held-out predictions are held out, and what is learned of them holds on other examples.

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::features::{Geometry, ScanFeatures};
use crate::heads::{AbmilOptions, CoverageReport, FitOptions, HeadModel, ProbeSearch, SegmentOptions};
use crate::input::{Sample, Source};

/// Examples of `classes` classes: one feature that tells them apart with an error, and `noise` that say nothing.
struct World {
    data: Dataset,
    features: Vec<ScanFeatures>,
}

impl World {
    fn new(n: usize, classes: usize, noise: usize, signal: f64, seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || -> f64 { (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0 };
        let mut samples = Vec::new();
        let mut features = Vec::new();
        for i in 0..n {
            let class = i % classes;
            let mut row: Vec<f32> =
                (0..classes).map(|k| (if k == class { signal } else { 0.0 } + draw()) as f32).collect();
            row.extend((0..noise).map(|_| draw() as f32));
            let rows = Array2::from_shape_vec((1, row.len()), row).unwrap();
            features.push(ScanFeatures { rows, tokens: None, geometry: Geometry::of_size(1, 1) });
            let source = Source::File(format!("{i}.png").into());
            samples.push(Sample {
                name: i.to_string(),
                source,
                labels: vec![class],
                mask: None,
                split: None,
            });
        }
        let names = (0..classes).map(|class| format!("c{class}")).collect();
        World { data: Dataset::new(names, samples).unwrap(), features }
    }

    fn set(&self) -> EvaluationSet<'_> {
        EvaluationSet {
            data: &self.data,
            mask_classes: &[],
            features: &self.features,
            masks: &[],
            multi_label: false,
        }
    }
}

/// A linear head that is fitted so closely that it is too sure of itself.
fn close() -> Recipe {
    linear(1e3)
}

fn linear(c: f64) -> Recipe {
    Recipe::Linear(ProbeSearch { grid: vec![c], ..ProbeSearch::default() }, FitOptions::default())
}

/// The examples for fitting, for choices, and for measuring.
fn thirds(n: usize) -> [Vec<usize>; 3] {
    [0, 1, 2].map(|third| (third * n / 3..(third + 1) * n / 3).collect())
}

fn learn(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    (train, val): (&[usize], &[usize]),
    options: &CertaintyOptions,
) -> (HeadModel, HeadModel, Certainty) {
    learn_aside(recipe, set, (train, val, &[]), options)
}

fn learn_aside(
    recipe: &Recipe,
    set: &EvaluationSet<'_>,
    parts: (&[usize], &[usize], &[usize]),
    options: &CertaintyOptions,
) -> (HeadModel, HeadModel, Certainty) {
    let mut fitted = recipe.fit(set, parts.0, parts.1, Isa::best(), &mut |_, _| {}).unwrap();
    let before = fitted.model.clone();
    let bootstrap = Bootstrap { resamples: 50, seed: 0 };
    let how = (Isa::best(), &bootstrap);
    let found = certainty(recipe, set, parts, &mut fitted, options, how, &mut |_, _| {}).unwrap();
    (before, fitted.model, found)
}

fn report(model: &HeadModel, set: &EvaluationSet<'_>, on: &[usize]) -> (Array2<f64>, EvaluationReport) {
    let none = Bootstrap { resamples: 0, seed: 0 };
    match evaluate(model, set, on, None, Isa::best(), &none).unwrap() {
        Evaluation::Classes(probabilities, report) => (probabilities, *report),
        Evaluation::Dense(..) => panic!("a head of classes"),
    }
}

fn value(estimate: Option<Estimate>) -> f64 {
    estimate.unwrap().value
}

#[test]
fn no_example_is_predicted_by_a_head_that_has_seen_it() {
    // The features say nothing and are more than the examples: a head knows only what it was fitted on.
    let world = World::new(90, 2, 120, 0.0, 1);
    let all: Vec<usize> = (0..90).collect();
    let (train, val) = all.split_at(60);
    let options = CertaintyOptions { calibrate: true, seed: 3, ..Default::default() };
    let (model, _, found) = learn(&close(), &world.set(), (train, val), &options);
    assert_eq!(value(report(&model, &world.set(), train).1.accuracy), 1.0);
    let right = |(n, &i): (usize, &usize)| {
        usize::from(found.held_out.probabilities[[n, world.data.samples[i].labels[0]]] > 0.5)
    };
    let right: usize = found.held_out.images.iter().enumerate().map(right).sum();
    // Chance: 30 of 60, with a standard deviation of 3.9.
    assert!((15..=45).contains(&right), "{right} of 60");
    assert_eq!(found.held_out.images, train);
    assert!(found.held_out.parts.iter().all(|&part| part < HELD_OUT_PARTS));
    // Each prediction is that of the head on the other parts.
    let rest: Vec<usize> = (0..60).filter(|&i| found.held_out.parts[i] != found.held_out.parts[7]).collect();
    let other = close().fit(&world.set(), &rest, val, Isa::best(), &mut |_, _| {}).unwrap().model;
    assert_eq!(report(&other, &world.set(), &[7]).0.row(0), found.held_out.probabilities.row(7));
}

#[test]
fn a_head_that_is_too_sure_is_calibrated_and_decides_the_same() {
    for classes in [2, 3] {
        let world = World::new(600, classes, 60, 1.5, 2);
        let [train, val, test] = thirds(600);
        let options = CertaintyOptions { calibrate: true, ..Default::default() };
        let (before, after, found) = learn(&close(), &world.set(), (&train, &val), &options);
        let summary = found.calibration.unwrap();
        assert_eq!(summary.method, if classes == 2 { "platt" } else { "temperature" });
        assert!(value(summary.after.log_loss) < value(summary.before.log_loss));
        let (plain, plain_report) = report(&before, &world.set(), &test);
        let (warm, warm_report) = report(&after, &world.set(), &test);
        assert!(value(warm_report.log_loss) < value(plain_report.log_loss));
        assert!(value(warm_report.ece) < value(plain_report.ece));
        assert!(value(warm_report.brier) < value(plain_report.brier));
        assert_eq!(warm_report.confusion, plain_report.confusion);
        assert_ne!(plain, warm);
        // What is stored is what maps the plain probabilities to the others.
        let map = after.calibration().unwrap();
        let mapped = applied(map, false, plain.view());
        assert!(mapped.iter().zip(&warm).all(|(a, b)| (a - b).abs() < 1e-12));
        let mut off = after.clone();
        off.set_calibration(None).unwrap();
        assert_eq!(report(&off, &world.set(), &test).0, plain);
    }
}

#[test]
fn a_head_without_the_options_is_as_before() {
    let world = World::new(90, 2, 3, 1.5, 4);
    let [train, val, _] = thirds(90);
    let options = CertaintyOptions { sets: true, ..Default::default() };
    let (before, after, found) = learn(&close(), &world.set(), (&train, &val), &options);
    assert_eq!(before, after);
    assert!(found.calibration.is_none() && found.operating.is_none() && found.conformal.is_some());
}

#[test]
fn sets_cover_what_they_promise_and_the_threshold_meets_its_rule() {
    let world = World::new(3000, 2, 5, 1.5, 5);
    let [train, val, test] = thirds(3000);
    let rule = OperatingRule::Sensitivity(0.9);
    let options =
        CertaintyOptions { calibrate: true, coverage: Some(0.8), operate: Some(rule), ..Default::default() };
    let (_, model, found) = learn(&close(), &world.set(), (&train, &val), &options);
    let conformal = found.conformal.unwrap();
    assert_eq!(conformal.scores().len(), train.len());
    let (probabilities, _) = report(&model, &world.set(), &test);
    let rows = world.set().rows(&test).unwrap();
    let outside = vec![false; test.len()];
    let covered =
        CoverageReport::new(conformal.rule(0.8).unwrap(), &rows.targets(), probabilities.view(), &outside);
    let covered = covered.unwrap();
    // 1000 scores and 1000 examples: the standard deviation of the share is sqrt(2 * 0.8 * 0.2 / 1000) = 0.018.
    assert!((covered.measured - 0.8).abs() < 0.06, "{}", covered.measured);
    let point = found.operating.unwrap();
    assert_eq!(model.threshold(), Some(point.threshold.value));
    let sensitivity = value(report(&model, &world.set(), &test).1.classes[1].sensitivity);
    // 500 positive examples on both sides: sqrt(2 * 0.9 * 0.1 / 500) = 0.019.
    assert!((sensitivity - 0.9).abs() < 0.06, "{sensitivity}");
    assert!(value(point.sensitivity) >= 0.9);
}

#[test]
fn scores_of_images_set_aside_are_those_of_the_final_head() {
    let world = World::new(400, 3, 40, 1.5, 9);
    let parts = world.data.split_aside(1, 0.2, 0.3).unwrap();
    let used = (&parts.train[..], &parts.val[..], &parts.aside[..]);
    let options = CertaintyOptions {
        calibrate: true,
        coverage: Some(0.9),
        set_aside: Some(0.3),
        seed: 1,
        ..CertaintyOptions::default()
    };
    for recipe in [close(), Recipe::knn()] {
        let options = CertaintyOptions { calibrate: options.calibrate && recipe == close(), ..options };
        let (_, model, found) = learn_aside(&recipe, &world.set(), used, &options);
        assert_eq!(model.calibration().is_some(), options.calibrate);
        let (probabilities, _) = report(&model, &world.set(), &parts.aside);
        let truth = |(row, &i): (usize, &usize)| 1.0 - probabilities[[row, world.data.samples[i].labels[0]]];
        let mut scores: Vec<f64> = parts.aside.iter().enumerate().map(truth).collect();
        scores.sort_by(f64::total_cmp);
        assert_eq!(found.conformal.unwrap().scores(), scores);
        assert_eq!(found.set_aside, Some(SetAside { images: 120, share: 0.3, seed: 1 }));
        // What was set aside has changed nothing else.
        assert_eq!(found.held_out.images, parts.train);
        let none = CertaintyOptions { set_aside: None, ..options };
        let (_, without, of_parts) = learn(&recipe, &world.set(), (&parts.train, &parts.val), &none);
        assert_eq!(without, model);
        assert_eq!(
            (of_parts.conformal.unwrap().scores().len(), of_parts.set_aside),
            (parts.train.len(), None)
        );
    }
}

/// Mean and variance of the number of `m` images whose set holds their class, by `n` scores of images exchangeable with
/// them: beta-binomial (Angelopoulos and Bates 2021, section 3.2).
fn covered_of(m: f64, n: f64, coverage: f64) -> (f64, f64) {
    let a = ((n + 1.0) * coverage - 1e-9).ceil();
    let (b, sum) = (n + 1.0 - a, n + 1.0);
    (m * a / sum, m * a * b * (sum + m) / (sum * sum * (sum + 1.0)))
}

#[test]
fn sets_by_images_set_aside_cover_what_is_guaranteed() {
    // So many features that say nothing that the head knows its training images too well. With less regularisation, as in
    // `close`, probabilities of 0 would be frequent, and equal scores cover more than is promised.
    let divisions = 24;
    let (mut covered, mut naive) = (0.0, 0.0);
    for seed in 0..divisions {
        let world = World::new(600, 2, 60, 1.5, 100 + seed);
        let parts = world.data.split_aside(seed, 0.5, 0.25).unwrap();
        let options =
            CertaintyOptions { coverage: Some(0.9), set_aside: Some(0.25), seed, ..Default::default() };
        let used = (&parts.train[..], &parts.val[..], &parts.aside[..]);
        let (_, model, found) = learn_aside(&linear(1.0), &world.set(), used, &options);
        let (probabilities, _) = report(&model, &world.set(), &parts.val);
        let rows = world.set().rows(&parts.val).unwrap();
        let outside = vec![false; parts.val.len()];
        let count = |conformal: &Conformal| {
            let rule = conformal.rule(0.9).unwrap();
            CoverageReport::new(rule, &rows.targets(), probabilities.view(), &outside).unwrap().covered as f64
        };
        covered += count(&found.conformal.unwrap());
        let seen = scores_aside(&model, &world.set(), &parts.train, Isa::best()).unwrap();
        naive += count(&Conformal::new(seen, None).unwrap());
    }
    let (mean, variance) = covered_of(225.0, 150.0, 0.9);
    let n = divisions as f64;
    let off = |covered: f64| (covered - n * mean) / (n * variance).sqrt();
    assert!(off(covered).abs() < 2.6, "{} standard deviations", off(covered));
    // Scores of images that the head has seen would not do.
    assert!(off(naive) < -6.0, "{} standard deviations", off(naive));
}

#[test]
fn bags_are_calibrated_too() {
    let mut world = World::new(240, 3, 2, 1.0, 6);
    for features in &mut world.features {
        let row = features.rows.row(0).to_owned();
        features.rows = ndarray::stack(Axis(0), &[row.view(), row.view()]).unwrap();
    }
    let [train, val, test] = thirds(240);
    let abmil = Recipe::Abmil(AbmilOptions { epochs: 4, ..AbmilOptions::default() });
    let search = ProbeSearch { grid: vec![1e3], ..ProbeSearch::default() };
    let volume = Recipe::Volume(search, FitOptions::default());
    for recipe in [abmil, volume] {
        let options = CertaintyOptions { calibrate: true, coverage: Some(0.9), ..Default::default() };
        let (before, mut after, found) = learn(&recipe, &world.set(), (&train, &val), &options);
        assert!(found.conformal.is_some());
        // Whether or not the fit kept one, a map changes the probabilities and not the decision.
        after.set_calibration(Some(Calibration::Temperature(2.0))).unwrap();
        let (plain, warm) = (report(&before, &world.set(), &test), report(&after, &world.set(), &test));
        assert_eq!(plain.1.confusion, warm.1.confusion);
        let mapped = applied(&Calibration::Temperature(2.0), false, plain.0.view());
        assert!(mapped.iter().zip(&warm.0).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}

#[test]
fn each_label_has_its_own_map() {
    let mut world = World::new(600, 3, 60, 1.5, 8);
    // The first and the last of three classes are labels, which an example may also have both, or none.
    for (i, sample) in world.data.samples.iter_mut().enumerate() {
        let class = sample.labels[0];
        sample.labels = [0, 2].into_iter().filter(|&label| label == class || i % 7 == 0).collect();
        sample.labels.iter_mut().for_each(|label| *label /= 2);
    }
    world.data = Dataset::new(vec!["a".into(), "b".into()], world.data.samples).unwrap();
    let set = EvaluationSet {
        data: &world.data,
        mask_classes: &[],
        features: &world.features,
        masks: &[],
        multi_label: true,
    };
    let [train, val, test] = thirds(600);
    let options = CertaintyOptions { calibrate: true, ..Default::default() };
    let (before, after, found) = learn(&linear(1.0), &set, (&train, &val), &options);
    assert!(found.conformal.is_none());
    let Some(map @ Calibration::Platt(pairs)) = after.calibration() else { panic!("a map") };
    assert_eq!(pairs.len(), 2);
    let (plain, warm) = (report(&before, &set, &test), report(&after, &set, &test));
    assert!(value(warm.1.log_loss) < value(plain.1.log_loss), "{:?} {:?}", warm.1.log_loss, plain.1.log_loss);
    assert!(value(warm.1.ece) < value(plain.1.ece), "{:?} {:?} {pairs:?}", warm.1.ece, plain.1.ece);
    let mapped = applied(map, true, plain.0.view());
    // Of a probability p near 1, the logit is known to epsilon / (1 - p).
    assert!(mapped.iter().zip(&warm.0).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn what_a_head_cannot_have_is_refused_before_the_fit() {
    let world = World::new(30, 3, 1, 1.0, 7);
    let all: Vec<usize> = (0..30).collect();
    let refused = |recipe: &Recipe, options: CertaintyOptions, train: &[usize]| {
        options.check(recipe, &world.data, (train, &[])).unwrap_err().to_string()
    };
    let (linear, none) = (Recipe::default(), CertaintyOptions::default());
    let calibrate = CertaintyOptions { calibrate: true, ..none };
    let operate = CertaintyOptions { operate: Some(OperatingRule::Youden), ..none };
    let coverage = |share| CertaintyOptions { coverage: Some(share), ..none };
    assert!(refused(&Recipe::knn(), calibrate, &all).contains("knn"));
    let dense = Recipe::segment(&[], SegmentOptions::default());
    assert!(refused(&dense, calibrate, &all).contains("a class for each pixel"));
    assert!(refused(&dense, coverage(0.9), &all).contains("--set-aside"));
    let contours = |share| CertaintyOptions { set_aside: Some(0.2), contour_share: share, ..coverage(0.9) };
    assert!(contours(None).check(&dense, &world.data, (&all, &all[..9])).is_ok());
    let few = contours(None).check(&dense, &world.data, (&all, &all[..8])).unwrap_err().to_string();
    assert!(few.contains("needs 9 images"), "{few}");
    assert!(refused(&dense, contours(Some(1.5)), &all).contains("share of 1.5"));
    assert!(refused(&dense, contours(None), &all).contains("needs 9 images"));
    assert!(refused(&linear, contours(Some(0.9)), &all).contains("a share of pixels"));
    let volume = Recipe::segment(&[], SegmentOptions { volume: true, ..SegmentOptions::default() });
    assert!(refused(&volume, contours(None), &all).contains("contours: not for a head of kind segment3d"));
    assert!(refused(&linear, operate, &all).contains("three or more classes"));
    assert!(refused(&linear, coverage(0.99), &all).contains("needs 99 images"));
    assert!(refused(&linear, coverage(1.0), &all).contains("between 0 and 1"));
    // Two of the class c0.
    assert!(refused(&linear, calibrate, &[0, 3, 1, 4, 7, 2, 5, 8]).contains("'c0' has 2 training images"));
    for options in [none, calibrate, coverage(0.9)] {
        assert!(options.check(&linear, &world.data, (&all, &[])).is_ok());
    }
    // Thirty images to train on do not help: the scores are those of the eight others.
    let aside = CertaintyOptions { set_aside: Some(0.2), ..coverage(0.9) };
    let error = aside.check(&linear, &world.data, (&all, &all[..8])).unwrap_err().to_string();
    assert!(error.contains("needs 9 images"), "{error}");
    assert!(aside.check(&linear, &world.data, (&all, &all[..9])).is_ok());
}
