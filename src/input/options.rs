//! Options for reading files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Options for [`Scan::open`](super::Scan::open). A head stores them, so that it reads its input as in training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The window for grey DICOM and NIfTI values, instead of the file's own or one computed from the values. Does not
    /// apply to pictures such as PNG.
    pub window: Option<Window>,
    /// Whether DICOM ultrasound frames are cropped to their largest two-dimensional region.
    pub crop_us: bool,
    /// Whether to read modalities on which DINOv3 is known to fail.
    pub allow_unsupported_modality: bool,
    /// The axis along which a NIfTI volume is sliced; [`Axis::Axial`] if `None`.
    pub axis: Option<Axis>,
    /// Maximum number of frames or slices in a scan; 4096 if `None`. Set by the caller, not stored in a head.
    #[serde(skip)]
    pub max_frames: Option<usize>,
    /// Which picture of a file that holds several, from 1: a page of a TIFF file, a frame of an animation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    /// Which volume of a NIfTI file that holds several, counted from 0. A file with one volume has only volume 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<usize>,
    /// The matrix that converts a stream's luma and chroma to colours; [`Matrix::Bt601`] if `None`, because YUV4MPEG2
    /// does not specify it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// The codes for black and white in a stream that does not specify them; [`Range::Limited`] if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
}

/// Scans with more frames or slices are refused unless [`ReadOptions::max_frames`] allows them: 2 minutes of ultrasound
/// at 30 frames per second have 3600, a whole-body CT about 2000 slices.
pub const MAX_FRAMES: usize = 4096;

impl ReadOptions {
    /// Maximum number of frames or slices in a scan.
    pub(crate) fn most_frames(&self) -> usize {
        self.max_frames.unwrap_or(MAX_FRAMES)
    }

    /// The options that a head stores. Whether unsupported modalities are accepted, and the maximum length of a scan,
    /// are specified on each call.
    pub fn of_head(&self) -> ReadOptions {
        ReadOptions { allow_unsupported_modality: false, max_frames: None, ..self.clone() }
    }
}

/// The standard by which video computes luma and two colour differences from red, green and blue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// ITU-R BT.601: standard definition, JPEG.
    #[default]
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance: ultra-high definition.
    Bt2020,
}

impl FromStr for Matrix {
    type Err = String;

    /// Reads `bt601`, `bt709` or `bt2020`.
    fn from_str(text: &str) -> Result<Matrix, String> {
        match text {
            "bt601" => Ok(Matrix::Bt601),
            "bt709" => Ok(Matrix::Bt709),
            "bt2020" => Ok(Matrix::Bt2020),
            _ => Err(format!("'{text}' is no matrix: give bt601, bt709 or bt2020")),
        }
    }
}

/// The range of luma and chroma codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// For 8 bits, luma 16 to 235 and chroma 16 to 240 (ITU-R BT.601-7, 2.5.3): the default for video.
    Limited,
    /// All codes, as in JPEG.
    Full,
}

impl FromStr for Range {
    type Err = String;

    /// Reads `limited` or `full`.
    fn from_str(text: &str) -> Result<Range, String> {
        match text {
            "limited" => Ok(Range::Limited),
            "full" => Ok(Range::Full),
            _ => Err(format!("'{text}' is no range: give limited or full")),
        }
    }
}

/// The window of stored values: `centre - width / 2` is black and `centre + width / 2` is white, apart from DICOM's
/// half-unit offset (PS3.3 C.11.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The value shown as middle grey, after rescaling (Hounsfield units for CT).
    pub center: f64,
    /// From black to white; positive.
    pub width: f64,
}

impl FromStr for Window {
    type Err = String;

    /// Reads `C,W`, as in `40,400`.
    fn from_str(text: &str) -> Result<Window, String> {
        let wrong = || format!("'{text}' is no window: give centre and width, as in 40,400");
        let (center, width) = text.split_once(',').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(wrong);
        let window = Window { center: number(center)?, width: number(width)? };
        if window.width > 0.0 { Ok(window) } else { Err(wrong()) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.center, self.width)
    }
}

/// The patient axis along which a volume is sliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Slices from feet to head.
    Axial,
    /// Slices from back to front.
    Coronal,
    /// Slices from left to right.
    Sagittal,
}

impl FromStr for Axis {
    type Err = String;

    /// Reads `axial`, `coronal` or `sagittal`.
    fn from_str(text: &str) -> Result<Axis, String> {
        match text {
            "axial" => Ok(Axis::Axial),
            "coronal" => Ok(Axis::Coronal),
            "sagittal" => Ok(Axis::Sagittal),
            _ => Err(format!("'{text}' is no axis: give axial, coronal or sagittal")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_axes_are_read_from_text() {
        assert_eq!("40,400".parse(), Ok(Window { center: 40.0, width: 400.0 }));
        assert_eq!(" -600.5 , 1500".parse(), Ok(Window { center: -600.5, width: 1500.0 }));
        for wrong in ["", "40", "40,0", "40,-1", "nan,1", "40,inf", "40,400,1", "a,b"] {
            let message = wrong.parse::<Window>().unwrap_err();
            assert!(message.contains("is no window"), "{message}");
        }
        assert_eq!("coronal".parse(), Ok(Axis::Coronal));
        assert!("Coronal".parse::<Axis>().unwrap_err().contains("give axial"));
    }

    #[test]
    fn options_are_kept_as_json() {
        let options = ReadOptions {
            window: Some(Window { center: 40.0, width: 400.0 }),
            axis: Some(Axis::Sagittal),
            ..ReadOptions::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""axis":"sagittal""#), "{text}");
        assert_eq!(serde_json::from_str::<ReadOptions>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<ReadOptions>("{}").unwrap(), ReadOptions::default());
        let video = ReadOptions {
            volume: Some(2),
            matrix: Some(Matrix::Bt709),
            range: Some(Range::Full),
            ..ReadOptions::default()
        };
        let text = serde_json::to_string(&video).unwrap();
        assert!(text.ends_with(r#""volume":2,"matrix":"bt709","range":"full"}"#), "{text}");
        assert_eq!(serde_json::from_str::<ReadOptions>(&text).unwrap(), video);
        // Unknown options from a head of another version are not ignored.
        assert!(serde_json::from_str::<ReadOptions>(r#"{"smoothing": 1}"#).is_err());
    }
}
