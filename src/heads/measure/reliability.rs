//! Reliability: whether what is predicted with a probability p happens in a share p of the cases.

use ndarray::ArrayView2;
use serde::Serialize;

use crate::heads::Targets;

/// Number of bins, as in Guo et al. 2017.
const BINS: usize = 15;

/// Predicted probabilities, ascending, each with whether what was predicted was so.
///
/// Of two classes these are the probability of the second and whether an image has it, of one label likewise; of three
/// or more classes the largest probability, and whether the most probable class (the first if tied) is the true one.
#[derive(Clone, Debug)]
pub struct Reliability {
    /// Index of the image, probability, and whether it was so.
    sorted: Vec<(usize, f64, bool)>,
}

/// Images of neighbouring probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Number of images.
    pub images: u64,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share in which what was predicted was so.
    pub observed: f64,
}

impl Reliability {
    /// Of `probabilities` `[n, classes]`: one, or one for each label of a multi-label set.
    pub fn of(targets: &Targets<'_>, probabilities: ArrayView2<'_, f64>) -> Vec<Reliability> {
        let column =
            |class: usize| Reliability::new(probabilities.column(class).to_vec(), targets.has(class));
        match targets {
            Targets::Labels(_) => (0..probabilities.ncols()).map(column).collect(),
            Targets::Classes(_) if probabilities.ncols() == 2 => vec![column(1)],
            Targets::Classes(of) => {
                let most = |row: ndarray::ArrayView1<'_, f64>| {
                    row.iter().enumerate().fold(
                        (0, f64::MIN),
                        |best, (class, &p)| {
                            if p > best.1 { (class, p) } else { best }
                        },
                    )
                };
                let (said, p): (Vec<usize>, Vec<f64>) = probabilities.rows().into_iter().map(most).unzip();
                vec![Reliability::new(p, said.iter().zip(*of).map(|(said, of)| said == of).collect())]
            }
        }
    }

    fn new(probabilities: Vec<f64>, so: Vec<bool>) -> Reliability {
        let all = probabilities.into_iter().zip(so).enumerate();
        let mut sorted: Vec<_> = all.map(|(image, (p, so))| (image, p, so)).collect();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        Reliability { sorted }
    }

    /// Bins of equal mass (Nguyen and O'Connor 2015, arXiv 1508.05154, section 3.2): of n images the i-th in ascending
    /// order of probability, from 0, is in bin `floor(15 i / n)`; equal ones stay in the order of the images. Image i
    /// counts `weights[i]` times.
    pub fn bins(&self, weights: &[u32]) -> Vec<ReliabilityBin> {
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        let mut bins = vec![ReliabilityBin::default(); BINS];
        let mut before = 0u64;
        for &(image, p, so) in &self.sorted {
            for _ in 0..weights[image] {
                let bin = &mut bins[(before * BINS as u64 / total) as usize];
                bin.images += 1;
                bin.predicted += p;
                bin.observed += f64::from(u8::from(so));
                before += 1;
            }
        }
        bins.retain(|bin| bin.images > 0);
        for bin in &mut bins {
            bin.predicted /= bin.images as f64;
            bin.observed /= bin.images as f64;
        }
        bins
    }

    /// Expected calibration error, `sum over bins of images / n * |observed - predicted|` (Guo et al. 2017, arXiv
    /// 1706.04599, equation 3), with bins of equal mass instead of equal width. `None` if the weights sum to zero.
    pub fn ece(&self, weights: &[u32]) -> Option<f64> {
        let bins = self.bins(weights);
        let total: u64 = bins.iter().map(|bin| bin.images).sum();
        let sum: f64 = bins.iter().map(|bin| bin.images as f64 * (bin.observed - bin.predicted).abs()).sum();
        (total > 0).then(|| sum / total as f64)
    }

    /// The bins of all images, each counted once.
    pub fn of_all(&self) -> Vec<ReliabilityBin> {
        self.bins(&vec![1; self.sorted.len()])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn bins_have_equal_mass() {
        let p = Array2::from_shape_fn((30, 2), |(i, class)| {
            let second = (i as f64 + 0.5) / 30.0;
            if class == 1 { second } else { 1.0 - second }
        });
        let of: Vec<usize> = (0..30).map(|i| i % 2).collect();
        let all = Reliability::of(&Targets::Classes(&of), p.view());
        let bins = all[0].of_all();
        assert_eq!(bins.len(), 15);
        assert!(bins.iter().all(|bin| bin.images == 2 && bin.observed == 0.5));
        assert!((bins[0].predicted - 1.0 / 30.0).abs() < 1e-12);
        // The distance of (2 b + 1) / 30 from 1/2, on average over the bins.
        let expected = (0..15).map(|b| (0.5 - (2 * b + 1) as f64 / 30.0).abs()).sum::<f64>() / 15.0;
        assert!((all[0].ece(&[1; 30]).unwrap() - expected).abs() < 1e-12);
        // Each image twice: the same bins.
        let twice = all[0].ece(&[2; 30]).unwrap();
        assert!((twice - expected).abs() < 1e-12);
        assert_eq!(all[0].ece(&[0; 30]), None);
    }

    #[test]
    fn of_many_classes_the_most_probable_one_counts() {
        let p = array![[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]];
        let all = Reliability::of(&Targets::Classes(&[2, 1]), p.view());
        // Two images in bins of their own: |1 - 0.5| and |0 - 0.6|.
        assert!((all[0].ece(&[1, 1]).unwrap() - 0.55).abs() < 1e-12);
    }
}
