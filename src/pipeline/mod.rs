//! Inference from image to prediction: a backbone and its heads, for images, clips, volumes and live frames.

mod answer;
mod error;
mod state;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod why_tests;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use answer::Answer;
pub use error::PipelineError;

use crate::engine::{About, Session};
use crate::features::{Extractor, FeatureError, Geometry, cls_and_mean_into};
use crate::heads::{ContourRule, FeatureKind, Head};
use crate::input::Image;
use crate::kernels::Isa;
use crate::vit::{Features, Preprocess, Size};
use state::{HeadState, LoadedHead};

/// A backbone with any number of heads, ready to predict.
///
/// For live frames, [`Pipeline::push`] returns the predictions of each frame at once. For a clip or a volume,
/// [`Pipeline::extend`] takes several frames at a time and [`Pipeline::finish`] returns the predictions for all of them
/// together. Heads that read the same input share one run of the backbone. A pipeline is used by one thread at a time;
/// [`Pipeline::with_session`] creates one for another thread that shares the heads and the backbone's weights.
///
/// The data kept of a scan does not grow with the number of frames, except for heads that see all frames together
/// (`abmil`, `segment3d`) and for the masks of [`Pipeline::extend`]; these are bounded by [`Pipeline::limit`].
///
/// ```no_run
/// use std::sync::Arc;
///
/// use microraptor::{Engine, Head, Image, Outcome, Pipeline};
///
/// let engine = Engine::open("model.safetensors")?;
/// let head = Arc::new(Head::load("head.safetensors")?);
/// let mut pipeline = Pipeline::new(engine.session(2)?, std::slice::from_ref(&head))?;
/// let frame = Image::open("scan.png")?;
/// for answer in pipeline.push(&frame)? {
///     if let Outcome::Classes { prediction, .. } = &answer.outcome {
///         println!("{:?} {:?}", head.model.classes(), prediction.probabilities);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipeline {
    session: Session,
    heads: Vec<Arc<LoadedHead>>,
    groups: Vec<Group>,
    scan: Option<Scan>,
    limit: usize,
    explains: bool,
    elapsed: Elapsed,
}

/// Time spent on all frames together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elapsed {
    /// From decoded pixels to the network's input.
    pub resize: Duration,
    /// In the backbone.
    pub backbone: Duration,
    /// In the heads.
    pub heads: Duration,
}

/// The frames since the last [`Pipeline::finish`].
struct Scan {
    /// `None` if not specified.
    name: Option<String>,
    geometry: Geometry,
    frames: usize,
}

impl Scan {
    /// Name of frame `number`; `several` says whether the scan has more than one frame.
    fn frame(&self, number: usize, several: bool) -> String {
        match &self.name {
            None => format!("frame {}", number + 1),
            Some(name) if several => format!("{name} frame {}", number + 1),
            Some(name) => name.clone(),
        }
    }
}

/// Heads that read the same input: the backbone runs once for all of them.
struct Group {
    extractor: Extractor<usize>,
    /// Blocks that at least one of the heads reads, ascending.
    layers: Vec<usize>,
    states: Vec<HeadState>,
    /// Sum of all frames' feature rows.
    sum: Vec<f64>,
    /// Feature row of the current frame, and working memory for it.
    row: (Vec<f32>, Vec<f64>),
}

/// Default of [`Pipeline::limit`], in bytes.
const LIMIT: usize = 1 << 30;

impl Pipeline {
    /// Packs `heads` for the session's backbone.
    ///
    /// # Errors
    /// [`PipelineError::Head`] when a head was trained on another backbone, or predicts masks although the backbone
    /// sees only a part of each image; [`PipelineError::Engine`] when the backbone lacks a block that a head reads, or
    /// does not support its input size.
    pub fn new(mut session: Session, heads: &[Arc<Head>]) -> Result<Pipeline, PipelineError> {
        let engine = session.engine().clone();
        let about = engine.about();
        for (number, head) in heads.iter().enumerate() {
            let refused = |source| PipelineError::Head { head: number, source };
            head.check_backbone(about).map_err(refused)?;
            if head.model.features() == FeatureKind::Patch && head.preprocess.crop.is_some() {
                return Err(refused(FeatureError::Cropped(head.backbone.name.clone()).into()));
            }
            let lacking = |source| PipelineError::Engine { head: number, source };
            session.engine().check_size(head.size).map_err(lacking)?;
            session.keep_layers(head.model.layers()).map_err(lacking)?;
        }
        let isa = isa(about);
        let load = |head: &Arc<Head>| Arc::new(LoadedHead::new(head.clone(), isa));
        Ok(Pipeline::of(session, heads.iter().map(load).collect()))
    }

    /// A second pipeline on `session`, for another thread: it shares the heads and weights, and has the same selection.
    ///
    /// # Errors
    /// [`PipelineError::Backbone`] when the session runs another backbone.
    pub fn with_session(&self, session: Session) -> Result<Pipeline, PipelineError> {
        let (expected, found) = (self.session.engine().about(), session.engine().about());
        let same = |about: &About| (about.sha256.clone(), about.reading, about.backend);
        if same(expected) != same(found) {
            let shown = |about: &About| format!("{} ({})", about.name, about.runs_on());
            return Err(PipelineError::Backbone { expected: shown(expected), found: shown(found) });
        }
        let mut pipeline = Pipeline::of(session, self.heads.clone());
        let selected = self.groups.iter().flat_map(|group| &group.states).filter(|state| state.selected);
        pipeline.select(&selected.map(|state| state.number).collect::<Vec<usize>>());
        pipeline.limit = self.limit;
        pipeline.explain(self.explains);
        for state in self.groups.iter().flat_map(|group| &group.states) {
            pipeline.contour(state.number, state.contour_rule());
        }
        Ok(pipeline)
    }

    fn of(session: Session, heads: Vec<Arc<LoadedHead>>) -> Pipeline {
        let groups = groups(&heads);
        Pipeline {
            session,
            heads,
            groups,
            scan: None,
            limit: LIMIT,
            explains: false,
            elapsed: Elapsed::default(),
        }
    }

    /// The heads, in the order given.
    pub fn heads(&self) -> impl ExactSizeIterator<Item = &Arc<Head>> {
        self.heads.iter().map(|loaded| &loaded.head)
    }

    /// The session that runs the backbone.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Selects the heads to run, by index; the backbone does not run for the others. Discards the current scan.
    ///
    /// # Panics
    /// When an index is out of range.
    pub fn select(&mut self, heads: &[usize]) {
        assert!(heads.iter().all(|&head| head < self.heads.len()), "no head of that number");
        self.clear();
        for group in &mut self.groups {
            group.states.iter_mut().for_each(|state| state.selected = heads.contains(&state.number));
            if !group.is_selected() {
                group.extractor.release();
            }
        }
    }

    /// Sets the limit of the data kept of a scan, in bytes (1 GiB by default): masks kept for [`Pipeline::finish`], and
    /// the features of heads that see all frames together.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// From now on, [`Pipeline::push`] also has the answers of heads that see a whole clip (`abmil`, `volume`): to the last
    /// `frames` frames, as [`Pipeline::finish`] gives for a clip of just these, once so many were pushed. The frames of a
    /// window need not be of one scan ([`Pipeline::begin`]).
    ///
    /// # Panics
    /// If `frames` is 0.
    pub fn slide(&mut self, frames: usize) {
        assert!(frames > 0, "a window of no frames");
        self.states().for_each(|state| state.slide(frames));
    }

    /// Forgets the frames of the window ([`Pipeline::slide`]): what follows is another picture.
    pub fn forget(&mut self) {
        self.states().for_each(HeadState::forget);
    }

    /// Whether answers are explained from now on ([`Answer::explanation`]); they are not at first, and then it costs nothing.
    /// An explanation of a clip holds a number for each patch of each frame. Discards the current scan, if this is a change.
    pub fn explain(&mut self, wanted: bool) {
        if wanted != self.explains {
            self.explains = wanted;
            self.clear();
            self.states().for_each(|state| state.explain(wanted));
        }
    }

    /// From now on, the masks of `head` come with these contours, or with none. Heads that make no masks of single images
    /// have none.
    pub fn contour(&mut self, head: usize, rule: Option<ContourRule>) {
        self.states().filter(|state| state.number == head).for_each(|state| state.contour(rule));
    }

    fn states(&mut self) -> impl Iterator<Item = &mut HeadState> {
        self.groups.iter_mut().flat_map(|group| &mut group.states)
    }

    /// Number of frames worth passing to [`Pipeline::extend`] at once, where a decoded frame takes `bytes` of memory.
    pub fn together(&self, bytes: usize) -> usize {
        let selected = self.groups.iter().filter(|group| group.is_selected());
        let inputs: usize = selected.map(|group| 3 * group.extractor.size().area() * size_of::<f32>()).sum();
        self.session.batch(bytes + inputs)
    }

    /// Begins a scan and discards the current one. `name` is used in errors; `geometry` describes the frames' pixels,
    /// so that a mask covers the whole frame even if the backbone saw only a part of it.
    ///
    /// Without this call, frames are images of which only the pixels are known. All frames of a scan must have the same
    /// size: the one that `geometry` says the backbone sees, otherwise that of the first frame. [`Pipeline::finish`]
    /// ends a scan.
    pub fn begin(&mut self, name: &str, geometry: Geometry) {
        self.clear();
        self.scan = Some(Scan { name: Some(name.to_owned()), geometry, frames: 0 });
    }

    /// The predictions for the next frame of a scan. Heads that see all frames together answer in [`Pipeline::finish`].
    ///
    /// The frames of a scan have one size: call [`Pipeline::begin`] before, or [`Pipeline::finish`] after, each picture that
    /// stands for itself.
    ///
    /// # Errors
    /// [`PipelineError`] when the frame's size differs from that of the scan's first frame, or the backbone or a head
    /// fails; the current scan is then discarded.
    pub fn push(&mut self, frame: &Image) -> Result<Vec<Answer>, PipelineError> {
        let mut answers = Vec::new();
        self.push_into(frame, &mut answers)?;
        Ok(answers)
    }

    /// As [`Pipeline::push`], into `answers`, whose memory is used again: with linear and segmentation heads, frames of one
    /// size allocate nothing after the first. After an error, `answers` is empty.
    ///
    /// # Errors
    /// As [`Pipeline::push`].
    pub fn push_into(&mut self, frame: &Image, answers: &mut Vec<Answer>) -> Result<(), PipelineError> {
        self.recycle(answers);
        let done = self.take(std::slice::from_ref(frame), Some(answers));
        if done.is_err() {
            self.recycle(answers);
        }
        done
    }

    /// Empties `answers`; the memory of what was in them is used for the next ones.
    pub fn recycle(&mut self, answers: &mut Vec<Answer>) {
        for Answer { head, outcome, .. } in answers.drain(..) {
            if let Some(state) = self.states().find(|state| state.number == head) {
                state.recycle(outcome);
            }
        }
    }

    /// Takes the next frames of a clip or a volume, for which [`Pipeline::finish`] predicts as a whole. Several frames
    /// run in parallel, each on its own thread; [`Pipeline::together`] says how many are worthwhile.
    ///
    /// # Errors
    /// As [`Pipeline::push`]; [`PipelineError::TooLong`] when the data to keep exceeds the limit.
    pub fn extend(&mut self, frames: &[Image]) -> Result<(), PipelineError> {
        self.take(frames, None)
    }

    /// The predictions for all frames since the last call: heads for single frames vote with the mean of their
    /// probabilities, and masks are those of the frames that [`Pipeline::extend`] took. Empty if there was no frame.
    ///
    /// # Errors
    /// [`PipelineError::Head`] when a head fails.
    pub fn finish(&mut self) -> Result<Vec<Answer>, PipelineError> {
        let started = Instant::now();
        let answers = self.answers();
        self.clear();
        self.elapsed.heads += started.elapsed();
        answers
    }

    fn answers(&mut self) -> Result<Vec<Answer>, PipelineError> {
        let Some(Scan { geometry, frames, .. }) = self.scan else { return Ok(Vec::new()) };
        let mut answers = Vec::new();
        for group in self.groups.iter_mut().filter(|group| frames > 0 && group.is_selected()) {
            let mean: Vec<f32> = group.sum.iter().map(|sum| (sum / frames as f64) as f32).collect();
            for state in group.states.iter_mut().filter(|state| state.selected) {
                let head = state.number;
                let failed = |source| PipelineError::Head { head, source };
                if let Some(outcome) = state.finish(&mean, geometry).map_err(failed)? {
                    let ood = state.ood(&mean).map_err(failed)?;
                    let explanation = state.explained(&mean).map_err(failed)?;
                    let contours = state.all_contours();
                    answers.push(Answer { head, outcome, ood, explanation, contours });
                }
            }
        }
        answers.sort_by_key(|answer| answer.head);
        Ok(answers)
    }

    /// Time spent since the last call.
    pub fn elapsed(&mut self) -> Elapsed {
        for group in &mut self.groups {
            let spent = group.extractor.elapsed();
            self.elapsed.resize += spent.resize;
            self.elapsed.backbone += spent.backbone;
        }
        std::mem::take(&mut self.elapsed)
    }

    /// Discards the frames since the last [`Pipeline::finish`].
    pub fn clear(&mut self) {
        self.scan = None;
        for group in &mut self.groups {
            group.sum.clear();
            group.states.iter_mut().for_each(HeadState::clear);
        }
    }

    fn take(&mut self, frames: &[Image], answers: Option<&mut Vec<Answer>>) -> Result<(), PipelineError> {
        let result = self.run(frames, answers);
        if result.is_err() {
            self.clear();
        }
        result
    }

    fn run(&mut self, frames: &[Image], mut answers: Option<&mut Vec<Answer>>) -> Result<(), PipelineError> {
        let Some(first) = frames.first() else { return Ok(()) };
        let Pipeline { session, groups, scan, limit, elapsed, .. } = self;
        let unnamed = || Scan { name: None, geometry: Geometry::of_image(first), frames: 0 };
        let scan = scan.get_or_insert_with(unnamed);
        let several = frames.len() > 1 || scan.frames > 0;
        let name = |number: &usize| scan.frame(*number, several);
        let expected = scan.geometry.seen();
        let other = |frame: &Image| (frame.height(), frame.width()) != expected;
        if let Some(i) = frames.iter().position(other) {
            let found = (frames[i].height(), frames[i].width());
            return Err(PipelineError::FrameSize { frame: name(&(scan.frames + i)), found, expected });
        }
        for group in groups.iter_mut().filter(|group| group.is_selected()) {
            let Group { extractor, layers, states, sum, row } = group;
            let head = states[0].number;
            session.keep_layers(layers).map_err(|source| PipelineError::Engine { head, source })?;
            frames.iter().enumerate().for_each(|(i, frame)| extractor.push(scan.frames + i, frame));
            extractor.run(session, name, |&number, features| {
                let started = Instant::now();
                add(sum, row, states, number, features, &scan.geometry, &mut answers)?;
                elapsed.heads += started.elapsed();
                Ok::<(), PipelineError>(())
            })?;
        }
        scan.frames += frames.len();
        let kept: usize = groups.iter().flat_map(|group| &group.states).map(HeadState::bytes).sum();
        if kept > *limit {
            let (name, frames) = (scan.frame(0, false), scan.frames);
            return Err(PipelineError::TooLong { name, frames, limit: *limit });
        }
        if let Some(answers) = answers {
            answers.sort_by_key(|answer| answer.head);
        }
        Ok(())
    }
}

/// Passes the features of frame `number` to the heads. Predictions go to `answers`; without it, masks are kept instead.
fn add(
    sum: &mut Vec<f64>,
    (row, working): &mut (Vec<f32>, Vec<f64>),
    states: &mut [HeadState],
    number: usize,
    features: &Features,
    geometry: &Geometry,
    answers: &mut Option<&mut Vec<Answer>>,
) -> Result<(), PipelineError> {
    cls_and_mean_into(&features.cls, &features.patch, row, working);
    // `Iterator::sum` starts at -0.0 too, so the mean has the same bits as `ScanFeatures::mean_row`.
    sum.resize(row.len(), -0.0);
    sum.iter_mut().zip(&*row).for_each(|(sum, &value)| *sum += f64::from(value));
    for state in states.iter_mut().filter(|state| state.selected) {
        let head = state.number;
        let failed = |source| PipelineError::Head { head, source };
        let outcome = state.take(number, row, features, geometry, answers.is_none()).map_err(failed)?;
        let Some(answers) = answers.as_mut() else { continue };
        if let Some(outcome) = outcome {
            let ood = state.ood(row).map_err(failed)?;
            let (explanation, contours) = (state.frame_explained(), state.contours(geometry));
            answers.push(Answer { head, outcome, ood, explanation, contours });
        }
        answers.extend(state.answer(row, geometry).map_err(failed)?);
    }
    Ok(())
}

impl Group {
    fn is_selected(&self) -> bool {
        self.states.iter().any(|state| state.selected)
    }
}

fn groups(heads: &[Arc<LoadedHead>]) -> Vec<Group> {
    let mut groups: Vec<(Size, Preprocess, Vec<usize>)> = Vec::new();
    for (number, LoadedHead { head, .. }) in heads.iter().map(|loaded| &**loaded).enumerate() {
        match groups.iter_mut().find(|(size, how, _)| (*size, *how) == (head.size, head.preprocess)) {
            Some((_, _, members)) => members.push(number),
            None => groups.push((head.size, head.preprocess, vec![number])),
        }
    }
    let group = |(size, preprocess, members): (Size, Preprocess, Vec<usize>)| {
        let read = members.iter().flat_map(|&i| heads[i].head.model.layers());
        let layers: Vec<usize> = read.copied().collect::<BTreeSet<usize>>().into_iter().collect();
        let states = members.iter().map(|&i| HeadState::new(i, heads[i].clone(), &layers)).collect();
        let extractor = Extractor::new(size, preprocess);
        Group { extractor, layers, states, sum: Vec::new(), row: Default::default() }
    };
    groups.into_iter().map(group).collect()
}

/// Instruction set for the heads: the backbone's; if tract runs the backbone, the one the environment selects or the
/// best available.
fn isa(about: &About) -> Isa {
    about.backend.isa().or_else(|| Isa::preferred().ok()).unwrap_or_else(Isa::best)
}
