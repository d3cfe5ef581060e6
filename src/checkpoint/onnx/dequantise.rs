//! Protects tract's DequantizeLinear from a rewrite that changes what a graph computes.
//!
//! tract 0.23 replaces the operators between a DequantizeLinear and a QuantizeLinear by a table of 256 values if their
//! axes map one to one, as those of a pointwise operator do. The axes of a softmax do too: the table then holds
//! softmaxes of single values, which are all 1, and the graph silently computes a different result. The rewrite belongs
//! to the DequantizeLinear operator, so that operator is replaced by one that computes the same and has no rewrite.

use tract_core::internal::*;
use tract_core::ops::quant::DequantizeLinearF32;

/// Replaces every DequantizeLinear of `model`.
pub(super) fn guard(model: &mut TypedModel) {
    for node in model.nodes_mut() {
        if let Some(op) = node.op_as::<DequantizeLinearF32>() {
            node.op = Box::new(Dequantise(op.clone()));
        }
    }
}

/// `(code - zero point) * scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dequantise(DequantizeLinearF32);

impl Op for Dequantise {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.0.info()
    }

    fn validation(&self) -> Validation {
        self.0.validation()
    }

    op_as_typed_op!();
}

impl EvalOp for Dequantise {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl TypedOp for Dequantise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        self.0.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        self.0.change_axes(model, node, io, change)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use tract_core::ops::nn::{Softmax, SoftmaxKind};
    use tract_core::ops::quant::{quantize_linear_i8, quantize_linear_u8};

    use super::*;

    /// `x`, quantised and dequantised, followed by a softmax (or its logarithm), quantised and dequantised, as
    /// onnxruntime's static quantisation writes it.
    fn quantised(kind: SoftmaxKind, x: &[f32], signed: bool, last: (f32, u8)) -> TypedModel {
        let mut model = TypedModel::default();
        let mut wire = model.add_source("x", f32::fact([1, x.len()])).unwrap();
        let steps: [(&str, Box<dyn TypedOp>); 5] = [
            (
                "q1",
                // tract's quantisers take the inverse of the scale.
                if signed {
                    quantize_linear_i8(50.0, -8).into()
                } else {
                    quantize_linear_u8(50.0, 120).into()
                },
            ),
            ("d1", Box::new(DequantizeLinearF32::new(0.02, if signed { -8 } else { 120 }))),
            ("softmax", Box::new(Softmax { axes: tvec![1], quant_output_dt: None, kind })),
            ("q2", quantize_linear_u8(1.0 / last.0, last.1).into()),
            ("d2", Box::new(DequantizeLinearF32::new(last.0, last.1.into()))),
        ];
        for (name, op) in steps {
            wire = model.wire_node(name, op, &[wire]).unwrap()[0];
        }
        model.select_output_outlets(&[wire]).unwrap();
        model
    }

    #[test]
    fn a_softmax_between_quantised_tensors_is_computed_as_the_graph_says() {
        let x = [-1.3f32, 0.2, 0.9, 1.7, -0.4, 0.0];
        for signed in [false, true] {
            for (kind, (scale, zero)) in
                [(SoftmaxKind::Softmax, (1.0 / 255.0, 0)), (SoftmaxKind::LogSoftmax, (0.03, 200))]
            {
                let mut model = quantised(kind, &x, signed, (scale, zero));
                guard(&mut model);
                let plan = TypedSimplePlan::new(model.into_optimized().unwrap()).unwrap();
                let input = Tensor::from_shape(&[1, x.len()], &x).unwrap();
                let output = plan.run(tvec![input.into()]).unwrap();
                // ONNX, QuantizeLinear: saturate(round(x / scale) + zero point), ties to even.
                let seen = x.map(|v| f64::from((v / 0.02).round_ties_even() * 0.02));
                let sum: f64 = seen.iter().map(|v| v.exp()).sum();
                for (found, v) in output[0].to_plain_array_view::<f32>().unwrap().iter().zip(seen) {
                    let exact = if scale < 0.01 { v.exp() / sum } else { (v.exp() / sum).ln() };
                    let code = (exact / f64::from(scale)).round() + f64::from(zero);
                    let expected = (code.clamp(0.0, 255.0) - f64::from(zero)) * f64::from(scale);
                    // f32 and f64 may round to different sides, one step apart.
                    assert!(
                        (f64::from(*found) - expected).abs() <= 1.01 * f64::from(scale),
                        "{found} {expected}"
                    );
                }
            }
        }
    }
}
