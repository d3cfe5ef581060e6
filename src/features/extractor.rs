//! The one place where a decoded picture becomes features.

use std::time::{Duration, Instant};

use super::FeatureError;
use crate::engine::Session;
use crate::input::{Image, Preprocessor};
use crate::vit::{Features, Preprocess, Size};

/// Makes features of pictures, one at a time or a few together, each of which has a tag of the caller's (its number, its name).
///
/// [`Extractor::push`] takes a picture and [`Extractor::run`] runs those that wait. It keeps the filters and the buffers of the
/// last pictures for the next ones, so that frames of one size allocate nothing after the first (but for what
/// [`Session::run_batch`] gives back, where several wait).
///
/// ```no_run
/// use microraptor::engine::Engine;
/// use microraptor::features::{Extractor, FeatureError};
/// use microraptor::input::Image;
/// use microraptor::vit::Size;
///
/// let engine = Engine::open("model.safetensors".as_ref())?;
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
    /// Buffers of pictures that have been run.
    spare: Vec<Vec<f32>>,
    elapsed: Elapsed,
}

/// Time that was spent, on all pictures together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elapsed {
    /// From decoded pixels to the network's input.
    pub resize: Duration,
    /// In the backbone.
    pub backbone: Duration,
}

impl<T> Extractor<T> {
    /// For a network's input of `size`, made as `preprocess` says.
    pub fn new(size: Size, preprocess: Preprocess) -> Extractor<T> {
        let preprocessor = Preprocessor::new(size, preprocess);
        Extractor { preprocessor, waiting: Vec::new(), spare: Vec::new(), elapsed: Elapsed::default() }
    }

    /// Input size of the network.
    pub fn size(&self) -> Size {
        self.preprocessor.size()
    }

    /// Takes the next picture.
    pub fn push(&mut self, tag: T, image: &Image) {
        let start = Instant::now();
        let mut tensor = self.spare.pop().unwrap_or_default();
        self.preprocessor.run(image, &mut tensor);
        self.waiting.push((tag, tensor));
        self.elapsed.resize += start.elapsed();
    }

    /// Takes the network's input of the next picture, `[3, height, width]`, which was made elsewhere
    /// ([`Image::tensor`], on another thread).
    pub fn push_tensor(&mut self, tag: T, tensor: Vec<f32>) {
        // It is kept when it has been run: one that is kept already makes room.
        self.spare.pop();
        self.waiting.push((tag, tensor));
    }

    /// Gives back the memory of buffers that are kept for the next pictures.
    pub fn release(&mut self) {
        self.spare = Vec::new();
    }

    /// Pictures that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Runs the pictures that wait and calls `take` with the features of each, in their order. Afterwards none waits, whether
    /// it went well or not.
    ///
    /// Where there are as many pictures as threads, or more, each thread runs whole ones; else all threads run one after the
    /// other. The bits are the same.
    ///
    /// # Errors
    /// [`FeatureError::Engine`] names, by `name`, the picture that the backbone fails on; what `take` gives.
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
            // An error does not say of which picture it is: one by one, below, it does.
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

    /// The time since it was last asked.
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
        // A tensor that is too short is the third: its tag is named, and nothing waits any longer.
        for i in 0..2 {
            extractor.push(i, &image(i));
        }
        extractor.push_tensor(7, vec![0.0; 5]);
        let take = |_: &usize, _: &Features| Ok::<(), FeatureError>(());
        let error =
            extractor.run(&mut session, |tag| format!("picture {tag}"), take).unwrap_err().to_string();
        assert!(error.starts_with("picture 7: "), "{error}");
        assert_eq!(extractor.waiting(), 0);
        // What was made elsewhere is not kept beyond what waited at once.
        for i in 0..20 {
            extractor.push_tensor(i, vec![0.25; 3 * size.area()]);
            extractor.run(&mut session, usize::to_string, take).unwrap();
        }
        assert!(extractor.spare.len() <= 5, "{}", extractor.spare.len());
        let elapsed = extractor.elapsed();
        assert!(elapsed.resize > Duration::ZERO && elapsed.backbone > Duration::ZERO);
    }
}
