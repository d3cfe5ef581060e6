//! A session runs an engine. It has its own threads, working memory, and plans for the most recent sizes and
//! selections of layers.

use std::sync::Arc;

use super::backend::Runner;
use super::{Engine, EngineError, Features, MAX_THREADS, OperatorTimes};
use crate::board::Cores;
use crate::encoder::Interrupt;
use crate::vit::Size;

/// Maximum memory of the images of a batch, in bytes, in addition to the working memory of [`Session::run_batch`].
const BATCH_BYTES: usize = 256 << 20;

/// Runs one image at a time. Each calling thread needs its own session.
pub struct Session {
    engine: Engine,
    cores: Cores,
    /// Whether a calling thread is moved to `cores`.
    pin_caller: bool,
    interrupt: Arc<Interrupt>,
    runner: Box<dyn Runner>,
    features: Features,
}

impl Session {
    pub(super) fn new(engine: Engine, cores: Cores) -> Result<Session, EngineError> {
        let threads = cores.threads();
        let refuse = |reason: String| EngineError::Threads { threads, reason };
        if threads == 0 || threads > MAX_THREADS {
            return Err(refuse(format!("give 1 to {MAX_THREADS}")));
        }
        let interrupt = Arc::new(Interrupt::default());
        let started = cores.inherited(|| engine.shared.backbone.runner(&cores, &interrupt));
        let runner = started
            .map_err(|e| no_cores(&cores, &e))?
            .map_err(|e| EngineError::of_run(e, &engine.about().name, threads))?;
        Ok(Session { engine, cores, pin_caller: false, interrupt, runner, features: Features::default() })
    }

    /// From now on, every thread that calls [`Session::run`] or [`Session::run_batch`] is moved to the session's
    /// cores and stays there. A run then fails with [`EngineError::Threads`] if none of the cores is available.
    /// Without this, only the session's own threads are restricted to the cores, and the caller's part of the work
    /// runs on whatever core the caller is on.
    pub fn pin_caller(mut self) -> Session {
        self.pin_caller = true;
        self
    }

    /// The engine that the session runs.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What ends runs of this session before they are complete: another thread may keep and use it. What tract runs
    /// around a backbone is not ended.
    pub fn interrupt(&self) -> &Arc<Interrupt> {
        &self.interrupt
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.cores.threads()
    }

    /// Selects the blocks (numbered from 0, in any order) whose patch tokens are added to the features from now on.
    /// Plans for other selections are kept, so that switching back and forth costs nothing.
    ///
    /// # Errors
    /// [`EngineError::Encoder`] if the model has no such block, [`EngineError::NoLayers`] if tract runs the model.
    pub fn keep_layers(&mut self, layers: &[usize]) -> Result<(), EngineError> {
        let threads = self.threads();
        self.runner
            .keep_layers(layers)
            .map_err(|error| EngineError::of_run(error, &self.engine.about().name, threads))
    }

    /// Switches timing of the operators of [`Session::run`] on or off. Timed features are bit-identical to untimed
    /// ones. Batches, and models that tract runs, are not timed.
    pub fn time_operators(&mut self, on: bool) {
        self.runner.time_operators(on);
    }

    /// Times of the operators of the last [`Session::run`]; `None` if they were not timed.
    pub fn operator_times(&self) -> Option<OperatorTimes> {
        self.runner.operator_times()
    }

    /// Features of one image: `pixels` are `[3, height, width]`, preprocessed according to
    /// [`About::preprocess`](crate::About::preprocess). The features live in the session's memory until its next run.
    ///
    /// The first call for a size and selection of layers builds a plan and grows the working memory. Later calls
    /// allocate nothing, unless tract runs the model.
    ///
    /// # Errors
    /// [`EngineError`] if the model cannot take the size, the number of pixels is wrong, or a layer's output is not
    /// finite.
    pub fn run(&mut self, pixels: &[f32], size: Size) -> Result<&Features, EngineError> {
        self.check(pixels, size)?;
        self.move_caller()?;
        let Session { engine, cores, runner, features, .. } = self;
        let failed = |error| EngineError::of_run(error, &engine.about().name, cores.threads());
        runner.run(pixels, size, features).map_err(failed)?;
        Ok(features)
    }

    /// Number of images of `bytes` bytes each to pass to one [`Session::run_batch`] for best throughput: two per
    /// thread, within 256 MiB.
    pub fn batch(&self, bytes: usize) -> usize {
        (2 * self.threads()).min(BATCH_BYTES / bytes.max(1)).max(1)
    }

    /// Features of several images of one size, bit-identical to those of [`Session::run`].
    ///
    /// For throughput: each thread runs whole images with its own working memory, so that threads never wait for each
    /// other. The latency of one image is that of a single thread.
    ///
    /// # Errors
    /// As [`Session::run`], for one of the images that fail.
    pub fn run_batch(&mut self, images: &[&[f32]], size: Size) -> Result<Vec<Features>, EngineError> {
        images.iter().try_for_each(|pixels| self.check(pixels, size))?;
        self.move_caller()?;
        let threads = self.threads();
        self.runner
            .run_batch(images, size)
            .map_err(|error| EngineError::of_run(error, &self.engine.about().name, threads))
    }

    fn move_caller(&self) -> Result<(), EngineError> {
        if self.pin_caller { self.cores.pin().map_err(|e| no_cores(&self.cores, &e)) } else { Ok(()) }
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

fn no_cores(cores: &Cores, error: &std::io::Error) -> EngineError {
    EngineError::Threads { threads: cores.threads(), reason: format!("cores {}: {error}", cores.cpus()) }
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
    fn turns_of_layers_give_what_each_gives_alone() {
        let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), Isa::best());
        let size = Size::square(32);
        let pixels: Vec<f32> = (0..3 * size.area()).map(|p| (p as f32 * 0.01).sin()).collect();
        let choices: [&[usize]; 3] = [&[], &[7, 2], &[11]];
        // Each from its own session, which has run nothing else.
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
