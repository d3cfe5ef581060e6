//! How a file becomes frames, where the file leaves a choice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What [`Scan::open`](super::Scan::open) is told. A head keeps it, so that it reads as it was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// The window of grey DICOM and NIfTI values, instead of the file's own or the one made of its values. Pictures
    /// such as PNG have none.
    pub window: Option<Window>,
    /// Whether a DICOM ultrasound frame is cut to its largest two-dimensional region.
    pub crop_us: bool,
    /// Whether modalities on which DINOv3 is known to fail are read all the same.
    pub allow_unsupported_modality: bool,
    /// The axis along which a NIfTI volume is sliced; without one [`Axis::Axial`].
    pub axis: Option<Axis>,
    /// The most frames or slices of one scan; without a number [`MAX_FRAMES`]. It is the caller's, and no head keeps it.
    #[serde(skip)]
    pub max_frames: Option<usize>,
    /// Which picture of a file that holds several, from 1: a page of a TIFF file, a frame of an animation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    /// Which volume of a NIfTI file that holds several is read, counted from 0. A file of one volume has volume 0 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<usize>,
    /// How the colours of a stream are made of luma and chroma; without one [`Matrix::Bt601`], since YUV4MPEG2 does not
    /// tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// Which codes of a stream are black and white, where the stream does not say it; without one [`Range::Limited`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
}

/// Scans of more frames or slices are refused unless [`ReadOptions::max_frames`] allows them: 2 minutes of ultrasound at 30
/// frames a second have 3600, a CT of the whole body some 2000 slices.
pub const MAX_FRAMES: usize = 4096;

impl ReadOptions {
    /// The most frames or slices of one scan.
    pub(crate) fn most_frames(&self) -> usize {
        self.max_frames.unwrap_or(MAX_FRAMES)
    }

    /// What a head keeps of them. Whether unsupported modalities are let in, and how long a scan may be, is asked each time.
    pub fn of_head(&self) -> ReadOptions {
        ReadOptions { allow_unsupported_modality: false, max_frames: None, ..self.clone() }
    }
}

/// The standard by which video makes luma and two colour differences of red, green and blue.
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

/// Which codes of luma and chroma are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// Of 8 bits 16 to 235, chroma 16 to 240 (ITU-R BT.601-7, 2.5.3): what video has unless it says otherwise.
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

/// Which stored values become black and white: `centre - width / 2` and `centre + width / 2`, but for DICOM's half unit
/// (PS3.3 C.11.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The value that becomes middle grey, after rescaling (Hounsfield units for CT).
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

/// Along which patient axis a volume is sliced.
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
        // What a head of another version asks for is not passed over.
        assert!(serde_json::from_str::<ReadOptions>(r#"{"smoothing": 1}"#).is_err());
    }
}
