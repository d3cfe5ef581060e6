//! Writes volumes of labels and of numbers as NIfTI-1 files (Cox et al. 2004; the layout is that of the reference `nifti1.h`).

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

use super::{ContentError, OutputError};
use crate::files::{Target, write_atomically};

/// Size of the header in bytes; four more bytes state that no extension follows.
const HEADER: usize = 348;
const VOXELS_AT: usize = HEADER + 4;

/// `NIFTI_INTENT_LABEL`: the voxels are label indices.
const INTENT_LABEL: i16 = 1002;
/// `NIFTI_INTENT_NONE`
const INTENT_NONE: i16 = 0;
/// `DT_UINT8`
const UINT8: i16 = 2;
/// `DT_FLOAT32`
const FLOAT32: i16 = 16;
/// `NIFTI_XFORM_ALIGNED_ANAT`: the coordinates are those of another file, here of the segmented volume.
const ALIGNED: i16 = 2;
/// Voxels that are brought into bytes at a time.
const CHUNK: usize = 1 << 14;
/// `NIFTI_UNITS_MM`
const MILLIMETRES: u8 = 2;

/// Writes class numbers as an unsigned 8-bit NIfTI-1 volume, gzipped if the name ends in `.nii.gz`.
///
/// `dims` are the sizes of the file's axes i, j, k, of which i varies fastest in `labels`. `affine` maps (i, j, k, 1)
/// to millimetres (right, anterior, superior) and is written as the sform, with no qform; pass the source file's affine
/// to align the mask with it. The same labels give the same bytes.
///
/// # Errors
/// [`OutputError`] names the path: the extension is wrong, a side is 0 or above 32,767, the number of labels is wrong,
/// the affine is not finite, or the system reported an error.
pub fn write_nifti_labels<'a>(
    target: impl Into<Target<'a>>,
    dims: [usize; 3],
    affine: &[[f64; 4]; 3],
    labels: &[u8],
) -> Result<(), OutputError> {
    write_voxels(target.into(), (dims, affine), (UINT8, 8, INTENT_LABEL), labels, |label| [label])
}

/// As [`write_nifti_labels`], for numbers of 32 bits.
///
/// # Errors
/// As [`write_nifti_labels`].
pub fn write_nifti_values<'a>(
    target: impl Into<Target<'a>>,
    dims: [usize; 3],
    affine: &[[f64; 4]; 3],
    values: &[f32],
) -> Result<(), OutputError> {
    write_voxels(target.into(), (dims, affine), (FLOAT32, 32, INTENT_NONE), values, f32::to_le_bytes)
}

/// Writes `voxels`, each by its little-endian bytes; `kind` is data type, bits, and intent.
fn write_voxels<T: Copy, const N: usize>(
    target: Target,
    (dims, affine): ([usize; 3], &[[f64; 4]; 3]),
    kind: (i16, i16, i16),
    voxels: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> Result<(), OutputError> {
    let path = target.path;
    let wrong = |problem| OutputError::Content { path: path.to_owned(), problem };
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let gzipped = name.ends_with(".nii.gz");
    if !gzipped && !name.ends_with(".nii") {
        return Err(OutputError::NiftiExtension(path.to_owned()));
    }
    if dims.iter().any(|&n| n == 0 || n > i16::MAX as usize) {
        return Err(wrong(ContentError::NiftiSides(dims)));
    }
    // Three sides of 15 bits each: the product fits 64 bits.
    if dims.iter().map(|&n| n as u64).product::<u64>() != voxels.len() as u64 {
        return Err(wrong(ContentError::Labels { labels: voxels.len(), dims }));
    }
    if !affine.iter().flatten().all(|value| value.is_finite()) {
        return Err(wrong(ContentError::Affine));
    }
    let header = header(dims, affine, kind);
    let write = |file: &mut dyn Write| {
        file.write_all(&header)?;
        voxels.chunks(CHUNK).try_for_each(|voxels| {
            let chunk: Vec<u8> = voxels.iter().flat_map(|&voxel| bytes(voxel)).collect();
            file.write_all(&chunk)
        })
    };
    Ok(write_atomically(target, |file| {
        if gzipped {
            let mut file = GzEncoder::new(file, Compression::default());
            write(&mut file)?;
            file.finish().map(drop)
        } else {
            write(file)
        }
    })?)
}

/// Offsets are those of `nifti1.h`; fields that are not set are zero.
fn header(
    dims: [usize; 3],
    affine: &[[f64; 4]; 3],
    (kind, bits, intent): (i16, i16, i16),
) -> [u8; VOXELS_AT] {
    let mut bytes = [0; VOXELS_AT];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(HEADER as i32).to_le_bytes());
    put(40, &3i16.to_le_bytes());
    // Unused axes have a length of 1.
    let lengths = dims.into_iter().map(|n| n as i16).chain([1; 4]);
    for (axis, length) in lengths.enumerate() {
        put(42 + 2 * axis, &length.to_le_bytes());
    }
    put(68, &intent.to_le_bytes());
    put(70, &kind.to_le_bytes());
    put(72, &bits.to_le_bytes());
    // The first pixdim is the handedness of the qform, which is unused here.
    put(76, &1f32.to_le_bytes());
    for axis in 0..3 {
        let spacing = affine.iter().map(|row| row[axis] * row[axis]).sum::<f64>().sqrt();
        put(80 + 4 * axis, &(spacing as f32).to_le_bytes());
    }
    put(108, &(VOXELS_AT as f32).to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[MILLIMETRES]);
    put(148, b"microraptor");
    put(254, &ALIGNED.to_le_bytes());
    for (i, &value) in affine.iter().flatten().enumerate() {
        put(280 + 4 * i, &(value as f32).to_le_bytes());
    }
    put(344, b"n+1\0");
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nifti::{NiftiObject, NiftiVolume, ReaderOptions};

    use super::*;

    const AFFINE: [[f64; 4]; 3] = [[-0.5, 0.0, 0.25, 90.0], [0.0, 0.75, 0.0, -126.5], [0.0, 0.0, 2.0, -72.0]];

    #[test]
    fn the_library_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let labels: Vec<u8> = (0..24).map(|i| i % 3).collect();
        for name in ["mask.nii", "mask.nii.gz"] {
            let path = folder.path().join(name);
            write_nifti_labels(&path, [2, 3, 4], &AFFINE, &labels).unwrap();
            let first = std::fs::read(&path).unwrap();
            let object = ReaderOptions::new().read_file(&path).unwrap();
            let header = object.header();
            assert_eq!(header.srow_x, [-0.5, 0.0, 0.25, 90.0]);
            assert_eq!(header.srow_z, [0.0, 0.0, 2.0, -72.0]);
            assert_eq!(header.pixdim[1..3], [0.5, 0.75]);
            assert_eq!((header.qform_code, header.sform_code, header.intent_code), (0, 2, 1002));
            let volume = object.into_volume();
            assert_eq!(volume.dim(), [2, 3, 4]);
            assert_eq!(volume.into_raw_data(), labels);
            write_nifti_labels(&path, [2, 3, 4], &AFFINE, &labels).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), first, "the same bytes again");
        }
    }

    #[test]
    fn the_library_reads_numbers_too() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..24).map(|i| (i as f32 - 11.5) / 7.0).collect();
        let path = folder.path().join("map.nii.gz");
        write_nifti_values(&path, [2, 3, 4], &AFFINE, &values).unwrap();
        let object = ReaderOptions::new().read_file(&path).unwrap();
        assert_eq!((object.header().datatype, object.header().bitpix), (16, 32));
        assert_eq!((object.header().intent_code, object.header().srow_y[3]), (0, -126.5));
        let read = object.into_volume().into_nifti_typed_data::<f32>().unwrap();
        assert_eq!(read, values);
    }

    #[test]
    fn says_what_does_not_fit() {
        let write = |name, dims, labels: &[u8]| {
            write_nifti_labels(Path::new(name), dims, &AFFINE, labels).unwrap_err()
        };
        assert!(write("mask.png", [1, 1, 1], &[0]).to_string().contains("ends in .nii or .nii.gz"));
        assert!(write("m.nii", [2, 1, 1], &[0]).to_string().contains("1 labels were given for 2x1x1"));
        assert!(write("m.nii", [40_000, 1, 1], &[0]).to_string().contains("sides of 1 to 32767"));
        let infinite = [[f64::INFINITY; 4]; 3];
        assert!(write_nifti_labels(Path::new("m.nii"), [1, 1, 1], &infinite, &[0]).is_err());
    }
}
