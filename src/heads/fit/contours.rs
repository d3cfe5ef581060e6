//! Contours of masks: the scores of images that were set aside, and how often contours hold what they say.

use rayon::prelude::*;

use super::certainty::CertaintyOptions;
use super::recipe::EvaluationSet;
use crate::heads::{
    CONTOUR_SHARE, ContourCase, ContourReport, ContourRule, ContourScore, Contours, HeadError, HeadModel,
};
use crate::input::LabelMap;
use crate::kernels::Isa;
use crate::parallel::in_pool;

/// The scores of `model` on the examples `aside` of `set`, which nothing else may have seen.
///
/// # Errors
/// [`HeadError`] when the model makes no masks of single images, or the examples do not suit it; as [`Contours::new`].
pub fn contours(
    model: &HeadModel,
    set: &EvaluationSet<'_>,
    aside: &[usize],
    options: &CertaintyOptions,
    isa: Isa,
) -> Result<Contours, HeadError> {
    let share = options.contour_share.unwrap_or(CONTOUR_SHARE);
    let scores = each(model, set, aside, isa, &|margins, truth, unseen| {
        ContourScore::new(share, margins, truth, unseen)
    })?;
    Contours::new(&scores, share, options.coverage)
}

/// What the contours of `rule` are worth on the examples `indices`; `None` without any.
///
/// # Errors
/// As [`contours`].
pub fn evaluate_contours(
    model: &HeadModel,
    set: &EvaluationSet<'_>,
    indices: &[usize],
    rule: ContourRule,
    isa: Isa,
) -> Result<Option<ContourReport>, HeadError> {
    let cases = each(model, set, indices, isa, &|margins, truth, unseen| {
        ContourCase::new(&rule, margins, truth, unseen)
    })?;
    Ok(ContourReport::new(rule, &cases))
}

/// `take(margins, truth, unseen)` of each example: of the pixels that the backbone sees their margins and whether they are
/// foreground, and the number of foreground pixels that it does not see.
fn each<T: Send>(
    model: &HeadModel,
    set: &EvaluationSet<'_>,
    indices: &[usize],
    isa: Isa,
    take: &(impl Fn(&[f32], &[bool], usize) -> T + Sync),
) -> Result<Vec<T>, HeadError> {
    let HeadModel::Segment(head) = model else { return Err(HeadError::ContourScores) };
    let network = head.pack(isa);
    let masks = set.seen(indices);
    let one = |i: usize, mask: &LabelMap| {
        let features = &set.features[i];
        let missing = HeadError::Shape { what: "examples with patch tokens", found: 0, expected: 1 };
        let tokens = features.tokens.as_ref().ok_or(missing)?;
        let margins = head.margins(tokens, features.geometry.seen(), &network)?;
        let truth: Vec<bool> = mask.labels.iter().map(|&label| label > 0).collect();
        let count = |labels: &[u8]| labels.iter().filter(|&&label| label > 0).count();
        Ok(take(&margins, &truth, count(&set.masks[i].labels) - count(&mask.labels)))
    };
    in_pool(|| indices.par_iter().zip(&masks).map(|(&i, mask)| one(i, mask)).collect())
}
