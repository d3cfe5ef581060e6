//! Why a head answers as it does, as far as that can be said exactly.
//!
//! A logit that is linear in the patch tokens is a sum with one term for each patch. A vote of neighbours is a sum with
//! one term for each neighbour. Nothing is approximated, and nothing is said of heads for which no such sum exists.

mod explainer;
mod explanation;
mod projection;

pub(crate) use explainer::Explainer;
pub use explainer::explainable;
pub use explanation::{
    Against, Contributions, Explanation, Logit, Neighbour, Neighbours, Shown, Summed, Unexplained,
};
