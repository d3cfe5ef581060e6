//! Cache of plans, keyed by input size and selected layers.

use crate::vit::Size;

/// Maximum number of plans that a session keeps. Beyond it, the least recently used plan is dropped.
const MAX_PLANS: usize = 8;

/// Plans for the most recent sizes and selections of layers, most recently used last.
pub(super) struct Recent<P>(Vec<Kept<P>>);

/// A plan and its key.
struct Kept<P> {
    size: Size,
    layers: Vec<usize>,
    plan: P,
}

impl<P> Recent<P> {
    pub(super) fn new() -> Recent<P> {
        Recent(Vec::new())
    }

    /// Number of plans.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The plan for `size` and `layers` (ascending), created by `new` if there is none. It moves to the end.
    pub(super) fn get<E>(
        &mut self,
        size: Size,
        layers: &[usize],
        new: impl FnOnce() -> Result<P, E>,
    ) -> Result<&mut P, E> {
        let Recent(plans) = self;
        match plans.iter().position(|kept| kept.size == size && kept.layers == layers) {
            Some(i) => plans[i..].rotate_left(1),
            None => {
                let plan = new()?;
                if plans.len() == MAX_PLANS {
                    plans.remove(0);
                }
                plans.push(Kept { size, layers: layers.to_vec(), plan });
            }
        }
        Ok(&mut plans.last_mut().expect("found or pushed above").plan)
    }
}
