//! What is known of a scan beside its pixels.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::nifti_info::NiftiInfo;
use super::region::Region;

/// How the frames of a scan belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanKind {
    /// One picture.
    Image,
    /// Pictures in time.
    Clip,
    /// Parallel slices in space.
    Volume,
}

/// Where a frame is in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFrame {
    /// Index of the file in [`ScanInfo::files`].
    pub file: usize,
    /// Its number in that file, from 1: DICOM's frame number; of NIfTI the voxel index along the axis that is sliced,
    /// plus 1.
    pub frame: usize,
}

/// Distance between neighbouring samples in millimetres, where the source tells it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spacing {
    /// Between the centres of neighbouring slices; none for a single image or where it is not known.
    pub slices: Option<f64>,
    /// Between the centres of neighbouring rows.
    pub rows: f64,
    /// Between the centres of neighbouring columns.
    pub columns: f64,
}

/// What is known of a scan before its frames are read. Nothing in it but [`ScanInfo::identifiers`] tells who the patient
/// is, as far as the file's path and its UIDs do not.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanInfo {
    /// What to call it in outputs: its path.
    pub name: String,
    /// How the frames belong together.
    pub kind: ScanKind,
    /// How many there are; none for a stream, whose end is not known.
    pub frames: Option<usize>,
    /// Rows and columns of a frame as it is stored, before [`ScanInfo::crop`].
    pub size: Option<(usize, usize)>,
    /// Millimetres, where the file tells them.
    pub spacing: Option<Spacing>,
    /// The part of each stored frame that is given out, if not all.
    pub crop: Option<Region>,
    /// Why the model is not to be trusted here, where it was asked to go on all the same.
    pub caution: Option<String>,
    /// What a DICOM file adds.
    pub dicom: Option<DicomInfo>,
    /// What a NIfTI file adds.
    pub nifti: Option<NiftiInfo>,
    /// Who the patient is, as a DICOM file has it.
    pub identifiers: Option<Identifiers>,
    /// Every file that is read, in the order of the frames.
    pub files: Vec<PathBuf>,
    /// Of each frame that is given out, in that order: where it is in the source. Empty where the frames come one after
    /// the other out of one file or stream, as [`ScanInfo::source_frame`] knows.
    pub source_frames: Vec<SourceFrame>,
}

impl ScanInfo {
    /// Of `files` of a format that tells nothing but pixels.
    pub(super) fn plain(name: String, kind: ScanKind, files: Vec<PathBuf>) -> ScanInfo {
        ScanInfo {
            name,
            kind,
            frames: None,
            size: None,
            spacing: None,
            crop: None,
            caution: None,
            dicom: None,
            nifti: None,
            identifiers: None,
            files,
            source_frames: Vec::new(),
        }
    }

    /// Where frame `n` (from 0, in the order in which frames are given out) is in the source.
    pub fn source_frame(&self, n: usize) -> SourceFrame {
        self.source_frames.get(n).copied().unwrap_or(SourceFrame { file: 0, frame: n + 1 })
    }

    /// The order in which a user knows `count` frames, as indices of the order in which they are given out: of one file
    /// its own order of frames, of several files that of the slices.
    pub fn source_order(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        if self.files.len() <= 1 {
            order.sort_by_key(|&n| self.source_frame(n));
        }
        order
    }

    /// The number by which a user knows frame `n`, from 1: in a file of several frames that file's own, of several files
    /// the slice's.
    pub fn number_of(&self, n: usize) -> usize {
        if self.files.len() > 1 { n + 1 } else { self.source_frame(n).frame }
    }
}

/// What a DICOM file or series says of itself, without the patient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DicomInfo {
    /// Of the first file (0008,0016).
    pub sop_class_uid: String,
    /// Of each file, in the order of [`ScanInfo::files`] (0008,0018).
    pub sop_instance_uids: Vec<String>,
    /// (0020,000D); empty where the file has none.
    pub study_instance_uid: String,
    /// (0020,000E); empty where the file has none.
    pub series_instance_uid: String,
    /// (0020,0052)
    pub frame_of_reference_uid: Option<String>,
    /// (0008,0060), as in `US`; empty where the file has none.
    pub modality: String,
    /// Of the first file (0002,0010).
    pub transfer_syntax_uid: String,
    /// Of the first file (0028,0004).
    pub photometric_interpretation: String,
    /// Frames of each file, in the order of [`ScanInfo::files`].
    pub frames_per_file: Vec<usize>,
    /// Whether its pixels may show text, such as the patient's name: unless BurnedInAnnotation (0028,0301) is NO, or it is
    /// a CT or MR image that does not say YES and is no secondary capture.
    pub may_show_text: bool,
    /// The largest two-dimensional ultrasound region (0018,6011): the picture without the frame of text around it.
    pub tissue: Option<Region>,
    /// Direction cosines of the rows and of the columns (0020,0037).
    pub orientation: Option<[f64; 6]>,
    /// Position of each frame's first pixel in millimetres (0020,0032), where every frame has one.
    pub positions: Vec<[f64; 3]>,
}

/// Who the patient is. `Debug` shows none of it, so that no log does by accident.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identifiers {
    /// (0010,0010)
    pub patient_name: Option<String>,
    /// (0010,0020)
    pub patient_id: Option<String>,
    /// (0010,0030), as YYYYMMDD
    pub birth_date: Option<String>,
    /// (0008,0020), as YYYYMMDD
    pub study_date: Option<String>,
    /// (0008,0050)
    pub accession_number: Option<String>,
}

impl fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identifiers(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_one_file_are_known_by_its_numbers_and_files_by_their_place() {
        let mut info = ScanInfo::plain("a.dcm".into(), ScanKind::Volume, vec!["a.dcm".into()]);
        assert_eq!((info.source_order(3), info.number_of(2)), (vec![0, 1, 2], 3));
        info.source_frames = [3, 1, 2].map(|frame| SourceFrame { file: 0, frame }).to_vec();
        assert_eq!((info.source_order(3), info.number_of(0)), (vec![1, 2, 0], 3));
        info.files = ["c", "a", "b"].map(PathBuf::from).to_vec();
        info.source_frames = [0, 1, 2].map(|file| SourceFrame { file, frame: 1 }).to_vec();
        assert_eq!((info.source_order(3), info.number_of(2)), (vec![0, 1, 2], 3));
    }

    #[test]
    fn debug_output_names_no_patient() {
        let mut info = ScanInfo::plain("a.dcm".into(), ScanKind::Image, vec![]);
        info.identifiers = Some(Identifiers {
            patient_name: Some("Doe^Jane".into()),
            patient_id: Some("4711".into()),
            birth_date: Some("19700101".into()),
            study_date: Some("20260101".into()),
            accession_number: Some("A1".into()),
        });
        let text = format!("{info:?}");
        assert!(text.contains("redacted"), "{text}");
        for secret in ["Doe", "4711", "1970", "2026", "A1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
