//! Plans that are kept for the sizes and layers that were met.

use crate::vit::Size;

/// Plans that a session keeps; a further one drops the one that has not been used for longest.
const MAX_PLANS: usize = 8;

/// The plans of the last few sizes and choices of layers, most recently used last.
pub(super) struct Recent<P>(Vec<Kept<P>>);

/// A plan, and what it is for.
struct Kept<P> {
    size: Size,
    layers: Vec<usize>,
    plan: P,
}

impl<P> Recent<P> {
    pub(super) fn new() -> Recent<P> {
        Recent(Vec::new())
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The plan for `size` that keeps `layers` (ascending), made by `new` if need be, moved to the end.
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
