//! Accuracy of a linear probe at one input size.

use serde::Serialize;

use super::{Options, ProfileError};
use crate::board::Cores;
use crate::engine::Engine;
use crate::heads::{
    Bootstrap, Extracted, FitOptions, LinearHead, LinearProbe, Report, Request, Search, check_counts, gather,
};
use crate::input::{self, Dataset, ReadOptions, Sample};
use crate::vit::Size;

/// What a probe reached on held-out images.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Name of the number: `AUC` (of the second of two classes, else the mean of each against the rest), or `accuracy`
    /// where a class is absent from the held-out images.
    pub metric: &'static str,
    /// Its value.
    pub value: f64,
    /// Lower end of the bootstrap's 95% interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Number of held-out images.
    pub images: usize,
}

/// The data set and which of its images are for what: fitting, choosing C, and measuring.
pub(super) struct Parts<'a> {
    data: &'a Dataset,
    train: Vec<usize>,
    held_out: Vec<usize>,
    /// The training images divided once more; indices into `train`.
    inner: input::Parts,
    seed: u64,
}

impl<'a> Parts<'a> {
    /// Divides `data`.
    ///
    /// # Errors
    /// [`ProfileError`] names a class with too few images to be divided twice.
    pub fn new(data: &'a Dataset, options: &Options) -> Result<Parts<'a>, ProfileError> {
        let parts = data.split(options.seed, options.val_share)?;
        let samples = parts.train.iter().map(|&i| Sample { split: None, ..data.samples[i].clone() });
        let train = Dataset { classes: data.classes.clone(), samples: samples.collect() };
        let inner = train.split(options.seed, 0.25)?;
        check_counts(&train, &inner.train)?;
        let held_out = if parts.test.is_empty() { parts.val } else { parts.test };
        Ok(Parts { data, train: parts.train, held_out, inner, seed: options.seed })
    }

    /// Trains a linear probe on the features of `engine` at `size` and measures it on images that it has not seen.
    ///
    /// The strength of the L2 penalty is chosen inside the training images (a quarter of them held out), not on those
    /// that are measured, so that the number is not flattered. `tick` is called after each image.
    ///
    /// # Errors
    /// [`ProfileError`]: an image that cannot be read, a layer that fails, a fit that does not converge.
    pub fn measure(
        &self,
        engine: &Engine,
        size: Size,
        threads: &Cores,
        tick: &dyn Fn(),
    ) -> Result<Accuracy, ProfileError> {
        let mut session = engine.session(threads)?;
        let (preprocess, read) = (&engine.about().preprocess, &ReadOptions::default());
        let request = Request { size, preprocess, read, tokens: None };
        let mut features = |indices: &[usize]| {
            // Without a cache: what is measured here is made here.
            let found = gather(&mut session, self.data, indices, &request, None, tick)?;
            Extracted::new(self.data, indices, &found.iter().collect::<Vec<_>>(), self.data.is_multi_label())
        };
        let (train, held_out) = (features(&self.train)?, features(&self.held_out)?);
        let (fit, choose) = (train.select(&self.inner.train), train.select(&self.inner.val));
        let found = LinearProbe::fit_best(
            &fit.examples(),
            &choose.examples(),
            &self.data.classes,
            &Search { refit: true, ..Search::default() },
            &FitOptions::default(),
            &mut |_, _| {},
        )?;
        self.report(&found.head, &held_out)
    }

    fn report(&self, head: &LinearHead, held_out: &Extracted) -> Result<Accuracy, ProfileError> {
        let bootstrap = Bootstrap { seed: self.seed, ..Bootstrap::default() };
        let report = Report::of(head, &held_out.examples(), head.threshold, &bootstrap)?;
        let (metric, estimate) = match report.auc {
            Some(auc) => ("AUC", auc),
            None => ("accuracy", report.accuracy.expect("a set with images has an accuracy")),
        };
        Ok(Accuracy {
            metric,
            value: estimate.value,
            low: estimate.interval.map(|i| i.low),
            high: estimate.interval.map(|i| i.high),
            images: report.images,
        })
    }
}
