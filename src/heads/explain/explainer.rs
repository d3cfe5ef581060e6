//! Gathers what is needed to explain the answers to a scan, frame by frame.

use std::collections::{BTreeMap, VecDeque};

use ndarray::Array2;

use super::explanation::{Contributions, Explanation, Logit, Neighbour, Neighbours, Summed, Unexplained};
use super::projection::{Projection, Terms, Weights};
use crate::heads::knn::PackedBank;
use crate::heads::{HeadError, HeadModel, KnnHead, PackedHead};
use crate::vit::Features;

/// The terms of a head's answers to the frames so far.
pub(crate) struct Explainer {
    how: How,
    /// Number of last frames that are kept; `None` for all frames of the scan.
    window: Option<usize>,
    frames: VecDeque<Terms>,
    /// Logits of each frame, for a head that answers frame by frame.
    logits: Vec<Vec<f64>>,
    /// Of each training image that voted the sum of its shares and its largest cosine.
    votes: BTreeMap<usize, (f64, f32)>,
    /// The voters on the last frame: index, cosine, share.
    last: Vec<(usize, f32, f64)>,
    voted: usize,
    /// Why nothing can be said of the frames.
    lacking: Option<Unexplained>,
}

enum How {
    Sum(Projection),
    Votes,
    Nothing(Unexplained),
}

/// Whether the answers of heads like `model` can be explained exactly: those of `linear`, `volume`, `abmil` and `knn`.
///
/// # Errors
/// [`Unexplained`] says why not.
pub fn explainable(model: &HeadModel) -> Result<(), Unexplained> {
    match model {
        HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Abmil(_) | HeadModel::Knn(_) => Ok(()),
        model if model.makes_masks() => Err(Unexplained::Mask),
        _ => Err(Unexplained::Graph),
    }
}

impl Explainer {
    /// For `model`, whose answers are about all frames of a scan, or the last `window` ones.
    pub(crate) fn new(model: &HeadModel, window: Option<usize>) -> Explainer {
        let how = match (explainable(model), Projection::of(model)) {
            (Err(why), _) => How::Nothing(why),
            (Ok(()), Some(projection)) => How::Sum(projection),
            (Ok(()), None) => How::Votes,
        };
        Explainer {
            how,
            window,
            frames: VecDeque::new(),
            logits: Vec::new(),
            votes: BTreeMap::new(),
            last: Vec::new(),
            voted: 0,
            lacking: None,
        }
    }

    /// Forgets the scan; a window of frames stays.
    pub(crate) fn clear(&mut self) {
        if self.window.is_none() {
            self.forget();
        }
    }

    /// Forgets all frames.
    pub(crate) fn forget(&mut self) {
        self.frames.clear();
        self.logits.clear();
        self.votes.clear();
        self.last.clear();
        (self.voted, self.lacking) = (0, None);
    }

    /// Size of what is kept, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let of_terms = |terms: &Terms| size_of_val(&terms.patches[..]) + size_of_val(&terms.cls[..]);
        self.frames.iter().map(of_terms).sum::<usize>() + self.votes.len() * size_of::<(usize, f64, f32)>()
    }

    /// Takes the next frame, whose CLS ++ mean(patch tokens) is `row`. `packed` is the head's.
    ///
    /// # Errors
    /// [`HeadError`] when the features are not those that the head reads.
    pub(crate) fn take(
        &mut self,
        (model, packed): (&HeadModel, &PackedHead),
        row: &[f32],
        features: &Features,
    ) -> Result<(), HeadError> {
        match (&self.how, model, packed) {
            (How::Nothing(_), ..) => {}
            (How::Votes, HeadModel::Knn(head), PackedHead::Knn(bank)) => self.vote(head, bank, row)?,
            (How::Votes, ..) => {}
            (How::Sum(projection), ..) => match projection.terms(features) {
                Ok(terms) => {
                    if let HeadModel::Linear(head) = model {
                        self.logits.push(explained(&head.logits(row)?, projection));
                    }
                    if self.window.is_some_and(|most| self.frames.len() >= most) {
                        self.frames.pop_front();
                    }
                    self.frames.push_back(terms);
                }
                Err(why) => self.lacking = Some(why),
            },
        }
        Ok(())
    }

    fn vote(&mut self, head: &KnnHead, bank: &PackedBank, row: &[f32]) -> Result<(), HeadError> {
        self.voted += 1;
        self.last = head.voters(bank, &row[..row.len() / 2])?;
        for &(image, cosine, share) in &self.last {
            let (sum, largest) = self.votes.entry(image).or_insert((0.0, cosine));
            *sum += share;
            *largest = largest.max(cosine);
        }
        Ok(())
    }

    /// The explanation of an answer to the last frame alone, for a head that answers frame by frame.
    pub(crate) fn of_frame(&self, model: &HeadModel) -> Option<Explanation> {
        if let (How::Votes, HeadModel::Knn(head)) = (&self.how, model) {
            let all = self.last.iter().map(|&(image, cosine, share)| neighbour(head, image, cosine, share));
            return Some(Explanation::Neighbours(Neighbours { all: all.collect() }));
        }
        let last = self.frames.len().saturating_sub(1);
        self.explanation(model, last, |_| 1.0, &self.logits[last.min(self.logits.len())..])
    }

    /// The explanation of the answer to all frames, whose rows of features are `rows` and their mean `mean`; `None` if
    /// not all of them were taken.
    ///
    /// # Errors
    /// [`HeadError`] when the features are not those that the head reads.
    pub(crate) fn of_all(
        &self,
        (model, packed): (&HeadModel, &PackedHead),
        rows: Option<&Array2<f32>>,
        mean: &[f32],
    ) -> Result<Option<Explanation>, HeadError> {
        let How::Sum(projection) = &self.how else { return Ok(self.explanation(model, 0, |_| 1.0, &[])) };
        let count = self.frames.len();
        Ok(match (model, packed, rows) {
            (HeadModel::Volume(head), ..) => {
                let logits = explained(&head.logits(mean)?, projection);
                self.explanation(model, 0, |_| 1.0 / count as f64, &[logits])
            }
            (HeadModel::Abmil(head), PackedHead::Abmil(gates), Some(rows)) => {
                if rows.nrows() != count && self.lacking.is_none() {
                    return Ok(None);
                }
                let (attention, logits) = head.weighed(rows, gates)?;
                self.explanation(model, 0, |frame| attention[frame], &[explained(&logits, projection)])
            }
            _ => self.explanation(model, 0, |_| 1.0, &self.logits),
        })
    }

    /// Whether as many frames were taken as the window has.
    pub(crate) fn is_full(&self) -> bool {
        self.lacking.is_some() || self.window.is_none_or(|most| self.frames.len() == most)
    }

    /// From frame `first` on, of which each has the weight that `weight` says, with these `values` of the logits.
    fn explanation(
        &self,
        model: &HeadModel,
        first: usize,
        weight: impl Fn(usize) -> f64,
        values: &[Vec<f64>],
    ) -> Option<Explanation> {
        let projection = match (&self.how, self.lacking) {
            (&How::Nothing(why), _) | (_, Some(why)) => return Some(Explanation::Nothing(why)),
            (How::Votes, _) => {
                let HeadModel::Knn(head) = model else { return None };
                return (self.voted > 0).then(|| Explanation::Neighbours(self.neighbours(head)));
            }
            (How::Sum(projection), _) => projection,
        };
        let frames: Vec<&Terms> = self.frames.iter().skip(first).collect();
        let &Terms { grid: (rows, cols), .. } = *frames.first()?;
        let positions = rows * cols;
        let logit = |(n, of): (usize, &Weights)| {
            let weighted = |(frame, terms): (usize, &&Terms)| {
                let weight = weight(frame);
                let own = &terms.patches[n * positions..(n + 1) * positions];
                own.iter().map(|value| weight * value).collect::<Vec<f64>>()
            };
            Logit {
                class: of.class,
                against: of.against,
                values: values.iter().map(|values| values[n]).collect(),
                bias: of.bias,
                cls: frames.iter().enumerate().map(|(f, terms)| weight(f) * terms.cls[n]).collect(),
                patches: frames.iter().enumerate().flat_map(weighted).collect(),
                calibration: of.calibration,
            }
        };
        let summed = match model {
            HeadModel::Volume(_) => Summed::Mean,
            HeadModel::Abmil(_) => Summed::Weighted,
            _ => Summed::EachFrame,
        };
        Some(Explanation::Contributions(Contributions {
            frames: frames.len(),
            grid: (rows, cols),
            summed,
            multi_label: model.multi_label(),
            logits: projection.logits.iter().enumerate().map(logit).collect(),
        }))
    }

    fn neighbours(&self, head: &KnnHead) -> Neighbours {
        let votes = self.votes.iter();
        let mut all: Vec<Neighbour> = votes
            .map(|(&image, &(sum, cosine))| neighbour(head, image, cosine, sum / self.voted as f64))
            .collect();
        all.sort_by(|a, b| b.share.total_cmp(&a.share).then(b.cosine.total_cmp(&a.cosine)));
        Neighbours { all }
    }
}

fn neighbour(head: &KnnHead, image: usize, cosine: f32, share: f64) -> Neighbour {
    let name = head.names.as_ref().and_then(|names| names.get(image).cloned());
    Neighbour { image, name, classes: head.classes_of(image), cosine, share }
}

/// The logits that are explained, of those of all `classes`.
fn explained(classes: &[f64], projection: &Projection) -> Vec<f64> {
    let logit = |of: &Weights| classes[of.class] - of.against.map_or(0.0, |against| classes[against]);
    projection.logits.iter().map(logit).collect()
}
