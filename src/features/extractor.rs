//! Turns decoded images into features.

use std::time::{Duration, Instant};

use super::FeatureError;
use crate::engine::Session;
use crate::input::{Image, Preprocessor};
use crate::vit::{Features, Preprocess, Size};

/// Computes the features of images, one at a time or in batches. Each image has a tag from the caller (number or name).
///
/// [`Extractor::push`] queues an image and [`Extractor::run`] runs the queue. The resampling filters and buffers are
/// reused for the next images, so frames of one size allocate nothing after the first (except for the results of
/// [`Session::run_batch`] when several images are queued).
///
/// ```no_run
/// use microraptor::{Engine, Extractor, FeatureError, Image, Size};
///
/// let engine = Engine::open("model.safetensors")?;
/// let preprocess = engine.about().preprocess;
/// let mut session = engine.session(2)?;
/// let mut extractor = Extractor::new(Size::square(224), preprocess);
/// extractor.push("scan.png", &Image::open("scan.png")?);
/// extractor.run(&mut session, |name| name.to_string(), |name, features| {
///     println!("{name}: {:?}", features.cls);
///     Ok::<(), FeatureError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Extractor<T> {
    preprocessor: Preprocessor,
    waiting: Vec<(T, Vec<f32>)>,
    /// Buffers of images that have been run.
    spare: Vec<Vec<f32>>,
    elapsed: Elapsed,
}

/// Time spent on all images together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elapsed {
    /// From decoded pixels to the network's input.
    pub resize: Duration,
    /// In the backbone.
    pub backbone: Duration,
}

impl<T> Extractor<T> {
    /// For a network input of `size`, preprocessed as `preprocess` specifies.
    pub fn new(size: Size, preprocess: Preprocess) -> Extractor<T> {
        let preprocessor = Preprocessor::new(size, preprocess);
        Extractor { preprocessor, waiting: Vec::new(), spare: Vec::new(), elapsed: Elapsed::default() }
    }

    /// Input size of the network.
    pub fn size(&self) -> Size {
        self.preprocessor.size()
    }

    /// Preprocesses and queues the next image.
    pub fn push(&mut self, tag: T, image: &Image) {
        let start = Instant::now();
        let mut tensor = self.spare.pop().unwrap_or_default();
        self.preprocessor.run(image, &mut tensor);
        self.waiting.push((tag, tensor));
        self.elapsed.resize += start.elapsed();
    }

    /// Queues the next image as a network input, `[3, height, width]`, that was preprocessed elsewhere
    /// ([`Image::tensor`], on another thread).
    pub fn push_tensor(&mut self, tag: T, tensor: Vec<f32>) {
        // `run` keeps this buffer for reuse, so drop a spare one in exchange.
        self.spare.pop();
        self.waiting.push((tag, tensor));
    }

    /// Frees the buffers that are kept for the next images.
    pub fn release(&mut self) {
        self.spare = Vec::new();
    }

    /// Number of queued images.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Runs the queued images and calls `take` with the features of each, in order. The queue is empty afterwards, even
    /// after an error.
    ///
    /// With at least as many images as threads, each thread runs whole images; otherwise all threads work on one image
    /// after the other. The bits are the same.
    ///
    /// # Errors
    /// [`FeatureError::Engine`] when the backbone fails on an image, which `name` names; any error that `take` returns.
    pub fn run<E: From<FeatureError>>(
        &mut self,
        session: &mut Session,
        name: impl Fn(&T) -> String,
        take: impl FnMut(&T, &Features) -> Result<(), E>,
    ) -> Result<(), E> {
        let result = self.run_waiting(session, name, take);
        self.spare.extend(self.waiting.drain(..).map(|(_, tensor)| tensor));
        result
    }

    fn run_waiting<E: From<FeatureError>>(
        &mut self,
        session: &mut Session,
        name: impl Fn(&T) -> String,
        mut take: impl FnMut(&T, &Features) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = self.size();
        let Extractor { waiting, elapsed, .. } = self;
        if waiting.len() > 1 && waiting.len() >= session.threads() {
            let tensors: Vec<&[f32]> = waiting.iter().map(|(_, tensor)| tensor.as_slice()).collect();
            let start = Instant::now();
            let all = session.run_batch(&tensors, size);
            elapsed.backbone += start.elapsed();
            // The error does not identify the image; the images are run one by one below to find it.
            if let Ok(all) = all {
                return waiting.iter().zip(&all).try_for_each(|((tag, _), features)| take(tag, features));
            }
        }
        for (tag, tensor) in &*waiting {
            let start = Instant::now();
            let features = session.run(tensor, size);
            elapsed.backbone += start.elapsed();
            let failed = |source| FeatureError::Engine { image: name(tag), source: Box::new(source) };
            take(tag, features.map_err(failed)?)?;
        }
        Ok(())
    }

    /// Time spent since the last call.
    pub fn elapsed(&mut self) -> Elapsed {
        std::mem::take(&mut self.elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Model;
    use crate::engine::Engine;
    use crate::kernels::Isa;

    #[test]
    fn one_by_one_and_together_give_the_same_bits_in_order_and_errors_name_the_picture() {
        let engine = Engine::from_model(Model::seeded("deit-tiny", 5).unwrap(), Isa::best());
        let size = Size::square(32);
        let image = |i: usize| {
            let pixels = (0..40 * 30 * 3).map(|p| (p * (i + 3) * 7 % 251) as u8).collect();
            Image::from_rgb8(40, 30, pixels).unwrap()
        };
        let mut extractor = Extractor::new(size, Preprocess::IMAGENET);
        let mut session = engine.session(1).unwrap();
        let mut single = Vec::new();
        for i in 0..5 {
            extractor.push(i, &image(i));
            let take = |_: &usize, f: &Features| {
                single.push(f.clone());
                Ok::<(), FeatureError>(())
            };
            extractor.run(&mut session, usize::to_string, take).unwrap();
        }
        for threads in [1, 2, 8] {
            let mut session = engine.session(threads).unwrap();
            (0..5).for_each(|i| extractor.push(i, &image(i)));
            let mut found = Vec::new();
            let take = |tag: &usize, f: &Features| {
                found.push((*tag, f.clone()));
                Ok::<(), FeatureError>(())
            };
            extractor.run(&mut session, usize::to_string, take).unwrap();
            assert!(found.into_iter().eq(single.iter().cloned().enumerate()), "{threads} threads");
        }
        // The third tensor is too short: the error names its tag, and the queue is empty afterwards.
        for i in 0..2 {
            extractor.push(i, &image(i));
        }
        extractor.push_tensor(7, vec![0.0; 5]);
        let take = |_: &usize, _: &Features| Ok::<(), FeatureError>(());
        let error =
            extractor.run(&mut session, |tag| format!("picture {tag}"), take).unwrap_err().to_string();
        assert!(error.starts_with("picture 7: "), "{error}");
        assert_eq!(extractor.waiting(), 0);
        // Buffers from elsewhere are kept only up to the largest number that was queued at once.
        for i in 0..20 {
            extractor.push_tensor(i, vec![0.25; 3 * size.area()]);
            extractor.run(&mut session, usize::to_string, take).unwrap();
        }
        assert!(extractor.spare.len() <= 5, "{}", extractor.spare.len());
        let elapsed = extractor.elapsed();
        assert!(elapsed.resize > Duration::ZERO && elapsed.backbone > Duration::ZERO);
    }
}
