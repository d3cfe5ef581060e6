//! Arguments of the commands that work with heads.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use microraptor::features::FeatureCache;
use microraptor::heads::{Activation, CertaintyOptions, OperatingRule, TEMPERATURE};
use microraptor::input::{Axis, Matrix, Range, ReadOptions, StreamFormat, Window};
use microraptor::vit::Size;

use super::{AnsweringArgs, AuditArgs, HintArgs, Threads};
use crate::cli::limits;

/// How images are held out if the data has no split.
#[derive(Clone, Copy, Debug, Args)]
pub struct SplitArgs {
    /// Fraction of the images to hold out for validation if the data has no split
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub val_share: f64,
    /// Seed of that split and of every other random choice
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
}

/// Labelled images.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// CSV file with the columns image and label or mask (optionally split), or a folder with one subfolder per class;
    /// an image may be a picture, a DICOM or NIfTI file, or a folder of slices or frames
    #[arg(long, value_name = "CSV|DIR")]
    pub data: PathBuf,
    /// Make the task binary: this class against the rest
    #[arg(long, value_name = "CLASS")]
    pub target: Option<String>,
    #[command(flatten)]
    pub split: SplitArgs,
}

/// How files are decoded to pixels.
#[derive(Clone, Debug, Args)]
pub struct ReadArgs {
    /// Window of DICOM and NIfTI values to map to black..white [default: the file's own]
    #[arg(long, value_name = "CENTER,WIDTH", allow_hyphen_values = true)]
    pub window: Option<Window>,
    /// Use only the ultrasound image, without the screen around it (DICOM ultrasound regions)
    #[arg(long)]
    pub crop_us: bool,
    /// Axis along which volumes are sliced [default: axial]
    #[arg(long, value_name = "axial|coronal|sagittal")]
    pub axis: Option<Axis>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
}

impl ReadArgs {
    /// These arguments as the library's options.
    pub fn options(&self) -> ReadOptions {
        let own = ReadOptions {
            window: self.window,
            crop_us: self.crop_us,
            axis: self.axis,
            ..ReadOptions::default()
        };
        self.choices.over(&own)
    }

    /// Whether no option for reading files was given.
    pub fn is_empty(&self) -> bool {
        ReadOptions { max_frames: None, ..self.options() } == ReadOptions::default()
    }
}

/// What comes on standard input.
#[derive(Clone, Copy, Debug, Args)]
pub struct StdinArgs {
    /// Format of standard input: y4m, mjpeg or png (files one after the other), or raw gray, rgb24 or yuv420p frames
    /// of the given width and height
    #[arg(long = "stdin", value_name = "y4m|mjpeg|png|FORMAT:WxH", default_value = "y4m")]
    pub format: StreamFormat,
}

/// Choices that a file leaves open. A command that takes a head may override those made in training.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ChoiceArgs {
    /// Accept images of a modality on which DINOv3's features are known to fail (slide microscopy, PET)
    #[arg(long)]
    pub allow_unsupported_modality: bool,
    /// Picture to read from a file that holds several (a page of a TIFF file, a frame of an animation), counted from 1
    /// [default: the head's, if there is one]
    #[arg(long, value_name = "N")]
    pub page: Option<usize>,
    /// Volume to read from a NIfTI file that holds several (a fourth dimension), counted from 0 [default: the head's,
    /// if there is one]
    #[arg(long, value_name = "I")]
    pub volume: Option<usize>,
    /// Colour matrix of y4m and yuv420p frames, which these formats do not state [default: the head's, else bt601]
    #[arg(long, value_name = "bt601|bt709|bt2020")]
    pub matrix: Option<Matrix>,
    /// Value range of y4m and yuv420p frames, if the stream does not state it [default: the head's, else limited]
    #[arg(long, value_name = "limited|full")]
    pub range: Option<Range>,
}

impl ChoiceArgs {
    /// `read`, such as the options stored in a head, with its values replaced by those given here.
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

/// Where features are cached between runs.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    /// Folder for cached features, so that a second run on the same images is fast [default: microraptor/features in
    /// the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Do not cache features
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
}

impl CacheArgs {
    /// The feature cache; `None` with `--no-cache`, or if the user has no cache folder.
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
    /// Vote of the nearest training images, by cosine similarity of CLS
    Knn,
    /// Clips and volumes: attention pooling over frames or slices
    Abmil,
    /// Clips and volumes: logistic regression on the mean over frames or slices
    Volume,
    /// A class for each pixel of an image, trained on masks
    Segment,
    /// A class for each voxel of a volume, trained on masks: a small convolutional head over neighbouring slices
    #[value(name = "segment3d")]
    Segment3d,
}

/// Number format of the stored training features of a k-NN head.
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
    /// Every image has the same weight
    None,
    /// Every class has the same weight
    Balanced,
}

/// How certain the head is, learned from predictions of training images by heads that were fitted without them.
#[derive(Debug, Args)]
pub struct CertaintyArgs {
    /// linear, volume, abmil: calibrate the probabilities, if that lowers the log loss of held-out training images, and
    /// keep what prediction sets need
    #[arg(long)]
    pub calibrate: bool,
    /// Leave the probabilities as they are, where another of these options holds images out
    #[arg(long, conflicts_with = "calibrate")]
    pub no_calibrate: bool,
    /// Every answer has the set of classes that holds the true one with this probability, such as 0.9; segment (with
    /// --set-aside): every mask has an inner and an outer contour
    #[arg(long, value_name = "P")]
    pub coverage: Option<f64>,
    /// Keep this share of the training images, such as 0.2, out of every fit and choice, and take the scores of the sets from
    /// the final head on them: the coverage is then guaranteed for images like these
    #[arg(long, value_name = "SHARE")]
    pub set_aside: Option<f64>,
    /// segment: share of the foreground that the outer contour holds, and of the inner region that is foreground, with the
    /// coverage's probability [default: 0.95]
    #[arg(long, value_name = "SHARE", requires = "set_aside")]
    pub contour_share: Option<f64>,
    /// Two classes: how the threshold is chosen, on held-out training images: sensitivity=0.95, specificity=0.9, youden,
    /// or cost=10:1 (of a missed image, of a false alarm) [default: youden, on the validation images]
    #[arg(long, value_name = "RULE")]
    pub operate: Option<OperatingRule>,
    /// Write the held-out predictions as CSV
    #[arg(long, value_name = "FILE")]
    pub held_out: Option<PathBuf>,
}

impl CertaintyArgs {
    /// The library's options for a head of `kind`, whose examples may have several labels.
    pub fn options(&self, kind: HeadKind, multi_label: bool, seed: u64) -> CertaintyOptions {
        let CertaintyArgs { coverage, operate, set_aside, .. } = *self;
        let sets = coverage.is_some() || set_aside.is_some();
        let any = self.calibrate || sets || operate.is_some() || self.held_out.is_some();
        let logits = matches!(kind, HeadKind::Linear | HeadKind::Volume | HeadKind::Abmil);
        let calibrate = self.calibrate || any && logits && !self.no_calibrate;
        let (sets, contour_share) = (any && !multi_label, self.contour_share);
        CertaintyOptions { calibrate, sets, coverage, operate, set_aside, contour_share, seed }
    }
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
    /// Also measure by cross-validation with K folds, each predicted by a head that has not seen it
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=100))]
    pub folds: Option<u32>,
    #[command(flatten)]
    pub certainty: CertaintyArgs,
    /// linear, volume: inverse strength of the L2 penalty (scikit-learn's C) [default: the best on the validation
    /// split]
    #[arg(long, value_name = "C")]
    pub c: Option<f64>,
    /// linear, volume: how classes are weighted
    #[arg(long, value_enum, default_value = "none")]
    pub class_weights: ClassWeights,
    /// knn: number of neighbours that vote [default: the best on the validation split]
    #[arg(short, value_name = "K")]
    pub k: Option<usize>,
    /// knn: temperature of the vote
    #[arg(long, value_name = "T", default_value_t = TEMPERATURE)]
    pub temperature: f64,
    /// knn: store the images' names as the data list them, so that --explain names the nearest ones; names may identify
    /// patients
    #[arg(long)]
    pub keep_names: bool,
    /// knn: number format of the stored training features
    #[arg(long, value_enum, default_value = "fp16")]
    pub bank: BankArg,
    /// segment, segment3d: blocks whose patch tokens are used, counted from 0, such as 2,5,8,11 [default: the last]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub layers: Vec<usize>,
    /// segment: use a light convolutional decoder instead of a single matrix
    #[arg(long)]
    pub decoder: bool,
    /// segment, segment3d: names of the mask classes, background first [default: background, foreground]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// abmil, segment, segment3d: maximum number of epochs
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
    #[command(flatten)]
    pub answering: AnsweringArgs,
    #[command(flatten)]
    pub audit: AuditArgs,
    /// First compare what this machine computes with what the model and the heads were validated with, and fail if it is
    /// something else
    #[arg(long)]
    pub attest: bool,
    /// Output of the model's own graph (ONNX), as a classifier's scores or as a mask, in place of a head; may be repeated
    #[arg(long = "output", group = "answers", value_name = "NAME", conflicts_with = "deploy")]
    pub outputs: Vec<String>,
    /// JSON file with the names of the outputs' classes: a list, or a config.json with id2label [default: their numbers]
    #[arg(long, value_name = "FILE", requires = "outputs")]
    pub classes: Option<PathBuf>,
    /// How an output's scores become probabilities: one class an image, any number of labels, or none (they are already)
    #[arg(long, value_name = "softmax|sigmoid|none", requires = "outputs", default_value = "softmax")]
    pub activation: Activation,
    /// Probability from which an output's second class of two, or a label, is predicted
    #[arg(long, value_name = "P", requires = "outputs", default_value_t = 0.5)]
    pub threshold: f64,
    /// Input size for the outputs [default: the only one that the model takes, or the one in its files, or 224]
    #[arg(long, value_name = "PX|HxW", requires = "outputs")]
    pub size: Option<Size>,
    /// Pictures, DICOM and NIfTI files, or folders of pictures; `-` for frames on standard input
    #[arg(required_unless_present = "deploy", value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// Coverage of the set of classes or of the contours in each answer, such as 0.9, for heads that were trained with
    /// --calibrate or --coverage [default: the head's own, if it has one]
    #[arg(long, value_name = "P")]
    pub coverage: Option<f64>,
    /// Treat each folder as one clip or volume instead of a list of images
    #[arg(long)]
    pub bags: bool,
    #[command(flatten)]
    pub stdin: StdinArgs,
    /// Folder for masks as PNG (or NIfTI, for NIfTI input)
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// Folder for pictures with the mask drawn over the image
    #[arg(long, value_name = "DIR")]
    pub overlays: Option<PathBuf>,
    /// Say why: write what each patch adds to a logit (linear, volume, abmil) over the picture, as PNG (or NIfTI, for NIfTI
    /// input), into this folder, and the numbers into the line; of knn the nearest training images
    #[arg(long, value_name = "DIR")]
    pub explain: Option<PathBuf>,
    /// Folder for DICOM objects (DICOM input only): Segmentations of the masks, Structured Reports of the probabilities
    #[arg(long, value_name = "DIR")]
    pub dicom: Option<PathBuf>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Also print the patient's name, ID and dates, and the UIDs, of DICOM input
    #[arg(long)]
    pub with_identifiers: bool,
    /// Accepted for consistency; the output is always JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Part of the data to evaluate on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The training images, which the head has seen
    Train,
    /// The validation images
    Val,
    /// The test images
    Test,
    /// All images, whatever their split
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
    /// Backbone that the head was trained on
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Head file from `train`
    #[arg(long, value_name = "FILE")]
    pub head: PathBuf,
    /// CSV file with the columns image and label or mask (optionally split), or a folder with one subfolder per class
    #[arg(long, value_name = "CSV|DIR")]
    pub data: PathBuf,
    /// Images to evaluate on [default: test if the data has such a split, else val (drawn as in `train`), else all]
    #[arg(long, value_enum)]
    pub split: Option<Part>,
    /// Probability at or above which an image counts as positive [default: the head's own]
    #[arg(long, value_name = "P")]
    pub threshold: Option<f64>,
    /// Coverage of the sets of classes, or of the contours, to measure [default: the head's own]
    #[arg(long, value_name = "P")]
    pub coverage: Option<f64>,
    /// Write a reliability diagram as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub reliability: Option<PathBuf>,
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

/// The model card of a head.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Head file
    #[arg(value_name = "HEAD", required_unless_present = "template")]
    pub head: Option<PathBuf>,
    /// File to write: .md, or .html for a page that needs no other file [default: Markdown on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What `evaluate --json` wrote about this head; may be given more than once
    #[arg(long = "evaluation", value_name = "FILE.json")]
    pub evaluations: Vec<PathBuf>,
    /// What only the manufacturer knows; --template prints an empty one
    #[arg(long, value_name = "FILE.toml")]
    pub text: Option<PathBuf>,
    /// Print an empty file for --text
    #[arg(long, exclusive = true)]
    pub template: bool,
    /// Write JSON: the sections, what is missing in them, and the metrics as numbers
    #[arg(long)]
    pub json: bool,
}
