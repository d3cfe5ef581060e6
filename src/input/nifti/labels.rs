//! Reads class numbers from a volume, and checks that it lies where its image does.

use std::path::Path;

use super::file::NiftiFile;
use super::geometry::Cut;
use super::volume::Volume;
use crate::input::content::Content;
use crate::input::label_map::classes_of;
use crate::input::{Axis, InputError, LabelMap, NiftiInfo, ReadOptions, dicom, say};

/// Reads class numbers from at most `most` slices.
pub(in crate::input) fn open_labels(
    path: &Path,
    axis: Option<Axis>,
    most: usize,
) -> Result<LabelMap, InputError> {
    labels(path, axis.into(), most)
}

/// Reads the class numbers for `image`, whose position the mask must match if both files give one. If the image is
/// DICOM, the mask is sliced like the image, otherwise as [`super::open`] slices.
pub(in crate::input) fn open_labels_for(
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
        // These formats give no position in the patient.
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
    labels(path, cut, most)
}

/// Refuses a mask with a corner `apart` millimetres away from that of `image`; `None` is accepted.
fn check_place(path: &Path, image: &Path, apart: Option<f64>) -> Result<(), InputError> {
    let Some(millimetres) = apart else { return Ok(()) };
    let problem = format!(
        "lies up to {millimetres:.1} mm away from {} by its affine: resample it onto that image",
        image.display()
    );
    Err(InputError::unreadable(path, problem))
}

fn labels(path: &Path, cut: Cut<'_>, most: usize) -> Result<LabelMap, InputError> {
    let volume = Volume::read(path, cut, None, most)?;
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

/// The position of the voxels, from the header alone.
fn geometry(path: &Path, cut: Cut<'_>) -> Result<NiftiInfo, InputError> {
    let header = NiftiFile::open(path)?.header;
    header.geometry(cut).map_err(|problem| InputError::unreadable(path, problem))
}
