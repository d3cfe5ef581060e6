//! What the outputs of a graph mean that holds no backbone of the family.
//!
//! An output is interpreted by its name and shape:
//!
//! - `pooler_output` of shape `[1, d]` is `cls`.
//! - Of `last_hidden_state`, else of the first output that fits: if it is `[1, n, d]`, the first convolution cuts the image
//!   into r x c patches and n is that number or up to [`MAX_PREFIX`] more, the extra tokens precede the patches: first a
//!   class token, then registers, as in every vision transformer of timm, transformers and Meta. In all other cases the
//!   tokens cannot be told apart.
//! - `[1, c, h, w]` called `last_hidden_state` is h rows of w patches of width c.
//!
//! Nothing else is `cls` or `patch`; such an output keeps its name. For heads that read one row an image, the row is made
//! of what there is: the only vector, or the mean of all tokens. Conclusions drawn from shapes alone are logged as
//! warnings, because the file does not state them.

use tract_core::internal::tract_ndarray::ArrayViewD;
use tract_core::internal::{TValue, TractResult, TypedFact};
use tract_core::prelude::Datum;

use crate::names;
use crate::vit::{Features, Output, StandIn};

/// Maximum number of tokens before the patches: DINOv3 has a class token and 4 registers, others have up to 16
/// registers.
pub const MAX_PREFIX: usize = 17;

/// Layout of the n tokens of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Number of tokens before the patches.
    pub prefix: usize,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
}

impl Layout {
    /// Layout of `tokens` tokens in a graph that cuts the image into patches of `grid`; `None` if the numbers do not
    /// fit.
    pub(super) fn new(tokens: usize, grid: Option<(usize, usize)>) -> Option<Layout> {
        let grid = grid?;
        let prefix = tokens.checked_sub(grid.0 * grid.1).filter(|prefix| *prefix <= MAX_PREFIX)?;
        Some(Layout { prefix, grid })
    }
}

/// Which outputs of a graph are `cls` and the tokens.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    cls: Option<usize>,
    tokens: usize,
    /// Layout of the tokens, if it is known.
    layout: Option<Layout>,
    stand_in: StandIn,
}

impl Reading {
    /// How to read outputs called `names` of the shapes in `facts`, for one image. The first convolution cuts it into
    /// patches of `grid`. The error is the shape of an output that cannot be features.
    pub(super) fn new(
        names: &[String],
        facts: &[TypedFact],
        grid: Option<(usize, usize)>,
    ) -> Result<Reading, Vec<usize>> {
        let position = |name: &str| names.iter().position(|output| output == name);
        let shape = |output: usize| facts[output].shape.as_concrete().unwrap_or_default().to_vec();
        let named = position("last_hidden_state");
        let tokens = named.unwrap_or(0);
        let width = |output: usize| match *shape(output) {
            [_, dim, _, _] | [.., dim] => dim,
            [] => 0,
        };
        let pooled = |&output: &usize| shape(output).len() == 2 && width(output) == width(tokens);
        let cls = position("pooler_output").filter(pooled);
        for output in cls.into_iter().chain([tokens]) {
            let shape = shape(output);
            let float = facts[output].datum_type == f32::datum_type();
            if !(2..=4).contains(&shape.len()) || shape.contains(&0) || !float {
                return Err(shape);
            }
        }
        let (layout, patches) = match *shape(tokens) {
            [_, n, _] => {
                let layout = Layout::new(n, grid);
                (layout, layout.is_some())
            }
            [_, _, _, _] => (None, named.is_some()),
            _ => (None, cls.is_some()),
        };
        let class_token = layout.is_some_and(|layout| layout.prefix > 0);
        let stand_in = StandIn { cls: cls.is_none() && !class_token, patch: !patches };
        Ok(Reading { cls, tokens, layout, stand_in })
    }

    /// What is concluded from shapes alone, if anything, for the user.
    pub(super) fn conclusion(&self, names: &[String], facts: &[TypedFact]) -> Option<String> {
        let name = names::one_line(&names[self.tokens]);
        let shape = facts[self.tokens].shape.as_concrete()?;
        let cls = |otherwise: &'static str| if self.cls.is_some() { "pooler_output" } else { otherwise };
        Some(match (shape, self.layout) {
            ([_, n, _], Some(Layout { prefix: 0, grid: (r, c) })) => format!(
                "its {n} tokens '{name}' are taken for {r} x {c} patches; heads that read one row get {} for the class token",
                cls("their mean")
            ),
            ([_, n, _], Some(Layout { prefix, grid: (r, c) })) => format!(
                "its {n} tokens '{name}' are taken for a class token, {} registers and {r} x {c} patches, and {} for cls",
                prefix - 1,
                cls("the first")
            ),
            ([_, n, _], None) => format!(
                "nothing says which of its {n} tokens '{name}' are patches: heads that read one row get {}, and heads that \
                 need a grid are refused",
                cls("the mean of all")
            ),
            ([_, d], _) if name != "pooler_output" => {
                format!(
                    "heads get its output '{name}', {d} numbers; nothing says whether it is a class token"
                )
            }
            _ => return None,
        })
    }

    /// The features of the first image in `outputs`, which belong to a batch of `batch`.
    pub(super) fn features(
        &self,
        names: &[String],
        outputs: &[TValue],
        batch: usize,
    ) -> TractResult<Features> {
        let tokens = outputs[self.tokens].to_plain_array_view::<f32>()?;
        let mut features = features(first(tokens, batch), self.layout);
        if let Some(output) = self.cls {
            let cls = outputs[output].to_plain_array_view::<f32>()?;
            features.cls = first(cls, batch).iter().copied().collect();
        }
        features.stand_in = self.stand_in;
        for (place, (name, output)) in names.iter().zip(outputs).enumerate() {
            // An output that is read as cls and patches needs no other name.
            let StandIn { cls, patch } = self.stand_in;
            let told = (Some(place) == self.cls && !cls)
                || (place == self.tokens && !patch && outputs[place].rank() > 2);
            if !told {
                features.outputs.extend(named(name, output, batch)?);
            }
        }
        Ok(features)
    }
}

/// An output under its own name, for the first image of `batch`; `None` if it holds no numbers.
pub(super) fn named(name: &str, output: &TValue, batch: usize) -> TractResult<Option<Output>> {
    if !output.datum_type().is_number() && output.datum_type() != bool::datum_type() {
        return Ok(None);
    }
    let floats = output.cast_to::<f32>()?;
    let values = first(floats.to_plain_array_view::<f32>()?, batch);
    Ok(Some(Output {
        name: name.into(),
        shape: values.shape().to_vec(),
        values: values.iter().copied().collect(),
    }))
}

/// The part of the first image of `batch`; everything if the first dimension is not that of the images.
fn first(output: ArrayViewD<'_, f32>, batch: usize) -> ArrayViewD<'_, f32> {
    match output.shape().first() {
        Some(&images) if images == batch && batch > 1 => {
            output.slice_axis_move(tract_core::internal::tract_ndarray::Axis(0), (0..1).into())
        }
        _ => output,
    }
}

/// Converts an output of two, three or four dimensions to features.
fn features(output: ArrayViewD<'_, f32>, layout: Option<Layout>) -> Features {
    let (dim, (rows, cols)) = match *output.shape() {
        // No grid if the layout is unknown.
        [_, _, dim] => (dim, layout.map_or((0, 0), |layout| layout.grid)),
        [_, dim, rows, cols] => (dim, (rows, cols)),
        _ => return Features { cls: output.iter().copied().collect(), ..Features::default() },
    };
    let by_token = if output.ndim() == 4 { output.permuted_axes(vec![0, 2, 3, 1]) } else { output };
    let mut patch: Vec<f32> = by_token.iter().copied().collect();
    let cls = match layout {
        Some(Layout { prefix, .. }) if prefix > 0 => {
            let mut tokens = patch;
            patch = tokens.split_off(prefix * dim);
            tokens.truncate(dim);
            tokens
        }
        _ => mean(&patch, dim),
    };
    Features { cls, patch, rows, cols, ..Features::default() }
}

/// The mean of `tokens`, `[n, dim]`.
fn mean(tokens: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0; dim];
    for token in tokens.chunks_exact(dim) {
        mean.iter_mut().zip(token).for_each(|(mean, value)| *mean += value);
    }
    let n = tokens.len() / dim;
    mean.iter_mut().for_each(|value| *value /= n as f32);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_by_the_grid_alone() {
        let layout = |prefix, grid| Some(Layout { prefix, grid });
        assert_eq!(Layout::new(21, Some((4, 4))), layout(5, (4, 4)));
        assert_eq!(Layout::new(196, Some((14, 14))), layout(0, (14, 14)));
        assert_eq!(Layout::new(33, Some((4, 8))), layout(1, (4, 8)));
        // Fewer tokens than patches, as after a layer that merges them; far more tokens; no patches at all.
        for (tokens, grid) in [(5, Some((16, 16))), (16 + MAX_PREFIX + 1, Some((4, 4))), (21, None)] {
            assert_eq!(Layout::new(tokens, grid), None);
        }
    }

    #[test]
    fn tokens_become_class_token_and_patches_or_stay_as_they_are() {
        let tokens =
            ndarray::Array::from_shape_vec(vec![1, 3, 2], vec![1.0, 2.0, 3.0, 4.0, 7.0, 8.0]).unwrap();
        let found = features(tokens.view(), Layout::new(3, Some((1, 2))));
        assert_eq!(
            (found.cls, found.patch, found.rows, found.cols),
            (vec![1.0, 2.0], vec![3.0, 4.0, 7.0, 8.0], 1, 2)
        );
        let found = features(tokens.view(), Layout::new(3, Some((1, 3))));
        assert_eq!(
            (found.cls, found.patch.len(), found.rows, found.cols),
            (vec![11.0 / 3.0, 14.0 / 3.0], 6, 1, 3)
        );
        let found = features(tokens.view(), None);
        assert_eq!(
            (found.cls, found.patch.len(), found.rows, found.cols),
            (vec![11.0 / 3.0, 14.0 / 3.0], 6, 0, 0)
        );
    }
}
