//! The linear probe and its metrics against scikit-learn, on data sets that scikit-learn includes.
//!
//! `tests/reference/make_heads.py` writes `tests/golden/heads.safetensors`.

use microraptor::heads::{
    Bootstrap, ClassWeights, EvaluationReport, Examples, FitOptions, LinearProbe, ProbeSearch, Targets,
};
use ndarray::{Array2, ArrayView2, Axis};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    data: String,
    kind: String,
    c: f64,
    balanced: bool,
    probabilities: String,
    accuracy: f64,
    balanced_accuracy: f64,
    macro_f1: f64,
    auc: f64,
    log_loss: f64,
    class_auc: Vec<f64>,
    confusion: Option<Vec<Vec<u64>>>,
}

/// Rows with their targets.
struct Set {
    x: Array2<f32>,
    classes: Vec<usize>,
    labels: Option<Array2<bool>>,
}

impl Set {
    fn examples(&self) -> Examples<'_> {
        let targets = match &self.labels {
            Some(labels) => Targets::Labels(labels.view()),
            None => Targets::Classes(&self.classes),
        };
        Examples { features: self.x.view(), targets }
    }
}

/// Training and validation rows: every third row is for validation, as in the script.
fn sets(file: &SafeTensors<'_>, case: &Case) -> [Set; 2] {
    let x = file.tensor(&format!("{}.x", case.data)).unwrap();
    let values: Vec<f32> = x.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let x = Array2::from_shape_vec((x.shape()[0], x.shape()[1]), values).unwrap();
    let y = file.tensor(&format!("{}.y", case.data)).unwrap();
    let y: Vec<usize> = y.data().as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b) as usize).collect();
    [false, true].map(|val| {
        let rows: Vec<usize> = (0..x.nrows()).filter(|i| (i % 3 == 2) == val).collect();
        let digits: Vec<usize> = rows.iter().map(|&i| y[i]).collect();
        let labels = (case.kind == "labels").then(|| {
            Array2::from_shape_fn((rows.len(), 3), |(i, label)| match label {
                0 => digits[i] % 2 == 1,
                1 => digits[i] > 4,
                _ => digits[i].is_multiple_of(3),
            })
        });
        let positive = |y: usize| usize::from(if case.data == "digits" { y >= 5 } else { y == 1 });
        let classes = match case.kind.as_str() {
            "binary" => digits.into_iter().map(positive).collect(),
            _ => digits,
        };
        Set { x: x.select(Axis(0), &rows), classes, labels }
    })
}

/// Largest Euclidean norm of a row of `x`, standardised by `mean` and `std`.
fn longest(x: ArrayView2<'_, f32>, mean: &[f64], std: &[f64]) -> f64 {
    let length = |row: ndarray::ArrayView1<'_, f32>| -> f64 {
        row.iter().zip(mean).zip(std).map(|((&v, m), s)| ((f64::from(v) - m) / s).powi(2)).sum()
    };
    x.rows().into_iter().map(length).fold(0.0, f64::max).sqrt()
}

#[test]
fn agrees_with_scikit_learn() {
    let bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/heads.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let golden: Golden = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["golden"]).unwrap();
    assert_eq!(golden.cases.len(), 7);
    for case in &golden.cases {
        let name = format!("{} {} C {} balanced {}", case.data, case.kind, case.c, case.balanced);
        let [train, val] = sets(&file, case);
        let classes: Vec<String> = (0..case.class_auc.len()).map(|k| format!("class {k}")).collect();
        let options = FitOptions {
            class_weights: if case.balanced { ClassWeights::Balanced } else { ClassWeights::None },
            tolerance: 1e-9,
            ..FitOptions::default()
        };
        let search = ProbeSearch { grid: vec![case.c], ..ProbeSearch::default() };
        let found = LinearProbe::fit_best(
            &train.examples(),
            &val.examples(),
            &classes,
            &search,
            &options,
            &mut |_, _| (),
        )
        .unwrap();
        let ours = found.head.probability_rows(val.x.view()).unwrap();
        let theirs: Vec<f64> = file
            .tensor(&case.probabilities)
            .unwrap()
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&b| f64::from_le_bytes(b))
            .collect();
        let theirs = Array2::from_shape_vec(ours.dim(), theirs).unwrap();
        // The mean loss plus |w|^2 / (2 C n) is strongly convex in w with modulus 1 / (C n), so a gradient g leaves w
        // within g C n of the minimum, and a logit of the row x within |x| g C n. A probability changes by at most
        // half as much as the logits. 1e-12 is added for rounding of the logits.
        let n = train.x.nrows() as f64;
        let gradient = found.gradient;
        let length = longest(val.x.view(), found.head.mean(), found.head.std());
        let tolerance = 0.5 * length * gradient * case.c * n + 1e-12;
        let worst = (&ours - &theirs).iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        println!(
            "{name}: gradient {gradient:.1e}, probabilities off by {worst:.1e}, allowed {tolerance:.1e}"
        );
        assert!(tolerance < 1e-4, "{name}: {tolerance:e} allows anything");
        assert!(worst <= tolerance, "{name}: {worst:e} > {tolerance:e}");

        let examples = val.examples();
        let bootstrap = Bootstrap { resamples: 100, seed: 1 };
        let report =
            EvaluationReport::new(&classes, &examples.targets, theirs.view(), 0.5, &bootstrap).unwrap();
        let mut numbers = vec![
            (report.accuracy, case.accuracy),
            (report.balanced_accuracy, case.balanced_accuracy),
            (report.macro_f1, case.macro_f1),
            (report.auc, case.auc),
            (report.log_loss, case.log_loss),
        ];
        numbers.extend(report.classes.iter().map(|class| class.auc).zip(case.class_auc.iter().copied()));
        for (i, (ours, theirs)) in numbers.into_iter().enumerate() {
            let ours = ours.unwrap();
            assert!(
                (ours.value - theirs).abs() < 1e-12,
                "{name}: number {i}: {ours:?}, scikit-learn {theirs}"
            );
            let interval = ours.interval.unwrap();
            assert!(interval.low <= interval.high, "{name}: number {i}: {ours:?}");
        }
        assert_eq!(report.confusion, case.confusion, "{name}");
    }
}
