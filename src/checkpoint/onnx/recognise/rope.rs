//! Periods of the rotary embedding, read from the tables of sines and cosines that a graph multiplies its queries with.

use tract_core::internal::{OutletId, Tensor};

use crate::checkpoint::onnx::walk::{Mismatch, Walk, values};
use crate::vit::{default_periods, rope_periods};

/// The grid of patches and the width of a head.
#[derive(Clone, Copy)]
pub(super) struct Patches {
    pub rows: usize,
    pub cols: usize,
    pub head_dim: usize,
}

/// The periods of the rotary embedding between a dense layer and `queries`; `None` if there is no table.
pub(super) fn periods(
    walk: Walk<'_>,
    queries: OutletId,
    patches: Patches,
) -> Result<Option<Vec<f32>>, Mismatch> {
    let behind = walk.behind(queries, None);
    let factors = behind.nodes.iter().filter_map(|&node| Some(walk.with_constant(node, "Mul")?.1));
    let tables: Vec<Vec<f32>> = factors.filter_map(|constant| table(constant, patches)).collect();
    let (cos, sin) = match &tables[..] {
        [] => return Ok(None),
        [a, b] if even(a, patches) => (a, b),
        [a, b] if even(b, patches) => (b, a),
        _ => return Err("its queries are multiplied with tables that are not cosines and sines".into()),
    };
    if cos.iter().zip(sin).any(|(c, s)| (c * c + s * s - 1.0).abs() > 1e-2) {
        return Err("its rotary tables are not cosines and sines".into());
    }
    Ok(Some(read(cos, sin, patches)))
}

/// `constant` as a table with the values of a head for each patch; of two equal halves one will do.
fn table(constant: &Tensor, Patches { rows, cols, head_dim }: Patches) -> Option<Vec<f32>> {
    (constant.len() == rows * cols * head_dim).then(|| values(constant))?
}

/// Whether the table has the same values at places that lie opposite each other: cosines have.
fn even(table: &[f32], Patches { rows, cols, head_dim }: Patches) -> bool {
    let patch = |p: usize| &table[p * head_dim..(p + 1) * head_dim];
    let last = rows * cols - 1;
    (0..=last).all(|p| patch(p).iter().zip(patch(last - p)).all(|(a, b)| (a - b).abs() < 1e-3))
}

/// The periods from the angles of the patch that lies nearest to the centre without lying on it.
fn read(cos: &[f32], sin: &[f32], Patches { rows, cols, head_dim }: Patches) -> Vec<f32> {
    let quarter = head_dim / 4;
    let centre = |i: usize, n: usize| 2.0 * ((i as f64 + 0.5) / n as f64) - 1.0;
    // The second quarter holds the angles of the columns; the rows have the same periods.
    let along = |place: &usize| if cols > 1 { centre(*place, cols) } else { centre(*place, rows) };
    let places = if cols > 1 { cols } else { rows };
    let near = (0..places).filter(|place| along(place).abs() > 1e-9);
    let place = near.min_by(|a, b| along(a).abs().total_cmp(&along(b).abs())).unwrap_or(0);
    let (patch, first) = if cols > 1 { (place, quarter) } else { (place, 0) };
    let at = patch * head_dim + first;
    let period = |j: usize| {
        let angle = f64::from(sin[at + j]).atan2(f64::from(cos[at + j]));
        std::f64::consts::TAU * along(&place) / angle
    };
    settled((0..quarter).map(period).collect(), head_dim)
}

/// The periods that a formula gives, where those that were read agree with it within their rounding.
fn settled(periods: Vec<f64>, head_dim: usize) -> Vec<f32> {
    // A sine near zero has a relative error of 2^-24; the angle of a long period is small.
    let agree = |known: &[f32]| {
        periods.iter().zip(known).all(|(read, &known)| (read / f64::from(known) - 1.0).abs() < 1e-5)
    };
    let usual = default_periods(head_dim);
    if agree(&usual) {
        return usual;
    }
    // base^((n - 1) / n) is the last of n.
    let base = match &periods[..] {
        [.., last] if periods.len() > 1 => last.powf(periods.len() as f64 / (periods.len() - 1) as f64),
        _ => 1.0,
    };
    let formula = rope_periods(base.round(), head_dim);
    if agree(&formula) { formula } else { periods.into_iter().map(|period| period as f32).collect() }
}
