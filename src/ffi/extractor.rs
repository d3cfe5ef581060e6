//! Features alone, into the caller's memory.

use std::ptr::without_provenance_mut;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::exclusive::{Limits, ended, exclusive};
use super::frame::Frame;
use super::handles::Table;
use super::memory::{Versioned, put, read, read_or_zero, values, values_mut, writable, write};
use super::model::{MODELS, Model};
use super::pipeline::{cores, no_session};
use super::status::{Failure, Status, call};
use crate::encoder::Interrupt;
use crate::engine::Session;
use crate::features::{self, FeatureError};
use crate::input::Image;
use crate::vit::{Features, Size};

/// A model that gives features.
pub struct Extractor(());

/// What an extractor runs, and on what.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExtractorOptions {
    /// sizeof(mr_extractor_options).
    pub size: usize,
    /// Number of threads, the caller's among them; 0 for one.
    pub threads: usize,
    /// The cores of its own threads, such as "0-3"; NULL for any.
    pub cores: *const std::ffi::c_char,
    /// Height of the network's input, a multiple of the patch; 0 for 224, or the only height that the model takes.
    pub height: usize,
    /// Its width; 0 as above.
    pub width: usize,
    /// Blocks whose patch tokens are wanted too, from 0, ascending.
    pub layers: *const usize,
    /// Their number.
    pub layer_count: usize,
}

/// Shapes of the features of the last frame. A token has `dim` floats.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FeatureShape {
    /// sizeof(mr_feature_shape).
    pub size: usize,
    /// Width of a token.
    pub dim: usize,
    /// Rows of patches; 0 if they are not known.
    pub rows: usize,
    /// Columns of patches; 0 if they are not known.
    pub columns: usize,
    /// Number of patch tokens.
    pub tokens: usize,
    /// Number of layers beside the last.
    pub layers: usize,
}

// SAFETY: integers and pointers; the size is first.
unsafe impl Versioned for ExtractorOptions {
    const NAME: &str = "mr_extractor_options";
}
// SAFETY: as above.
unsafe impl Versioned for FeatureShape {
    const NAME: &str = "mr_feature_shape";
}

/// An open extractor.
struct OpenExtractor {
    running: Mutex<Running>,
    interrupt: Arc<Interrupt>,
}

struct Running {
    session: Session,
    extractor: features::Extractor<()>,
    /// The last frame, for its memory.
    frame: Option<Image>,
    /// Features of the last frame, if there are any.
    found: Features,
    valid: bool,
}

static EXTRACTORS: Table<OpenExtractor> = Table::new(0, "extractor");

impl OpenExtractor {
    fn with<R>(&self, work: impl FnOnce(&mut Running) -> Result<R, Failure>) -> Result<R, Failure> {
        work(&mut *exclusive(&self.running, "extractor")?)
    }
}

/// Makes an extractor.
///
/// # Safety
/// `options` is NULL or points to options, `extractor` is NULL or a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_extractor_open(
    model: *mut Model,
    options: *const ExtractorOptions,
    extractor: *mut *mut Extractor,
) -> Status {
    call(model.addr(), || {
        writable(extractor, "the place for the extractor")?;
        let model = MODELS.get(model.addr())?;
        // SAFETY: as the caller promises.
        let options = unsafe { read_or_zero(options)? };
        // SAFETY: as the caller promises.
        let (cores, layers) = unsafe {
            (
                cores(options.threads, options.cores)?,
                values(options.layers, options.layer_count, "the layers")?,
            )
        };
        let usual = model.engine.fixed_size().unwrap_or(Size::square(224));
        let or = |asked: usize, usual: usize| if asked == 0 { usual } else { asked };
        let size = Size { height: or(options.height, usual.height), width: or(options.width, usual.width) };
        model.engine.check_size(size).map_err(Failure::argument)?;
        if layers.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Failure::argument("the layers do not ascend"));
        }
        let mut session = model.engine.session(cores).map_err(no_session)?;
        session.keep_layers(layers).map_err(Failure::argument)?;
        let interrupt = session.interrupt().clone();
        let preprocess = model.engine.about().preprocess;
        let running = Running {
            session,
            extractor: features::Extractor::new(size, preprocess),
            frame: None,
            found: Features::default(),
            valid: false,
        };
        let handle = EXTRACTORS.add(OpenExtractor { running: Mutex::new(running), interrupt })?;
        // SAFETY: as the caller promises.
        unsafe { put(extractor, without_provenance_mut(handle), "the place for the extractor") }
    })
}

/// Computes the features of a frame, which mr_extractor_copy gives.
///
/// # Safety
/// `frame` is NULL or points to a frame whose pixels nobody changes during the call, `limits` is NULL or points to
/// limits, `shape` is NULL or points to a shape whose size is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_extractor_run(
    extractor: *mut Extractor,
    frame: *const Frame,
    limits: *const Limits,
    shape: *mut FeatureShape,
) -> Status {
    call(extractor.addr(), || {
        let started = Instant::now();
        let open = EXTRACTORS.get(extractor.addr())?;
        // SAFETY: as the caller promises.
        let (frame, limits) = unsafe { (read(frame)?, read_or_zero(limits)?) };
        open.with(|running| {
            open.interrupt.reset(limits.deadline(started));
            running.valid = false;
            // SAFETY: as the caller promises.
            let done = unsafe { running.run(&frame) };
            ended(&open.interrupt).and(done)?;
            running.valid = true;
            let found = &running.found;
            let shape_found = FeatureShape {
                size: size_of::<FeatureShape>(),
                dim: found.dim(),
                rows: found.rows,
                columns: found.cols,
                tokens: found.patch.len() / found.dim().max(1),
                layers: found.layers.len(),
            };
            // SAFETY: as the caller promises.
            if shape.is_null() { Ok(()) } else { unsafe { write(shape, &shape_found) } }
        })
    })
}

impl Running {
    /// # Safety
    /// As [`Frame::image`].
    unsafe fn run(&mut self, frame: &Frame) -> Result<(), Failure> {
        let Running { session, extractor, frame: used, found, .. } = self;
        // SAFETY: as the caller promises.
        let image = unsafe { frame.image(used.take())? };
        extractor.push((), &image);
        *used = Some(image);
        let take = |(): &(), features: &Features| {
            // Field by field, the memory is used again.
            found.cls.clone_from(&features.cls);
            found.patch.clone_from(&features.patch);
            found.layers.clone_from(&features.layers);
            (found.rows, found.cols) = (features.rows, features.cols);
            Ok::<(), FeatureError>(())
        };
        extractor
            .run(session, |()| "the frame".to_owned(), take)
            .map_err(|error| Failure::new(Status::Run, error))
    }
}

/// Copies features of the last frame: `layer` is -1 for the class token (`dim` floats), 0 for the patch tokens
/// (`tokens` x `dim`), and 1 on for those of the layers that were asked for, in their order. The first `count` floats are
/// written; `capacity` says how many there is room for.
///
/// # Safety
/// `out` is NULL or points to `capacity` floats, which nobody else uses during the call; `count` is NULL or points to a
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_extractor_copy(
    extractor: *mut Extractor,
    layer: i32,
    out: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> Status {
    call(extractor.addr(), || {
        let open = EXTRACTORS.get(extractor.addr())?;
        open.with(|running| {
            if !running.valid {
                return Err(Failure::argument(
                    "there are no features: no frame was run, or the last one failed",
                ));
            }
            let found = &running.found;
            let layers = found.layers.len();
            let from = match usize::try_from(layer) {
                Err(_) if layer == -1 => &found.cls,
                Ok(0) => &found.patch,
                Ok(layer) if layer <= layers => &found.layers[layer - 1],
                _ => return Err(Failure::argument(format!("layer {layer}: give -1 to {layers}"))),
            };
            if !count.is_null() {
                // SAFETY: as the caller promises.
                unsafe { put(count, from.len(), "the place for the number")? };
            }
            if capacity < from.len() {
                let text = format!("{} floats, and there is room for {capacity}", from.len());
                return Err(Failure::new(Status::Small, text));
            }
            // SAFETY: as the caller promises.
            unsafe { values_mut(out, from.len(), "the memory for the features")? }.copy_from_slice(from);
            Ok(())
        })
    })
}

/// Ends the call that runs on the extractor in another thread: it returns MR_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub extern "C" fn mr_extractor_cancel(extractor: *mut Extractor) -> Status {
    call(extractor.addr(), || {
        EXTRACTORS.get(extractor.addr())?.interrupt.cancel();
        Ok(())
    })
}

/// Closes an extractor; NULL is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn mr_extractor_close(extractor: *mut Extractor) -> Status {
    call(extractor.addr(), || EXTRACTORS.close(extractor.addr()))
}
