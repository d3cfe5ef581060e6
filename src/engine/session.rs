//! One thread of use of an engine: its threads, its working memory, and a plan for each size and choice of layers that it
//! has met.

#[cfg(feature = "onnx")]
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atomic_refcell::AtomicRefCell;

use super::{Backbone, Engine, EngineError, Features, MAX_THREADS, OperatorTimes};
use crate::board::{CacheShare, Cores, Root};
use crate::encoder::{Cache, Encoder, EncoderError, Plan, Workspace};
#[cfg(feature = "onnx")]
use crate::graph::onnx::{OnnxModel, OnnxPlan};
use crate::kernels::pool::Pool;
use crate::vit::Size;

/// Plans that a session keeps; a further one drops the one that has not been used for longest.
const MAX_PLANS: usize = 8;

/// Memory of the images of a batch, beside what [`Session::run_batch`] needs for itself.
const BATCH_BYTES: usize = 256 << 20;

/// Working memory of the threads that run whole images side by side.
const LANES_BYTES: usize = 512 << 20;

/// Runs one image at a time. Make one session for each thread that calls.
pub struct Session {
    engine: Engine,
    cores: Cores,
    runner: Runner,
    features: Features,
}

enum Runner {
    Vit(Box<VitRunner>),
    #[cfg(feature = "onnx")]
    Onnx {
        /// None with one thread: everything then runs on the caller's.
        pool: Option<Arc<rayon::ThreadPool>>,
        plans: Recent<OnnxPlan>,
    },
}

struct VitRunner {
    pool: Pool,
    /// What each thread has.
    cache: Cache,
    workspace: Workspace,
    plans: Recent<Plan>,
    /// Blocks whose patch tokens are kept, ascending.
    layers: Vec<usize>,
    /// Buffers of [`Features::layers`] that the last run had no use for.
    spare: Vec<Vec<f32>>,
    /// For batches: plans of one thread, and each thread's own memory.
    single: Recent<Plan>,
    lanes: Vec<AtomicRefCell<Lane>>,
}

/// What a thread needs to run an image by itself.
struct Lane {
    pool: Pool,
    workspace: Workspace,
}

/// The plans of the last few sizes and choices of layers, most recently used last.
struct Recent<P>(Vec<Kept<P>>);

/// A plan, and what it is for.
struct Kept<P> {
    size: Size,
    layers: Vec<usize>,
    plan: P,
}

impl<P> Recent<P> {
    /// The plan for `size` that keeps `layers` (ascending), made by `new` if need be, moved to the end.
    fn get<E>(
        &mut self,
        size: Size,
        layers: &[usize],
        new: impl FnOnce() -> Result<P, E>,
    ) -> Result<&mut P, E> {
        let Recent(plans) = self;
        match plans.iter().position(|kept| kept.size == size && kept.layers == layers) {
            Some(i) => plans[i..].rotate_left(1),
            None => {
                let plan = new()?;
                if plans.len() == MAX_PLANS {
                    plans.remove(0);
                }
                plans.push(Kept { size, layers: layers.to_vec(), plan });
            }
        }
        Ok(&mut plans.last_mut().expect("found or pushed above").plan)
    }
}

impl Session {
    pub(super) fn new(engine: Engine, cores: Cores) -> Result<Session, EngineError> {
        let threads = cores.threads();
        let refuse = |reason: String| EngineError::Threads { threads, reason };
        if threads == 0 || threads > MAX_THREADS {
            return Err(refuse(format!("give 1 to {MAX_THREADS}")));
        }
        // Before any thread is started: they inherit it.
        pin(&cores)?;
        let runner = match &engine.shared.backbone {
            Backbone::Vit(_) => Runner::Vit(Box::new(VitRunner {
                pool: Pool::new(threads).map_err(|e| refuse(e.to_string()))?,
                cache: cache(&cores),
                workspace: Workspace::default(),
                plans: Recent(Vec::new()),
                layers: Vec::new(),
                spare: Vec::new(),
                single: Recent(Vec::new()),
                lanes: Vec::new(),
            })),
            #[cfg(feature = "onnx")]
            Backbone::Onnx(_) => {
                let builder = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("microraptor-{i}"));
                let pool = match threads {
                    1 => None,
                    _ => Some(Arc::new(builder.build().map_err(|e| refuse(e.to_string()))?)),
                };
                Runner::Onnx { pool, plans: Recent(Vec::new()) }
            }
        };
        Ok(Session { engine, cores, runner, features: Features::default() })
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Threads of the session.
    pub fn threads(&self) -> usize {
        self.cores.threads()
    }

    /// From now on features hold the patch tokens of the blocks `layers` too (numbered from 0, in any order). Plans for
    /// other layers are kept, so that it costs nothing to go from one choice to another and back.
    ///
    /// # Errors
    /// [`EngineError::Encoder`] when the model has no such block, [`EngineError::NoLayers`] when tract runs it.
    pub fn keep_layers(&mut self, layers: &[usize]) -> Result<(), EngineError> {
        match (&mut self.runner, &self.engine.shared.backbone) {
            (Runner::Vit(runner), Backbone::Vit(encoder)) => {
                let blocks = encoder.config().depth;
                if let Some(&layer) = layers.iter().find(|&&layer| layer >= blocks) {
                    return Err(self.engine.encoder_error(EncoderError::Layer { layer, blocks }));
                }
                runner.layers.clear();
                runner.layers.extend_from_slice(layers);
                runner.layers.sort_unstable();
                runner.layers.dedup();
                Ok(())
            }
            #[cfg(feature = "onnx")]
            _ if layers.is_empty() => Ok(()),
            #[cfg(feature = "onnx")]
            _ => Err(EngineError::NoLayers(self.engine.about().name.clone())),
        }
    }

    /// From now on [`Session::run`] times its operators, or no longer. The features are the same bits; the times of a model
    /// that tract runs are not known, and neither are those of a batch.
    pub fn time_operators(&mut self, on: bool) {
        match &mut self.runner {
            Runner::Vit(runner) => runner.workspace.time_operators(on),
            #[cfg(feature = "onnx")]
            Runner::Onnx { .. } => {}
        }
    }

    /// How long the operators of the last [`Session::run`] took; None where they were not timed.
    pub fn operator_times(&self) -> Option<OperatorTimes> {
        match &self.runner {
            Runner::Vit(runner) => runner.workspace.operator_times(),
            #[cfg(feature = "onnx")]
            Runner::Onnx { .. } => None,
        }
    }

    /// Features of one image: `pixels` are `[3, height, width]`, preprocessed as [`super::About::preprocess`] says. They
    /// live in the session's memory until its next run.
    ///
    /// The first call at a size (and for the layers that are kept) builds its plan and grows the working memory; later
    /// ones allocate nothing (but where tract runs the model).
    ///
    /// # Errors
    /// [`EngineError`]: a size that the model cannot take, the wrong number of pixels, or a layer whose output is not
    /// finite.
    pub fn run(&mut self, pixels: &[f32], size: Size) -> Result<&Features, EngineError> {
        self.check(pixels, size)?;
        pin(&self.cores)?;
        let Session { engine, cores, runner, features } = self;
        match (runner, &engine.shared.backbone) {
            (Runner::Vit(runner), Backbone::Vit(encoder)) => {
                runner
                    .run(encoder, cores.threads(), pixels, size, features)
                    .map_err(|e| engine.encoder_error(e))?;
            }
            #[cfg(feature = "onnx")]
            (Runner::Onnx { pool, plans }, Backbone::Onnx(model)) => {
                *features =
                    run_onnx(model, pool.as_ref(), plans, pixels, size).map_err(|e| engine.graph_error(e))?;
            }
            #[cfg(feature = "onnx")]
            _ => unreachable!("a session has one engine"),
        }
        Ok(features)
    }

    /// How many images of so many bytes are worth giving to [`Session::run_batch`] at once: two for each thread, within 256
    /// MiB.
    pub fn batch(&self, bytes: usize) -> usize {
        (2 * self.threads()).min(BATCH_BYTES / bytes.max(1)).max(1)
    }

    /// Features of several images of one size, each as [`Session::run`] gives them, to the bit.
    ///
    /// For throughput: each thread runs whole images by itself, with working memory of its own, so that threads never wait
    /// for each other. One image takes as long as on one thread.
    ///
    /// # Errors
    /// As [`Session::run`], of one of the images that fail.
    pub fn run_batch(&mut self, images: &[&[f32]], size: Size) -> Result<Vec<Features>, EngineError> {
        images.iter().try_for_each(|pixels| self.check(pixels, size))?;
        pin(&self.cores)?;
        let Session { engine, cores, runner, .. } = self;
        match (runner, &engine.shared.backbone) {
            (Runner::Vit(runner), Backbone::Vit(encoder)) => {
                let mut out = vec![Features::default(); images.len()];
                runner
                    .run_batch(encoder, cores.threads(), images, size, &mut out)
                    .map_err(|e| engine.encoder_error(e))?;
                Ok(out)
            }
            #[cfg(feature = "onnx")]
            _ => images.iter().map(|pixels| self.run(pixels, size).cloned()).collect(),
        }
    }

    fn check(&self, pixels: &[f32], size: Size) -> Result<(), EngineError> {
        self.engine.check_size(size)?;
        let expected = 3 * size.area();
        if pixels.len() != expected {
            return Err(EngineError::Pixels { found: pixels.len(), expected, size });
        }
        Ok(())
    }
}

/// The cache that each of the session's threads has.
fn cache(cores: &Cores) -> Cache {
    let share = CacheShare::of(&Root::live(), cores);
    share.map_or(Cache::UNKNOWN, |CacheShare { l2, last }| Cache { l2, last })
}

/// Plans `encoder` for `size` on `threads` threads that have `cache` each, keeping the blocks `layers`.
fn plan(
    encoder: &Encoder,
    size: Size,
    threads: usize,
    cache: Cache,
    layers: &[usize],
) -> Result<Plan, EncoderError> {
    Plan::new(encoder, size, threads)?.within(encoder, cache).with_taps(encoder, layers)
}

/// Keeps the calling thread to the session's cores.
fn pin(cores: &Cores) -> Result<(), EngineError> {
    let refuse = |e: std::io::Error| EngineError::Threads {
        threads: cores.threads(),
        reason: format!("cores {}: {e}", cores.cpus()),
    };
    cores.pin().map_err(refuse)
}

/// Copies `tokens`, `[tokens, dim]`, to `features`.
fn fill(features: &mut Features, encoder: &Encoder, tokens: &[f32]) {
    let config = encoder.config();
    features.cls.clear();
    features.cls.extend_from_slice(&tokens[..config.dim]);
    features.patch.clear();
    features.patch.extend_from_slice(&tokens[config.prefix() * config.dim..]);
}

/// Copies what the plan kept of earlier blocks, and the grid, to `features`. Buffers that it has too many of go to `spare`,
/// and come from there.
fn fill_layers(
    features: &mut Features,
    encoder: &Encoder,
    plan: &Plan,
    workspace: &Workspace,
    spare: &mut Vec<Vec<f32>>,
) {
    (features.rows, features.cols) = plan.grid();
    let wanted = plan.taps().len();
    spare.extend(features.layers.drain(wanted.min(features.layers.len())..));
    features.layers.resize_with(wanted, || spare.pop().unwrap_or_default());
    for (i, kept) in features.layers.iter_mut().enumerate() {
        let prefix = encoder.config().prefix() * encoder.config().dim;
        kept.clear();
        kept.extend_from_slice(&workspace.tap(encoder, plan, i)[prefix..]);
    }
}

impl VitRunner {
    /// Every image on one thread, the session's threads side by side.
    fn run_batch(
        &mut self,
        encoder: &Encoder,
        threads: usize,
        images: &[&[f32]],
        size: Size,
        out: &mut [Features],
    ) -> Result<(), EncoderError> {
        let VitRunner { pool, cache, layers, single, lanes, .. } = self;
        let plan = &*single.get(size, layers, || plan(encoder, size, 1, *cache, layers))?;
        let used = threads.min(images.len()).min(LANES_BYTES / plan.image_bytes(encoder)).max(1);
        while lanes.len() < used {
            // One thread is the caller's own: no thread is started, so nothing can fail.
            let pool = Pool::new(1).expect("a pool of one thread starts none");
            lanes.push(AtomicRefCell::new(Lane { pool, workspace: Workspace::default() }));
        }
        let lanes = &mut lanes[..used];
        lanes.iter_mut().try_for_each(|lane| lane.get_mut().workspace.reserve(encoder, plan))?;
        let lanes = &*lanes;
        let failed = AtomicRefCell::new(None);
        let out: Vec<AtomicRefCell<&mut Features>> = out.iter_mut().map(AtomicRefCell::new).collect();
        let next = AtomicUsize::new(0);
        // Each lane takes the next image until there is none.
        pool.run(used, &|lane, _| {
            let Lane { pool, workspace } = &mut *lanes[lane].borrow_mut();
            while let i = next.fetch_add(1, Ordering::Relaxed)
                && i < images.len()
            {
                let features = &mut **out[i].borrow_mut();
                let result = encoder
                    .run(plan, workspace, pool, images[i])
                    .map(|tokens| fill(features, encoder, tokens));
                fill_layers(features, encoder, plan, workspace, &mut Vec::new());
                // Another thread may be writing its own error: one of them is enough.
                if let (Err(error), Ok(mut failed)) = (result, failed.try_borrow_mut()) {
                    *failed = Some(error);
                }
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    fn run(
        &mut self,
        encoder: &Encoder,
        threads: usize,
        pixels: &[f32],
        size: Size,
        features: &mut Features,
    ) -> Result<(), EncoderError> {
        let VitRunner { pool, cache, workspace, layers, spare, plans, .. } = self;
        let plan = plans.get(size, layers, || {
            let plan = plan(encoder, size, threads, *cache, layers)?;
            workspace.reserve(encoder, &plan)?;
            Ok::<_, EncoderError>(plan)
        })?;
        fill(features, encoder, encoder.run(plan, workspace, pool, pixels)?);
        fill_layers(features, encoder, plan, workspace, spare);
        Ok(())
    }
}

#[cfg(feature = "onnx")]
fn run_onnx(
    model: &OnnxModel,
    pool: Option<&Arc<rayon::ThreadPool>>,
    plans: &mut Recent<OnnxPlan>,
    pixels: &[f32],
    size: Size,
) -> Result<Features, crate::graph::GraphError> {
    let plan = plans.get(size, &[], || model.plan(size, pool))?;
    Ok(match pool {
        Some(pool) => pool.install(|| plan.run(pixels)),
        None => plan.run(pixels),
    }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Model;
    use crate::engine::Operator;
    use crate::kernels::Isa;

    #[test]
    fn operators_are_timed_when_asked_for() {
        let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), Isa::best());
        let size = Size::square(32);
        let pixels = vec![0.5; 3 * size.area()];
        let mut session = engine.session(2).unwrap();
        let expected = session.run(&pixels, size).unwrap().clone();
        assert_eq!(session.operator_times(), None);
        session.time_operators(true);
        let mut sum = OperatorTimes::default();
        for _ in 0..2 {
            assert!(*session.run(&pixels, size).unwrap() == expected);
            sum += session.operator_times().unwrap();
        }
        assert_eq!((sum.runs(), sum.threads()), (2, 2));
        assert!(sum.of(Operator::Fc1) > 0 && sum.wall() > 0);
        assert!(engine.macs(Operator::Fc1, size).unwrap().is_some());
        assert!(engine.macs(Operator::Fc1, Size::square(33)).is_err());
    }

    #[test]
    fn plans_are_kept_by_size_and_layers() {
        let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), Isa::best());
        let size = Size::square(32);
        let pixels: Vec<f32> = (0..3 * size.area()).map(|p| (p as f32 * 0.01).sin()).collect();
        let choices: [&[usize]; 3] = [&[], &[7, 2], &[11]];
        // Each of a session of its own, which has met nothing else.
        let expected = choices.map(|layers| {
            let mut session = engine.session(2).unwrap();
            session.keep_layers(layers).unwrap();
            session.run(&pixels, size).unwrap().clone()
        });
        let mut session = engine.session(2).unwrap();
        for _ in 0..3 {
            for (layers, expected) in choices.iter().zip(&expected) {
                session.keep_layers(layers).unwrap();
                assert_eq!(expected.layers.len(), layers.len());
                assert!(session.run(&pixels, size).unwrap() == expected, "{layers:?}");
                assert!(session.run_batch(&[&pixels], size).unwrap()[0] == *expected, "{layers:?}");
            }
        }
        session.keep_layers(&[2, 7, 7]).unwrap();
        session.run(&pixels, size).unwrap();
        match &session.runner {
            Runner::Vit(runner) => assert_eq!((runner.plans.0.len(), runner.single.0.len()), (3, 3)),
            #[cfg(feature = "onnx")]
            Runner::Onnx { .. } => panic!("a transformer of the family"),
        }
    }

    #[test]
    fn a_batch_gives_what_single_runs_give() {
        let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), Isa::best());
        let size = Size::square(32);
        let images: Vec<Vec<f32>> = (0..5)
            .map(|i| (0..3 * size.area()).map(|p| ((p * (i + 1)) as f32 * 0.01).sin()).collect())
            .collect();
        let images: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let mut single = engine.session(1).unwrap();
        let expected: Vec<Features> = images.iter().map(|i| single.run(i, size).unwrap().clone()).collect();
        for threads in [1, 2, 3, 8] {
            let mut session = engine.session(threads).unwrap();
            for n in [5, 1, 0] {
                assert!(session.run_batch(&images[..n], size).unwrap() == expected[..n], "{threads} {n}");
            }
            assert!(session.run_batch(&[&[0.0; 5]], size).is_err());
        }
    }
}
