//! What the commands for heads take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use microraptor::features::FeatureCache;
use microraptor::heads::TEMPERATURE;
use microraptor::input::{Axis, Matrix, Range, ReadOptions, StreamFormat, Window};
use microraptor::vit::Size;

use super::{HintArgs, Threads};
use crate::cli::limits;

/// How images are held out where the data has no split.
#[derive(Clone, Copy, Debug, Args)]
pub struct SplitArgs {
    /// Share of the images that is held out for validation where the data has no split
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub val_share: f64,
    /// Seed of that split, and of whatever else is drawn
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
}

/// Labelled images.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// A CSV with columns image and label or mask (and split), or a folder with one subfolder a class; an image may be a
    /// picture, a DICOM or NIfTI file, or a folder of slices or frames
    #[arg(long, value_name = "CSV|DIR")]
    pub data: PathBuf,
    /// Make it binary: this class against the rest
    #[arg(long, value_name = "CLASS")]
    pub target: Option<String>,
    #[command(flatten)]
    pub split: SplitArgs,
}

/// How files become pixels.
#[derive(Clone, Debug, Args)]
pub struct ReadArgs {
    /// Window of DICOM and NIfTI values that becomes black to white [default: the file's own]
    #[arg(long, value_name = "CENTER,WIDTH", allow_hyphen_values = true)]
    pub window: Option<Window>,
    /// Look at the ultrasound image alone, without the frame around it (DICOM's ultrasound regions)
    #[arg(long)]
    pub crop_us: bool,
    /// Axis along which volumes are cut into slices [default: axial]
    #[arg(long, value_name = "axial|coronal|sagittal")]
    pub axis: Option<Axis>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
}

impl ReadArgs {
    /// As the library wants it.
    pub fn options(&self) -> ReadOptions {
        let own = ReadOptions {
            window: self.window,
            crop_us: self.crop_us,
            axis: self.axis,
            ..ReadOptions::default()
        };
        self.choices.over(&own)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        ReadOptions { max_frames: None, ..self.options() } == ReadOptions::default()
    }
}

/// What files leave open: a command that takes a head may answer it otherwise than its training did.
#[derive(Clone, Copy, Debug, Args)]
pub struct ChoiceArgs {
    /// Take images of a modality on which DINOv3's features are known to fail (slide microscopy, PET)
    #[arg(long)]
    pub allow_unsupported_modality: bool,
    /// Which picture of a file that holds several: a page of a TIFF file, a frame of an animation, from 1 [default: the
    /// head's, if there is one]
    #[arg(long, value_name = "N")]
    pub page: Option<usize>,
    /// Which volume of a NIfTI file that holds several (a fourth dimension), from 0 [default: the head's, if there is one]
    #[arg(long, value_name = "I")]
    pub volume: Option<usize>,
    /// Matrix by which the colours of y4m and yuv420p frames were made, which they do not tell [default: the head's, else
    /// bt601]
    #[arg(long, value_name = "bt601|bt709|bt2020")]
    pub matrix: Option<Matrix>,
    /// Which codes of such frames are black and white, where the stream does not say it [default: the head's, else limited]
    #[arg(long, value_name = "limited|full")]
    pub range: Option<Range>,
}

impl ChoiceArgs {
    /// `read`, which a head may have kept, with what is said here in place of what it says.
    pub fn over(&self, read: &ReadOptions) -> ReadOptions {
        ReadOptions {
            allow_unsupported_modality: self.allow_unsupported_modality,
            page: self.page.or(read.page),
            volume: self.volume.or(read.volume),
            matrix: self.matrix.or(read.matrix),
            range: self.range.or(read.range),
            max_frames: limits::max_frames(),
            ..read.clone()
        }
    }
}

/// Where features are kept between runs.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    /// Folder in which features are kept, so that a second run on the same images is quick [default:
    /// microraptor/features in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Keep no features
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
}

impl CacheArgs {
    /// The cache asked for, if any.
    pub fn open(&self) -> Option<FeatureCache> {
        match &self.cache {
            _ if self.no_cache => None,
            Some(folder) => Some(FeatureCache::new(folder.clone())),
            None => FeatureCache::of_user(),
        }
    }
}

/// Kinds of head that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeadKind {
    /// Logistic regression on CLS and the mean of the patch tokens
    Linear,
    /// Votes of the nearest training images, by the cosine of CLS
    Knn,
    /// Clips and volumes: attention says which frames or slices count
    Abmil,
    /// Clips and volumes: logistic regression on the mean over frames or slices
    Volume,
    /// A class for each pixel of an image, from masks
    Segment,
    /// A class for each voxel of a volume, from masks: a small convolutional head over neighbouring slices
    #[value(name = "segment3d")]
    Segment3d,
}

/// How the features of neighbours are kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum BankArg {
    /// Half precision
    Fp16,
    /// 8 bits, half the size
    Int8,
}

/// How classes are weighted in training.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ClassWeights {
    /// Every image counts the same
    None,
    /// Every class counts the same
    Balanced,
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Hugging Face folder, safetensors or ONNX file, or demo
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    /// Kind of head
    #[arg(long, value_enum, default_value = "linear")]
    pub head: HeadKind,
    /// Head file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Input size: 224, or 224x352 for height x width [default: the model's own, else 224]
    #[arg(long, value_name = "R")]
    pub size: Option<Size>,
    #[command(flatten)]
    pub read: ReadArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Measure by cross-validation too: in so many parts, each predicted by a head that has not seen it
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=100))]
    pub folds: Option<u32>,
    /// linear, volume: inverse strength of the L2 penalty, as scikit-learn's C [default: the best on the validation split]
    #[arg(long, value_name = "C")]
    pub c: Option<f64>,
    /// linear, volume: how classes are weighted
    #[arg(long, value_enum, default_value = "none")]
    pub class_weights: ClassWeights,
    /// knn: neighbours that vote [default: the best on the validation split]
    #[arg(short, value_name = "K")]
    pub k: Option<usize>,
    /// knn: temperature of the vote
    #[arg(long, value_name = "T", default_value_t = TEMPERATURE)]
    pub temperature: f64,
    /// knn: how the training features are kept
    #[arg(long, value_enum, default_value = "fp16")]
    pub bank: BankArg,
    /// segment, segment3d: blocks whose patch tokens are read, from 0, such as 2,5,8,11 [default: the last]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub layers: Vec<usize>,
    /// segment: a light convolutional decoder instead of one matrix
    #[arg(long)]
    pub decoder: bool,
    /// segment, segment3d: names of the mask's classes, the background first [default: background, foreground]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// abmil, segment, segment3d: most passes over the training images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: Option<u32>,
    /// Print the validation metrics as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}

#[derive(Clone, Debug, Args)]
pub struct PredictArgs {
    /// The backbone that the heads were trained on (not with --deploy, which names it)
    #[arg(required = true, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Head file, from `train`; may be given several times: the backbone runs once for all that read the same size
    #[arg(long = "head", required_unless_present = "deploy", value_name = "FILE")]
    pub heads: Vec<PathBuf>,
    /// Pictures, DICOM and NIfTI files, folders of pictures; `-` for frames on standard input
    #[arg(required_unless_present = "deploy", value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// What `profile --budget` chose: model, head, threads and instruction set
    #[arg(long, value_name = "deploy.toml", conflicts_with = "heads")]
    pub deploy: Option<PathBuf>,
    /// Take each folder for one clip or volume instead of a list of images
    #[arg(long)]
    pub bags: bool,
    /// What comes on standard input: y4m, or gray, rgb24 or yuv420p frames of that width and height
    #[arg(long, value_name = "y4m|FORMAT:WxH", default_value = "y4m")]
    pub stdin: StreamFormat,
    /// Folder for masks as PNG (or NIfTI, for NIfTI input)
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// Folder for pictures with the mask drawn over the image
    #[arg(long, value_name = "DIR")]
    pub overlays: Option<PathBuf>,
    /// Folder for DICOM objects, for DICOM input: segmentations of the masks, structured reports of the probabilities
    #[arg(long, value_name = "DIR")]
    pub dicom: Option<PathBuf>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Print the patient's name, id and dates of DICOM input too
    #[arg(long)]
    pub with_identifiers: bool,
    /// Accepted for symmetry: the output is JSON lines in any case
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}

/// Which part of the data to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The training images: what the head has seen
    Train,
    /// The validation images
    Val,
    /// The test images
    Test,
    /// Every image, whatever its split
    All,
}

impl Part {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Val => "val",
            Part::Test => "test",
            Part::All => "all",
        }
    }
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The backbone that the head was trained on
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Head file, from `train`
    #[arg(long, value_name = "FILE")]
    pub head: PathBuf,
    /// A CSV with columns image and label (and split), or a folder with one subfolder a class
    #[arg(long, value_name = "CSV|DIR")]
    pub data: PathBuf,
    /// Which images [default: test if the data has such a split, else val (drawn as `train` drew it), else all]
    #[arg(long, value_enum)]
    pub split: Option<Part>,
    /// Probability from which an image counts as positive [default: the head's own]
    #[arg(long, value_name = "P")]
    pub threshold: Option<f64>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}
