//! Cross entropy plus soft Dice (Milletari et al., arXiv 1606.04797) of a batch, on cells finer than the patches.

use crate::input::LabelMap;

/// Smoothing: avoids division by zero in the Dice of a class that a batch lacks, and keeps its gradient small.
const SMOOTH: f64 = 1.0;

/// The share of each class in each cell of a mask, in 255ths: `[cells, classes]`.
pub(super) fn cells(mask: &LabelMap, (height, width): (usize, usize), classes: usize) -> Vec<u8> {
    let (rows, columns) = (shares(mask.height, height), shares(mask.width, width));
    let mut out = Vec::with_capacity(mask.depth * height * width * classes);
    let mut cell = vec![0f32; classes];
    for z in 0..mask.depth {
        let slice = mask.slice(z);
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            cell.fill(0.0);
            for &(y, part_y) in row {
                for &(x, part_x) in column {
                    cell[usize::from(slice[y * mask.width + x])] += part_y * part_x;
                }
            }
            out.extend(cell.iter().map(|share| (share * 255.0).round() as u8));
        }
    }
    out
}

/// For each of `to` equal parts of `from` samples: the samples that the part covers, each with its share of the part.
fn shares(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = from as f64 / to as f64;
    let part = |i: usize| {
        let (start, end) = (i as f64 * scale, (i + 1) as f64 * scale);
        let samples = start as usize..(end.ceil() as usize).min(from);
        let covered = |s: usize| (end.min(s as f64 + 1.0) - start.max(s as f64)) / scale;
        samples.map(|s| (s, covered(s) as f32)).filter(|(_, share)| *share > 0.0).collect()
    };
    (0..to).map(part).collect()
}

/// Sums over a batch for Dice: for each class `sum p g`, `sum p`, `sum g`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sums(pub Vec<[f64; 3]>);

impl Sums {
    pub(super) fn new(classes: usize) -> Sums {
        Sums(vec![[0.0; 3]; classes])
    }

    pub(super) fn add(&mut self, other: &Sums) {
        for (sum, other) in self.0.iter_mut().zip(&other.0) {
            sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
    }

    /// Sums of probabilities `[cells, classes]` and the truth in 255ths.
    pub(super) fn of(probabilities: &[f32], truth: &[u8], classes: usize) -> Sums {
        let mut sums = Sums::new(classes);
        for (p, g) in probabilities.chunks_exact(classes).zip(truth.chunks_exact(classes)) {
            for (sum, (&p, &g)) in sums.0.iter_mut().zip(p.iter().zip(g)) {
                let (p, g) = (f64::from(p), f64::from(g) / 255.0);
                *sum = [sum[0] + p * g, sum[1] + p, sum[2] + g];
            }
        }
        sums
    }
}

/// Softmax of each cell's logits, `[cells, classes]`, in place.
pub(super) fn softmax_rows(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_exact_mut(classes) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|z| *z = (*z - most).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|z| *z /= sum);
    }
}

/// Gradient of the batch's loss with respect to the logits of one of its examples: `probabilities` and `truth` belong
/// to the example, `sums` and the number of `cells` to the batch.
pub(super) fn gradient(probabilities: &[f32], truth: &[u8], sums: &Sums, cells: usize) -> Vec<f32> {
    let classes = sums.0.len();
    let foreground = (classes - 1) as f64;
    // The derivative of 1 - (2 sum pg + s) / (sum p + sum g + s) with respect to p is constant + slope * g.
    let dice: Vec<(f32, f32)> = sums
        .0
        .iter()
        .enumerate()
        .map(|(class, [both, p, g])| {
            let whole = p + g + SMOOTH;
            let scale = if class == 0 { 0.0 } else { 1.0 / (foreground * whole * whole) };
            (((2.0 * both + SMOOTH) * scale) as f32, (-2.0 * whole * scale) as f32)
        })
        .collect();
    let mut out = Vec::with_capacity(probabilities.len());
    let mut toward = vec![0f32; classes];
    for (p, g) in probabilities.chunks_exact(classes).zip(truth.chunks_exact(classes)) {
        let mut mean = 0.0;
        for c in 0..classes {
            toward[c] = dice[c].0 + dice[c].1 * f32::from(g[c]) / 255.0;
            mean += toward[c] * p[c];
        }
        out.extend((0..classes).map(|c| {
            let cross_entropy = (p[c] - f32::from(g[c]) / 255.0) / cells as f32;
            cross_entropy + p[c] * (toward[c] - mean)
        }));
    }
    out
}

/// The loss itself, for comparison with `gradient`.
#[cfg(test)]
fn loss(probabilities: &[f32], truth: &[u8], sums: &Sums, cells: usize) -> f64 {
    let terms = probabilities.iter().zip(truth).map(|(&p, &g)| -f64::from(g) / 255.0 * f64::from(p).ln());
    let dice = sums.0[1..].iter().map(|[both, p, g]| 1.0 - (2.0 * both + SMOOTH) / (p + g + SMOOTH));
    terms.sum::<f64>() / cells as f64 + dice.sum::<f64>() / (sums.0.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_the_share_of_each_class() {
        let mask = LabelMap::new(1, 2, 3, vec![0, 1, 1, 0, 0, 2]).unwrap();
        // Two columns of one and a half pixels each.
        assert_eq!(cells(&mask, (1, 2), 3), [213, 43, 0, 43, 128, 85]);
        // Finer than the mask: each cell lies within one pixel.
        assert_eq!(cells(&mask, (2, 6), 3).chunks_exact(3).filter(|c| c.contains(&255)).count(), 12);
    }

    #[test]
    fn the_gradient_is_the_derivative() {
        let logits: Vec<f32> = (0..15).map(|i| (i as f32 * 0.9).sin()).collect();
        let truth = [255, 0, 0, 0, 255, 0, 100, 155, 0, 0, 0, 255, 255, 0, 0];
        let at = |logits: &[f32]| {
            let mut p = logits.to_vec();
            softmax_rows(&mut p, 3);
            let sums = Sums::of(&p, &truth, 3);
            (loss(&p, &truth, &sums, 5), gradient(&p, &truth, &sums, 5))
        };
        let (_, gradient) = at(&logits);
        for i in 0..logits.len() {
            let moved = |h: f32| {
                let mut logits = logits.clone();
                logits[i] += h;
                at(&logits).0
            };
            // Errors: h^2 times the third derivative, and f32 probabilities divided by 2 h.
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-4, "{i}: {numeric} {}", gradient[i]);
        }
    }
}
