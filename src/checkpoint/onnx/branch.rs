//! Protects the inference of shapes from tract's `If`.
//!
//! While the condition of an `If` is unknown, tract 0.23 takes the shapes of both branches for the same. TorchScript
//! writes branches of different ranks, of which only one is ever taken, and whether tract learns the condition first
//! depends on the order in which it goes through the graph: in fp16 exports it does not, and the graph is refused. Here
//! an `If` says nothing about shapes before its condition is known, unless both branches agree by themselves, and of a
//! known condition only the branch that is taken becomes part of the typed graph.

use std::collections::HashMap;
use std::sync::OnceLock;

use tract_core::internal::*;
use tract_core::ops::logic::IfThenElse;
use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::InferenceModelExt;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact, InferenceModel, InferenceNode};
use tract_onnx::tract_hir::internal::InferenceOp;

/// The name of the operator.
const IF: &str = "If";

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;
type Parser = fn(&ParsingContext, &NodeProto) -> Parsed;
type Facts = TVec<InferenceFact>;

/// Replaces tract's `If`.
pub(super) fn guard(onnx: &mut Onnx) {
    if let Some(tracts) = onnx.op_register.0.get(IF) {
        TRACTS.get_or_init(|| *tracts);
        onnx.op_register.insert(IF, parse);
    }
}

/// tract's own parser. It is a static because the operator register takes plain functions, which cannot capture it.
static TRACTS: OnceLock<Parser> = OnceLock::new();

fn parse(context: &ParsingContext, node: &NodeProto) -> Parsed {
    let (inner, outer) = TRACTS.get().context("tract's If is not known")?(context, node)?;
    let branch = |name: &str| -> TractResult<Body> {
        let parsed = context.parse_graph(node.get_attr(name)?)?;
        // The condition is the first input, the names that the branches read follow.
        let place = |name: &String| outer.iter().position(|other| other == name).map(|place| place + 1);
        let inputs = parsed.unresolved_inputs.iter().map(place).collect::<Option<_>>();
        Ok(Body { model: parsed.model, inputs: inputs.context("a branch reads an unknown name")? })
    };
    let bodies = [branch("then_branch")?, branch("else_branch")?];
    Ok((Box::new(Branch { inner, bodies }), outer))
}

/// tract's `If`, and its branches.
#[derive(Debug, Clone)]
struct Branch {
    inner: Box<dyn InferenceOp>,
    /// Taken if the condition holds, and otherwise.
    bodies: [Body; 2],
}

/// A branch, and which inputs of the `If` are its inputs.
#[derive(Debug, Clone)]
struct Body {
    model: InferenceModel,
    inputs: Vec<usize>,
}

impl PartialEq for Branch {
    fn eq(&self, _: &Branch) -> bool {
        false
    }
}

impl Eq for Branch {}

impl Op for Branch {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Branch {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.inner.eval(context, inputs)
    }
}

impl InferenceOp for Branch {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        if inputs.first().is_some_and(|condition| condition.value.concretize().is_some()) {
            return self.inner.infer_facts(inputs, outputs, observed);
        }
        let owned = |facts: &TVec<&InferenceFact>| facts.iter().map(|&fact| fact.clone()).collect::<Facts>();
        let unchanged = (owned(&inputs), owned(&outputs), owned(&observed));
        let found = self.inner.clone().infer_facts(inputs, outputs, observed);
        Ok(match found {
            Ok((_, outputs, observed)) if outputs.iter().all(|output| output.shape.is_concrete()) => {
                (unchanged.0, outputs, observed)
            }
            _ => unchanged,
        })
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.nboutputs()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        let Some(condition) = target.outlet_fact(inputs[0])?.konst.clone() else {
            return self.inner.to_typed(source, node, target, mapping);
        };
        let Body { model, inputs: read } = &self.bodies[usize::from(!condition.cast_to_scalar::<bool>()?)];
        let mut model = model.clone();
        for (place, &input) in read.iter().enumerate() {
            let fact = target.outlet_fact(inputs[input])?;
            model.set_input_fact(place, InferenceFact::from(fact))?;
        }
        // The type of the branch that is not taken is then the same; tract drops it with the condition.
        let body = model.into_typed()?;
        let op = IfThenElse {
            then_body: body.clone(),
            else_body: body,
            then_input_mapping: read.clone(),
            else_input_mapping: read.clone(),
        };
        target.wire_node(node.name.clone(), op, &inputs)
    }

    as_op!();
}
