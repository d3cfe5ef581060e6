//! Bilinear resampling of maps, from patch logits to pixel logits, and its adjoint for gradients.

/// The two input samples of each output sample, with half-pixel centres and replicated edges: PyTorch's
/// `interpolate(mode="bilinear", align_corners=False)`.
#[derive(Clone, Debug)]
struct Axis(Vec<Tap>);

#[derive(Clone, Copy, Debug)]
struct Tap {
    low: usize,
    high: usize,
    /// Weight of `high`.
    part: f32,
}

impl Axis {
    fn new(from: usize, to: usize) -> Axis {
        let scale = from as f64 / to as f64;
        let last = from - 1;
        let tap = |i: usize| {
            let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
            let low = at as usize;
            Tap { low, high: (low + 1).min(last), part: (at - low as f64) as f32 }
        };
        Axis((0..to).map(tap).collect())
    }
}

/// Resampling of maps `[height, width, channels]` from one size to another.
#[derive(Clone, Debug)]
pub struct Bilinear {
    from: (usize, usize),
    rows: Axis,
    columns: Axis,
}

impl Bilinear {
    /// The heights and widths from and to which it resizes.
    pub fn sizes(&self) -> [(usize, usize); 2] {
        [self.from, (self.rows.0.len(), self.columns.0.len())]
    }

    /// From `(height, width)` to `(height, width)`; no dimension may be zero.
    pub fn new(from: (usize, usize), to: (usize, usize)) -> Bilinear {
        Bilinear { from, rows: Axis::new(from.0, to.0), columns: Axis::new(from.1, to.1) }
    }

    /// Resizes `map`, `[height, width, channels]`.
    pub fn apply(&self, map: &[f32], channels: usize) -> Vec<f32> {
        let mut out = Vec::new();
        self.rows_of(map, channels, 0..self.rows.0.len(), &mut Vec::new(), &mut out);
        out
    }

    /// Adds rows `range` of the result of [`Bilinear::apply`] to `out`; `line` is working memory.
    pub fn rows_of(
        &self,
        map: &[f32],
        channels: usize,
        range: std::ops::Range<usize>,
        line: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) {
        let stride = self.from.1 * channels;
        let (Axis(rows), Axis(columns)) = (&self.rows, &self.columns);
        line.resize(stride, 0.0);
        for row in &rows[range] {
            let (low, high) = (&map[row.low * stride..][..stride], &map[row.high * stride..][..stride]);
            for ((value, a), b) in line.iter_mut().zip(low).zip(high) {
                *value = row.part.mul_add(b - a, *a);
            }
            for column in columns {
                let (a, b) = (&line[column.low * channels..], &line[column.high * channels..]);
                out.extend((0..channels).map(|c| column.part.mul_add(b[c] - a[c], a[c])));
            }
        }
    }

    /// The gradient with respect to the input map, from `gradient` with respect to the resampled map.
    pub fn adjoint(&self, gradient: &[f32], channels: usize) -> Vec<f32> {
        let (height, width) = self.from;
        let stride = width * channels;
        let mut out = vec![0.0; height * stride];
        let mut line = vec![0.0; stride];
        let (Axis(rows), Axis(columns)) = (&self.rows, &self.columns);
        for (row, gradient) in rows.iter().zip(gradient.chunks_exact(columns.len() * channels)) {
            line.fill(0.0);
            for (column, gradient) in columns.iter().zip(gradient.chunks_exact(channels)) {
                for (c, g) in gradient.iter().enumerate() {
                    line[column.low * channels + c] += (1.0 - column.part) * g;
                    line[column.high * channels + c] += column.part * g;
                }
            }
            for (c, g) in line.iter().enumerate() {
                out[row.low * stride + c] += (1.0 - row.part) * g;
                out[row.high * stride + c] += row.part * g;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pytorch() {
        // torch.nn.functional.interpolate(torch.tensor([[[[1., 2., 4.], [3., 0., 8.]]]]), size=(3, 5),
        //     mode="bilinear", align_corners=False)
        let expected = [
            1.0, 1.4, 2.0, 3.2, 4.0, //
            2.0, 1.6, 1.0, 4.0, 6.0, //
            3.0, 1.8, 0.0, 4.8, 8.0,
        ];
        let found = Bilinear::new((2, 3), (3, 5)).apply(&[1.0, 2.0, 4.0, 3.0, 0.0, 8.0], 1);
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?}");
        }
    }

    #[test]
    fn the_adjoint_is_one() {
        // <A x, y> = <x, A' y> for any x and y.
        let resize = Bilinear::new((3, 4), (7, 5));
        let x: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
        let y: Vec<f32> = (0..70).map(|i| (i as f32 * 1.3).cos()).collect();
        let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let (there, back) = (dot(&resize.apply(&x, 2), &y), dot(&x, &resize.adjoint(&y, 2)));
        assert!((there - back).abs() < 1e-4, "{there} {back}");
    }
}
