//! A head of a pipeline, and its state for the current scan.

use std::sync::Arc;

use ndarray::Array2;

use crate::features::{Collector, Geometry, Tokens};
use crate::heads::{
    ContourRule, Explainer, Explanation, FeatureKind, Frame, Head, HeadError, HeadModel, Memory, OodScore,
    Outcome, PackedHead, Said, Votes, outcome,
};
use crate::input::LabelMap;
use crate::kernels::Isa;
use crate::vit::Features;

use super::answer::Answer;
use super::window::Window;

/// A head, packed for an instruction set.
pub(super) struct LoadedHead {
    pub(super) head: Arc<Head>,
    packed: PackedHead,
}

impl LoadedHead {
    pub(super) fn new(head: Arc<Head>, isa: Isa) -> LoadedHead {
        let packed = PackedHead::new(&head.model, isa);
        LoadedHead { head, packed }
    }

    /// Whether it sees all frames together, so that their features must be kept.
    fn reads_all(&self) -> bool {
        match &self.head.model {
            HeadModel::Abmil(_) => true,
            HeadModel::Segment(head) => head.volume,
            HeadModel::Linear(_) | HeadModel::Volume(_) | HeadModel::Knn(_) | HeadModel::Output(_) => false,
            #[cfg(feature = "onnx")]
            HeadModel::Onnx(_) => false,
        }
    }
}

/// State of one head for one scan.
pub(super) struct HeadState {
    /// Index of the head.
    pub(super) number: usize,
    /// Whether the head runs.
    pub(super) selected: bool,
    pub(super) loaded: Arc<LoadedHead>,
    /// The layers it reads, as indices into those that the session keeps; `None` if it reads no patch tokens.
    places: Option<Vec<usize>>,
    memory: Memory,
    /// Working memory of the out-of-distribution score.
    solved: Vec<f64>,
    /// Patch tokens of the current frame.
    tokens: Tokens,
    votes: Votes,
    /// Features of all frames, for a head that sees them together.
    all: Option<Collector>,
    /// Masks of all frames, at their stored size, and the zones of their contours.
    masks: Option<LabelMap>,
    zones: Option<LabelMap>,
    /// The last frames, for a head that sees several and is to answer each.
    window: Option<Window>,
    /// Rows of features of all frames, for the explanation of an answer that was given.
    explained_rows: Option<Array2<f32>>,
    /// What explains the answers, if that is wanted.
    explainer: Option<Explainer>,
}

impl HeadState {
    /// State of the head `number`, where the session keeps the blocks `layers` (ascending).
    pub(super) fn new(number: usize, loaded: Arc<LoadedHead>, layers: &[usize]) -> HeadState {
        let model = &loaded.head.model;
        let place = |layer: &usize| layers.binary_search(layer).expect("gathered from the heads");
        let dense = model.features() == FeatureKind::Patch;
        let places = dense.then(|| model.layers().iter().map(place).collect());
        let (tokens, votes) = (Tokens::none(), Votes::default());
        let (memory, solved) = (Memory::default(), Vec::new());
        HeadState {
            number,
            selected: true,
            loaded,
            places,
            memory,
            solved,
            tokens,
            votes,
            all: None,
            masks: None,
            zones: None,
            window: None,
            explained_rows: None,
            explainer: None,
        }
    }

    /// Whether it sees the features of several frames together, and not their patch tokens.
    pub(super) fn sees_rows(&self) -> bool {
        matches!(self.loaded.head.model, HeadModel::Abmil(_) | HeadModel::Volume(_))
    }

    /// The last `frames` frames are to be answered with each frame, if it sees several together.
    pub(super) fn slide(&mut self, frames: usize) {
        self.window = self.sees_rows().then(|| Window::new(frames));
        self.explain(self.explainer.is_some());
    }

    /// Answers are explained from now on, or not.
    pub(super) fn explain(&mut self, wanted: bool) {
        let window = self.window.as_ref().map(Window::frames);
        self.explainer = wanted.then(|| Explainer::new(&self.loaded.head.model, window));
    }

    /// Why the head said what it said of the frame that it took last.
    pub(super) fn frame_explained(&self) -> Option<Explanation> {
        self.explainer.as_ref()?.of_frame(&self.loaded.head.model)
    }

    /// Why the head said what [`HeadState::finish`] returned, for the mean row `mean`.
    pub(super) fn explained(&mut self, mean: &[f32]) -> Result<Option<Explanation>, HeadError> {
        let rows = self.explained_rows.take();
        let LoadedHead { head, packed } = &*self.loaded;
        match &self.explainer {
            // The frames of a window are not those of the scan.
            Some(explainer) if self.window.is_none() => {
                explainer.of_all((&head.model, packed), rows.as_ref(), mean)
            }
            _ => Ok(None),
        }
    }

    /// Forgets the frames of the window.
    pub(super) fn forget(&mut self) {
        self.window.iter_mut().for_each(Window::clear);
        self.explainer.iter_mut().for_each(Explainer::forget);
    }

    /// The answer to the last frames, of which `row` is that of the newest, once there are enough of them.
    pub(super) fn answer(&mut self, row: &[f32], geometry: &Geometry) -> Result<Option<Answer>, HeadError> {
        let Some(features) = self.window.as_mut().and_then(|window| window.slide(row, geometry)) else {
            return Ok(None);
        };
        let LoadedHead { head, packed } = &*self.loaded;
        let Some(outcome) = packed.together(&head.model, &features)? else { return Ok(None) };
        let mean = features.mean_row();
        let explanation = match self.explainer.as_ref().filter(|explainer| explainer.is_full()) {
            Some(explainer) => explainer.of_all((&head.model, packed), Some(&features.rows), &mean)?,
            None => None,
        };
        let ood = self.ood(&mean)?;
        Ok(Some(Answer { head: self.number, outcome, ood, explanation, contours: None }))
    }

    /// Takes the memory of an answer that is not needed any more.
    pub(super) fn recycle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Classes { prediction, .. } => {
                (self.memory.probabilities, self.memory.classes) =
                    (prediction.probabilities, prediction.classes);
            }
            Outcome::Mask(mask) => self.memory.labels = mask.labels,
        }
    }

    /// How unlike the training images `row` is; `None` if the head does not know.
    pub(super) fn ood(&mut self, row: &[f32]) -> Result<Option<OodScore>, HeadError> {
        let HeadState { loaded, solved, .. } = self;
        loaded.head.ood.as_ref().map(|ood| ood.score_in(row, solved)).transpose()
    }

    /// Discards the scan.
    pub(super) fn clear(&mut self) {
        self.votes.clear();
        self.all = None;
        (self.masks, self.zones) = (None, None);
        self.explained_rows = None;
        self.explainer.iter_mut().for_each(Explainer::clear);
    }

    /// Size of the data kept of the scan, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let maps = self.masks.iter().chain(&self.zones).map(|map| map.labels.len());
        self.all.as_ref().map_or(0, Collector::bytes)
            + maps.sum::<usize>()
            + self.explainer.as_ref().map_or(0, Explainer::bytes)
    }

    /// Takes frame `number`, whose CLS ++ mean(patch tokens) is `row`. Returns the head's prediction for this frame
    /// alone, except for a mask that is kept for [`HeadState::finish`].
    pub(super) fn take(
        &mut self,
        number: usize,
        row: &[f32],
        features: &Features,
        geometry: &Geometry,
        keep_masks: bool,
    ) -> Result<Option<Outcome>, HeadError> {
        if let Some(explainer) = &mut self.explainer {
            explainer.take((&self.loaded.head.model, &self.loaded.packed), row, features)?;
        }
        if self.loaded.reads_all() {
            self.all.get_or_insert_with(|| Collector::new(self.places.clone())).add_row(row, features)?;
            return Ok(None);
        }
        if let Some(places) = &self.places {
            self.tokens.clear();
            self.tokens.push(features, places)?;
        }
        let tokens = self.places.is_some().then_some(&self.tokens);
        let LoadedHead { head, packed } = &*self.loaded;
        match packed.frame(
            &head.model,
            &Frame { number, row, tokens, outputs: &features.outputs, seen: geometry.seen() },
            &mut self.memory,
        )? {
            Said::Probabilities(probabilities) => {
                self.votes.add(&probabilities);
                Ok(Some(outcome(&head.model, probabilities, std::mem::take(&mut self.memory.classes))))
            }
            Said::Mask(mask) => match Outcome::mask(mask, geometry) {
                Outcome::Mask(mask) if keep_masks => {
                    let zones = self.contours(geometry);
                    keep(&mut self.masks, mask);
                    zones.into_iter().for_each(|zones| keep(&mut self.zones, zones));
                    Ok(None)
                }
                outcome => Ok(Some(outcome)),
            },
            Said::Nothing => Ok(None),
        }
    }

    /// The masks that follow have these contours, or none.
    pub(super) fn contour(&mut self, rule: Option<ContourRule>) {
        self.memory.contours = rule.map(|rule| (rule, Vec::new()));
    }

    /// The contours that were asked for.
    pub(super) fn contour_rule(&self) -> Option<ContourRule> {
        self.memory.contours.as_ref().map(|(rule, _)| *rule)
    }

    /// The zones of the last frame's mask, at its stored size.
    pub(super) fn contours(&mut self, geometry: &Geometry) -> Option<LabelMap> {
        let (_, zones) = self.memory.contours.as_mut().filter(|(_, zones)| !zones.is_empty())?;
        let (height, width) = geometry.seen();
        let map = LabelMap { depth: 1, height, width, labels: std::mem::take(zones) };
        match Outcome::mask(map, geometry) {
            Outcome::Mask(map) => Some(map),
            Outcome::Classes { .. } => None,
        }
    }

    /// The zones of all frames' masks.
    pub(super) fn all_contours(&mut self) -> Option<LabelMap> {
        self.zones.take()
    }

    /// The prediction for all frames together, whose mean row is `mean`; `None` if it already returned a
    /// mask for each frame.
    pub(super) fn finish(&mut self, mean: &[f32], geometry: Geometry) -> Result<Option<Outcome>, HeadError> {
        let LoadedHead { head, packed } = &*self.loaded;
        if let Some(mask) = self.masks.take() {
            return Ok(Some(Outcome::Mask(mask)));
        }
        let features = match (self.all.take(), &head.model) {
            (Some(all), _) => all.finish(geometry),
            (None, HeadModel::Volume(head)) => return head.predict(mean).map(Outcome::classes).map(Some),
            // The votes of the frames; `None` if each frame was answered with a mask.
            (None, model) => return Ok(self.votes.outcome(model)),
        };
        let outcome = packed.together(&head.model, &features)?;
        self.explained_rows = self.explainer.is_some().then_some(features.rows);
        Ok(outcome)
    }
}

/// Adds the frame `map` to those of `all`.
fn keep(all: &mut Option<LabelMap>, map: LabelMap) {
    match all {
        None => *all = Some(map),
        Some(all) => {
            all.depth += map.depth;
            all.labels.extend(map.labels);
        }
    }
}
