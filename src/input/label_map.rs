//! Maps that give the class of each pixel or voxel.

use std::path::Path;

use super::{InputError, Region};

/// In a map of the zones of contours, instead of a class: outside of the outer contour.
pub const OUTSIDE: u8 = 0;
/// Between the outer and the inner contour.
pub const OUTER: u8 = 1;
/// Within both.
pub const INNER: u8 = 2;

/// A class number for each pixel of an image (`depth` 1) or voxel of a volume; 0 is the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Slices or frames.
    pub depth: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[depth, height, width]`
    pub labels: Vec<u8>,
}

impl LabelMap {
    /// A map of `labels`, `[depth, height, width]`.
    ///
    /// # Errors
    /// [`InputError::Buffer`] if the number of labels does not match.
    pub fn new(depth: usize, height: usize, width: usize, labels: Vec<u8>) -> Result<LabelMap, InputError> {
        let expected = depth.checked_mul(height).and_then(|n| n.checked_mul(width));
        if expected != Some(labels.len()) {
            return Err(InputError::Buffer {
                width,
                height: depth.saturating_mul(height),
                found: labels.len(),
            });
        }
        Ok(LabelMap { depth, height, width, labels })
    }

    /// Checks that the map has one label for each pixel or voxel of `image`.
    ///
    /// # Errors
    /// [`InputError::MapSize`] names both sizes if they differ.
    pub fn check_size(
        &self,
        image: &str,
        depth: usize,
        height: usize,
        width: usize,
    ) -> Result<(), InputError> {
        let (expected, found) = ([depth, height, width], [self.depth, self.height, self.width]);
        if expected == found {
            return Ok(());
        }
        Err(InputError::MapSize { image: image.into(), expected, found })
    }

    /// The labels of slice `z`, `[height, width]`.
    ///
    /// # Panics
    /// If `z` is not below `depth`.
    pub fn slice(&self, z: usize) -> &[u8] {
        let area = self.height * self.width;
        &self.labels[z * area..(z + 1) * area]
    }

    /// The part of each slice within `region`; parts of the region outside the map are dropped.
    pub fn cropped(&self, region: Region) -> LabelMap {
        let rows = region.top.min(self.height)..(region.top + region.height).min(self.height);
        let columns = region.left.min(self.width)..(region.left + region.width).min(self.width);
        let row = |z: usize, y: usize| &self.slice(z)[y * self.width..][columns.clone()];
        let labels =
            (0..self.depth).flat_map(|z| rows.clone().flat_map(move |y| row(z, y))).copied().collect();
        LabelMap { depth: self.depth, height: rows.len(), width: columns.len(), labels }
    }

    /// The same map placed at `(top, left)` in larger slices of `(height, width)`; the rest is background, and labels
    /// outside the slices are dropped.
    pub fn placed(&self, (top, left): (usize, usize), (height, width): (usize, usize)) -> LabelMap {
        let mut labels = vec![0; self.depth * height * width];
        let columns = self.width.min(width.saturating_sub(left));
        for z in 0..self.depth {
            for row in 0..self.height.min(height.saturating_sub(top)) {
                let to = (z * height + top + row) * width + left;
                labels[to..to + columns].copy_from_slice(&self.slice(z)[row * self.width..][..columns]);
            }
        }
        LabelMap { depth: self.depth, height, width, labels }
    }
}

/// Class numbers from stored values. If there are only 0 and `white`, white is class 1.
pub(super) fn classes_of(path: &Path, values: &[u16], white: Option<u16>) -> Result<Vec<u8>, InputError> {
    if values.iter().all(|&v| v == 0 || Some(v) == white) {
        return Ok(values.iter().map(|&v| u8::from(v > 0)).collect());
    }
    // 255 comes from smoothed edges of a mask that was drawn or scaled, or marks pixels without a class, as in some
    // data sets.
    if values.contains(&u16::from(u8::MAX)) {
        let problem = "holds 255 among other values, as smoothed edges or a mark for 'ignore' do: number the classes \
                       from 0 on, or use 0 and 255 alone";
        return Err(InputError::unreadable(path, problem));
    }
    let labels = values.iter().map(|&v| u8::try_from(v).ok()).collect::<Option<Vec<u8>>>();
    labels.ok_or_else(|| InputError::unreadable(path, "has classes above 255: number them from 0 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_placed_where_it_was_cropped() {
        let map = LabelMap::new(2, 1, 2, vec![1, 2, 3, 4]).unwrap();
        assert_eq!(map.placed((1, 1), (2, 3)).labels, [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4]);
        assert_eq!(map.placed((0, 2), (1, 3)).labels, [0, 0, 1, 0, 0, 3]);
        let region = Region { top: 1, left: 1, height: 1, width: 2 };
        assert_eq!(map.placed((1, 1), (2, 3)).cropped(region), map);
        assert_eq!(map.placed((5, 5), (1, 1)).labels, [0, 0]);
        assert!(LabelMap::new(2, 2, 2, vec![0; 7]).is_err());
    }
}
