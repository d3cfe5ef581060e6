//! Nearest neighbours among the training images by cosine similarity: DINO's weighted vote (Caron et al., arXiv
//! 2104.14294, section 4.1).

use half::f16;
use ndarray::ArrayView2;

use super::linear::{Prediction, decide};
use super::targets::check_classes;
use super::{Examples, HeadError, Targets};
use crate::heads::measure::{log_loss, youden_threshold};
use crate::kernels::Isa;
use crate::kernels::linear::{MAX_INPUTS, OutputMode, PackedLinear, Rows, Scratch, codes_stride};
use crate::kernels::quantise::{self, QuantisedRows};

/// Temperature of the vote, as in the papers.
pub const TEMPERATURE: f64 = 0.07;

/// Values of k to try.
const CANDIDATES: [usize; 7] = [5, 10, 20, 50, 100, 150, 200];

/// Storage of the training images' features.
#[derive(Clone, Debug, PartialEq)]
pub enum Bank {
    /// Half precision, `[n, dim]`.
    F16(Vec<f16>),
    /// Int8, `[n, dim]`, with one scale per image.
    Int8 {
        /// -127 to 127.
        codes: Vec<i8>,
        /// `[n]`
        scales: Vec<f32>,
    },
}

/// A k-nearest-neighbours classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnHead {
    /// Names of the classes, or labels.
    pub classes: Vec<String>,
    /// Whether an image may have several labels.
    pub multi_label: bool,
    /// Share of the votes from which the second of two classes, or a label, is predicted.
    pub threshold: f64,
    /// Number of neighbours that vote.
    pub k: usize,
    /// The weight of a neighbour's vote is `exp(cosine / temperature)`.
    pub temperature: f64,
    pub(super) bank: Bank,
    /// Whether image `i` has class `c`: `[n, classes]`.
    pub(super) labels: Vec<bool>,
    pub(super) dim: usize,
    /// Names of the training images, if they are kept: `[n]`.
    pub(super) names: Option<Vec<String>>,
}

/// A head's training features, packed for an instruction set.
pub(crate) struct PackedBank {
    isa: Isa,
    linear: PackedLinear,
}

/// A head with its packed training features, ready to search.
pub struct KnnIndex<'a> {
    head: &'a KnnHead,
    bank: PackedBank,
}

impl KnnHead {
    /// Stores the features of `train`, normalised to length 1. k is the smallest candidate and the threshold is 0.5
    /// until [`KnnHead::choose`] selects them.
    ///
    /// # Errors
    /// [`HeadError`] when features, targets and classes do not match, or a row of features is zero.
    pub fn new(train: &Examples<'_>, classes: &[String], int8: bool) -> Result<KnnHead, HeadError> {
        train.check_for_training(classes)?;
        let dim = train.features.ncols();
        if dim > MAX_INPUTS {
            return Err(HeadError::Shape {
                what: "length of a row of features",
                found: dim,
                expected: MAX_INPUTS,
            });
        }
        let mut rows = Vec::with_capacity(train.features.len());
        for (row, features) in train.features.rows().into_iter().enumerate() {
            let features = normalised(&features.to_vec()).ok_or(HeadError::NonFinite { row, column: 0 })?;
            rows.extend(features);
        }
        let bank = if int8 {
            let scales: Vec<f32> = rows.chunks_exact(dim).map(|row| largest(row) / 127.0).collect();
            let codes = rows
                .chunks_exact(dim)
                .zip(&scales)
                .flat_map(|(row, scale)| row.iter().map(move |v| (v / scale).round_ties_even() as i8));
            Bank::Int8 { codes: codes.collect(), scales }
        } else {
            Bank::F16(rows.iter().map(|&v| f16::from_f32(v)).collect())
        };
        let has: Vec<Vec<bool>> = (0..classes.len()).map(|class| train.targets.has(class)).collect();
        let labels = (0..train.len()).flat_map(|i| has.iter().map(move |has| has[i])).collect();
        KnnHead::from_parts(
            (classes.to_vec(), train.targets.multi_label()),
            (CANDIDATES[0].min(train.len()), TEMPERATURE, 0.5),
            bank,
            labels,
            dim,
        )
    }

    /// A head from the contents of its file.
    pub(super) fn from_parts(
        (classes, multi_label): (Vec<String>, bool),
        (k, temperature, threshold): (usize, f64, f64),
        bank: Bank,
        labels: Vec<bool>,
        dim: usize,
    ) -> Result<KnnHead, HeadError> {
        check_classes(&classes, multi_label)?;
        if dim > MAX_INPUTS {
            let what = "length of a row of features";
            return Err(HeadError::Shape { what, found: dim, expected: MAX_INPUTS });
        }
        let images = labels.len() / classes.len();
        if k == 0 || k > images {
            return Err(HeadError::Neighbours { k, images });
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(HeadError::Temperature(temperature));
        }
        if !(0.0..=1.0).contains(&threshold) {
            return Err(HeadError::Threshold(threshold));
        }
        Ok(KnnHead { classes, multi_label, threshold, k, temperature, bank, labels, dim, names: None })
    }

    /// Length of a feature row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of training images.
    pub fn images(&self) -> usize {
        self.labels.len() / self.classes.len()
    }

    /// Names of the training images, in the order in which they were given, if the head keeps them.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Keeps the names of the training images, so that an explanation can name the nearest ones. A name may identify a
    /// patient, and whoever has the head file can read it.
    ///
    /// # Errors
    /// [`HeadError::Shape`] when there is not one name for each image.
    pub fn keep_names(&mut self, names: Vec<String>) -> Result<(), HeadError> {
        let (found, expected) = (names.len(), self.images());
        if found != expected {
            return Err(HeadError::Shape { what: "number of names of training images", found, expected });
        }
        self.names = Some(names);
        Ok(())
    }

    /// The classes of training image `image`.
    pub(super) fn classes_of(&self, image: usize) -> Vec<usize> {
        let classes = self.classes.len();
        (0..classes).filter(|class| self.labels[image * classes + class]).collect()
    }

    /// The head, ready to search on `isa`. The cosines have the same bits on every instruction set.
    pub fn search(&self, isa: Isa) -> KnnIndex<'_> {
        KnnIndex { head: self, bank: self.pack(isa) }
    }

    /// The training features, packed for `isa`.
    pub(super) fn pack(&self, isa: Isa) -> PackedBank {
        let zeros = vec![0.0; self.images()];
        let linear = match &self.bank {
            Bank::F16(rows) => PackedLinear::f16(isa, rows, &zeros),
            Bank::Int8 { codes, scales } => PackedLinear::int8(isa, codes, scales, &zeros),
        };
        PackedBank { isa, linear }
    }

    /// Selects on validation images the k with the lowest cross entropy (unless `k` is given) and, with two classes,
    /// the threshold (Youden's J).
    ///
    /// # Errors
    /// [`HeadError`] when the features do not match the head, or a row is zero or not finite.
    pub fn choose(&mut self, val: &Examples<'_>, k: Option<usize>, isa: Isa) -> Result<(), HeadError> {
        val.check(&self.classes)?;
        let images = self.images();
        if let Some(k) = k.filter(|k| !(1..=images).contains(k)) {
            return Err(HeadError::Neighbours { k, images });
        }
        let ranked = self.search(isa).ranked(val.features)?;
        let truths: Vec<Vec<bool>> = (0..self.classes.len()).map(|class| val.targets.has(class)).collect();
        let mut best: Option<(f64, usize)> = None;
        let candidates: Vec<usize> = match k {
            Some(k) => vec![k],
            None => CANDIDATES.into_iter().filter(|&k| k <= images).chain([self.k]).collect(),
        };
        for k in candidates {
            let mut of_truth = Vec::new();
            for (i, ranked) in ranked.iter().enumerate() {
                let votes = self.votes(&ranked[..k]);
                for (class, truth) in truths.iter().enumerate() {
                    match (self.multi_label, truth[i]) {
                        (_, true) => of_truth.push(votes[class]),
                        (true, false) => of_truth.push(1.0 - votes[class]),
                        (false, false) => {}
                    }
                }
            }
            let loss = log_loss(&of_truth, &vec![1; of_truth.len()]).unwrap_or(f64::INFINITY);
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, k));
            }
        }
        if let Some((_, k)) = best {
            self.k = k;
        }
        if let (Targets::Classes(_), 2) = (val.targets, self.classes.len()) {
            let positive: Vec<f64> = ranked.iter().map(|ranked| self.votes(&ranked[..self.k])[1]).collect();
            self.threshold = youden_threshold(&val.targets.has(1), &positive).unwrap_or(0.5);
        }
        Ok(())
    }

    /// Each class's share of the votes, `[classes]`, for one feature row `[dim]`. `bank` must have been packed from
    /// this head.
    ///
    /// # Errors
    /// [`HeadError`] when the row has the wrong length, is zero or is not finite.
    pub(super) fn probabilities(&self, bank: &PackedBank, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        Ok(self.votes(&bank.nearest(features)?[..self.k]))
    }

    /// The training images that vote on the row `[dim]`, nearest first: index, cosine, and share of the votes.
    pub(super) fn voters(
        &self,
        bank: &PackedBank,
        features: &[f32],
    ) -> Result<Vec<(usize, f32, f64)>, HeadError> {
        let ranked = bank.nearest(features)?;
        let neighbours = &ranked[..self.k];
        let weights = self.weights(neighbours);
        let total: f64 = weights.iter().sum();
        let voter = |(&(cosine, image), weight): (&(f32, usize), &f64)| (image, cosine, weight / total);
        Ok(neighbours.iter().zip(&weights).map(voter).collect())
    }

    /// The weights of the votes of `neighbours`, given with their cosines, nearest first.
    fn weights(&self, neighbours: &[(f32, usize)]) -> Vec<f64> {
        let nearest = neighbours.first().map_or(0.0, |(cosine, _)| f64::from(*cosine));
        // Relative to the nearest neighbour, so that a small temperature does not overflow.
        let weight =
            |(cosine, _): &(f32, usize)| libm::exp((f64::from(*cosine) - nearest) / self.temperature);
        neighbours.iter().map(weight).collect()
    }

    /// Each class's share of the votes of `neighbours`, given with their cosines, nearest first.
    fn votes(&self, neighbours: &[(f32, usize)]) -> Vec<f64> {
        let classes = self.classes.len();
        let mut votes = vec![0.0; classes];
        let mut total = 0.0;
        for (&(_, image), weight) in neighbours.iter().zip(self.weights(neighbours)) {
            total += weight;
            for (vote, has) in votes.iter_mut().zip(&self.labels[image * classes..]) {
                *vote += if *has { weight } else { 0.0 };
            }
        }
        votes.iter_mut().for_each(|vote| *vote /= total);
        votes
    }
}

impl KnnIndex<'_> {
    /// Each class's share of the votes, `[classes]`, for one feature row `[dim]`.
    ///
    /// # Errors
    /// [`HeadError`] when the row has the wrong length, is zero or is not finite.
    pub fn probabilities(&self, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        self.head.probabilities(&self.bank, features)
    }

    /// The vote shares and the decision for one feature row.
    ///
    /// # Errors
    /// [`HeadError`] when the features do not match the head, or the row is zero or not finite.
    pub fn predict(&self, features: &[f32]) -> Result<Prediction, HeadError> {
        let probabilities = self.probabilities(features)?;
        let classes = decide(&probabilities, self.head.multi_label, self.head.threshold);
        Ok(Prediction { probabilities, classes })
    }

    fn ranked(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<Vec<(f32, usize)>>, HeadError> {
        rows.rows()
            .into_iter()
            .enumerate()
            .map(|(row, features)| {
                self.bank.nearest(&features.to_vec()).map_err(|e| match e {
                    HeadError::NonFinite { column, .. } => HeadError::NonFinite { row, column },
                    other => other,
                })
            })
            .collect()
    }
}

impl PackedBank {
    /// All training images with their cosines, nearest first; ties in index order.
    fn nearest(&self, features: &[f32]) -> Result<Vec<(f32, usize)>, HeadError> {
        let dim = self.linear.inputs();
        if features.len() != dim {
            let what = "length of a row of features";
            return Err(HeadError::Shape { what, found: features.len(), expected: dim });
        }
        let query = normalised(features).ok_or(HeadError::NonFinite { row: 0, column: 0 })?;
        let mut cosines = vec![0.0; self.linear.outputs()];
        let mut scratch = Scratch::of(&self.linear, 1);
        if self.linear.is_int8() {
            let mut codes = vec![0; codes_stride(dim)];
            let quants = [quantise::row(self.isa, &query, &mut codes)];
            let rows = Rows::Codes(QuantisedRows { codes: &codes, quants: &quants });
            self.linear.apply(rows, &mut scratch, &mut cosines, OutputMode::Store);
        } else {
            self.linear.apply(Rows::Float(&query), &mut scratch, &mut cosines, OutputMode::Store);
        }
        let mut ranked: Vec<(f32, usize)> = cosines.into_iter().zip(0..).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(ranked)
    }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0f32, |m, v| m.max(v.abs()))
}

/// `row` divided by its length; `None` if the length is zero or not finite.
fn normalised(row: &[f32]) -> Option<Vec<f32>> {
    let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite())
        .then(|| row.iter().map(|&v| (f64::from(v) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn set(n: usize, seed: usize) -> (Array2<f32>, Vec<usize>) {
        let noise = |i: usize, j: usize| (((i + seed) * 7919 + j * 104_729) % 1009) as f32 / 1009.0 - 0.5;
        let of: Vec<usize> = (0..n).map(|i| i % 3).collect();
        let x =
            Array2::from_shape_fn((n, 20), |(i, j)| noise(i, j) + if j % 3 == i % 3 { 0.25 } else { 0.0 });
        (x, of)
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn refuses_rows_that_no_kernel_multiplies() {
        let dim = MAX_INPUTS + 1;
        let bank = Bank::Int8 { codes: vec![0; dim], scales: vec![1.0] };
        let head = KnnHead::from_parts((names(), false), (1, 1.0, 0.5), bank, vec![true; 3], dim);
        assert!(matches!(head, Err(HeadError::Shape { found, .. }) if found == dim));
    }

    #[test]
    fn votes_as_the_definition_says_on_every_instruction_set() {
        let ((x, of), (queries, _)) = (set(60, 0), set(7, 400));
        let train = Examples { features: x.view(), targets: Targets::Classes(&of) };
        for int8 in [false, true] {
            let mut head = KnnHead::new(&train, &names(), int8).unwrap();
            head.k = 10;
            let scalar = head.search(Isa::SCALAR);
            for query in queries.rows() {
                let query = query.to_vec();
                let found = scalar.probabilities(&query).unwrap();
                for isa in Isa::available() {
                    assert_eq!(head.search(isa).probabilities(&query).unwrap(), found, "{isa}");
                }
                let expected = by_definition(&x, &of, &query, 10);
                // Half precision changes a cosine by at most 1e-3, and so a weight by 1.5%; int8 by about 4e-3.
                let bound = if int8 { 0.06 } else { 0.015 };
                for (a, b) in found.iter().zip(expected) {
                    assert!((a - b).abs() < bound, "{int8}: {a} {b}");
                }
            }
        }
    }

    fn by_definition(x: &Array2<f32>, of: &[usize], query: &[f32], k: usize) -> Vec<f64> {
        let length = |v: &[f32]| v.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        let mut near: Vec<(f64, usize)> = x
            .rows()
            .into_iter()
            .zip(of)
            .map(|(row, &class)| {
                let row = row.to_vec();
                let dot: f64 = row.iter().zip(query).map(|(a, b)| f64::from(a * b)).sum();
                (dot / length(&row) / length(query), class)
            })
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut votes = [0.0; 3];
        near[..k].iter().for_each(|(cosine, class)| votes[*class] += (cosine / TEMPERATURE).exp());
        let total: f64 = votes.iter().sum();
        votes.iter().map(|v| v / total).collect()
    }

    #[test]
    fn k_and_the_threshold_are_chosen_on_validation_images() {
        let ((x, of), (val_x, val_of)) = (set(90, 0), set(45, 700));
        let binary = |of: &[usize]| of.iter().map(|&c| usize::from(c == 2)).collect::<Vec<_>>();
        let (of, val_of) = (binary(&of), binary(&val_of));
        let train = Examples { features: x.view(), targets: Targets::Classes(&of) };
        let val = Examples { features: val_x.view(), targets: Targets::Classes(&val_of) };
        let mut head = KnnHead::new(&train, &names()[..2], false).unwrap();
        let before = head.clone();
        head.choose(&val, None, Isa::best()).unwrap();
        assert!(CANDIDATES.contains(&head.k) && head.k <= 90);
        let loss = |head: &KnnHead| {
            let search = head.search(Isa::best());
            let of_truth: Vec<f64> = val_x
                .rows()
                .into_iter()
                .zip(&val_of)
                .map(|(row, &class)| search.probabilities(&row.to_vec()).unwrap()[class])
                .collect();
            log_loss(&of_truth, &vec![1; of_truth.len()]).unwrap()
        };
        assert!(loss(&head) <= loss(&before));
        assert_ne!(head.threshold, 0.5);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let (x, of) = set(9, 0);
        let train = Examples { features: x.view(), targets: Targets::Classes(&of) };
        let head = KnnHead::new(&train, &names(), false).unwrap();
        let search = head.search(Isa::best());
        assert!(search.probabilities(&[0.0; 20]).is_err());
        assert!(search.probabilities(&[1.0; 19]).is_err());
        assert!(search.probabilities(&[f32::NAN; 20]).is_err());
    }
}
