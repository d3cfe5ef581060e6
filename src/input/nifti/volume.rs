//! Reads the voxels of a volume and their values.

use std::path::Path;

use super::file::NiftiFile;
use super::geometry::Cut;
use super::header::Voxel;
use crate::input::scan::check_frames;
use crate::input::{Image, InputError, NiftiInfo, say};

/// Maximum number of voxels from which the percentiles are computed, evenly spaced: the sampling error of the rank is
/// then a few thousandths of a per cent.
const SAMPLED_VOXELS: usize = 1 << 22;

/// A volume's voxels as stored, and their position.
pub(super) struct Volume {
    pub(super) info: NiftiInfo,
    pub(super) kind: Voxel,
    little: bool,
    slope: f64,
    intercept: f64,
    /// The values of black and white, from cal_min and cal_max.
    pub(super) display: Option<[f64; 2]>,
    bytes: Vec<u8>,
}

impl Volume {
    /// Reads volume `volume` of a file, from 0, which may have at most `most_frames` slices along `cut`.
    pub(super) fn read(
        path: &Path,
        cut: Cut<'_>,
        volume: Option<usize>,
        most_frames: usize,
    ) -> Result<Volume, InputError> {
        let file = NiftiFile::open(path)?;
        let header = file.header.clone();
        let info = header.geometry(cut).map_err(|problem| InputError::unreadable(path, problem))?;
        let [depth, height, width] = info.shape();
        // Checked before the voxels are inflated.
        check_frames(&path.display().to_string(), Some(depth), most_frames)?;
        Image::check_sides(&path.display().to_string(), width, height)?;
        let bytes = file.voxels(volume)?;
        if let Some(contradiction) = header.contradiction() {
            say::once(format!("{}: {contradiction}", path.display()));
        }
        Ok(Volume {
            info,
            kind: header.voxel,
            little: header.little,
            slope: header.slope,
            intercept: header.intercept,
            display: header.display,
            bytes,
        })
    }

    /// The value of the voxel at `index` in the file's order; NaN for a colour.
    pub(super) fn value(&self, index: usize) -> f64 {
        let raw = match self.kind {
            Voxel::Unsigned(1) => f64::from(self.bytes[index]),
            Voxel::Signed(1) => f64::from(self.bytes[index].cast_signed()),
            Voxel::Unsigned(2) => f64::from(u16::from_le_bytes(self.at(index))),
            Voxel::Signed(2) => f64::from(i16::from_le_bytes(self.at(index))),
            Voxel::Unsigned(4) => f64::from(u32::from_le_bytes(self.at(index))),
            Voxel::Signed(4) => f64::from(i32::from_le_bytes(self.at(index))),
            Voxel::Float(4) => f64::from(f32::from_le_bytes(self.at(index))),
            Voxel::Unsigned(_) => u64::from_le_bytes(self.at(index)) as f64,
            Voxel::Signed(_) => i64::from_le_bytes(self.at(index)) as f64,
            Voxel::Float(_) => f64::from_le_bytes(self.at(index)),
            Voxel::Rgb | Voxel::Rgba => f64::NAN,
        };
        raw * self.slope + self.intercept
    }

    /// Red, green and blue of the voxel at `index` in the file's order.
    pub(super) fn colour(&self, index: usize) -> [u8; 3] {
        let at = index * self.kind.bytes();
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]]
    }

    /// The bytes of a voxel, lowest first.
    fn at<const N: usize>(&self, index: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[index * N..(index + 1) * N]);
        if !self.little {
            bytes.reverse();
        }
        bytes
    }

    /// Refuses transparent voxels: there is no background to show through.
    pub(super) fn check_alpha(&self, path: &Path) -> Result<(), InputError> {
        let clear = self.kind == Voxel::Rgba && self.bytes.chunks_exact(4).any(|voxel| voxel[3] != 255);
        if clear {
            return Err(InputError::unreadable(
                path,
                "has voxels that are not opaque: store it without alpha",
            ));
        }
        Ok(())
    }

    /// Warns about values that are not finite, and refuses a volume without any finite value.
    pub(super) fn check_finite(&self, path: &Path) -> Result<(), InputError> {
        if !matches!(self.kind, Voxel::Float(_)) {
            return Ok(());
        }
        let voxels = self.info.dims.iter().product::<usize>();
        let wrong = (0..voxels).filter(|&i| !self.value(i).is_finite()).count();
        if wrong == voxels {
            return Err(InputError::unreadable(path, "holds no finite value: the file is damaged"));
        }
        if wrong > 0 {
            say::once(format!(
                "{}: {wrong} of {voxels} voxels are not finite numbers and are taken as black",
                path.display()
            ));
        }
        Ok(())
    }

    /// The 0.5th and 99.5th percentiles of the finite values, by nearest rank; never equal. If they coincide, the
    /// extremes are used.
    pub(super) fn percentiles(&self) -> [f64; 2] {
        let voxels = self.info.dims.iter().product::<usize>();
        let step = voxels.div_ceil(SAMPLED_VOXELS);
        // In f64, because f32 cannot distinguish all integers above 2^24.
        let mut values = Vec::with_capacity(voxels.div_ceil(step));
        values.extend((0..voxels).step_by(step).map(|i| self.value(i)).filter(|v| v.is_finite()));
        if values.is_empty() {
            return [0.0, 1.0];
        }
        let mut rank = |share: f64| {
            let n = ((values.len() - 1) as f64 * share).round() as usize;
            *values.select_nth_unstable_by(n, f64::total_cmp).1
        };
        let [low, high] = [rank(0.005), rank(0.995)];
        if high > low {
            return [low, high];
        }
        // Nearly all voxels are equal, as in a mask.
        let [low, high] = [rank(0.0), rank(1.0)];
        if high > low { [low, high] } else { [low, low + 1.0] }
    }
}
