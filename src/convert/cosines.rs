//! Cosine similarity between the tokens of two networks.

use crate::quant::{Agreement, Cosine};

/// Cosine similarities of the tokens of any number of images.
#[derive(Clone, Debug, Default)]
pub(super) struct Cosines {
    cls: Vec<f64>,
    patches: Vec<f64>,
}

impl Cosines {
    /// Adds an image, given as two `[tokens, dim]` arrays: CLS first, patches from row `prefix` on.
    pub fn add(&mut self, a: &[f32], b: &[f32], dim: usize, prefix: usize) {
        self.cls.push(cosine(&a[..dim], &b[..dim]));
        let rows = a[prefix * dim..].chunks_exact(dim).zip(b[prefix * dim..].chunks_exact(dim));
        self.patches.extend(rows.map(|(a, b)| cosine(a, b)));
    }

    /// Adds the images of `other`.
    pub fn append(&mut self, other: &Cosines) {
        self.cls.extend_from_slice(&other.cls);
        self.patches.extend_from_slice(&other.patches);
    }

    /// Summary of their distribution.
    pub fn agreement(self) -> Agreement {
        Agreement { cls: Cosine::of(self.cls), patches: Cosine::of(self.patches) }
    }
}

/// Cosine of the angle between two vectors; 1 for two zero vectors.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa == 0.0 && bb == 0.0 { 1.0 } else { ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarises_cosines() {
        let values: Vec<f64> = (0..=200).rev().map(|i| f64::from(i) / 200.0).collect();
        assert_eq!(Cosine::of(values), Cosine { mean: 0.5, p1: 0.01, min: 0.0 });
        let (a, b) = ([1.0, 0.0, 3.0, 4.0, 1.0, 1.0], [2.0, 0.0, 4.0, 3.0, -1.0, -1.0]);
        let mut cosines = Cosines::default();
        cosines.add(&a, &b, 2, 1);
        let agreement = cosines.agreement();
        assert_eq!(agreement.cls, Cosine { mean: 1.0, p1: 1.0, min: 1.0 });
        assert_eq!(agreement.patches, Cosine { mean: -0.02, p1: -1.0, min: -1.0 });
        assert_eq!(cosine(&[0.0], &[0.0]), 1.0);
    }
}
