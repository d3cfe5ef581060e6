//! Information about a scan apart from its pixels.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::nifti_info::NiftiInfo;
use super::region::Region;

/// How the frames of a scan are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanKind {
    /// One picture.
    Image,
    /// Pictures over time.
    Clip,
    /// Parallel slices in space.
    Volume,
}

/// Position of a frame in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFrame {
    /// Index of the file in [`ScanInfo::files`].
    pub file: usize,
    /// Frame number in that file, from 1: DICOM's frame number, or for NIfTI the voxel index along the slicing axis,
    /// plus 1.
    pub frame: usize,
}

/// Distance between neighbouring samples in millimetres, if the source gives it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spacing {
    /// Between the centres of neighbouring slices; `None` for a single image or if unknown.
    pub slices: Option<f64>,
    /// Between the centres of neighbouring rows.
    pub rows: f64,
    /// Between the centres of neighbouring columns.
    pub columns: f64,
}

/// What is known about a scan before its frames are read. Only [`ScanInfo::identifiers`] identifies the patient, unless
/// the file's path or its UIDs do.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanInfo {
    /// The name in outputs: the path.
    pub name: String,
    /// How the frames are related.
    pub kind: ScanKind,
    /// Number of frames; `None` for a stream, whose length is unknown.
    pub frames: Option<usize>,
    /// Rows and columns of a stored frame, before [`ScanInfo::crop`].
    pub size: Option<(usize, usize)>,
    /// In millimetres, if the file gives it.
    pub spacing: Option<Spacing>,
    /// The part of each stored frame that is returned; `None` for the whole frame.
    pub crop: Option<Region>,
    /// Frames a second at which the frames were taken, if the file says so.
    pub frame_rate: Option<f64>,
    /// Why the model is unreliable on this scan, if it is read by request nevertheless.
    pub caution: Option<String>,
    /// Additional information from a DICOM file.
    pub dicom: Option<DicomInfo>,
    /// Additional information from a NIfTI file.
    pub nifti: Option<NiftiInfo>,
    /// The patient's identity from a DICOM file.
    pub identifiers: Option<Identifiers>,
    /// All files that are read, in the order of the frames.
    pub files: Vec<PathBuf>,
    /// Position in the source of each returned frame, in the order of the frames. Empty if the frames are consecutive
    /// frames of one file or stream; [`ScanInfo::source_frame`] handles this case.
    pub source_frames: Vec<SourceFrame>,
}

impl ScanInfo {
    /// Information about `files` in a format that holds only pixels.
    pub(super) fn plain(name: String, kind: ScanKind, files: Vec<PathBuf>) -> ScanInfo {
        ScanInfo {
            name,
            kind,
            frames: None,
            size: None,
            spacing: None,
            crop: None,
            frame_rate: None,
            caution: None,
            dicom: None,
            nifti: None,
            identifiers: None,
            files,
            source_frames: Vec::new(),
        }
    }

    /// Position in the source of frame `n` (from 0, in the order in which frames are returned).
    pub fn source_frame(&self, n: usize) -> SourceFrame {
        self.source_frames.get(n).copied().unwrap_or(SourceFrame { file: 0, frame: n + 1 })
    }

    /// The order in which `count` frames are presented to a user, as indices into the order in which they are returned:
    /// for one file its own frame order, for several files the slice order.
    pub fn source_order(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        if self.files.len() <= 1 {
            order.sort_by_key(|&n| self.source_frame(n));
        }
        order
    }

    /// The number of frame `n` shown to a user, from 1: for one file its own frame number, for several files the slice
    /// number.
    pub fn number_of(&self, n: usize) -> usize {
        if self.files.len() > 1 { n + 1 } else { self.source_frame(n).frame }
    }
}

/// Information from a DICOM file or series, without the patient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DicomInfo {
    /// SOP class of the first file (0008,0016).
    pub sop_class_uid: String,
    /// SOP instance of each file, in the order of [`ScanInfo::files`] (0008,0018).
    pub sop_instance_uids: Vec<String>,
    /// (0020,000D); empty if the file has none.
    pub study_instance_uid: String,
    /// (0020,000E); empty if the file has none.
    pub series_instance_uid: String,
    /// (0020,0052)
    pub frame_of_reference_uid: Option<String>,
    /// (0008,0060), as in `US`; empty if the file has none.
    pub modality: String,
    /// Transfer syntax of the first file (0002,0010).
    pub transfer_syntax_uid: String,
    /// Photometric interpretation of the first file (0028,0004).
    pub photometric_interpretation: String,
    /// Number of frames in each file, in the order of [`ScanInfo::files`].
    pub frames_per_file: Vec<usize>,
    /// Whether the pixels may show text, such as the patient's name. False only if BurnedInAnnotation (0028,0301) is
    /// NO, or for a CT or MR image that is not a secondary capture and does not say YES.
    pub may_show_text: bool,
    /// The largest two-dimensional ultrasound region (0018,6011): the picture without the surrounding text.
    pub tissue: Option<Region>,
    /// Direction cosines of the rows and of the columns (0020,0037).
    pub orientation: Option<[f64; 6]>,
    /// Position of each frame's first pixel in millimetres (0020,0032); empty unless every frame has one.
    pub positions: Vec<[f64; 3]>,
}

/// The patient's identity. `Debug` shows none of it, so that it cannot get into a log by accident.
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
