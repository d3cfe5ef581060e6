//! Microraptor: frozen DINOv3 features and light probe heads on the machine beside the patient.
//!
//! An [`Engine`] is a loaded backbone: a converted model, a Hugging Face, timm or Meta checkpoint, or an ONNX file. A
//! [`Session`] runs it on some threads. A [`Pipeline`] puts any number of trained [`Head`]s on it and turns pictures, clips,
//! volumes and live frames into answers.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use microraptor::{Engine, Head, Image, Outcome, Pipeline};
//!
//! let engine = Engine::open("model.safetensors")?;
//! let head = Arc::new(Head::load("head.safetensors")?);
//! let mut pipeline = Pipeline::new(engine.session(2)?, &[head.clone()])?;
//! for answer in pipeline.push(&Image::open("scan.png")?)? {
//!     match answer.outcome {
//!         Outcome::Classes { prediction, .. } => println!("{:?}", prediction.probabilities),
//!         Outcome::Mask(mask) => println!("{} x {}", mask.height, mask.width),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features alone, of the built-in backbone:
//!
//! ```
//! # #[cfg(feature = "demo")] {
//! use microraptor::training::{PhantomKind, phantom};
//! use microraptor::{Engine, Isa, Size};
//!
//! let engine = Engine::demo(Isa::preferred()?)?;
//! let mut session = engine.session(1)?;
//! let image = phantom(0, PhantomKind::Mass, 64).image;
//! let size = Size::square(64);
//! let features = session.run(&image.tensor(size, &engine.about().preprocess), size)?;
//! assert_eq!((features.rows, features.cols), (4, 4));
//! assert_eq!(features.patch.len(), 16 * features.cls.len());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | To | Use |
//! |---|---|
//! | get features of pictures | [`Session::run`] on [`Image::tensor`], or an [`Extractor`] for many pictures |
//! | read DICOM, NIfTI, clips, raw frames | [`Scan`], with [`ReadOptions`] |
//! | answer frames as they come | [`Pipeline::push`] |
//! | answer a clip or a volume as a whole | [`Pipeline::extend`] and [`Pipeline::finish`] |
//! | train and evaluate heads | [`training`] |
//! | round a checkpoint to int8 or fp16 | [`convert`] |
//! | write masks, overlays, features, DICOM objects | [`output`] |
//! | compare what this device computes with what was validated, to the bit | [`attest`] |
//! | measure latency against accuracy | `profile` (feature `profile`) |
//!
//! `examples/` holds a program for each. Errors are one enum for each layer, one line each; their text names options by the
//! names that they have here. Nothing here starts a global thread pool: a session has its own threads, and loading,
//! training and converting use the rayon pool that they are called on, or one of their own for the time of the call.
//!
//! # Features
//!
//! `onnx` reads ONNX files (tract), `dicom` and `nifti` their formats, `jpeg-ls` JPEG-LS in DICOM, `demo` builds a small
//! backbone in, `profile` is the profiler and `plots` its PNG files, `hal` pins and power meters on Linux; `cli` is the program,
//! `node` its DICOM node, and `node-tls` TLS for that; `sign` makes keys and signatures.
//!
//! # Versions
//!
//! What is not documented here is public for the program, the tests and the benchmarks alone, and changes without notice.

pub use board::{Cores, CpuList};
pub use checkpoint::{Assumption, CheckpointError, Hints};
pub use encoder::{Interrupt, Interrupted};
pub use engine::{About, Backend, Engine, EngineError, Macs, Operator, OperatorTimes, Session};
pub use features::{Extractor, FeatureError, Geometry};
pub use heads::{Backbone, Head, HeadError, HeadFormatError, HeadModel, OodScore, Outcome, Prediction};
pub use input::{
    Axis, DicomInfo, Identifiers, Image, InputError, LabelMap, Matrix, PixelFormat, Plane, Range, RawFrame,
    RawPixel, ReadOptions, Region, Scan, ScanInfo, ScanKind, SourceFrame, Spacing, StreamFormat, Window,
};
pub use kernels::{Isa, IsaError};
pub use pipeline::{Answer, Elapsed, Pipeline, PipelineError};
pub use quant::{Precision, QuantError};
pub use vit::{Config, Crop, Features, Interpolation, Preprocess, Resize, Size, SizeError};

pub mod attest;
pub mod convert;
pub mod output;
#[cfg(feature = "profile")]
pub mod profile;

/// Training heads on frozen features, and evaluating them.
///
/// A [`Dataset`](training::Dataset) says which pictures there are and what they show; [`gather`](training::gather) runs the
/// backbone over them once; a [`Recipe`](training::Recipe) fits a head; [`evaluate`](training::evaluate) and
/// [`cross_validate`](training::cross_validate) evaluate it with confidence intervals;
/// [`Head::fitted`](crate::Head::fitted) makes a [`Head`] of it, which can be saved: it takes a
/// [`ValidationSummary`](training::ValidationSummary) of the evaluation and the [`Provenance`](training::Provenance) of the
/// examples. C, k or the epoch, and the threshold of two classes are chosen on the validation images, on which an
/// evaluation is therefore optimistic; [`Dataset::open`](training::Dataset::open) reads pictures of files. The instruction
/// set that `fit` and `evaluate` take matters for speed alone.
///
/// ```
/// # #[cfg(feature = "demo")] {
/// use microraptor::training::{
///     Bootstrap, DrawnSplit, EvaluationSet, Provenance, Recipe, Request, evaluate, gather, phantom_dataset,
/// };
/// use microraptor::{Engine, Head, Isa, ReadOptions, Size};
///
/// let isa = Isa::preferred()?;
/// let engine = Engine::demo(isa)?;
/// let data = phantom_dataset(1, 6, 64);
/// let (size, read) = (Size::square(64), ReadOptions::default());
/// let request = Request { size, preprocess: &engine.about().preprocess, read: &read, tokens: None };
/// let all: Vec<usize> = (0..data.samples.len()).collect();
/// let features = gather(&mut engine.session(2)?, &data, &all, &request, None, &|| {})?;
///
/// let parts = data.split(1, 0.25)?;
/// let set = EvaluationSet { data: &data, mask_classes: &[], features: &features, masks: &[], multi_label: false };
/// let fitted = Recipe::default().fit(&set, &parts.train, &parts.val, isa, &mut |_, _| {})?;
/// let evaluation = evaluate(&fitted.model, &set, &parts.val, None, isa, &Bootstrap::default())?;
///
/// let provenance = Provenance { read, drawn: DrawnSplit::of(&data, 1, 0.25) };
/// let used = (&parts.train[..], &parts.val[..]);
/// let head = Head::fitted(engine.about(), size, &set, used, fitted, (&evaluation).into(), provenance)?;
/// assert_eq!(head.model.classes(), data.classes); // and head.save("head.safetensors")?
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod training {
    pub use crate::features::{FeatureCache, Request, ScanFeatures, gather};
    pub use crate::heads::{
        AbmilOptions, Bootstrap, CalibrationSummary, Case, Certainty, CertaintyMetrics, CertaintyOptions,
        ClassReport, ClassWeights, ContourReport, ContourRule, Contours, CoverageReport, Criterion,
        CrossValidation, DenseClass, DenseReport, DrawnSplit, Estimate, Evaluation, EvaluationReport,
        EvaluationSet, Extracted, FitOptions, Fitted, Guarantee, HeldOut, Interval, Metrics, OperatingPoint,
        OperatingRule, Paired, ProbeSearch, Provenance, Recipe, SegmentOptions, SetAside, TrainingRecord,
        TrainingSummary, ValidationSummary, certainty, contours, cross_validate, evaluate, evaluate_contours,
    };
    pub use crate::input::{
        Dataset, Parts, Phantom, PhantomKind, Sample, Source, Split, phantom, phantom_dataset,
    };
}

#[cfg(feature = "audit")]
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod board;
#[doc(hidden)]
pub mod checkpoint;
#[doc(hidden)]
pub mod encoder;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod features;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod ffi;
#[doc(hidden)]
pub mod files;
#[cfg(feature = "onnx")]
#[doc(hidden)]
pub mod graph;
mod guarded;
#[doc(hidden)]
pub mod heads;
#[doc(hidden)]
pub mod input;
#[doc(hidden)]
pub mod kernels;
#[doc(hidden)]
pub mod live;
#[doc(hidden)]
pub mod names;
#[cfg(feature = "node")]
#[doc(hidden)]
pub mod node;
mod parallel;
pub mod pipeline;
#[doc(hidden)]
pub mod quant;
mod sealed;
#[doc(hidden)]
pub mod sign;
#[doc(hidden)]
pub mod stamp;
#[doc(hidden)]
pub mod vit;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
