//! NIfTI-1 volumes (Cox et al. 2004; the layout is that of `nifti1.h`), sliced in the patient's axes.
//!
//! The file's axes are brought to the patient's by the permutation and flips that come closest to its affine, as
//! nibabel's `as_closest_canonical` does; nothing is interpolated. Slices are turned as DICOM's are on a screen, so that
//! both formats of one examination look alike to the model:
//!
//! | axis | slices run to | rows run to | columns run to |
//! |---|---|---|---|
//! | axial | the head | the back | the patient's left |
//! | coronal | the front | the feet | the patient's left |
//! | sagittal | the right | the feet | the back |
//!
//! Values are windowed to 16 bits: by `--window`, else from the 0.5th to the 99.5th percentile of the volume (as nnU-Net
//! clips, for a few hot voxels must not set the scale). A value that is not finite is black.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::GzDecoder;
use nifti::{Endianness, NiftiHeader, NiftiType};

use super::image::{MAX_RATIO, one_line};
use super::nifti_affine::{best_affine, closest_axes};
use super::scan::{Frames, Scan, check_frames};
use super::scan_info::{ScanInfo, ScanKind, SourceFrame};
use super::{
    Axis, Image, InputError, LabelMap, MAX_FRAMES, NIFTI_HEADER_BYTES, NiftiInfo, ReadOptions, Spacing,
    Window,
};

/// Volumes with more voxels are refused: 1024 slices of 512 x 512, a CT of the whole trunk.
const MAX_VOXELS: u64 = 1 << 28;

/// Compressed bytes from which the header of any gzipped file can be had.
pub(super) const SNIFF_BYTES: usize = 4096;

/// The percentiles are taken of at most this many voxels, evenly spaced: their own error is then below a thousandth of a
/// per cent.
const SAMPLED_VOXELS: usize = 1 << 22;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether these first bytes of a file are those of a NIfTI one, gzipped or not.
pub(super) fn is_nifti(start: &[u8]) -> bool {
    let mut header = Vec::new();
    if start.starts_with(GZIP_MAGIC) {
        // What was cut off is an error to the decoder; what came before it counts.
        let _ = GzDecoder::new(start).take(NIFTI_HEADER_BYTES as u64).read_to_end(&mut header);
    } else {
        header.extend_from_slice(start);
    }
    // NIfTI-2 has its magic at byte 4.
    matches!(header.get(344..348), Some(b"n+1\0" | b"ni1\0"))
        || matches!(header.get(4..7), Some(b"n+2" | b"ni2"))
}

/// Reads a volume; its slices are made as they are asked for.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
    let volume = Volume::read(path, options.axis.unwrap_or(Axis::Axial), options.most_frames())?;
    let [depth, height, width] = volume.info.shape();
    Image::check_sides(&path.display().to_string(), width, height)?;
    let [slices, rows, columns] = volume.info.axes.map(|axis| volume.info.spacing[axis]);
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Volume, vec![path.into()]);
    info.frames = Some(depth);
    info.size = Some((height, width));
    info.spacing = Some(Spacing { slices: Some(slices), rows, columns });
    let along = |z: usize| if volume.info.flips[0] { depth - z } else { z + 1 };
    info.source_frames = (0..depth).map(|z| SourceFrame { file: 0, frame: along(z) }).collect();
    info.nifti = Some(volume.info.clone());
    let [low, high] = options.window.map_or_else(|| volume.percentiles(), bounds);
    let volume = Arc::new(volume);
    let frames: Frames = Box::new((0..depth).map(move |z| {
        let scale = 65535.0 / (high - low);
        let grey = |value: f64| {
            if value.is_finite() { ((value - low) * scale).clamp(0.0, 65535.0).round() as u16 } else { 0 }
        };
        let mut pixels = Vec::with_capacity(height * width);
        for y in 0..height {
            pixels.extend((0..width).map(|x| grey(volume.value(volume.info.index([z, y, x])))));
        }
        Image::from_grey16(width, height, pixels)
    }));
    Ok(Scan::new(info, frames))
}

/// Reads class numbers, sliced as [`open`] slices.
pub(super) fn open_labels(path: &Path, axis: Option<Axis>) -> Result<LabelMap, InputError> {
    let volume = Volume::read(path, axis.unwrap_or(Axis::Axial), MAX_FRAMES)?;
    let [depth, height, width] = volume.info.shape();
    let mut labels = Vec::with_capacity(depth * height * width);
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                let value = volume.value(volume.info.index([z, y, x]));
                if !(0.0..=255.0).contains(&value) || value.fract() != 0.0 {
                    let problem = format!(
                        "holds the value {value}, which is no class: give whole numbers from 0 to 255"
                    );
                    return Err(InputError::unreadable(path, problem));
                }
                labels.push(value as u8);
            }
        }
    }
    LabelMap::new(depth, height, width, labels)
}

/// Black and white of a window. NIfTI values are real numbers, so that it is DICOM's LINEAR_EXACT.
fn bounds(window: Window) -> [f64; 2] {
    [window.center - window.width / 2.0, window.center + window.width / 2.0]
}

/// Voxels as the file has them, and where they lie.
struct Volume {
    info: NiftiInfo,
    kind: NiftiType,
    little: bool,
    slope: f64,
    intercept: f64,
    bytes: Vec<u8>,
}

impl Volume {
    fn read(path: &Path, axis: Axis, most_frames: usize) -> Result<Volume, InputError> {
        let wrong = |problem: String| InputError::unreadable(path, problem);
        let failed = |e: std::io::Error| {
            wrong(format!(
                "cannot be read as NIfTI ({}): the file is damaged or cut short",
                one_line(&e.to_string())
            ))
        };
        let file = crate::files::open(path).map_err(|e| InputError::read(path, &e))?;
        let length = file.metadata().map_err(|e| InputError::read(path, &e))?.len();
        let mut file = BufReader::new(file);
        let zipped = std::io::BufRead::fill_buf(&mut file).map_err(failed)?.starts_with(GZIP_MAGIC);
        let mut reader: Box<dyn Read> = if zipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        let mut raw = vec![0; NIFTI_HEADER_BYTES];
        reader.read_exact(&mut raw).map_err(failed)?;
        let Layout { header, kind, dims, slope, intercept, offset } = Layout::of(&raw).map_err(wrong)?;
        let size = voxel_bytes(kind).ok_or_else(|| {
            wrong(format!("has voxels of type {kind:?}: convert it to whole or floating-point numbers of at most 64 bits"))
        })?;
        let voxels: u64 = dims.iter().map(|&d| d as u64).product();
        let bytes = voxels * size as u64;
        let held = if zipped { length.saturating_mul(MAX_RATIO) } else { length };
        if voxels > MAX_VOXELS || bytes.saturating_add(offset) > held {
            return Err(wrong(format!(
                "{} x {} x {} voxels of {size} bytes in a file of {length} bytes are refused: give at most {} million, and a whole file",
                dims[0],
                dims[1],
                dims[2],
                MAX_VOXELS >> 20
            )));
        }
        let (affine, unit) = best_affine(&header, dims).map_err(wrong)?;
        let (axes, flips) = closest_axes(&affine, axis);
        // Before the voxels are inflated.
        check_frames(&path.display().to_string(), Some(dims[axes[0]]), most_frames)?;
        let skipped = std::io::copy(
            &mut reader.by_ref().take(offset - NIFTI_HEADER_BYTES as u64),
            &mut std::io::sink(),
        );
        skipped.map_err(failed)?;
        // Grows with what is there, for a gzipped file may hold less than its length allows.
        let mut data = Vec::new();
        reader.take(bytes).read_to_end(&mut data).map_err(failed)?;
        if data.len() as u64 != bytes {
            return Err(wrong(format!(
                "ends after {} of {bytes} bytes of voxels: give the whole file",
                data.len()
            )));
        }
        let along = |n: usize| affine.iter().map(|row| row[n] * row[n]).sum::<f64>().sqrt();
        let spacing = [along(0), along(1), along(2)].map(|length| length * unit);
        let info = NiftiInfo {
            affine: affine.map(|row| row.map(|v| v * unit)),
            dims,
            spacing,
            axes,
            flips,
            header: raw,
        };
        let little = header.endianness == Endianness::Little;
        Ok(Volume { info, kind, little, slope, intercept, bytes: data })
    }

    /// The value of the voxel at `index` in the file's order.
    fn value(&self, index: usize) -> f64 {
        let raw = match self.kind {
            NiftiType::Uint8 => f64::from(self.bytes[index]),
            NiftiType::Int8 => f64::from(self.bytes[index].cast_signed()),
            NiftiType::Uint16 => f64::from(u16::from_le_bytes(self.at(index))),
            NiftiType::Int16 => f64::from(i16::from_le_bytes(self.at(index))),
            NiftiType::Uint32 => f64::from(u32::from_le_bytes(self.at(index))),
            NiftiType::Int32 => f64::from(i32::from_le_bytes(self.at(index))),
            NiftiType::Float32 => f64::from(f32::from_le_bytes(self.at(index))),
            NiftiType::Float64 => f64::from_le_bytes(self.at(index)),
            NiftiType::Uint64 => u64::from_le_bytes(self.at(index)) as f64,
            NiftiType::Int64 => i64::from_le_bytes(self.at(index)) as f64,
            _ => unreachable!("`voxel_bytes` let no other through"),
        };
        raw * self.slope + self.intercept
    }

    /// The bytes of a voxel, the lowest first.
    fn at<const N: usize>(&self, index: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[index * N..(index + 1) * N]);
        if !self.little {
            bytes.reverse();
        }
        bytes
    }

    /// The 0.5th and 99.5th percentile of the finite values, by nearest rank; apart by something if the values are.
    fn percentiles(&self) -> [f64; 2] {
        let voxels = self.info.dims.iter().product::<usize>();
        let step = voxels.div_ceil(SAMPLED_VOXELS);
        let mut values: Vec<f32> =
            (0..voxels).step_by(step).map(|i| self.value(i) as f32).filter(|v| v.is_finite()).collect();
        if values.is_empty() {
            return [0.0, 1.0];
        }
        let mut rank = |share: f64| {
            let n = ((values.len() - 1) as f64 * share).round() as usize;
            f64::from(*values.select_nth_unstable_by(n, f32::total_cmp).1)
        };
        let [low, high] = [rank(0.005), rank(0.995)];
        if high > low {
            return [low, high];
        }
        // Nearly all voxels are alike, as in a mask.
        let [low, high] = [rank(0.0), rank(1.0)];
        if high > low { [low, high] } else { [low, low + 1.0] }
    }
}

/// What the header says of the voxels, checked.
struct Layout {
    header: NiftiHeader,
    kind: NiftiType,
    dims: [usize; 3],
    slope: f64,
    intercept: f64,
    offset: u64,
}

impl Layout {
    fn of(raw: &[u8]) -> Result<Layout, String> {
        if matches!(raw.get(4..7), Some(b"n+2" | b"ni2")) {
            return Err("is NIfTI-2, which is not read: convert it to NIfTI-1".into());
        }
        if raw.get(344..348) == Some(b"ni1\0") {
            return Err("is a pair of .hdr and .img, which is not read: convert it to one .nii file".into());
        }
        let header = NiftiHeader::from_reader(raw).map_err(|e| {
            format!(
                "has no NIfTI header ({}): the file is damaged or another format",
                one_line(&e.to_string())
            )
        })?;
        if header.sizeof_hdr != NIFTI_HEADER_BYTES as i32 {
            return Err(format!(
                "has a header that calls itself {} bytes long, not 348: the file is damaged",
                header.sizeof_hdr
            ));
        }
        let dims = header.dim.map(|d| d.cast_signed());
        let count = dims[0];
        if !(1..=7).contains(&count) {
            return Err(format!("has {count} dimensions: the file is damaged"));
        }
        let given = &dims[1..=count as usize];
        if given.iter().any(|&d| d < 1) {
            return Err(format!("has the dimensions {given:?}: the file is damaged"));
        }
        if given.iter().skip(3).any(|&d| d > 1) {
            let problem = format!(
                "has the dimensions {given:?}: give one volume in three dimensions, such as one time point"
            );
            return Err(problem);
        }
        let mut sides = [1; 3];
        for (side, &d) in sides.iter_mut().zip(given) {
            *side = d as usize;
        }
        let kind = header.data_type().map_err(|_| {
            format!("has voxels of the unknown type {}: the file is damaged", header.datatype)
        })?;
        // A slope of 0 means that there is none; so does one that is no number, as nibabel reads it.
        let scaled = header.scl_slope.is_finite() && header.scl_slope != 0.0 && header.scl_inter.is_finite();
        let (slope, intercept) =
            if scaled { (header.scl_slope.into(), header.scl_inter.into()) } else { (1.0, 0.0) };
        let offset = header.vox_offset;
        if !(offset == 0.0 || (NIFTI_HEADER_BYTES as f32..1e9).contains(&offset)) {
            return Err(format!("has its voxels at byte {offset}: the file is damaged"));
        }
        let offset = if offset == 0.0 { 352 } else { offset as u64 };
        Ok(Layout { header, kind, dims: sides, slope, intercept, offset })
    }
}

/// Bytes of a voxel, for types that are one real number.
fn voxel_bytes(kind: NiftiType) -> Option<usize> {
    match kind {
        NiftiType::Uint8 | NiftiType::Int8 => Some(1),
        NiftiType::Uint16 | NiftiType::Int16 => Some(2),
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => Some(4),
        NiftiType::Uint64 | NiftiType::Int64 | NiftiType::Float64 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
#[path = "nifti_tests.rs"]
mod tests;
