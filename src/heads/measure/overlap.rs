//! Overlap of two label maps: Dice and intersection over union.

use std::ops::AddAssign;

use crate::heads::HeadError;
use crate::input::LabelMap;

/// Pixel or voxel counts of one class in a true and in a predicted map. Summing them over cases gives the pooled
/// metrics; averaging [`Overlap::dice`] over cases gives the per-case mean.
///
/// A class in neither map is undefined (`None`), and a mean skips such a case; a class in only one of them scores 0.
/// Metrics Reloaded (Maier-Hein et al., Nature Methods 21:195, 2024) asks for this to be decided beforehand: an empty
/// prediction of an empty truth says nothing about overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Pixels of the class in both maps.
    pub intersection: u64,
    /// Pixels of the class in the true map.
    pub truth: u64,
    /// Pixels of the class in the predicted map.
    pub predicted: u64,
}

impl Overlap {
    /// Dice coefficient, twice the intersection over the sum of both areas, in 0..=1.
    ///
    /// ```
    /// # use microraptor::heads::Overlap;
    /// assert_eq!(Overlap { intersection: 3, truth: 4, predicted: 8 }.dice(), Some(0.5));
    /// assert_eq!(Overlap::default().dice(), None);
    /// ```
    pub fn dice(&self) -> Option<f64> {
        let both = self.truth + self.predicted;
        (both > 0).then(|| (2 * self.intersection) as f64 / both as f64)
    }

    /// Intersection over union (Jaccard index), in 0..=1.
    pub fn iou(&self) -> Option<f64> {
        let union = self.truth + self.predicted - self.intersection;
        (union > 0).then(|| self.intersection as f64 / union as f64)
    }
}

impl AddAssign for Overlap {
    fn add_assign(&mut self, other: Overlap) {
        self.intersection += other.intersection;
        self.truth += other.truth;
        self.predicted += other.predicted;
    }
}

/// The overlap of each class, the background (0) first: `[classes]`.
///
/// # Errors
/// [`HeadError::Shape`] when the maps differ in size, [`HeadError::MapClass`] when a map contains a class index that is
/// not below `classes`.
pub fn overlaps(truth: &LabelMap, predicted: &LabelMap, classes: usize) -> Result<Vec<Overlap>, HeadError> {
    let sides = [
        ("slices of the predicted label map", predicted.depth, truth.depth),
        ("rows of the predicted label map", predicted.height, truth.height),
        ("columns of the predicted label map", predicted.width, truth.width),
    ];
    for (what, found, expected) in sides {
        if found != expected {
            return Err(HeadError::Shape { what, found, expected });
        }
    }
    // Every pair of labels has its own counter, so that the loop over voxels does not branch.
    let mut pairs = vec![0u64; 1 << 16];
    for (&t, &p) in truth.labels.iter().zip(&predicted.labels) {
        pairs[usize::from(t) << 8 | usize::from(p)] += 1;
    }
    let mut overlaps = vec![Overlap::default(); classes];
    for (pair, &count) in pairs.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (t, p) = (pair >> 8, pair & 0xFF);
        for (map, class) in [("true", t), ("predicted", p)] {
            if class >= classes {
                return Err(HeadError::MapClass { map, class, classes });
            }
        }
        overlaps[t].truth += count;
        overlaps[p].predicted += count;
        if t == p {
            overlaps[t].intersection += count;
        }
    }
    Ok(overlaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(labels: &[u8]) -> LabelMap {
        LabelMap::new(1, 2, labels.len() / 2, labels.to_vec()).unwrap()
    }

    #[test]
    fn counts_each_class() {
        let found = overlaps(&map(&[0, 1, 1, 2, 0, 0]), &map(&[0, 1, 0, 0, 1, 0]), 4).unwrap();
        assert_eq!(found[1], Overlap { intersection: 1, truth: 2, predicted: 2 });
        assert_eq!((found[1].dice(), found[1].iou()), (Some(0.5), Some(1.0 / 3.0)));
        assert_eq!(found[2].dice(), Some(0.0), "missed altogether");
        assert_eq!((found[3].dice(), found[3].iou()), (None, None), "in neither map");
        assert_eq!(found.iter().map(|o| o.truth).sum::<u64>(), 6);
    }

    #[test]
    fn pooled_is_not_the_mean_of_cases() {
        let mut pooled = Overlap { intersection: 10, truth: 10, predicted: 10 };
        pooled += Overlap { intersection: 0, truth: 5, predicted: 5 };
        assert_eq!(pooled.dice(), Some(20.0 / 30.0));
    }

    #[test]
    fn refuses_other_sizes_and_unknown_classes() {
        let error = overlaps(&map(&[0; 4]), &map(&[0; 6]), 2).unwrap_err().to_string();
        assert_eq!(error, "columns of the predicted label map: found 3, expected 2");
        let error = overlaps(&map(&[0; 4]), &map(&[0, 0, 2, 0]), 2).unwrap_err().to_string();
        assert!(
            error.starts_with("the predicted label map holds class number 2, and there are 2"),
            "{error}"
        );
    }
}
