//! Results of configurations on the held-out images, compared image by image.

use super::results::kind;
use super::{Outcomes, PairedTest, Row};
use crate::heads::{AucScores, Bootstrap, Paired, delong};

impl Outcomes {
    /// Label that distinguishes these outcomes from others: `deit-tiny int8 224 px`.
    pub fn label(&self) -> String {
        let size = crate::vit::Size { height: self.height, width: self.width };
        format!("{} {} {size} px", self.model, kind(&self.backend))
    }

    /// Whether these outcomes belong to `row`: same weights, backend, model and size.
    pub(super) fn is_of(&self, row: &Row) -> bool {
        (&self.sha256, &self.backend, &self.model) == (&row.sha256, &row.backend, &row.model)
            && (self.height, self.width) == (row.height, row.width)
    }

    /// Whether every image has the same number of values and, unless these are masks, a valid class.
    pub(super) fn is_sound(&self) -> bool {
        let classes = self.values.first().map_or(0, Vec::len);
        let of_one_length = self.values.iter().all(|values| values.len() == classes);
        let masks = self.truth.is_empty();
        let labels = self.truth.len() == self.values.len() && self.truth.iter().all(|&t| t < classes);
        of_one_length && (masks || labels)
    }

    /// Stratum of each image for a bootstrap stratified by class; masks form a single stratum.
    pub fn strata(&self) -> Vec<usize> {
        if self.truth.is_empty() { vec![0; self.values.len()] } else { self.truth.clone() }
    }

    /// Prepares [`Measure::value`]: scores are sorted once.
    pub fn measure(&self, metric: &str) -> Measure<'_> {
        let classes = self.values.first().map_or(0, Vec::len);
        let column = |class: usize| self.values.iter().map(|v| v[class].unwrap_or(0.0)).collect::<Vec<f64>>();
        let ranked = match metric {
            "AUC" => (0..classes)
                .map(|class| {
                    let has = self.truth.iter().map(|&t| t == class).collect();
                    (AucScores::new(&column(class)), has)
                })
                .collect(),
            _ => Vec::new(),
        };
        let metric = match metric {
            "AUC" => Metric::Auc,
            "accuracy" => Metric::Accuracy,
            _ => Metric::Dice,
        };
        Measure { outcomes: self, metric, ranked }
    }

    /// Whether both have the same number of images and classes, and the same truth.
    pub fn same_images(&self, other: &Outcomes) -> bool {
        self.truth == other.truth
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|(a, b)| a.len() == b.len())
    }

    /// Compares `b` with `self`: by DeLong's test for the AUC of two classes, otherwise by a paired bootstrap. `None`
    /// if the images are not the same, or the metric is undefined on them.
    pub fn compare(&self, b: &Outcomes, metric: &str, bootstrap: &Bootstrap) -> Option<PairedTest> {
        if !self.same_images(b) {
            return None;
        }
        let two_classes = self.values.first().is_some_and(|v| v.len() == 2);
        let found = if metric == "AUC" && two_classes {
            let positive: Vec<bool> = self.truth.iter().map(|&t| t == 1).collect();
            let scores = |o: &Outcomes| o.values.iter().map(|v| v[1].unwrap_or(0.0)).collect::<Vec<f64>>();
            delong(&positive, &scores(self), &scores(b))
        } else {
            let (mine, theirs) = (self.measure(metric), b.measure(metric));
            bootstrap.paired(&self.strata(), |w| Some(theirs.value(w)? - mine.value(w)?))
        }?;
        let Paired { difference, interval, p, test } = found;
        Some(PairedTest {
            a: self.label(),
            b: b.label(),
            metric: metric.to_owned(),
            difference,
            low: interval.map(|i| i.low),
            high: interval.map(|i| i.high),
            p,
            test: test.to_owned(),
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Metric {
    Auc,
    Accuracy,
    Dice,
}

/// One metric of [`Outcomes`], for any weights of the images.
pub struct Measure<'a> {
    outcomes: &'a Outcomes,
    metric: Metric,
    /// For each class, its scores and which images belong to it.
    ranked: Vec<(AucScores, Vec<bool>)>,
}

impl Measure<'_> {
    /// Value of the metric if image i is counted `weights[i]` times. The definition is that of
    /// [`EvaluationReport`](crate::heads::EvaluationReport) and [`DenseReport`](crate::heads::DenseReport).
    pub fn value(&self, weights: &[u32]) -> Option<f64> {
        match self.metric {
            Metric::Auc => {
                let of = |(scores, has): &(AucScores, Vec<bool>)| scores.auc(has, weights);
                if let [_, second] = self.ranked.as_slice() {
                    return of(second);
                }
                let all: Option<Vec<f64>> = self.ranked.iter().map(of).collect();
                mean(all?.into_iter().map(|auc| (auc, 1)))
            }
            Metric::Accuracy => {
                let right = |(values, &truth): (&Vec<Option<f64>>, &usize)| {
                    let p = |class: usize| values[class].unwrap_or(0.0);
                    let best = (1..values.len()).fold(0, |best, c| if p(c) > p(best) { c } else { best });
                    f64::from(u8::from(best == truth))
                };
                let all = self.outcomes.values.iter().zip(&self.outcomes.truth).map(right);
                mean(all.zip(weights.iter().copied()))
            }
            Metric::Dice => {
                let values = &self.outcomes.values;
                let classes = values.first().map_or(0, Vec::len);
                let of = |class: usize| {
                    let known = values.iter().zip(weights).filter_map(|(v, &w)| Some((v[class]?, w)));
                    mean(known)
                };
                mean((0..classes).filter_map(of).map(|dice| (dice, 1)))
            }
        }
    }
}

/// Weighted mean; `None` if the weights sum to zero.
fn mean(values: impl Iterator<Item = (f64, u32)>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0u64);
    for (value, weight) in values {
        sum += value * f64::from(weight);
        n += u64::from(weight);
    }
    (n > 0).then(|| sum / n as f64)
}

/// Paired tests between configurations: each lower precision against f32 of the same model and size, and each
/// configuration against the most accurate one. Untrained models are skipped.
pub(super) fn tests(
    outcomes: &[Outcomes],
    metric: &str,
    bootstrap: &Bootstrap,
    untrained: &dyn Fn(&Outcomes) -> bool,
) -> Vec<PairedTest> {
    let ones = |o: &Outcomes| vec![1; o.values.len()];
    let known: Vec<(&Outcomes, f64)> = outcomes
        .iter()
        .filter(|o| !untrained(o))
        .filter_map(|o| Some((o, o.measure(metric).value(&ones(o))?)))
        .collect();
    let Some((best, _)) = known.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }) else {
        return Vec::new();
    };
    let mut pairs: Vec<(&Outcomes, &Outcomes)> = Vec::new();
    for (o, _) in &known {
        let whole = |f: &&(&Outcomes, f64)| {
            let f = f.0;
            f.model == o.model && (f.height, f.width) == (o.height, o.width) && f.backend.ends_with("f32")
        };
        if let Some((f32, _)) = known.iter().find(whole).filter(|f| !std::ptr::eq(f.0, *o)) {
            pairs.push((f32, o));
        }
    }
    for (o, _) in known.iter().filter(|(o, _)| !std::ptr::eq(*o, best)) {
        if !pairs.iter().any(|(a, b)| std::ptr::eq(*a, best) && std::ptr::eq(*b, *o)) {
            pairs.push((best, o));
        }
    }
    pairs.into_iter().filter_map(|(a, b)| a.compare(b, metric, bootstrap)).collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    fn outcomes(backend: &str, scores: &[f64]) -> Outcomes {
        Outcomes {
            model: "m".into(),
            sha256: backend.into(),
            backend: format!("microraptor {backend}"),
            height: 32,
            width: 32,
            truth: (0..scores.len()).map(|i| i % 2).collect(),
            values: scores.iter().map(|&s| vec![Some(1.0 - s), Some(s)]).collect(),
        }
    }

    #[test]
    fn numbers_are_those_of_the_reports() {
        let o = outcomes("f32", &[0.1, 0.9, 0.6, 0.4, 0.2, 0.8]);
        let ones = [1; 6];
        // One of the nine pairs is ranked wrongly.
        assert_eq!(o.measure("AUC").value(&ones), Some(8.0 / 9.0));
        assert_eq!(o.measure("accuracy").value(&ones), Some(4.0 / 6.0));
        assert_eq!(o.measure("accuracy").value(&[1, 0, 1, 0, 0, 0]), Some(0.5));
        let dice = Outcomes {
            truth: Vec::new(),
            values: vec![vec![Some(0.5), None], vec![Some(1.0), Some(0.2)], vec![None, None]],
            ..o
        };
        assert_eq!(dice.measure("Dice").value(&[1, 1, 1]), Some((0.75 + 0.2) / 2.0));
        assert_eq!(dice.measure("Dice").value(&[0, 0, 3]), None);
    }

    #[test]
    fn tests_are_against_f32_and_the_best() {
        let all = [
            outcomes("f32", &[0.1, 0.9, 0.6, 0.4, 0.2, 0.8]),
            outcomes("int8", &[0.1, 0.9, 0.6, 0.3, 0.2, 0.8]),
            Outcomes { height: 64, ..outcomes("f32", &[0.1, 0.9, 0.3, 0.4, 0.2, 0.8]) },
        ];
        let bootstrap = Bootstrap { resamples: 50, seed: 0 };
        let found = tests(&all, "AUC", &bootstrap, &|_| false);
        let pairs: Vec<(&str, &str)> = found.iter().map(|t| (t.a.as_str(), t.b.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("m f32 32 px", "m int8 32 px"),
                ("m f32 64x32 px", "m f32 32 px"),
                ("m f32 64x32 px", "m int8 32 px")
            ]
        );
        assert!(found.iter().all(|t| t.test == "DeLong" && t.p.is_some()));
        assert!(tests(&all, "AUC", &bootstrap, &|_| true).is_empty());
        let other = outcomes("f32", &[0.1, 0.9]);
        assert_eq!(all[0].compare(&other, "AUC", &bootstrap), None);
    }
}
