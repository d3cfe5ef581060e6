//! NIfTI volumes of versions 1 (Cox et al. 2004, `nifti1.h`) and 2 (`nifti2.h`), sliced in the patient's axes.
//!
//! `nifti_header.rs` reads the header, `nifti_file.rs` the voxels' bytes, `nifti_affine.rs` knows the patient's axes.
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
//! Values are windowed to 16 bits: by `--window`, else by what the file displays as black and white (cal_min and cal_max),
//! else from the 0.5th to the 99.5th percentile of the volume (as nnU-Net clips, for a few hot voxels must not set the
//! scale). A value that is not finite is black, which is said. Voxels in colour stay as they are.

use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::label_map::classes_of;
use super::nifti_file::NiftiFile;
pub(super) use super::nifti_file::{files, is_voxels_name, partner};
use super::nifti_header::{Cut, Voxel};
use super::scan::{Frames, Scan, check_frames};
use super::scan_info::{ScanInfo, ScanKind, SourceFrame};
use super::{Image, InputError, LabelMap, NiftiInfo, ReadOptions, Spacing, Window, dicom, nifti_file, say};

/// Compressed bytes from which the header of any gzipped file can be had.
pub(super) const SNIFF_BYTES: usize = 4096;

/// The percentiles are taken of at most this many voxels, evenly spaced: their own error is then below a thousandth of a
/// per cent.
const SAMPLED_VOXELS: usize = 1 << 22;

/// Whether these first bytes of a file are those of a NIfTI one (or of Analyze, which is refused), gzipped or not.
pub(super) fn is_nifti(start: &[u8]) -> bool {
    nifti_file::family(start).is_some()
}

/// Reads a volume; its slices are made as they are asked for.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
    let volume = Volume::read(path, options.axis.into(), options.volume, options.most_frames())?;
    let [depth, height, width] = volume.info.shape();
    let [slices, rows, columns] = volume.info.axes.map(|axis| volume.info.spacing[axis]);
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Volume, vec![path.into()]);
    info.frames = Some(depth);
    info.size = Some((height, width));
    info.spacing = Some(Spacing { slices: Some(slices), rows, columns });
    let along = |z: usize| if volume.info.flips[0] { depth - z } else { z + 1 };
    info.source_frames = (0..depth).map(|z| SourceFrame { file: 0, frame: along(z) }).collect();
    info.nifti = Some(volume.info.clone());
    if volume.kind.is_colour() {
        volume.check_alpha(path)?;
        let frames: Frames = Box::new((0..depth).map(move |z| {
            let mut pixels = Vec::with_capacity(3 * height * width);
            for y in 0..height {
                pixels.extend((0..width).flat_map(|x| volume.colour(volume.info.index([z, y, x]))));
            }
            Image::from_rgb8(width, height, pixels)
        }));
        return Ok(Scan::new(info, frames));
    }
    volume.check_finite(path)?;
    let [low, high] = match (options.window, volume.display) {
        (Some(window), _) => bounds(window),
        (None, Some(display)) => display,
        (None, None) => volume.percentiles(),
    };
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

/// Reads the class numbers of `image`, which must lie where it does as far as both say it: sliced as that is, where it is
/// DICOM, else as [`open`] slices.
pub(super) fn open_labels_for(
    path: &Path,
    image: &Path,
    options: &ReadOptions,
) -> Result<LabelMap, InputError> {
    let most = options.most_frames();
    let files = match Content::of(image, false)? {
        Content::Nifti => {
            let [mask, of] = [geometry(path, options.axis.into())?, geometry(image, options.axis.into())?];
            check_place(path, image, mask.apart(&of))?;
            return open_labels(path, options.axis, most);
        }
        Content::Dicom => vec![image.into()],
        Content::Series(files) => files,
        // What says nowhere in the patient it lies.
        Content::Picture | Content::Clip(_) | Content::Y4m => {
            return open_labels(path, options.axis, most);
        }
    };
    let lattice = dicom::lattice(&files)?;
    let header = NiftiFile::open(path)?.header;
    let placed = header.says_place();
    let Some(lattice) = lattice.filter(|_| placed) else {
        let unplaced = if placed { image } else { path };
        say::once(format!(
            "{}: is laid on {} by its size alone, for {} does not say where in the patient it lies",
            path.display(),
            image.display(),
            unplaced.display()
        ));
        return open_labels(path, options.axis, most);
    };
    let cut = Cut::Lattice(&lattice);
    let mask = header.geometry(cut).map_err(|problem| InputError::unreadable(path, problem))?;
    check_place(path, image, mask.apart_from_lattice(&lattice))?;
    open_labels(path, cut, most)
}

/// Refuses a mask of which a corner is so many millimetres away from where that of `image` is.
fn check_place(path: &Path, image: &Path, apart: Option<f64>) -> Result<(), InputError> {
    let Some(millimetres) = apart else { return Ok(()) };
    let problem = format!(
        "lies up to {millimetres:.1} mm away from {} by its affine: resample it onto that image",
        image.display()
    );
    Err(InputError::unreadable(path, problem))
}

/// Reads class numbers, of at most `most` slices.
pub(super) fn open_labels<'a>(
    path: &Path,
    cut: impl Into<Cut<'a>>,
    most: usize,
) -> Result<LabelMap, InputError> {
    let volume = Volume::read(path, cut.into(), None, most)?;
    if volume.kind.is_colour() {
        return Err(InputError::unreadable(path, "is in colour: give a mask of whole numbers"));
    }
    let [depth, height, width] = volume.info.shape();
    let mut values = Vec::with_capacity(depth * height * width);
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
                values.push(value as u16);
            }
        }
    }
    LabelMap::new(depth, height, width, classes_of(path, &values, Some(255))?)
}

/// Where the voxels lie, by the header alone.
fn geometry(path: &Path, cut: Cut<'_>) -> Result<NiftiInfo, InputError> {
    let header = NiftiFile::open(path)?.header;
    header.geometry(cut).map_err(|problem| InputError::unreadable(path, problem))
}

/// Black and white of a window. NIfTI values are real numbers, so that it is DICOM's LINEAR_EXACT.
fn bounds(window: Window) -> [f64; 2] {
    [window.center - window.width / 2.0, window.center + window.width / 2.0]
}

/// Voxels as the file has them, and where they lie.
struct Volume {
    info: NiftiInfo,
    kind: Voxel,
    little: bool,
    slope: f64,
    intercept: f64,
    /// Black and white by cal_min and cal_max.
    display: Option<[f64; 2]>,
    bytes: Vec<u8>,
}

impl Volume {
    fn read(
        path: &Path,
        cut: Cut<'_>,
        volume: Option<usize>,
        most_frames: usize,
    ) -> Result<Volume, InputError> {
        let file = NiftiFile::open(path)?;
        let header = file.header.clone();
        let info = header.geometry(cut).map_err(|problem| InputError::unreadable(path, problem))?;
        let [depth, height, width] = info.shape();
        // Before the voxels are inflated.
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

    /// The value of the voxel at `index` in the file's order; of a colour nothing.
    fn value(&self, index: usize) -> f64 {
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
    fn colour(&self, index: usize) -> [u8; 3] {
        let at = index * self.kind.bytes();
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]]
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

    /// Refuses voxels that let something behind them through: there is nothing behind them.
    fn check_alpha(&self, path: &Path) -> Result<(), InputError> {
        let clear = self.kind == Voxel::Rgba && self.bytes.chunks_exact(4).any(|voxel| voxel[3] != 255);
        if clear {
            return Err(InputError::unreadable(
                path,
                "has voxels that are not opaque: store it without alpha",
            ));
        }
        Ok(())
    }

    /// Says how many values are no numbers, and refuses a volume of nothing else.
    fn check_finite(&self, path: &Path) -> Result<(), InputError> {
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

    /// The 0.5th and 99.5th percentile of the finite values, by nearest rank; apart by something if the values are.
    fn percentiles(&self) -> [f64; 2] {
        let voxels = self.info.dims.iter().product::<usize>();
        let step = voxels.div_ceil(SAMPLED_VOXELS);
        // In f64: whole numbers beyond 2^24 are apart by less than f32 can tell.
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
        // Nearly all voxels are alike, as in a mask.
        let [low, high] = [rank(0.0), rank(1.0)];
        if high > low { [low, high] } else { [low, low + 1.0] }
    }
}
