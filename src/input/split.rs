//! Training, validation and test sets: given by the data set, or drawn from a seed.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, InputError, Sample, Split};

/// Indices into [`Dataset::samples`], each list ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// For fitting.
    pub train: Vec<usize>,
    /// For model selection.
    pub val: Vec<usize>,
    /// For final evaluation; empty unless the data set specifies test samples.
    pub test: Vec<usize>,
    /// For the scores of prediction sets alone; empty unless [`Dataset::split_aside`] was asked for some.
    pub aside: Vec<usize>,
}

impl Dataset {
    /// Splits the samples: by their `split` field if they have one (`seed` and `val_fraction` are then unused), else by a stratified draw of `val_fraction` of each
    /// class (rounded, at least one and not all) with ChaCha8 from `seed`, identical on every machine. For multi-label
    /// images, the rarest class is drawn first (Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10).
    ///
    /// # Errors
    /// [`InputError::Split`]: a class has fewer than two images or none on one side, only some samples specify a split,
    /// the training or the validation set is empty, or `val_fraction` is not between 0 and 1.
    pub fn split(&self, seed: u64, val_fraction: f64) -> Result<Parts, InputError> {
        let given = self.samples.iter().filter(|s| s.split.is_some()).count();
        let sides: Vec<Split> = if given == 0 {
            self.draw(seed, val_fraction)?
        } else if given == self.samples.len() {
            self.samples.iter().filter_map(|s| s.split).collect()
        } else {
            let without = self.samples.len() - given;
            return Err(problem(format!(
                "{without} of {} samples name no split: give all or none",
                self.samples.len()
            )));
        };
        let side = |side| (0..sides.len()).filter(|&i| sides[i] == side).collect();
        let aside = Vec::new();
        let parts =
            Parts { train: side(Split::Train), val: side(Split::Val), test: side(Split::Test), aside };
        self.check(&parts)?;
        Ok(parts)
    }

    /// As [`Dataset::split`] of what remains when `share` of the images is set aside (rounded, at least one): of those
    /// for training, or, if the data set specifies no split, of all.
    ///
    /// These are drawn simply at random, whatever their class. A draw that fixes how many of each class there are is not
    /// exchangeable with new images, and split conformal prediction needs that.
    ///
    /// # Errors
    /// As [`Dataset::split`]; [`InputError::Split`] also if `share` is not between 0 and 1.
    pub fn split_aside(&self, seed: u64, val_fraction: f64, share: f64) -> Result<Parts, InputError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(problem(format!("a share of {share} to set aside is not between 0 and 1")));
        }
        let training = |&i: &usize| self.samples[i].split.is_none_or(|split| split == Split::Train);
        let mut aside: Vec<usize> = (0..self.samples.len()).filter(training).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Other numbers than those that draw the validation images.
        rng.set_stream(1);
        shuffle(&mut rng, &mut aside);
        aside.truncate(self::share(share, aside.len()).max(1));
        aside.sort_unstable();
        let rest: Vec<usize> = (0..self.samples.len()).filter(|i| aside.binary_search(i).is_err()).collect();
        let Parts { train, val, test, .. } = self.subset(&rest).split(seed, val_fraction)?;
        let of = |indices: Vec<usize>| indices.into_iter().map(|i| rest[i]).collect();
        Ok(Parts { train: of(train), val: of(val), test: of(test), aside })
    }

    /// Assigns the samples to `parts` folds of nearly equal size, stratified by class (for multi-label images, by set
    /// of labels), with ChaCha8 from `seed`. Returns the fold index of each sample.
    pub fn folds(&self, parts: usize, seed: u64) -> Vec<usize> {
        let mut by_labels: BTreeMap<&[usize], Vec<usize>> = BTreeMap::new();
        for (i, sample) in self.samples.iter().enumerate() {
            by_labels.entry(&sample.labels).or_default().push(i);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut of = vec![0; self.samples.len()];
        let mut next = 0;
        for mut members in by_labels.into_values() {
            members.shuffle(&mut rng);
            for i in members {
                of[i] = next % parts;
                next += 1;
            }
        }
        of
    }

    /// Number of samples of each class.
    pub fn counts(&self) -> Vec<usize> {
        count(self.classes.len(), self.samples.iter())
    }

    fn draw(&self, seed: u64, val_fraction: f64) -> Result<Vec<Split>, InputError> {
        if !(val_fraction > 0.0 && val_fraction < 1.0) {
            return Err(problem(format!("a validation fraction of {val_fraction} is not between 0 and 1")));
        }
        let counts = self.counts();
        for (class, &images) in self.classes.iter().zip(&counts) {
            if images < 2 {
                return Err(problem(format!(
                    "class '{class}' has {images} image{}, training and validation need one each: add images or remove the class",
                    if images == 1 { "" } else { "s" }
                )));
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut sides: Vec<Option<Split>> = vec![None; self.samples.len()];
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&class| (counts[class], class));
        for class in order {
            let members: Vec<usize> =
                (0..sides.len()).filter(|&i| self.samples[i].labels.contains(&class)).collect();
            let wanted = share(val_fraction, members.len()).clamp(1, members.len() - 1);
            let there = members.iter().filter(|&&i| sides[i] == Some(Split::Val)).count();
            deal(&mut rng, &members, wanted.saturating_sub(there), &mut sides);
        }
        let unlabelled: Vec<usize> =
            (0..sides.len()).filter(|&i| self.samples[i].labels.is_empty()).collect();
        deal(&mut rng, &unlabelled, share(val_fraction, unlabelled.len()), &mut sides);
        Ok(sides.into_iter().map(|side| side.unwrap_or(Split::Train)).collect())
    }

    fn check(&self, parts: &Parts) -> Result<(), InputError> {
        let sides = BTreeMap::from([("train", &parts.train), ("val", &parts.val)]);
        for (name, indices) in sides {
            if indices.is_empty() {
                return Err(problem(format!(
                    "no sample is for '{name}': mark some, or drop the split to have it drawn"
                )));
            }
            let counts = count(self.classes.len(), indices.iter().map(|&i| &self.samples[i]));
            if let Some(class) = counts.iter().position(|&images| images == 0) {
                return Err(problem(format!(
                    "class '{}' has no image in '{name}': move or add one, or remove the class",
                    self.classes[class]
                )));
            }
        }
        Ok(())
    }
}

fn problem(problem: String) -> InputError {
    InputError::Split { problem }
}

fn count<'a>(classes: usize, samples: impl Iterator<Item = &'a Sample>) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for label in samples.flat_map(|s| &s.labels) {
        counts[*label] += 1;
    }
    counts
}

/// `fraction` of `n`, rounded half away from zero.
fn share(fraction: f64, n: usize) -> usize {
    (fraction * n as f64).round() as usize
}

/// Assigns `val` of the unassigned `members`, drawn at random, to validation and the rest to training.
fn deal(rng: &mut ChaCha8Rng, members: &[usize], val: usize, sides: &mut [Option<Split>]) {
    let mut free: Vec<usize> = members.iter().copied().filter(|&i| sides[i].is_none()).collect();
    shuffle(rng, &mut free);
    for (position, sample) in free.into_iter().enumerate() {
        sides[sample] = Some(if position < val { Split::Val } else { Split::Train });
    }
}

/// Fisher-Yates shuffle; implemented here because rand does not guarantee the same permutation across versions.
fn shuffle(rng: &mut ChaCha8Rng, indices: &mut [usize]) {
    for last in (1..indices.len()).rev() {
        let other = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        indices.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Dicom, Source};

    fn dataset(labels: &[&[usize]], classes: usize) -> Dataset {
        let sample = |(i, labels): (usize, &&[usize])| Sample {
            mask: None,
            name: format!("{i}.png"),
            source: Source::File(format!("{i}.png").into()),
            labels: labels.to_vec(),
            split: None,
        };
        Dataset {
            classes: (0..classes).map(|c| format!("c{c}")).collect(),
            samples: labels.iter().enumerate().map(sample).collect(),
            dicom: Dicom::Unknown,
        }
    }

    #[test]
    fn draws_every_class_in_proportion_and_always_the_same() {
        let labels: Vec<&[usize]> = (0..100).map(|i| if i % 10 == 0 { &[1][..] } else { &[0][..] }).collect();
        let data = dataset(&labels, 2);
        let parts = data.split(7, 0.2).unwrap();
        let of = |indices: &[usize]| count(2, indices.iter().map(|&i| &data.samples[i]));
        assert_eq!((of(&parts.train), of(&parts.val)), (vec![72, 8], vec![18, 2]));
        assert_eq!(parts, data.split(7, 0.2).unwrap());
        assert_ne!(parts, data.split(8, 0.2).unwrap());
        // Pinned, because a change of the draw would silently change every published number.
        assert_eq!(parts.val[..4], PINNED);
    }

    const PINNED: [usize; 4] = [4, 15, 21, 27];

    #[test]
    fn several_labels_land_on_both_sides() {
        let labels: Vec<&[usize]> =
            (0..60).map(|i| [&[0][..], &[0, 1], &[1, 2], &[], &[0, 2], &[1]][i % 6]).collect();
        let data = dataset(&labels, 3);
        let parts = data.split(1, 0.25).unwrap();
        assert_eq!(parts.train.len() + parts.val.len(), 60);
        let val = count(3, parts.val.iter().map(|&i| &data.samples[i]));
        // 30, 30 and 20 images: a quarter each, within the tolerance that co-occurring labels require.
        assert!(
            (5..=10).contains(&val[0]) && (5..=10).contains(&val[1]) && (4..=6).contains(&val[2]),
            "{val:?}"
        );
    }

    #[test]
    fn what_is_set_aside_is_in_no_other_part() {
        let labels: Vec<&[usize]> = (0..100).map(|i| if i % 10 == 0 { &[1][..] } else { &[0][..] }).collect();
        let mut data = dataset(&labels, 2);
        let parts = data.split_aside(7, 0.2, 0.25).unwrap();
        assert_eq!((parts.aside.len(), parts.val.len(), parts.train.len()), (25, 15, 60));
        let all = |parts: &Parts| {
            let mut all = [&parts.train[..], &parts.val, &parts.test, &parts.aside].concat();
            all.sort_unstable();
            all
        };
        assert_eq!(all(&parts), (0..100).collect::<Vec<_>>());
        assert_eq!(parts, data.split_aside(7, 0.2, 0.25).unwrap());
        // Whatever the class: the number of the rarer one of those set aside is hypergeometric. Of 25 of 100 with 10 of
        // the class the variance is 25 * 0.1 * 0.9 * 75 / 99 = 1.7; the estimate of it from 200 draws is within 40%.
        let rare = |seed| {
            let aside = data.split_aside(seed, 0.2, 0.25).unwrap().aside;
            aside.iter().filter(|&&i| i % 10 == 0).count() as f64
        };
        let found: Vec<f64> = (0..200).map(rare).collect();
        let mean = found.iter().sum::<f64>() / 200.0;
        let variance = found.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 199.0;
        assert!((mean - 2.5).abs() < 0.4 && (1.0..2.4).contains(&variance), "{mean} {variance}");
        // Of data with a split, of the training images.
        for (i, sample) in data.samples.iter_mut().enumerate() {
            sample.split = Some([Split::Train, Split::Val, Split::Test, Split::Train][(i + i / 10) % 4]);
        }
        let parts = data.split_aside(7, 0.2, 0.5).unwrap();
        assert_eq!(
            parts.aside.len().abs_diff(parts.train.len()),
            (parts.train.len() + parts.aside.len()) % 2
        );
        assert!(parts.aside.iter().all(|i| data.samples[*i].split == Some(Split::Train)));
        assert_eq!(all(&parts), (0..100).collect::<Vec<_>>());
        for share in [0.0, 1.0, f64::NAN] {
            assert!(data.split_aside(7, 0.2, share).unwrap_err().to_string().contains("to set aside"));
        }
    }

    #[test]
    fn refuses_what_cannot_be_split() {
        let message = |data: &Dataset, fraction| data.split(0, fraction).unwrap_err().to_string();
        let lonely = dataset(&[&[0], &[0], &[1]], 2);
        assert!(message(&lonely, 0.5).contains("class 'c1' has 1 image, "));
        let mut data = dataset(&[&[0], &[0], &[1], &[1]], 2);
        assert!(message(&data, 1.0).contains("fraction of 1 "));
        assert!(message(&data, f64::NAN).contains("fraction of NaN"));
        data.samples[0].split = Some(Split::Val);
        assert!(message(&data, 0.5).contains("3 of 4 samples name no split"));
        data.samples.iter_mut().for_each(|s| s.split = Some(Split::Val));
        assert!(message(&data, 0.5).contains("no sample is for 'train'"));
        data.samples.iter_mut().for_each(|s| s.split = Some(Split::Train));
        assert!(message(&data, 0.5).contains("no sample is for 'val'"));
        data.samples[0].split = Some(Split::Val);
        assert!(message(&data, 0.5).contains("class 'c1' has no image in 'val'"));
        data.samples[2].split = Some(Split::Val);
        assert_eq!(data.split(0, 0.5), Ok(Parts { train: vec![1, 3], val: vec![0, 2], ..Parts::default() }));
    }
}
