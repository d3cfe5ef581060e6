//! Resizing of maps. tract resizes along the axes in their order, and so along the last one where the map is largest, one
//! value at a time; here the last axis comes first.

use tract_core::internal::*;
use tract_core::ops::nn::resize::{AxisPlan, Resize};

/// Resizing of f32 along some axes, by tract's weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resample {
    /// Each axis and what its values are made of, the last one first.
    axes: Vec<(usize, Taps)>,
}

impl Eq for Resample {}

/// For each value along an axis, which values it is a weighted sum of.
#[derive(Clone, Debug, PartialEq)]
struct Taps {
    /// Number of values that one is made of.
    window: usize,
    places: Vec<usize>,
    weights: Vec<f32>,
}

impl Resample {
    /// What does the same as `node` of `model`, if it is a resize of f32 to a known size.
    pub(super) fn of(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Resample>> {
        let Some(resize) = node.op_as::<Resize>() else { return Ok(None) };
        let input = model.outlet_fact(node.inputs[0])?;
        let output = &node.outputs[0].fact;
        let (Some(from), Some(to)) = (input.shape.as_concrete(), output.shape.as_concrete()) else {
            return Ok(None);
        };
        if input.datum_type != f32::datum_type() || from.contains(&0) || to.contains(&0) {
            return Ok(None);
        }
        let scales = match resize.optional_scales_input {
            None => None,
            Some(input) => match &model.outlet_fact(node.inputs[input])?.konst {
                None => return Ok(None),
                Some(scales) => Some(scales.cast_to::<f32>()?.into_owned()),
            },
        };
        let scales: Vec<f32> = match scales.filter(|scales| scales.len() == from.len()) {
            Some(scales) => scales.to_plain_array_view::<f32>()?.iter().copied().collect(),
            None => to.iter().zip(from).map(|(&to, &from)| to as f32 / from as f32).collect(),
        };
        let mut axes = vec![];
        for axis in (0..from.len()).rev().filter(|&axis| from[axis] != to[axis] || scales[axis] != 1.0) {
            let AxisPlan { window, indices, weights, extrapolated } =
                resize.plan_axis(scales[axis], from[axis], to[axis]);
            if extrapolated.contains(&true) {
                return Ok(None);
            }
            axes.push((axis, Taps { window, places: indices, weights }));
        }
        Ok(Some(Resample { axes }))
    }
}

impl Op for Resample {
    fn name(&self) -> StaticName {
        "Resample".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Resample {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let mut shape: TVec<usize> = input.shape().into();
        let view = input.to_plain_array_view::<f32>()?;
        let mut values = view.as_slice().context("values that are not contiguous")?.to_vec();
        for (axis, taps) in &self.axes {
            let behind = shape[axis + 1..].iter().product();
            values = taps.along(&values, shape[*axis], behind);
            shape[*axis] = taps.len();
        }
        Ok(tvec!(Tensor::from_shape(&shape, &values)?.into_tvalue()))
    }
}

impl TypedOp for Resample {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        for (axis, taps) in &self.axes {
            shape.set(*axis, taps.len().to_dim());
        }
        Ok(tvec!(f32::fact(shape)))
    }

    as_op!();
}

impl Taps {
    fn len(&self) -> usize {
        self.places.len() / self.window
    }

    /// Resizes `[.., len, behind]` along the middle axis.
    fn along(&self, values: &[f32], len: usize, behind: usize) -> Vec<f32> {
        let mut made = vec![0.0; values.len() / len * self.len()];
        let taps = self.places.chunks_exact(self.window).zip(self.weights.chunks_exact(self.window));
        let maps = values.chunks_exact(len * behind).zip(made.chunks_exact_mut(self.len() * behind));
        for (from, to) in maps {
            if behind == 1 {
                for (made, (places, weights)) in to.iter_mut().zip(taps.clone()) {
                    // A value without weight counts for nothing, an infinity too.
                    let taps = places.iter().zip(weights).filter(|(_, weight)| **weight != 0.0);
                    *made = taps.map(|(&place, &weight)| weight * from[place]).sum();
                }
                continue;
            }
            for (row, (places, weights)) in to.chunks_exact_mut(behind).zip(taps.clone()) {
                for (&place, &weight) in places.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                    for (made, &value) in row.iter_mut().zip(&from[place * behind..][..behind]) {
                        *made += weight * value;
                    }
                }
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use tract_core::ops::nn::resize::{CoordTransformer, Interpolator, Nearest};

    use super::*;

    #[test]
    fn what_tract_makes() {
        use CoordTransformer::*;
        let values: Vec<f32> = (0..2 * 3 * 7 * 9).map(|i| (i as f32 * 0.7).sin()).collect();
        let sizes = [[2, 3, 28, 63], [2, 3, 3, 9], [2, 5, 7, 4], [2, 3, 14, 18]];
        for coord_transformer in [HalfPixel, AlignCorners, Asymmetric] {
            for interpolator in [Interpolator::Linear, Interpolator::Cubic, Interpolator::Nearest] {
                for size in &sizes {
                    let nearest = Nearest::Floor;
                    let resize = Resize {
                        coord_transformer: coord_transformer.clone(),
                        interpolator: interpolator.clone(),
                        nearest,
                        optional_scales_input: None,
                        optional_sizes_input: Some(1),
                    };
                    compare(resize, &values, size);
                }
            }
        }
    }

    #[test]
    fn infinities_without_weight_do_not_spread() {
        let taps = Taps { window: 2, places: vec![0, 1, 1, 2], weights: vec![0.0, 1.0, 0.5, 0.5] };
        assert_eq!(taps.along(&[f32::NEG_INFINITY, 2.0, 4.0], 3, 1), [2.0, 3.0]);
        let pairs = [f32::NEG_INFINITY, f32::INFINITY, 2.0, 20.0, 4.0, 40.0];
        assert_eq!(taps.along(&pairs, 3, 2), [2.0, 20.0, 3.0, 30.0]);
    }

    fn compare(resize: Resize, values: &[f32], size: &[i64; 4]) {
        let shape = [2, 3, 7, 9];
        let mut model = TypedModel::default();
        let input = model.add_source("x", f32::fact(shape)).unwrap();
        let sizes = model.add_const("sizes", tensor1(size)).unwrap();
        let end = model.wire_node("y", resize.clone(), &[input, sizes]).unwrap();
        model.select_output_outlets(&end).unwrap();
        let run = |model: &TypedModel| {
            let plan = model.clone().into_runnable().unwrap();
            plan.run(tvec!(Tensor::from_shape(&shape, values).unwrap().into())).unwrap().remove(0)
        };
        let expected = run(&model);
        let found = Resample::of(&model, model.node(end[0].node)).unwrap();
        model.node_mut(end[0].node).op = Box::new(found.unwrap());
        let found = run(&model);
        // Another order of the axes: some twenty roundings of values below 2.
        let bound = 20.0 * 2_f32.powi(-24) * 2.0;
        assert_eq!(expected.shape(), found.shape());
        let (a, b) =
            (expected.to_plain_array_view::<f32>().unwrap(), found.to_plain_array_view::<f32>().unwrap());
        let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < bound, "{resize:?} {size:?}: {far}");
    }
}
