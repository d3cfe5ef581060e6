//! Distance between two surfaces: 95th percentile of the Hausdorff distance (HD95) and average symmetric surface
//! distance (ASSD), as defined by MONAI 1.6 and Metrics Reloaded (Maier-Hein et al., Nature Methods 21:195, 2024).

use crate::heads::measure::percentile;
use crate::input::LabelMap;

/// Distances between the surfaces of one class in two label maps, in the unit of the spacing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurfaceDistances {
    /// The larger of the two directed 95th percentiles (linear interpolation between ranks).
    pub hd95: f64,
    /// Mean over all surface voxels of both maps of the distance to the nearest surface voxel of the other map.
    pub assd: f64,
}

/// Compares the surfaces of `class`. A surface voxel is a voxel of the class with a neighbour outside the class, that
/// is, the mask minus its erosion. Neighbours share a face (6 in a volume, 4 in a map of one slice), and beyond the
/// border of the map is outside. `spacing` is the distance between neighbouring slices, rows and columns in mm, or 1
/// (pixels) if unknown; the slice spacing is not used in a map of one slice.
///
/// `None` if either map lacks the class: there is no surface to measure to, and no finite number is fair.
///
/// # Panics
/// When the maps differ in size; [`overlaps`](super::overlaps) returns an error in this case.
///
/// ```
/// # use microraptor::heads::surface_distances;
/// # use microraptor::input::LabelMap;
/// let dot = |at: usize| {
///     let labels = (0..25).map(|i| u8::from(i == at)).collect();
///     LabelMap::new(1, 5, 5, labels).unwrap()
/// };
/// // From row 0, column 0 to row 3, column 4, in pixels of 0.5 mm.
/// let distances = surface_distances(&dot(0), &dot(3 * 5 + 4), 1, [1.0, 0.5, 0.5]).unwrap();
/// assert_eq!((distances.hd95, distances.assd), (2.5, 2.5));
/// ```
pub fn surface_distances(
    truth: &LabelMap,
    predicted: &LabelMap,
    class: u8,
    spacing: [f64; 3],
) -> Option<SurfaceDistances> {
    let size = [truth.depth, truth.height, truth.width];
    assert_eq!(size, [predicted.depth, predicted.height, predicted.width], "label maps of one size");
    let boxed = BoundingBox::of(size, |i| truth.labels[i] == class || predicted.labels[i] == class)?;
    let surfaces = [truth, predicted].map(|map| boxed.surface(&map.labels, class, size));
    if surfaces.iter().any(|surface| !surface.contains(&true)) {
        return None;
    }
    let [to_predicted, to_truth] = [(0, 1), (1, 0)].map(|(from, to)| {
        let squared = squared_distances(&surfaces[to], boxed.size, spacing);
        let at_surface = squared.iter().zip(&surfaces[from]).filter(|(_, on)| **on);
        let mut distances: Vec<f64> = at_surface.map(|(squared, _)| squared.sqrt()).collect();
        distances.sort_by(f64::total_cmp);
        distances
    });
    let hd95 = percentile(&to_predicted, 0.95).max(percentile(&to_truth, 0.95));
    let count = (to_predicted.len() + to_truth.len()) as f64;
    let assd = to_predicted.iter().chain(&to_truth).sum::<f64>() / count;
    Some(SurfaceDistances { hd95, assd })
}

/// The part of the maps that contains the class: distances between voxels do not depend on what surrounds it.
struct BoundingBox {
    start: [usize; 3],
    size: [usize; 3],
}

impl BoundingBox {
    /// The bounding box of the voxels that are `inside`, in a map of `size`; `None` if there are none.
    fn of(size: [usize; 3], inside: impl Fn(usize) -> bool) -> Option<BoundingBox> {
        let (mut start, mut end) = (size, [0; 3]);
        let mut index = 0;
        for z in 0..size[0] {
            for y in 0..size[1] {
                for x in 0..size[2] {
                    if inside(index) {
                        for (axis, at) in [z, y, x].into_iter().enumerate() {
                            start[axis] = start[axis].min(at);
                            end[axis] = end[axis].max(at + 1);
                        }
                    }
                    index += 1;
                }
            }
        }
        (end[0] > 0).then(|| BoundingBox { start, size: [0, 1, 2].map(|axis| end[axis] - start[axis]) })
    }

    /// Which voxels of the box, `[depth, height, width]`, are on the surface of `class`.
    fn surface(&self, labels: &[u8], class: u8, size: [usize; 3]) -> Vec<bool> {
        let [depth, height, width] = self.size;
        let mut inside = Vec::with_capacity(depth * height * width);
        for z in self.start[0]..self.start[0] + depth {
            for y in self.start[1]..self.start[1] + height {
                let row = (z * size[1] + y) * size[2] + self.start[2];
                inside.extend(labels[row..row + width].iter().map(|&label| label == class));
            }
        }
        // A map of one slice is an image: its voxels have no neighbours above and below.
        let axes = if size[0] > 1 { 0..3 } else { 1..3 };
        let strides = [height * width, width, 1];
        (0..inside.len())
            .map(|i| {
                let at = [i / strides[0], i / width % height, i % width];
                let eroded = || {
                    axes.clone().all(|axis| {
                        at[axis] > 0
                            && at[axis] + 1 < self.size[axis]
                            && inside[i - strides[axis]]
                            && inside[i + strides[axis]]
                    })
                };
                inside[i] && !eroded()
            })
            .collect()
    }
}

/// Squared distance of every voxel to the nearest of `targets`, `[depth, height, width]`. Exact, one axis at a time, in
/// time linear in the number of voxels (Felzenszwalb and Huttenlocher, Theory of Computing 8:415, 2012).
fn squared_distances(targets: &[bool], size: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut field: Vec<f64> = targets.iter().map(|&on| if on { 0.0 } else { f64::INFINITY }).collect();
    let strides = [size[1] * size[2], size[2], 1];
    let longest = size.into_iter().max().unwrap_or(0);
    let mut line = Vec::with_capacity(longest);
    let mut envelope = Vec::with_capacity(longest);
    for axis in (0..3).rev() {
        for first in (0..field.len()).filter(|i| (i / strides[axis]).is_multiple_of(size[axis])) {
            let indices = (0..size[axis]).map(|i| first + i * strides[axis]);
            line.clear();
            line.extend(indices.clone().map(|i| field[i]));
            lower_envelope(&line, spacing[axis], &mut envelope);
            let mut at = 0;
            for (p, index) in indices.enumerate() {
                while at + 1 < envelope.len() && envelope[at + 1].from <= p as f64 {
                    at += 1;
                }
                if let Some(parabola) = envelope.get(at) {
                    field[index] = parabola.at(p, &line, spacing[axis]);
                }
            }
        }
    }
    field
}

/// A parabola over a line of voxels, the lowest from position `from` (in voxels) to where the next one begins.
struct Parabola {
    vertex: usize,
    from: f64,
}

impl Parabola {
    fn at(&self, p: usize, line: &[f64], spacing: f64) -> f64 {
        let along = p.abs_diff(self.vertex) as f64 * spacing;
        line[self.vertex] + along * along
    }
}

/// The lower envelope of the parabolas `line[q] + (spacing * (p - q))^2`, from left to right; empty if every value of
/// `line` is infinite.
fn lower_envelope(line: &[f64], spacing: f64, envelope: &mut Vec<Parabola>) {
    envelope.clear();
    let height = |q: usize| line[q] / (spacing * spacing) + (q * q) as f64;
    for q in (0..line.len()).filter(|&q| line[q].is_finite()) {
        let mut from = f64::NEG_INFINITY;
        while let Some(last) = envelope.last() {
            from = (height(q) - height(last.vertex)) / (2 * (q - last.vertex)) as f64;
            if from > last.from {
                break;
            }
            envelope.pop();
            from = f64::NEG_INFINITY;
        }
        envelope.push(Parabola { vertex: q, from });
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn distances_are_those_of_every_pair() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let spacing = [2.5, 0.7, 1.1];
        for (size, share) in [([4, 7, 9], 0.05), ([1, 12, 5], 0.1), ([3, 1, 1], 0.5), ([5, 6, 7], 0.9)] {
            let targets: Vec<bool> =
                (0..size.iter().product()).map(|_| rng.random::<f64>() < share).collect();
            let place = |i: usize| [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]];
            let found = squared_distances(&targets, size, spacing);
            for (i, &found) in found.iter().enumerate() {
                let to = |j: usize| -> f64 {
                    let (a, b) = (place(i), place(j));
                    (0..3).map(|k| (a[k].abs_diff(b[k]) as f64 * spacing[k]).powi(2)).sum()
                };
                let nearest =
                    (0..targets.len()).filter(|&j| targets[j]).map(to).fold(f64::INFINITY, f64::min);
                // Three squares and two sums, each with an error of half a unit in the last place.
                assert!(found == nearest || (found - nearest).abs() <= 4.0 * f64::EPSILON * nearest);
            }
        }
    }

    #[test]
    fn a_surface_is_the_mask_less_its_erosion() {
        let size = [3, 3, 3];
        let boxed = BoundingBox::of(size, |_| true).unwrap();
        let surface = boxed.surface(&[1; 27], 1, size);
        assert_eq!(surface.iter().filter(|&&on| on).count(), 26, "all but the middle");
        let boxed = BoundingBox::of([1, 3, 3], |_| true).unwrap();
        let surface = boxed.surface(&[1; 9], 1, [1, 3, 3]);
        assert_eq!(surface.iter().filter(|&&on| on).count(), 8, "a picture has no above and below");
        // A plus has no corner neighbours: its centre is interior under 4-connectivity.
        let plus = [0, 1, 0, 1, 1, 1, 0, 1, 0];
        let boxed = BoundingBox::of([1, 3, 3], |i| plus[i] == 1).unwrap();
        assert!(!boxed.surface(&plus, 1, [1, 3, 3])[4]);
    }

    #[test]
    fn an_absent_class_has_no_distance() {
        let map = |labels: [u8; 4]| LabelMap::new(1, 2, 2, labels.to_vec()).unwrap();
        let (with, without) = (map([0, 1, 1, 0]), map([0; 4]));
        assert_eq!(surface_distances(&with, &without, 1, [1.0; 3]), None);
        assert_eq!(surface_distances(&without, &with, 1, [1.0; 3]), None);
        assert_eq!(surface_distances(&without, &without, 1, [1.0; 3]), None);
        let same = surface_distances(&with, &with, 1, [1.0; 3]).unwrap();
        assert_eq!((same.hd95, same.assd), (0.0, 0.0));
    }
}
