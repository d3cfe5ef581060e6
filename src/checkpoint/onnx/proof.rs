//! The proof that a model was recognised correctly: the original and the imported model run on the same pixels.

use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tract_core::internal::TractErrorContext;
use tract_core::prelude::{IntoRunnable, Tensor, TractResult, TypedModel, tvec};

use super::recognise::Found;
use super::walk::reroute;
use crate::vit;

/// Agreement of two runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreement {
    /// Largest absolute difference, divided by the largest absolute value of the original.
    pub(super) difference: f64,
    /// Smallest cosine similarity of a token.
    pub(super) cosine: f64,
}

impl Agreement {
    /// f32 rounding through 12 blocks gives a difference of about 1e-6; a wrong architecture gives 0.1 or more. A
    /// checkpoint whose rotary periods were rounded to bf16 (2^-9) lies in between.
    pub(super) fn holds(self) -> bool {
        self.difference < 1e-3 && self.cosine > 0.99999
    }
}

/// Whether the outputs of `model` have the shapes of all tokens or of one, and it reads nothing but the pixels.
pub(super) fn may_be_whole(model: &TypedModel, found: &Found) -> bool {
    let tokens = found.tokens.and_then(|tokens| model.outlet_fact(tokens).ok()?.shape.as_concrete());
    let (Some(&[batch, n, dim]), Ok(outputs), Ok(inputs)) =
        (tokens, model.output_outlets(), model.input_outlets())
    else {
        return false;
    };
    let shapes = outputs.iter().map(|&output| model.outlet_fact(output).ok()?.shape.as_concrete());
    let mut all = false;
    let expected = shapes.into_iter().all(|shape| {
        all |= shape == Some(&[batch, n, dim]);
        shape == Some(&[batch, n, dim]) || shape == Some(&[batch, dim])
    });
    all && expected && inputs == [found.pixels]
}

/// Runs `found` in our reference and `model`, where it was found, in tract on the same pseudo-random pixels. Returns how
/// well they agree, and whether each output of `model` is all tokens or the class token.
pub(super) fn compare(mut model: TypedModel, found: &Found) -> TractResult<(Agreement, bool)> {
    let (size, config) = (found.size, &found.config);
    let values = 3 * size.area();
    let pixels: Vec<f32> =
        StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(0)).take(values * found.batch).collect();
    let whole = may_be_whole(&model, found);
    let (original, outputs) = {
        let fact = model.outlet_fact(found.pixels)?.clone().without_value();
        let input = model.add_source("microraptor.pixels", fact)?;
        reroute(&mut model, found.pixels, input)?;
        model.set_input_outlets(&[input])?;
        let end = found.tokens.or(found.streams.last().copied()).context("an encoder without blocks")?;
        let others = if whole { model.output_outlets()?.to_vec() } else { Vec::new() };
        model.select_output_outlets(&[&[end][..], &others].concat())?;
        model.compact()?;
        let input = Tensor::from_shape(&[found.batch, 3, size.height, size.width], &pixels)?;
        let outputs = model.into_optimized()?.into_runnable()?.run(tvec![input.into()])?;
        let mut outputs = outputs.iter().map(|output| output.to_plain_array_view::<f32>());
        let tokens = outputs.next().context("a run without outputs")??.to_owned();
        let rows = tokens.len() / config.dim;
        let outputs: TractResult<Vec<Vec<f32>>> =
            outputs.map(|output| Ok(output?.iter().copied().collect())).collect();
        (tokens.into_shape_with_order((rows, config.dim))?, outputs?)
    };
    let mut ours = Array2::zeros((0, config.dim));
    for pixels in pixels.chunks_exact(values) {
        let trace = vit::forward(config, &found.weights, pixels, size).expect("recognised at this size");
        let tokens = if found.tokens.is_some() { Some(&trace.output) } else { trace.blocks.last() };
        ours.append(Axis(0), tokens.expect("a model has blocks").view()).expect("as wide as the model");
    }
    let tokens = original.nrows() / found.batch;
    let classes: Vec<f32> = original.rows().into_iter().step_by(tokens).flatten().copied().collect();
    let alone = outputs.iter().all(|output| *output == classes || original.iter().eq(output));
    Ok((agreement(&ours, &original), alone))
}

/// A NaN on either side counts as disagreement.
fn agreement(ours: &Array2<f32>, original: &Array2<f32>) -> Agreement {
    if ours.dim() != original.dim() {
        return Agreement { difference: f64::INFINITY, cosine: -1.0 };
    }
    let worse = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    let largest = original.iter().map(|v| f64::from(v.abs())).fold(0.0, worse);
    let difference = ours.iter().zip(original).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, worse);
    let cosine = ours.rows().into_iter().zip(original.rows()).map(|(a, b)| {
        let dot = |x: ndarray::ArrayView1<f32>, y: ndarray::ArrayView1<f32>| -> f64 {
            x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    });
    let cosine = -cosine.map(|c| -c).fold(-1.0, worse);
    Agreement { difference: difference / largest, cosine }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn agreement_needs_every_token_and_no_nan() {
        let original = array![[1.0, 2.0], [-4.0, 0.5]];
        let same = agreement(&original, &original);
        assert!(same.holds() && same.difference == 0.0 && same.cosine > 1.0 - 1e-12);
        let off = agreement(&array![[1.0, 2.0], [-4.0, 0.508]], &original);
        assert!((off.difference - 0.002).abs() < 1e-6 && !off.holds());
        // Rotated by 5e-3: cosine 1 - 1.2e-5, though no value is off by much.
        let turned = array![[0.01, 0.02], [-4.0, 0.5]];
        let off = agreement(&array![[0.0101, 0.01995], [-4.0, 0.5]], &turned);
        assert!(off.difference < 1e-3 && off.cosine < 0.99999 && !off.holds());
        assert!(!agreement(&array![[1.0, f32::NAN], [-4.0, 0.5]], &original).holds());
        assert!(!agreement(&original, &array![[1.0, f32::NAN], [-4.0, 0.5]]).holds());
        assert!(!agreement(&array![[1.0, 2.0]], &original).holds());
    }
}
