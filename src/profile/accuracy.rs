//! Accuracy of a linear probe at one input size.

use serde::Serialize;

use super::{Options, ProfileError};
use crate::engine::Engine;
use crate::heads::{Bootstrap, Estimate, Extracted, FitOptions, LinearProbe, Report, Search, extract};
use crate::input::{Dataset, Parts};
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

/// Trains a linear probe on the features of `engine` at `size` and measures it on images that it has not seen.
///
/// The strength of the L2 penalty is chosen inside the training images (a quarter of them held out), not on those
/// that are measured, so that the number is not flattered. `tick` is called after each image.
///
/// # Errors
/// [`ProfileError`]: an image that cannot be read, a class with too few images to be split twice.
pub fn measure(
    engine: &Engine,
    size: Size,
    options: &Options,
    data: &Dataset,
    tick: &dyn Fn(),
) -> Result<Accuracy, ProfileError> {
    let parts = data.split(options.seed, options.val_share)?;
    let held_out = if parts.test.is_empty() { &parts.val } else { &parts.test };
    let mut session = engine.session(options.accuracy_threads)?;
    let preprocess = &engine.about().preprocess;
    let train = extract(&mut session, data, &parts.train, size, preprocess, tick)?;
    let test = extract(&mut session, data, held_out, size, preprocess, tick)?;

    let inner = inner_split(data, &parts.train, options.seed)?;
    let (fit, choose) = (train.select(&inner.train), train.select(&inner.val));
    let search = Search { refit: true, ..Search::default() };
    let result = LinearProbe::fit_best(
        &fit.examples(),
        &choose.examples(),
        &data.classes,
        &search,
        &FitOptions::default(),
        &mut |_, _| {},
    )?;
    report(&result.head, &test, data, options.seed)
}

/// Divides the training images once more; the indices are into `train`.
fn inner_split(data: &Dataset, train: &[usize], seed: u64) -> Result<Parts, ProfileError> {
    let samples = train.iter().map(|&i| {
        let mut sample = data.samples[i].clone();
        sample.split = None;
        sample
    });
    let inner = Dataset { classes: data.classes.clone(), samples: samples.collect() };
    Ok(inner.split(seed, 0.25)?)
}

fn report(
    head: &crate::heads::LinearHead,
    test: &Extracted,
    data: &Dataset,
    seed: u64,
) -> Result<Accuracy, ProfileError> {
    let examples = test.examples();
    let probabilities = head.probability_rows(examples.features)?;
    let bootstrap = Bootstrap { seed, ..Bootstrap::default() };
    let report =
        Report::new(&data.classes, &examples.targets, probabilities.view(), head.threshold, &bootstrap)?;
    let (metric, estimate) = match (report.auc, report.accuracy) {
        (Some(auc), _) => ("AUC", auc),
        (None, Some(accuracy)) => ("accuracy", accuracy),
        (None, None) => ("accuracy", Estimate { value: 0.0, interval: None }),
    };
    Ok(Accuracy {
        metric,
        value: estimate.value,
        low: estimate.interval.map(|i| i.low),
        high: estimate.interval.map(|i| i.high),
        images: report.images,
    })
}
