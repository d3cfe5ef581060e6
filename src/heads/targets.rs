//! Feature rows with their training targets.

use ndarray::{Array2, ArrayView2};

use super::HeadError;

/// Targets of a set of images.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Exactly one class per image, as an index.
    Classes(&'a [usize]),
    /// Any number of labels per image: `[n, labels]`.
    Labels(ArrayView2<'a, bool>),
}

/// Images for training or evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// `[n, dim]`, one row per image.
    pub features: ArrayView2<'a, f32>,
    /// Targets of the `n` images.
    pub targets: Targets<'a>,
}

impl Targets<'_> {
    /// Whether an image may have several labels.
    pub fn multi_label(&self) -> bool {
        matches!(self, Targets::Labels(_))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(of) => of.len(),
            Targets::Labels(of) => of.nrows(),
        }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each image has `class`.
    pub fn has(&self, class: usize) -> Vec<bool> {
        match self {
            Targets::Classes(of) => of.iter().map(|&c| c == class).collect(),
            Targets::Labels(of) => of.column(class).to_vec(),
        }
    }

    /// Number of images of each of `classes` classes or labels.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        (0..classes).map(|class| self.has(class).iter().filter(|&&has| has).count()).collect()
    }
}

impl Examples<'_> {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.features.nrows()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rejects features and targets that do not match each other or `classes`.
    ///
    /// # Errors
    /// [`HeadError`] identifies the row or the class.
    pub fn check(&self, classes: &[String]) -> Result<(), HeadError> {
        check_classes(classes, self.targets.multi_label())?;
        if self.targets.len() != self.len() {
            return Err(HeadError::Shape {
                what: "number of targets",
                found: self.targets.len(),
                expected: self.len(),
            });
        }
        if self.is_empty() {
            return Err(HeadError::Shape { what: "number of images", found: 0, expected: 1 });
        }
        match self.targets {
            Targets::Classes(of) => {
                if let Some((row, &class)) = of.iter().enumerate().find(|&(_, &c)| c >= classes.len()) {
                    return Err(HeadError::Target { row, class, classes: classes.len() });
                }
            }
            Targets::Labels(of) if of.ncols() != classes.len() => {
                return Err(HeadError::Shape {
                    what: "number of labels",
                    found: of.ncols(),
                    expected: classes.len(),
                });
            }
            Targets::Labels(_) => {}
        }
        match self.features.indexed_iter().find(|(_, v)| !v.is_finite()) {
            Some(((row, column), _)) => Err(HeadError::NonFinite { row, column }),
            None => Ok(()),
        }
    }

    /// Performs [`Examples::check`] and checks that every class can be learned: at least two images have it and, for a
    /// label, at least two lack it.
    ///
    /// # Errors
    /// [`HeadError`] identifies the row or the class.
    pub fn check_for_training(&self, classes: &[String]) -> Result<(), HeadError> {
        self.check(classes)?;
        for (class, found) in classes.iter().zip(self.targets.counts(classes.len())) {
            if found < 2 {
                return Err(HeadError::TooFewImages { class: class.clone(), found });
            }
            let without = self.len() - found;
            if self.targets.multi_label() && without < 2 {
                return Err(HeadError::TooFewWithout { label: class.clone(), found: without });
            }
        }
        Ok(())
    }
}

/// Rejects a list of classes that is too short, or contains an empty or duplicate name.
pub(super) fn check_classes(classes: &[String], multi_label: bool) -> Result<(), HeadError> {
    let least = if multi_label { 1 } else { 2 };
    if classes.len() < least {
        return Err(HeadError::TooFewClasses { found: classes.len(), least });
    }
    if classes.iter().any(String::is_empty) {
        return Err(HeadError::UnnamedClass);
    }
    let mut sorted: Vec<&String> = classes.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(HeadError::DuplicateClass(pair[0].clone())),
        None => Ok(()),
    }
}

/// Owned examples: those of `a`, then those of `b`.
pub(super) struct Joined {
    features: Array2<f32>,
    classes: Vec<usize>,
    labels: Array2<bool>,
    multi_label: bool,
}

impl Joined {
    /// Both sets must have passed [`Examples::check`] against the same classes.
    pub fn new(a: &Examples<'_>, b: &Examples<'_>) -> Result<Joined, HeadError> {
        let joined = |what| {
            move |_| HeadError::Shape { what, found: b.features.ncols(), expected: a.features.ncols() }
        };
        let features = ndarray::concatenate(ndarray::Axis(0), &[a.features, b.features])
            .map_err(joined("length of a row of features"))?;
        let (classes, labels) = match (a.targets, b.targets) {
            (Targets::Classes(a), Targets::Classes(b)) => ([a, b].concat(), Array2::default((0, 0))),
            (Targets::Labels(a), Targets::Labels(b)) => (
                Vec::new(),
                ndarray::concatenate(ndarray::Axis(0), &[a, b]).map_err(joined("number of labels"))?,
            ),
            _ => return Err(HeadError::MixedTargets),
        };
        Ok(Joined { features, classes, labels, multi_label: a.targets.multi_label() })
    }

    pub fn examples(&self) -> Examples<'_> {
        let targets = if self.multi_label {
            Targets::Labels(self.labels.view())
        } else {
            Targets::Classes(&self.classes)
        };
        Examples { features: self.features.view(), targets }
    }
}
