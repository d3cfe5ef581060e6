//! STUB, replaced by the merge of the input branch.
use super::{Image, InputError, Spacing};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// c
    pub center: f64,
    /// w
    pub width: f64,
}
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    /// a
    Axial,
}
/// Stub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// w
    pub window: Option<Window>,
    /// c
    pub crop_us: bool,
    /// a
    pub allow_unsupported_modality: bool,
    /// a
    pub axis: Option<Axis>,
}
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanKind {
    /// i
    Image,
    /// c
    Clip,
    /// v
    Volume,
}
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// t
    pub top: usize,
    /// l
    pub left: usize,
    /// h
    pub height: usize,
    /// w
    pub width: usize,
}
/// Stub.
#[derive(Clone, Debug)]
pub struct ScanInfo {
    /// n
    pub name: String,
    /// k
    pub kind: ScanKind,
    /// f
    pub frames: Option<usize>,
    /// s
    pub size: Option<(usize, usize)>,
    /// s
    pub spacing: Option<Spacing>,
    /// c
    pub crop: Option<Region>,
    /// c
    pub caution: Option<String>,
    /// f
    pub files: Vec<PathBuf>,
    /// d
    pub dicom: Option<DicomInfo>,
    /// n
    pub nifti: Option<NiftiInfo>,
    /// i
    pub identifiers: Option<Identifiers>,
}
/// Stub.
pub struct Scan {
    info: ScanInfo,
    left: Option<Arc<Image>>,
}
impl Scan {
    /// o
    /// # Errors
    /// e
    pub fn open(path: &Path, _: &ReadOptions) -> Result<Scan, InputError> {
        let image = Image::open(path)?;
        Ok(Scan::from_image(path.display().to_string(), Arc::new(image)))
    }
    /// f
    pub fn from_image(name: String, image: Arc<Image>) -> Scan {
        Scan {
            info: ScanInfo {
                name,
                kind: ScanKind::Image,
                frames: Some(1),
                size: None,
                spacing: None,
                crop: None,
                caution: None,
                files: vec![],
                dicom: None,
                nifti: None,
                identifiers: None,
            },
            left: Some(image),
        }
    }
    /// i
    pub fn info(&self) -> &ScanInfo {
        &self.info
    }
}
impl Iterator for Scan {
    type Item = Result<Image, InputError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.left.take().map(|i| Ok((*i).clone()))
    }
}
/// d
/// # Errors
/// e
pub fn content_digest(path: &Path, _: &ReadOptions) -> Result<String, InputError> {
    use sha2::Digest;
    let bytes = std::fs::read(path).map_err(|e| InputError::read(path, &e))?;
    Ok(sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect())
}
/// Stub.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StreamFormat {
    /// y
    Y4m,
}
impl std::str::FromStr for StreamFormat {
    type Err = String;
    fn from_str(_: &str) -> Result<StreamFormat, String> {
        Ok(StreamFormat::Y4m)
    }
}
impl std::str::FromStr for Window {
    type Err = String;
    fn from_str(_: &str) -> Result<Window, String> {
        Err("stub".into())
    }
}
impl std::str::FromStr for Axis {
    type Err = String;
    fn from_str(_: &str) -> Result<Axis, String> {
        Err("stub".into())
    }
}
impl Scan {
    /// r
    /// # Errors
    /// e
    pub fn from_reader(
        _: &str,
        _: impl std::io::Read + Send + 'static,
        _: StreamFormat,
    ) -> Result<Scan, InputError> {
        Err(InputError::Format { path: "-".into() })
    }
}
impl super::LabelMap {
    /// o
    /// # Errors
    /// e
    pub fn open(path: &Path, _: Option<Axis>) -> Result<super::LabelMap, InputError> {
        let image = Image::open(path)?;
        let grey = image.pixels().to_luma8();
        let l: Vec<u8> = grey.as_raw().iter().map(|v| u8::from(*v > 127)).collect();
        super::LabelMap::new(1, image.height(), image.width(), l)
    }
}

/// Stub.
#[derive(Clone, Debug)]
pub struct DicomInfo {
    /// u
    pub sop_instance_uids: Vec<String>,
}
/// Stub.
#[derive(Clone, Debug)]
pub struct NiftiInfo {
    /// u
    pub affine: [[f64; 4]; 3],
    /// d
    pub dims: [usize; 3],
}
impl NiftiInfo {
    /// r
    pub fn restore(&self, map: &super::LabelMap) -> Vec<u8> {
        map.labels.clone()
    }
}
/// Stub.
#[derive(Clone, Debug, Serialize)]
pub struct Identifiers {
    /// n
    pub patient_name: Option<String>,
}
