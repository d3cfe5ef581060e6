//! What is done to a graph before tract runs it.

use tract_core::internal::*;

use super::across::Across;
use super::resample::Resample;

/// tract's optimisations of `model`, with ours in the place of operators that are slow.
pub(super) fn optimised(model: TypedModel) -> TractResult<TypedModel> {
    let mut model = model.into_decluttered()?;
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        if node.inputs.is_empty() {
            continue;
        }
        if let Some(found) = Across::of(&model, node)? {
            model.node_mut(id).op = Box::new(found);
        } else if let Some(found) = Resample::of(&model, node)? {
            let node = model.node_mut(id);
            node.op = Box::new(found);
        }
    }
    model.optimize()?;
    Ok(model)
}
