//! From a picture to an answer: a backbone and its heads, owned, for pictures, clips, volumes and live frames.

mod error;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::PipelineError;

use crate::engine::{About, Session};
use crate::features::{Extractor, FeatureError, Geometry, cls_and_mean};
use crate::heads::{FeatureKind, Head, HeadError, OodScore, Outcome};
use crate::input::Image;
use crate::kernels::Isa;
use crate::vit::{Features, Preprocess, Size};
use state::{HeadState, LoadedHead};

/// A backbone with any number of heads, ready to answer.
///
/// Of live frames [`Pipeline::push`] answers each at once. Of a clip or a volume [`Pipeline::extend`] takes frames, several at a
/// time, and [`Pipeline::finish`] says what the heads say of all of them together. Heads that read the same input share one run
/// of the backbone. One thread uses it at a time; others get their own by [`Pipeline::with_session`], which shares the heads and the
/// backbone's weights.
///
/// What it keeps of a scan does not grow with the number of frames, but for heads that see all frames together (`abmil`,
/// `segment3d`) and for the masks of [`Pipeline::extend`]; these have a bound ([`Pipeline::limit`]).
///
/// ```no_run
/// use std::sync::Arc;
///
/// use microraptor::engine::Engine;
/// use microraptor::heads::{Head, Outcome};
/// use microraptor::input::Image;
/// use microraptor::pipeline::Pipeline;
///
/// let engine = Engine::open("model.safetensors".as_ref())?;
/// let head = Arc::new(Head::load("head.safetensors".as_ref())?);
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
    elapsed: Elapsed,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Number of the head, in the order in which they were given, from 0.
    pub head: usize,
    /// Classes, or a mask at the frame's stored size.
    pub outcome: Outcome,
    /// How far the frame, or the mean of all frames, lies from what the head was trained on, if the head can tell.
    pub ood: Option<OodScore>,
}

/// Time that was spent, on all frames together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elapsed {
    /// From decoded pixels to the network's input.
    pub resize: Duration,
    /// In the backbone.
    pub backbone: Duration,
    /// In the heads.
    pub heads: Duration,
}

/// The frames that came since the last [`Pipeline::finish`].
struct Scan {
    /// None where nobody said.
    name: Option<String>,
    geometry: Geometry,
    frames: usize,
}

impl Scan {
    /// What frame `number` is called, of one frame or several.
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
    /// Blocks that some of them read, ascending.
    layers: Vec<usize>,
    states: Vec<HeadState>,
    /// Sum of the rows of features of all frames.
    sum: Vec<f64>,
}

/// Bytes that are kept of a scan at most, unless [`Pipeline::limit`] says another number.
const LIMIT: usize = 1 << 30;

impl Pipeline {
    /// Packs `heads` for the session's backbone.
    ///
    /// # Errors
    /// [`PipelineError::Head`] when a head was trained on another backbone, or lays masks on pictures that the backbone sees
    /// a part of; [`PipelineError::Engine`] when the backbone lacks a block that a head reads, or cannot take its input size.
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

    /// One more on `session`, for another thread: heads and weights are shared, and the same heads are selected.
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
        Ok(pipeline)
    }

    fn of(session: Session, heads: Vec<Arc<LoadedHead>>) -> Pipeline {
        let groups = groups(&heads);
        Pipeline { session, heads, groups, scan: None, limit: LIMIT, elapsed: Elapsed::default() }
    }

    /// The heads, in the order in which they were given.
    pub fn heads(&self) -> impl ExactSizeIterator<Item = &Arc<Head>> {
        self.heads.iter().map(|loaded| &loaded.head)
    }

    /// The session that runs the backbone.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// From now on these heads alone are asked, by their numbers, and the backbone does not run for the others. What was taken
    /// of a scan is forgotten.
    ///
    /// # Panics
    /// When there is no head of a number.
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

    /// From now on at most `bytes` are kept of a scan, 1 GiB unless it is said: masks that are for [`Pipeline::finish`], and the
    /// features of heads that see all frames together.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Frames that are worth giving to [`Pipeline::extend`] at once, where one takes `bytes` in memory as it is decoded.
    pub fn together(&self, bytes: usize) -> usize {
        let selected = self.groups.iter().filter(|group| group.is_selected());
        let inputs: usize = selected.map(|group| 3 * group.extractor.size().area() * size_of::<f32>()).sum();
        self.session.batch(bytes + inputs)
    }

    /// Begins a scan: `name` is for errors, and `geometry` tells where its frames' pixels lie, so that masks are laid on all of a
    /// frame where a part of it was looked at. What was taken of an earlier one is forgotten.
    ///
    /// Without it frames are pictures of which nothing is known but their pixels. All frames of a scan are of one size: that which
    /// `geometry` says was seen, else that of the first; [`Pipeline::finish`] ends a scan.
    pub fn begin(&mut self, name: &str, geometry: Geometry) {
        self.clear();
        self.scan = Some(Scan { name: Some(name.to_owned()), geometry, frames: 0 });
    }

    /// What the heads say of the next frame. Those that see all frames together are asked by [`Pipeline::finish`].
    ///
    /// # Errors
    /// [`PipelineError`] when the backbone or a head fails; what was taken of the scan is forgotten then.
    pub fn push(&mut self, frame: &Image) -> Result<Vec<Answer>, PipelineError> {
        let mut answers = Vec::new();
        self.take(std::slice::from_ref(frame), Some(&mut answers))?;
        Ok(answers)
    }

    /// Takes the next frames of a clip or a volume, which [`Pipeline::finish`] answers as a whole. Several are run side by side,
    /// each on a thread of its own; [`Pipeline::together`] says how many are worth it.
    ///
    /// # Errors
    /// As [`Pipeline::push`]; [`PipelineError::TooLong`] when too much would have to be kept.
    pub fn extend(&mut self, frames: &[Image]) -> Result<(), PipelineError> {
        self.take(frames, None)
    }

    /// What the heads say of all frames since the last call: heads for single frames vote with the mean of their probabilities,
    /// masks are those of the frames that [`Pipeline::extend`] took. Nothing where there was no frame.
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
                    answers.push(answer(state, outcome, &mean).map_err(failed)?);
                }
            }
        }
        answers.sort_by_key(|answer| answer.head);
        Ok(answers)
    }

    /// The time since it was last asked.
    pub fn elapsed(&mut self) -> Elapsed {
        for group in &mut self.groups {
            let spent = group.extractor.elapsed();
            self.elapsed.resize += spent.resize;
            self.elapsed.backbone += spent.backbone;
        }
        std::mem::take(&mut self.elapsed)
    }

    /// Forgets the scan.
    fn clear(&mut self) {
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
            let Group { extractor, layers, states, sum, .. } = group;
            let head = states[0].number;
            session.keep_layers(layers).map_err(|source| PipelineError::Engine { head, source })?;
            frames.iter().enumerate().for_each(|(i, frame)| extractor.push(scan.frames + i, frame));
            extractor.run(session, name, |&number, features| {
                let started = Instant::now();
                add(sum, states, number, features, &scan.geometry, &mut answers)?;
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

/// Gives the features of frame `number` to the heads. With `answers`, what they say of it goes there; without, masks are kept.
fn add(
    sum: &mut Vec<f64>,
    states: &mut [HeadState],
    number: usize,
    features: &Features,
    geometry: &Geometry,
    answers: &mut Option<&mut Vec<Answer>>,
) -> Result<(), PipelineError> {
    let row = cls_and_mean(&features.cls, &features.patch);
    // What a sum of floats begins with, so that it has the same bits.
    sum.resize(row.len(), -0.0);
    sum.iter_mut().zip(&row).for_each(|(sum, &value)| *sum += f64::from(value));
    for state in states.iter_mut().filter(|state| state.selected) {
        let head = state.number;
        let failed = |source| PipelineError::Head { head, source };
        let outcome = state.take(number, &row, features, geometry, answers.is_none()).map_err(failed)?;
        if let (Some(outcome), Some(answers)) = (outcome, answers.as_mut()) {
            answers.push(answer(state, outcome, &row).map_err(failed)?);
        }
    }
    Ok(())
}

/// `outcome` with how far `row` lies from what the head was trained on.
fn answer(state: &HeadState, outcome: Outcome, row: &[f32]) -> Result<Answer, HeadError> {
    let ood = state.loaded.head.ood.as_ref().map(|ood| ood.score(row)).transpose()?;
    Ok(Answer { head: state.number, outcome, ood })
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
        Group { extractor, layers, states, sum: Vec::new() }
    };
    groups.into_iter().map(group).collect()
}

/// The instruction set that heads run on: the backbone's; where tract runs that, what the environment says, or the best.
fn isa(about: &About) -> Isa {
    about.backend.isa().or_else(|| Isa::preferred().ok()).unwrap_or_else(Isa::best)
}
