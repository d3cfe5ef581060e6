//! Command-line arguments.

mod address;
mod answering;
mod attest;
mod audit;
mod demo;
mod heads;
mod hints;
#[cfg(feature = "node")]
mod node;
mod profile;
mod stream;
mod trust;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use microraptor::board::{Board, Choice, Cores, CpuList, Machine, Request, Root, choose, recognise};
use microraptor::engine::MAX_THREADS;
use microraptor::vit::Size;

pub use address::*;
pub use answering::AnsweringArgs;
pub use attest::{AttestArgs, StartArgs};
pub use audit::*;
pub use demo::*;
pub use heads::*;
pub use hints::HintArgs;
#[cfg(feature = "node")]
pub use node::*;
pub use profile::*;
pub use stream::*;
pub use trust::*;

use super::limits::{Bytes, LimitArgs};
use super::trust as trusted;

/// DINOv3 features and light probe heads on small machines.
///
#[cfg_attr(
    feature = "demo",
    doc = "With no command, profiles the built-in backbone on phantoms that the program makes itself, and beside it the latency \
           of DINOv3's ViT-S/16 and ViT-B/16: no download, no data, about a minute."
)]
#[cfg_attr(
    not(feature = "demo"),
    doc = "With no command, profiles an untrained DINOv3 ViT-S/16 on phantoms that the program makes itself: no download, no \
           data, about a minute."
)]
#[derive(Debug, Parser)]
#[command(version, disable_version_flag = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Print the version; with --verbose also the commit, the features, the instruction sets, and the licences of what
    /// is built in; with --verbose twice their texts
    #[arg(short = 'V', long)]
    pub version: bool,
    /// Instruction set to run on: scalar; avx2, avxvnni, avx512vnni; neon, dotprod, i8mm [default: MICRORAPTOR_ISA, or
    /// the fastest that this CPU supports]; `profile` also accepts `all`
    #[arg(long, global = true, value_name = "NAME")]
    pub isa: Option<String>,
    /// Log more to standard error; give it twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
}

const EXAMPLES: &str = "\
Examples:
  microraptor                                                 profile the built-in backbone
  microraptor demo                                            train it heads, see what they find, as a page
  microraptor info dinov3-vits16/                             what is in a checkpoint
  microraptor convert dinov3-vits16/ --calibrate scans/ -o vits16-int8.safetensors
  microraptor train dinov3-vits16/ --data labels.csv -o head.safetensors
  microraptor predict dinov3-vits16/ --head head.safetensors scan.png
  microraptor stream vits16-int8.safetensors --head head.safetensors /dev/video0 --deadline 40

MODEL is a Hugging Face folder (config.json and model.safetensors), a safetensors file with the
names of timm or of Meta, an ONNX file, demo for the small backbone that is built in, or
untrained:NAME for the architecture of a card with weights from a seed (see `microraptor models`).
A file or folder that is called demo is ./demo.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Describe a model: architecture, tensors, parameters, multiply-accumulates.
    Info(InfoArgs),
    /// List the built-in model cards: licences, sizes, where to get the weights.
    Models(ModelsArgs),
    /// Convert a checkpoint to an int8, fp16 or f32 model file, and measure the loss in accuracy.
    Convert(ConvertArgs),
    /// Write the features of images to a file.
    Embed(EmbedArgs),
    /// Train a head on frozen features of labelled images.
    Train(TrainArgs),
    /// Run heads on images and print one JSON line per image. Stops at the first image that cannot be read.
    Predict(PredictArgs),
    /// Answer live frames: one JSON line for each, within a deadline.
    Stream(StreamArgs),
    /// Be a DICOM node: answer each object that is sent by C-STORE, and send segmentations and reports to an archive.
    #[cfg(feature = "node")]
    Node(NodeArgs),
    /// Evaluate a head on labelled images.
    Evaluate(EvaluateArgs),
    /// Compare what this machine computes with what the model and its heads were validated with, to the bit; exit code 1 if
    /// it is something else.
    Attest(AttestArgs),
    /// Write the model card of a head: data, split, metrics with intervals, limits.
    Card(CardArgs),
    /// Run the whole chain on the built-in backbone: phantoms, two heads, their predictions, and a page that shows
    /// them.
    #[cfg_attr(not(feature = "demo"), command(hide = true))]
    Demo(DemoArgs),
    /// Show this machine next to its board file: cores, clocks, throttling, temperatures, power.
    Board(BoardArgs),
    /// Measure latency and accuracy across input sizes and thread counts.
    Profile(ProfileArgs),
    /// Make a key pair for `sign`, or print a public key.
    #[cfg(feature = "sign")]
    Key(KeyArgs),
    /// Sign models, heads, deployment files and board files, for --trust.
    #[cfg(feature = "sign")]
    Sign(SignArgs),
    /// Verify signed files against --trust.
    Verify(VerifyArgs),
    /// Read audit logs that --audit wrote.
    Audit(AuditCommandArgs),
    /// Compare two profiles; exit code 1 if something became worse by more than the tolerance.
    Compare(CompareArgs),
    /// Measure the cold start of one row of a profile, in a new process.
    #[command(hide = true)]
    Cold(ColdArgs),
    /// Try out an ONNX graph, in a new process.
    #[command(hide = true)]
    Trial(TrialArgs),
    /// Decode JPEG 2000, in a new process.
    #[command(hide = true)]
    Jpeg2000(Jpeg2000Args),
    /// Write the manual pages and the completions of shells.
    #[cfg(feature = "manual")]
    #[command(hide = true)]
    Manual(ManualArgs),
}

/// Cores to run on.
#[derive(Clone, Debug, Args)]
pub struct Placement {
    /// Run only on these cores: 4-7, or 0,2 [default: the board's fast cores, if its cores differ]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<CpuList>,
    /// Board to assume for this machine: a name from `microraptor board --list`, or a file of your own
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub board: Option<String>,
}

impl Placement {
    /// The board given by `--board`.
    pub fn board(&self) -> anyhow::Result<Option<Board>> {
        self.board.as_deref().map(trusted::board).transpose()
    }

    /// That board, or else the one that `machine` is recognised as.
    pub fn board_or_recognised(&self, machine: &Machine) -> anyhow::Result<Option<Board>> {
        Ok(self.board()?.or_else(|| recognise(machine).map(|recognised| recognised.board)))
    }

    /// Threads and cores of this machine for each number of threads; `None` requests the default number.
    pub fn choose(&self, threads: &[Option<usize>]) -> anyhow::Result<Vec<Cores>> {
        let machine = Machine::read(&Root::live());
        let board = self.board_or_recognised(&machine)?;
        let cores = |&threads: &Option<usize>| {
            let request = Request { threads, cpus: self.cores.clone() };
            let Choice { cores, reason, spilled } =
                choose(&machine, board.as_ref(), &request, available_threads())?;
            let level = if spilled { log::Level::Warn } else { log::Level::Info };
            let on = if cores.cpus().is_empty() {
                "any core".to_owned()
            } else {
                format!("cores {}", cores.cpus())
            };
            log::log!(level, "threads: {} on {on}: {reason}", cores.threads());
            Ok(cores)
        };
        threads.iter().map(cores).collect()
    }
}

/// Threads and cores to run on.
#[derive(Clone, Debug, Args)]
pub struct Threads {
    /// Number of threads [default: one per core that this process may use; if cores differ, one per fast core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub placement: Placement,
}

impl Threads {
    /// The requested threads and cores, or the machine's best. Work outside a session (digests, fits) uses the same.
    pub fn cores(&self) -> anyhow::Result<Cores> {
        let cores = self.placement.choose(&[self.threads])?.remove(0);
        start_pool(&cores);
        Ok(cores)
    }
}

/// Starts the thread pool for work outside a session: digests, packing, fits.
pub fn start_pool(cores: &Cores) {
    let (count, kept) = (cores.threads().clamp(1, MAX_THREADS), cores.clone());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).start_handler(move |_| {
        // The session reports cores that cannot be used.
        let _ = kept.pin();
    });
    // An error means that the pool runs already. Zero or too many threads are refused when the session is created.
    let _ = pool.build_global();
}

/// Number of cores that this process may use, at most `MAX_THREADS`.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS)
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Hugging Face folder, safetensors or ONNX file, demo, or untrained:NAME
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Input sizes for which to count multiply-accumulates: 224, or 224x352 for height x width [default: 224, 384 and
    /// 512, or the nearest multiples of the patch size]
    #[arg(long = "size", visible_alias = "sizes", value_name = "R", value_delimiter = ',')]
    pub sizes: Vec<Size>,
    /// List every tensor
    #[arg(long)]
    pub tensors: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}

#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Print one card in full
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
}

/// Precision of a model file.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PrecisionArg {
    /// Int8 matrices and attention where that is accurate enough, fp16 elsewhere
    Int8,
    /// Half-precision matrices, accumulated in single precision
    Fp16,
    /// Single precision
    F32,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Hugging Face folder, safetensors file, ONNX export of DINOv3, or untrained:NAME
    #[arg(value_name = "CHECKPOINT")]
    pub model: PathBuf,
    /// Model file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Precision of the weight matrices
    #[arg(long, value_enum, default_value = "int8")]
    pub precision: PrecisionArg,
    /// Folder of calibration images, like those that the model will see; at most 32 are used [default: 16 generated
    /// phantoms]
    #[arg(long, value_name = "DIR")]
    pub calibrate: Option<PathBuf>,
    #[command(flatten)]
    pub read: ReadArgs,
    /// Input size for calibration: 224, or 224x352 for height x width [default: the model's own, else 224]
    #[arg(long, value_name = "R")]
    pub size: Option<Size>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}

#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Hugging Face folder, safetensors or ONNX file, demo, or untrained:NAME
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Pictures, DICOM and NIfTI files, y4m clips, or folders of them
    #[arg(required = true, value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// Output file: .safetensors or .npz, with the tensors cls [n, dim] and patch [n, rows*cols, dim]; n counts
    /// pictures, frames and slices, and names and frames give the source of each row
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Input size: 224, or 224x352 for height x width [default: the model's own, else 224]
    #[arg(long, value_name = "R")]
    pub size: Option<Size>,
    /// Print a summary as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
    /// Treat each folder as one clip or volume instead of a list of images
    #[arg(long)]
    pub bags: bool,
    #[command(flatten)]
    pub read: ReadArgs,
}

/// A graph to try out.
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// The ONNX file
    pub model: PathBuf,
    /// The shape of its input; without one the graph is only opened
    #[arg(long, value_delimiter = ',')]
    pub shape: Vec<usize>,
    /// Memory that it may use above its weights
    #[arg(long)]
    pub memory: Option<Bytes>,
}

/// Limits of a worker that decodes JPEG 2000.
#[derive(Debug, Args)]
pub struct Jpeg2000Args {
    /// Memory that it may use above its own
    #[arg(long)]
    pub memory: Option<Bytes>,
    /// Processor time that it may use
    #[arg(long)]
    pub seconds: Option<u64>,
}

#[cfg(feature = "manual")]
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// Folder to write them to, laid out like /usr/share
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct BoardArgs {
    /// List the known boards
    #[arg(long)]
    pub list: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Read proc and sys below this folder instead of this machine's
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    #[command(flatten)]
    pub threads: Threads,
}
