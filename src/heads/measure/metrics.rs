//! Metrics of predictions. Every sum takes an integer weight per image, so that the same code evaluates a bootstrap
//! resample with other weights. The definitions, including ties and absent classes, are scikit-learn's.

/// Lower bound of probabilities in logarithms: scikit-learn's bound, the epsilon of f64.
pub const PROBABILITY_FLOOR: f64 = f64::EPSILON;

/// Scores sorted once, so that the AUC under any weights takes one pass over them.
#[derive(Clone, Debug)]
pub struct AucScores {
    /// Image indices by ascending score.
    order: Vec<usize>,
    /// End indices, in `order`, of the runs of equal scores.
    ends: Vec<usize>,
}

impl AucScores {
    /// Sorts `scores`, one per image.
    pub fn new(scores: &[f64]) -> AucScores {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut ends: Vec<usize> =
            (1..order.len()).filter(|&i| scores[order[i]] != scores[order[i - 1]]).collect();
        ends.push(order.len());
        AucScores { order, ends }
    }

    /// The images by ascending score, those of equal scores together.
    pub(super) fn runs(&self) -> impl Iterator<Item = &[usize]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.order[start..end]).filter(|run| !run.is_empty())
    }

    /// Area under the ROC curve: the probability that a positive image scores above a negative one, ties counting half
    /// (mid-ranks; Hanley and McNeil 1982). `None` if there are no positives or no negatives.
    pub fn auc(&self, positive: &[bool], weights: &[u32]) -> Option<f64> {
        let (mut twice_above, mut positives, mut negatives) = (0u64, 0u64, 0u64);
        let mut start = 0;
        for &end in &self.ends {
            let (mut p, mut n) = (0u64, 0u64);
            for &i in &self.order[start..end] {
                *(if positive[i] { &mut p } else { &mut n }) += u64::from(weights[i]);
            }
            twice_above += p * (2 * negatives + n);
            positives += p;
            negatives += n;
            start = end;
        }
        let pairs = positives * negatives;
        (pairs > 0).then(|| twice_above as f64 / (2 * pairs) as f64)
    }
}

/// [`AucScores::auc`] with every image counted once.
///
/// ```
/// # use microraptor::heads::auc;
/// assert_eq!(auc(&[false, true, true], &[0.1, 0.1, 0.9]), Some(0.75));
/// assert_eq!(auc(&[true, true], &[0.1, 0.9]), None);
/// ```
pub fn auc(positive: &[bool], scores: &[f64]) -> Option<f64> {
    AucScores::new(scores).auc(positive, &vec![1; positive.len()])
}

/// Counts of true class against predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    /// `[truth][prediction]`
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// Counts image i `weights[i]` times; `truth` and `predicted` are class indices below `classes`.
    pub fn new(classes: usize, truth: &[usize], predicted: &[usize], weights: &[u32]) -> ConfusionMatrix {
        let mut counts = vec![vec![0; classes]; classes];
        for ((&t, &p), &w) in truth.iter().zip(predicted).zip(weights) {
            counts[t][p] += u64::from(w);
        }
        ConfusionMatrix { counts }
    }

    /// Counts of `class` against the rest.
    pub fn rates(&self, class: usize) -> Rates {
        let all: u64 = self.counts.iter().flatten().sum();
        let truth: u64 = self.counts[class].iter().sum();
        let predicted: u64 = self.counts.iter().map(|row| row[class]).sum();
        let true_positive = self.counts[class][class];
        Rates {
            true_positive,
            false_negative: truth - true_positive,
            false_positive: predicted - true_positive,
            true_negative: all + true_positive - truth - predicted,
        }
    }

    /// Share of images classified correctly.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.counts.len()).map(|c| self.counts[c][c]).sum();
        ratio(right, self.counts.iter().flatten().sum())
    }

    /// Mean sensitivity of the classes that have at least one image.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean((0..self.counts.len()).filter_map(|class| self.rates(class).sensitivity()))
    }

    /// Mean F1 of the classes that have at least one image or prediction.
    pub fn macro_f1(&self) -> Option<f64> {
        mean((0..self.counts.len()).filter_map(|class| self.rates(class).f1()))
    }
}

/// Counts of one class against the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Has the class and is predicted to have it.
    pub true_positive: u64,
    /// Has the class and is predicted to lack it.
    pub false_negative: u64,
    /// Lacks the class and is predicted to have it.
    pub false_positive: u64,
    /// Lacks the class and is predicted to lack it.
    pub true_negative: u64,
}

impl Rates {
    /// Counts image i `weights[i]` times; it is predicted positive if its score is at `threshold` or above.
    pub fn at(threshold: f64, positive: &[bool], scores: &[f64], weights: &[u32]) -> Rates {
        let mut rates = Rates::default();
        for ((&positive, &score), &weight) in positive.iter().zip(scores).zip(weights) {
            *match (positive, score >= threshold) {
                (true, true) => &mut rates.true_positive,
                (true, false) => &mut rates.false_negative,
                (false, true) => &mut rates.false_positive,
                (false, false) => &mut rates.true_negative,
            } += u64::from(weight);
        }
        rates
    }

    /// Share of the images with the class that are predicted to have it; `None` if no image has it.
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.true_positive, self.true_positive + self.false_negative)
    }

    /// Share of the images without the class that are predicted to lack it; `None` if every image has it.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negative, self.true_negative + self.false_positive)
    }

    /// Harmonic mean of sensitivity and precision; `None` if the class occurs in neither truth nor prediction.
    pub fn f1(&self) -> Option<f64> {
        let twice = 2 * self.true_positive;
        ratio(twice, twice + self.false_positive + self.false_negative)
    }
}

/// Weighted mean of `-ln p` over `probabilities`, those predicted for the truth; `None` if the weights sum to zero.
pub fn log_loss(probabilities: &[f64], weights: &[u32]) -> Option<f64> {
    let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    let sum: f64 = probabilities
        .iter()
        .zip(weights)
        .map(|(&p, &w)| -f64::from(w) * libm::log(p.clamp(PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)))
        .sum();
    (total > 0).then(|| sum / total as f64)
}

/// The threshold that maximises Youden's J, sensitivity + specificity - 1 (Cancer 3:32, 1950). It lies halfway between
/// two neighbouring scores; of equally good thresholds, it is the one nearest to 0.5. `None` if there are no positives,
/// no negatives, or no two different scores.
pub fn youden_threshold(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = positive.iter().filter(|&&p| p).count() as i128;
    let negatives = positive.len() as i128 - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let AucScores { order, ends } = AucScores::new(scores);
    // J times positives * negatives, as an integer, so that ties compare equal.
    let mut j = 0;
    let mut best: Option<(i128, f64)> = None;
    let mut start = 0;
    for &end in &ends[..ends.len() - 1] {
        for &i in &order[start..end] {
            j += if positive[i] { -negatives } else { positives };
        }
        start = end;
        let (below, above) = (scores[order[end - 1]], scores[order[end]]);
        let middle = below + 0.5 * (above - below);
        let threshold = if middle > below { middle } else { above };
        let nearer = |old: f64| (threshold - 0.5).abs() < (old - 0.5).abs();
        if best.is_none_or(|(best, old)| j > best || (j == best && nearer(old))) {
            best = Some((j, threshold));
        }
    }
    best.map(|(_, threshold)| threshold)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean of `values`; `None` if empty.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0u32);
    for value in values {
        sum += value;
        n += 1;
    }
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_counts_pairs() {
        // Compares with the definition, over every pair, with ties and repeated images.
        let scores = [0.3, 0.1, 0.3, 0.8, 0.8, 0.2, 0.3];
        let positive = [true, false, false, true, false, true, true];
        let weights = [2, 1, 3, 0, 1, 1, 4];
        let (mut above, mut pairs) = (0.0, 0.0);
        for i in (0..7).filter(|&i| positive[i]) {
            for j in (0..7).filter(|&j| !positive[j]) {
                let pair = f64::from(weights[i] * weights[j]);
                pairs += pair;
                above += pair
                    * if scores[i] > scores[j] {
                        1.0
                    } else if scores[i] == scores[j] {
                        0.5
                    } else {
                        0.0
                    };
            }
        }
        assert_eq!(AucScores::new(&scores).auc(&positive, &weights), Some(above / pairs));
        assert_eq!(auc(&[], &[]), None);
        assert_eq!(auc(&[false, true], &[0.0, -0.0]), Some(0.5));
    }

    #[test]
    fn youden_takes_the_best_cut() {
        let positive = [false, false, true, false, true, true];
        let scores = [0.1, 0.2, 0.3, 0.4, 0.6, 0.9];
        // Cuts at 0.25 (sensitivity 3/3, specificity 2/3) and 0.5 (2/3, 3/3) tie: the one nearer to 0.5 wins.
        assert_eq!(youden_threshold(&positive, &scores), Some(0.5));
        assert_eq!(youden_threshold(&[true, false], &[0.4, 0.4]), None);
        assert_eq!(youden_threshold(&[true, true], &[0.4, 0.5]), None);
        let next = 0.4f64.next_up();
        assert_eq!(youden_threshold(&[false, true], &[0.4, next]), Some(next));
    }

    #[test]
    fn absent_classes_do_not_count() {
        let matrix = ConfusionMatrix::new(3, &[0, 0, 1, 1], &[0, 1, 1, 1], &[1; 4]);
        assert_eq!(matrix.balanced_accuracy(), Some(0.75));
        // F1 of class 0 is 2/3, of class 1 is 4/5; class 2 occurs nowhere.
        assert_eq!(matrix.macro_f1(), Some((2.0 / 3.0 + 0.8) / 2.0));
        assert_eq!(matrix.rates(2).sensitivity(), None);
        assert_eq!(matrix.rates(2).specificity(), Some(1.0));
        assert_eq!(ConfusionMatrix::new(2, &[], &[], &[]).accuracy(), None);
    }
}
