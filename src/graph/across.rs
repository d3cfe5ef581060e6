//! Softmax, maxima and their places along one axis of a map: what a segmenter does with its classes last.
//!
//! tract visits these values pixel by pixel, through a view that it makes for each: 10 ms for the classes of 224 x 224
//! pixels. Here whole rows of pixels are compared at once.

use tract_core::internal::*;
use tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};

/// What is computed of the values along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Softmax,
    LogSoftmax,
    Extreme {
        /// The largest value, or the smallest.
        largest: bool,
        /// Its place, or itself; of several that are equal the last one's, or the first's.
        place: bool,
        last: bool,
    },
}

/// An operator of f32 along one axis. A reduced axis stays, with length 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Across {
    what: What,
    axis: usize,
}

impl Across {
    /// What does the same as `node` of `model`, if it is a softmax or an extreme of f32 along one axis.
    pub(super) fn of(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Across>> {
        let f32s = model.outlet_fact(node.inputs[0])?.datum_type == f32::datum_type();
        Ok(Across::along(node).filter(|_| f32s))
    }

    fn along(node: &TypedNode) -> Option<Across> {
        if let Some(Softmax { axes, quant_output_dt: None, kind }) = node.op_as::<Softmax>()
            && let [axis] = axes[..]
            // Along the last axis tract is fast.
            && axis + 1 < node.outputs[0].fact.rank()
        {
            let what = match kind {
                SoftmaxKind::Softmax => What::Softmax,
                SoftmaxKind::LogSoftmax => What::LogSoftmax,
            };
            return Some(Across { what, axis });
        }
        let reduce = node.op_as::<Reduce>()?;
        let [axis] = reduce.axes[..] else { return None };
        let (largest, place, last) = match reduce.reducer {
            Reducer::Max => (true, false, false),
            Reducer::Min => (false, false, false),
            Reducer::ArgMax(last) => (true, true, last),
            Reducer::ArgMin(last) => (false, true, last),
            _ => return None,
        };
        // Long rows of values that are not asked for their places are fast in tract.
        if !place && axis + 1 == node.outputs[0].fact.rank() {
            return None;
        }
        let what = What::Extreme { largest, place, last };
        Some(Across { what, axis })
    }

    /// Number of values along the axis, and of neighbours behind each.
    fn lengths(&self, shape: &[usize]) -> TractResult<(usize, usize)> {
        let [len, behind @ ..] = &shape[self.axis..] else { bail!("axis {} of {shape:?}", self.axis) };
        Ok((*len, behind.iter().product()))
    }
}

impl Op for Across {
    fn name(&self) -> StaticName {
        "Across".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?} along axis {}", self.what, self.axis)])
    }

    op_as_typed_op!();
}

impl EvalOp for Across {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let mut shape: TVec<usize> = input.shape().into();
        let (len, behind) = self.lengths(&shape)?;
        let (mut empty, reduced) = (shape.clone(), matches!(self.what, What::Extreme { .. }));
        if reduced {
            empty[self.axis] = 1;
        }
        if empty.contains(&0) {
            let place = matches!(self.what, What::Extreme { place: true, .. });
            let kind = if place { i64::datum_type() } else { f32::datum_type() };
            return Ok(tvec!(Tensor::zero_dt(kind, &empty)?.into_tvalue()));
        }
        ensure!(len > 0, "nothing to choose from along an axis of length 0");
        let view = input.to_plain_array_view::<f32>()?;
        let values = view.as_slice().context("values that are not contiguous")?;
        let made = match self.what {
            What::Softmax | What::LogSoftmax => {
                let mut made = values.to_vec();
                softmax(&mut made, len, behind, self.what == What::LogSoftmax);
                Tensor::from_shape(&shape, &made)?
            }
            What::Extreme { largest, place, last } => {
                shape[self.axis] = 1;
                let (best, places) = match (largest, last) {
                    (true, false) => extremes(values, len, behind, |x, best| x > best),
                    (true, true) => extremes(values, len, behind, |x, best| x >= best),
                    (false, false) => extremes(values, len, behind, |x, best| x < best),
                    (false, true) => extremes(values, len, behind, |x, best| x <= best),
                };
                if place { Tensor::from_shape(&shape, &places)? } else { Tensor::from_shape(&shape, &best)? }
            }
        };
        Ok(tvec!(made.into_tvalue()))
    }
}

impl TypedOp for Across {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        let kind = match self.what {
            What::Softmax | What::LogSoftmax => return Ok(tvec!(f32::fact(shape))),
            What::Extreme { place: false, .. } => f32::datum_type(),
            What::Extreme { place: true, .. } => i64::datum_type(),
        };
        shape.set(self.axis, 1.to_dim());
        Ok(tvec!(kind.fact(shape)))
    }

    as_op!();
}

/// The value that is `better` than all others of `[.., len, behind]` along the middle axis, and its place. A NaN is better
/// than anything.
fn extremes(
    values: &[f32],
    len: usize,
    behind: usize,
    better: impl Fn(f32, f32) -> bool,
) -> (Vec<f32>, Vec<i64>) {
    let count = values.len() / len;
    let (mut best, mut places) = (Vec::with_capacity(count), vec![0; count]);
    for (values, places) in values.chunks_exact(len * behind).zip(places.chunks_exact_mut(behind)) {
        let (first, others) = values.split_at(behind);
        let start = best.len();
        best.extend_from_slice(first);
        let best = &mut best[start..];
        for (k, row) in (1_i64..).zip(others.chunks_exact(behind)) {
            for ((&x, best), place) in row.iter().zip(&mut *best).zip(&mut *places) {
                let take = better(x, *best) || x.is_nan();
                *best = if take { x } else { *best };
                *place = if take { k } else { *place };
            }
        }
    }
    (best, places)
}

/// Neighbours whose sums are kept at once.
const BLOCK: usize = 256;

/// Softmax, or its logarithm, of `[.., len, behind]` along the middle axis.
fn softmax(values: &mut [f32], len: usize, behind: usize, log: bool) {
    let (mut largest, mut sums) = ([0_f32; BLOCK], [0_f32; BLOCK]);
    for values in values.chunks_exact_mut(len * behind) {
        for start in (0..behind).step_by(BLOCK) {
            let block = start..behind.min(start + BLOCK);
            let (largest, sums) = (&mut largest[..block.len()], &mut sums[..block.len()]);
            largest.fill(f32::NEG_INFINITY);
            sums.fill(0.0);
            for row in values.chunks_exact(behind) {
                for (&x, largest) in row[block.clone()].iter().zip(&mut *largest) {
                    *largest = largest.max(x);
                }
            }
            for row in values.chunks_exact_mut(behind) {
                for ((x, &largest), sum) in row[block.clone()].iter_mut().zip(&*largest).zip(&mut *sums) {
                    *x -= largest;
                    let exp = x.exp();
                    *sum += exp;
                    *x = if log { *x } else { exp };
                }
            }
            if log {
                sums.iter_mut().for_each(|sum| *sum = sum.ln());
            }
            for row in values.chunks_exact_mut(behind) {
                for (x, &sum) in row[block.clone()].iter_mut().zip(&*sums) {
                    *x = if log { *x - sum } else { *x / sum };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tract makes of values along an axis, and what ours does.
    fn both(op: Box<dyn TypedOp>, shape: &[usize], values: &[f32]) -> (Tensor, Tensor) {
        let made = |replaced: bool| {
            let mut model = TypedModel::default();
            let input = model.add_source("x", f32::fact(shape)).unwrap();
            let end = model.wire_node("y", op.clone(), &[input]).unwrap();
            model.select_output_outlets(&end).unwrap();
            if replaced {
                let found = Across::of(&model, model.node(end[0].node)).unwrap();
                model.node_mut(end[0].node).op = Box::new(found.unwrap());
            }
            let plan = model.into_runnable().unwrap();
            plan.run(tvec!(Tensor::from_shape(shape, values).unwrap().into())).unwrap().remove(0)
        };
        (made(false).into_tensor(), made(true).into_tensor())
    }

    #[test]
    fn what_tract_makes_along_an_axis() {
        let shape = [2, 5, 3, 101];
        // Many are equal.
        let values: Vec<f32> =
            (0..2 * 5 * 3 * 101).map(|i| ((i * 7919 % 613) as f32 * 0.05).floor()).collect();
        for axis in 0..4 {
            use Reducer::*;
            for reducer in [Max, Min, ArgMax(false), ArgMax(true), ArgMin(false), ArgMin(true)] {
                if axis == 3 && matches!(reducer, Max | Min) {
                    continue;
                }
                let reduce = Reduce { axes: tvec!(axis), reducer };
                let (expected, found) = both(Box::new(reduce), &shape, &values);
                assert_eq!(expected, found, "{reducer:?} along {axis}");
            }
            if axis == 3 {
                continue;
            }
            for kind in [SoftmaxKind::Softmax, SoftmaxKind::LogSoftmax] {
                let softmax = Softmax { axes: tvec!(axis), quant_output_dt: None, kind };
                let (expected, found) = both(Box::new(softmax), &shape, &values);
                expected.close_enough(&found, Approximation::Close).unwrap();
            }
        }
    }

    #[test]
    fn a_nan_is_not_lost() {
        let (best, places) = extremes(&[1.0, f32::NAN, 3.0, -1.0, 2.0, 5.0], 3, 2, |x, best| x > best);
        assert_eq!((best[0], places[0]), (3.0, 1));
        assert!(best[1].is_nan());
        let mut values = [1.0, f32::NAN];
        softmax(&mut values, 2, 1, false);
        assert!(values.iter().all(|x| x.is_nan()));
    }
}
