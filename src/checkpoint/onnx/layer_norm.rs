//! Protects tract's layer norm from an axis outside the rank of its input.
//!
//! tract 0.23 treats a negative axis plus the rank as an unsigned number. If the sum is negative, its loop over the
//! preceding axes never ends. Only tract's solver knows the rank, so the check is a solver rule that runs before
//! tract's own rules.

use std::any::Any;
use std::sync::OnceLock;

use tract_core::internal::*;
use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::infer::InferenceResult;
use tract_onnx::tract_hir::internal::{Expansion, InferenceOp, Solver, TensorProxy, expand};

/// The name of the operator.
const LAYER_NORM: &str = "LayerNormalization";

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;
type Parser = fn(&ParsingContext, &NodeProto) -> Parsed;

/// Adds the check to tract's layer norm.
pub(super) fn guard(onnx: &mut Onnx) {
    if let Some(tracts) = onnx.op_register.0.get(LAYER_NORM) {
        TRACTS.get_or_init(|| *tracts);
        onnx.op_register.insert(LAYER_NORM, parse);
    }
}

/// tract's own parser. It is a static because the operator register takes plain functions, which cannot capture it.
static TRACTS: OnceLock<Parser> = OnceLock::new();

fn parse(context: &ParsingContext, node: &NodeProto) -> Parsed {
    let (inner, unresolved) = TRACTS.get().context("tract's layer norm is not known")?(context, node)?;
    let axis = node.get_attr_opt("axis")?.unwrap_or(-1);
    Ok((expand(LayerNorm { inner, axis }), unresolved))
}

#[derive(Debug, Clone)]
struct LayerNorm {
    inner: Box<dyn InferenceOp>,
    axis: i64,
}

impl LayerNorm {
    fn inner(&self) -> TractResult<&dyn Expansion> {
        let inner: &dyn Any = &*self.inner;
        Ok(inner.downcast_ref::<Box<dyn Expansion>>().context("tract's layer norm is no expansion")?.as_ref())
    }

    fn check(&self, rank: usize) -> TractResult<()> {
        let rank = rank as i64;
        ensure!((-rank..rank).contains(&self.axis), "{LAYER_NORM} over axis {} of rank {rank}", self.axis);
        Ok(())
    }
}

impl Expansion for LayerNorm {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.nboutputs()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let input = inputs.first().context("a layer norm without an input")?;
        s.given(&input.rank, move |_, rank| self.check(rank as usize))?;
        self.inner()?.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.check(model.outlet_fact(inputs[0])?.rank())?;
        self.inner()?.wire(prefix, model, inputs)
    }
}
