//! `preprocessor_config.json`: the preprocessing of transformers' image processors.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::CheckpointError;
use super::description::{checked, json};
use crate::vit::{Crop, Interpolation, Preprocess, Resize};

/// Largest side accepted from a file: the largest side of an input.
const MAX_SIDE: usize = crate::vit::MAX_SIDE;

/// The relevant keys. A missing key has the default of the processor's class.
#[derive(Deserialize)]
pub(super) struct Processor {
    image_processor_type: Option<String>,
    /// Older name of `image_processor_type`.
    feature_extractor_type: Option<String>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    resample: Option<u8>,
    rescale_factor: Option<f64>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
    do_resize: Option<bool>,
    size: Option<Value>,
    do_center_crop: Option<bool>,
    crop_size: Option<Value>,
    do_pad: Option<bool>,
    crop_pct: Option<f64>,
}

/// One number per channel, or one for all.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Channels {
    Each([f32; 3]),
    All(f32),
}

impl Channels {
    fn each(self) -> [f32; 3] {
        match self {
            Channels::Each(values) => values,
            Channels::All(value) => [value; 3],
        }
    }
}

/// `size` and `crop_size` in their various spellings.
#[derive(Deserialize, Default)]
struct Sides {
    height: Option<usize>,
    width: Option<usize>,
    shortest_edge: Option<usize>,
    longest_edge: Option<usize>,
    max_height: Option<usize>,
    max_width: Option<usize>,
}

/// Defaults of a processor's class.
struct Usual {
    statistics: ([f32; 3], [f32; 3]),
    resample: u8,
    /// Default size. If it is a shorter side, a single number given as `size` is a shorter side too.
    size: Resize,
    /// Whether a crop follows the resize.
    crops: bool,
    /// Whether the resize rounds its result to bytes.
    rounds: bool,
}

const IMAGENET: ([f32; 3], [f32; 3]) = (Preprocess::IMAGENET.mean, Preprocess::IMAGENET.std);
const HALF: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);
const CLIP: ([f32; 3], [f32; 3]) =
    ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);

impl Usual {
    /// Defaults indexed by class name: transformers 5.24, `models/*/image_processing_*.py`. A file without a class name
    /// is read as DINOv3's.
    fn of(class: Option<&str>) -> Option<Usual> {
        let class = class.unwrap_or("DINOv3ViTImageProcessor");
        let stem = class.trim_end_matches("Pil").trim_end_matches("Fast");
        let stem = stem.trim_end_matches("ImageProcessor").trim_end_matches("FeatureExtractor");
        let usual = |statistics, resample, size, crops, rounds| {
            Some(Usual { statistics, resample, size, crops, rounds })
        };
        let (square, shorter) = (|side| Resize::Exact(side, side), Resize::ShortestEdge(224));
        match stem {
            "DINOv3ViT" => usual(IMAGENET, 2, square(224), false, false),
            "ViT" => usual(HALF, 2, square(224), false, true),
            "DeiT" => usual(IMAGENET, 3, square(256), true, true),
            "Siglip" => usual(HALF, 3, square(224), false, true),
            "Bit" | "CLIP" => usual(CLIP, 3, shorter, true, true),
            _ => None,
        }
    }
}

/// The crop, if there is one; height and width of the input, if specified.
type Geometry = (Option<Crop>, Option<(usize, usize)>);

impl Processor {
    pub fn preprocess(&self, path: &Path) -> Result<Preprocess, CheckpointError> {
        let class = self.image_processor_type.as_deref().or(self.feature_extractor_type.as_deref());
        let usual = Usual::of(class).ok_or_else(|| {
            let class = class.unwrap_or_default();
            let known = "those of DINOv3ViT, ViT, DeiT, Bit, CLIP and Siglip";
            json(path, format!("image_processor_type is {class}, whose steps are not known; {known} are"))
        })?;
        let (crop, size) = self.geometry(path, &usual)?;
        let (mean, std) = self.statistics(path, &usual)?;
        let interpolation = match self.resample.unwrap_or(usual.resample) {
            0 => Interpolation::Nearest,
            1 => Interpolation::Lanczos,
            2 => Interpolation::Bilinear,
            3 => Interpolation::Bicubic,
            4 => Interpolation::Box,
            5 => Interpolation::Hamming,
            other => {
                return Err(json(path, format!("resample is {other}; Pillow's filters are 0 to 5")));
            }
        };
        checked(path, Preprocess { mean, std, interpolation, crop, rounded: usual.rounds, size })
    }

    /// Mean and standard deviation for values in 0..1. A rescaling other than by 1/255 is folded into them.
    fn statistics(&self, path: &Path, usual: &Usual) -> Result<([f32; 3], [f32; 3]), CheckpointError> {
        let (mut mean, mut std) = usual.statistics;
        if self.do_normalize == Some(false) {
            (mean, std) = ([0.0; 3], [1.0; 3]);
        } else {
            mean = self.image_mean.map_or(mean, Channels::each);
            std = self.image_std.map_or(std, Channels::each);
        }
        // A factor written with eight digits need not parse to the number nearest 1/255, hence the tolerance below.
        let factor =
            if self.do_rescale == Some(false) { 1.0 } else { self.rescale_factor.unwrap_or(1.0 / 255.0) };
        if !(factor.is_finite() && factor > 0.0) {
            return Err(json(path, format!("rescale_factor is {factor}; it must be finite and positive")));
        }
        let scale = factor * 255.0;
        if (scale - 1.0).abs() > 1e-6 {
            let scaled = |v: f32| (f64::from(v) / scale) as f32;
            (mean, std) = (mean.map(scaled), std.map(scaled));
        }
        Ok((mean, std))
    }

    /// The crop, if there is one, and the size of the input, if specified.
    fn geometry(&self, path: &Path, usual: &Usual) -> Result<Geometry, CheckpointError> {
        if self.do_pad == Some(true) {
            return Err(json(path, "do_pad is true; pictures are not padded here".into()));
        }
        if let Some(share) = self.crop_pct {
            return Err(json(path, format!("crop_pct is {share}; a crop by a share is not known here")));
        }
        let shorter = matches!(usual.size, Resize::ShortestEdge(_));
        let size = self.size.as_ref().map(|value| sides(path, "size", value, shorter)).transpose()?;
        let crops = self.do_center_crop.unwrap_or(usual.crops);
        let crop = self.crop_size.as_ref().map(|v| sides(path, "crop_size", v, false)).transpose()?;
        let crop = match crop.unwrap_or(Resize::Exact(224, 224)) {
            Resize::Exact(height, width) => (height, width),
            _ => return Err(json(path, "crop_size must have height and width".into())),
        };
        let resize = match size {
            _ if self.do_resize == Some(false) => Resize::None,
            Some(size) => size,
            // Resize straight to whatever size the input has.
            None if !crops && !shorter => return Ok((None, None)),
            None => usual.size,
        };
        match (resize, crops) {
            (Resize::Exact(height, width), false) => Ok((None, Some((height, width)))),
            (resize, true) => Ok((Some(Crop { resize, height: crop.0, width: crop.1 }), Some(crop))),
            (Resize::None, false) => Err(json(
                path,
                "do_resize is false and nothing is cropped, so that pictures keep their sizes; an input has one size"
                    .into(),
            )),
            (Resize::ShortestEdge(edge), false) => Err(json(
                path,
                format!(
                    "size has the shorter side of {edge} and nothing is cropped, so that inputs differ in size; say \
                     height and width, or do_center_crop"
                ),
            )),
        }
    }
}

/// Interprets `value`, the entry `key`. A single number is the shorter side if `shorter`, else the side of a square.
fn sides(path: &Path, key: &str, value: &Value, shorter: bool) -> Result<Resize, CheckpointError> {
    let wrong = |why: &str| Err(json(path, format!("{key} is {value}; {why}")));
    let resize = if let Some(side) = value.as_u64() {
        let side = usize::try_from(side).unwrap_or(usize::MAX);
        if shorter { Resize::ShortestEdge(side) } else { Resize::Exact(side, side) }
    } else if let Ok([height, width]) = serde_json::from_value::<[usize; 2]>(value.clone()) {
        Resize::Exact(height, width)
    } else {
        let Ok(sides) = serde_json::from_value::<Sides>(value.clone()) else {
            return wrong("a number, or height and width, or shortest_edge is known");
        };
        match sides {
            Sides { max_height: Some(_), .. } | Sides { max_width: Some(_), .. } => {
                return wrong("a largest height and width is not known here");
            }
            Sides { longest_edge: Some(_), .. } => return wrong("a longest edge is not known here"),
            Sides { shortest_edge: Some(edge), .. } => Resize::ShortestEdge(edge),
            Sides { height: Some(height), width: Some(width), .. } => Resize::Exact(height, width),
            _ => return wrong("a number, or height and width, or shortest_edge is known"),
        }
    };
    let fits = |side: usize| (1..=MAX_SIDE).contains(&side);
    match resize {
        Resize::Exact(height, width) if fits(height) && fits(width) => Ok(resize),
        Resize::ShortestEdge(edge) if fits(edge) => Ok(resize),
        _ => wrong("a side is from 1 to 4096 px"),
    }
}
