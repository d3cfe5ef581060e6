//! Pipelines: a model with heads, that answers frames.

use std::ffi::c_char;
use std::ptr::without_provenance_mut;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::answer::{Answer, write_json};
use super::attest::attest;
use super::exclusive::{Limits, ended, exclusive, interrupted};
use super::frame::{Frame, Frames};
use super::handles::Table;
use super::memory::{self, Versioned, put, read, read_or_zero, text, values, values_mut, writable, write};
use super::model::{HEADS, MODELS, Model, TrainedHead};
use super::status::{Failure, Status, call};
use crate::board::{Cores, CpuList};
use crate::encoder::Interrupt;
use crate::engine::EngineError;
use crate::features::Geometry;
use crate::heads::Outcome;
use crate::input::Image;
use crate::pipeline::{self, PipelineError};

/// A model with heads, its threads and its memory.
pub struct Pipeline(());

/// What a pipeline runs on. All zero is a good choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PipelineOptions {
    /// sizeof(mr_pipeline_options).
    pub size: usize,
    /// Number of threads, the caller's among them; 0 for one.
    pub threads: usize,
    /// The cores of its own threads, such as "0-3" or "0,2"; NULL for any. The caller's thread stays where it is.
    pub cores: *const c_char,
    /// The most memory that it keeps of a clip or a volume, in bytes; 0 for 1 GiB.
    pub limit: usize,
    /// Not 0: do not compare what this machine computes with what the heads' files store (MR_STATUS_ATTEST if it is something
    /// else).
    pub no_attest: u32,
}

/// Time that the stages have taken since they were last asked for, in microseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Times {
    /// sizeof(mr_times).
    pub size: usize,
    /// From the caller's memory to a picture.
    pub convert_us: u64,
    /// From a picture to the network's input.
    pub resize_us: u64,
    /// In the network.
    pub backbone_us: u64,
    /// In the heads.
    pub heads_us: u64,
}

// SAFETY: integers and pointers; the size is first.
unsafe impl Versioned for PipelineOptions {
    const NAME: &str = "mr_pipeline_options";
}
// SAFETY: as above.
unsafe impl Versioned for Times {
    const NAME: &str = "mr_times";
}

/// An open pipeline.
pub(super) struct OpenPipeline {
    running: Mutex<Running>,
    interrupt: Arc<Interrupt>,
}

/// What one thread at a time uses.
pub(super) struct Running {
    pub pipeline: pipeline::Pipeline,
    pub answers: Vec<pipeline::Answer>,
    /// The last frame, for its memory.
    frame: Option<Image>,
    convert: Duration,
}

static PIPELINES: Table<OpenPipeline> = Table::new(3, "pipeline");

impl OpenPipeline {
    /// # Errors
    /// [`Status::Busy`] if another thread uses it.
    fn lock(&self) -> Result<MutexGuard<'_, Running>, Failure> {
        exclusive(&self.running, "pipeline")
    }

    /// Runs `work` within `limits`.
    fn within(
        &self,
        limits: &Limits,
        started: Instant,
        work: impl FnOnce(&mut Running) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut running = self.lock()?;
        self.interrupt.reset(limits.deadline(started));
        let done = work(&mut running);
        let done = ended(&self.interrupt).and(done);
        if done.is_err() {
            // Whatever failed, the clip is forgotten, so that nothing depends on when it did.
            let Running { pipeline, answers, .. } = &mut *running;
            pipeline.recycle(answers);
            pipeline.clear();
        }
        done
    }
}

impl Running {
    /// The picture of `frame`, which goes back with [`Running::frame`].
    ///
    /// # Safety
    /// As [`Frame::image`].
    unsafe fn image(&mut self, frame: &Frame) -> Result<Image, Failure> {
        let started = Instant::now();
        // SAFETY: as the caller promises.
        let image = unsafe { frame.image(self.frame.take()) };
        self.convert += started.elapsed();
        image
    }
}

fn failed(error: PipelineError) -> Failure {
    let status = match error {
        PipelineError::FrameSize { .. } => Status::Frame,
        PipelineError::Backbone { .. } => Status::Model,
        _ => Status::Run,
    };
    Failure::new(status, error)
}

/// Puts heads on a model.
///
/// # Safety
/// `heads` is NULL or points to `count` handles, `options` NULL or options, `pipeline` NULL or a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_open(
    model: *mut Model,
    heads: *const *mut TrainedHead,
    count: usize,
    options: *const PipelineOptions,
    pipeline: *mut *mut Pipeline,
) -> Status {
    call(model.addr(), || {
        writable(pipeline, "the place for the pipeline")?;
        let model = MODELS.get(model.addr())?;
        // SAFETY: as the caller promises.
        let (options, heads) = unsafe { (read_or_zero(options)?, values(heads, count, "the heads")?) };
        let heads = heads.iter().map(|head| Ok(HEADS.get(head.addr())?.head.clone()));
        let heads = heads.collect::<Result<Vec<_>, Failure>>()?;
        // SAFETY: as the caller promises.
        let cores = unsafe { cores(options.threads, options.cores)? };
        let session = model.engine.session(cores.clone()).map_err(no_session)?;
        let interrupt = session.interrupt().clone();
        let mut made = pipeline::Pipeline::new(session, &heads).map_err(Failure::model)?;
        if options.no_attest == 0 && heads.iter().any(|head| head.attestation.is_some()) {
            let heads: Vec<_> = heads.iter().map(|head| &**head).collect();
            attest(&model.engine, &heads, cores)?;
        }
        if options.limit > 0 {
            made.limit(options.limit);
        }
        let running = Running { pipeline: made, answers: Vec::new(), frame: None, convert: Duration::ZERO };
        let handle = PIPELINES.add(OpenPipeline { running: Mutex::new(running), interrupt })?;
        // SAFETY: as the caller promises.
        unsafe { put(pipeline, without_provenance_mut(handle), "the place for the pipeline") }
    })
}

/// Why there is no session: mostly threads or cores that cannot be had.
pub(super) fn no_session(error: EngineError) -> Failure {
    match error {
        EngineError::Threads { .. } => Failure::argument(error),
        error => Failure::model(error),
    }
}

/// `threads` threads on the cores that the text at `list` names.
///
/// # Safety
/// `list` is NULL or a text that ends with a zero byte.
pub(super) unsafe fn cores(threads: usize, list: *const c_char) -> Result<Cores, Failure> {
    let threads = threads.max(1);
    if list.is_null() {
        return Ok(Cores::from(threads));
    }
    // SAFETY: as the caller promises.
    let list = unsafe { text(list, "the cores")? };
    Ok(Cores::new(threads, list.parse::<CpuList>().map_err(Failure::argument)?))
}

/// Selects the heads that answer, by their places, from the next frame on; the current clip is forgotten.
///
/// # Safety
/// `heads` is NULL or points to `count` places.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_select(
    pipeline: *mut Pipeline,
    heads: *const usize,
    count: usize,
) -> Status {
    call(pipeline.addr(), || {
        // SAFETY: as the caller promises.
        let heads = unsafe { values(heads, count, "the heads")? };
        let open = PIPELINES.get(pipeline.addr())?;
        let mut running = open.lock()?;
        let known = running.pipeline.heads().len();
        if let Some(head) = heads.iter().find(|&&head| head >= known) {
            return Err(Failure::argument(format!("head {head} of {known}")));
        }
        running.answers.clear();
        running.pipeline.select(heads);
        Ok(())
    })
}

/// Begins a clip, a volume or a picture that stands for itself, whose frames have this size, and forgets the one before.
/// `name` is used in messages; NULL for none.
///
/// # Safety
/// `name` is NULL or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_begin(
    pipeline: *mut Pipeline,
    name: *const c_char,
    height: usize,
    width: usize,
) -> Status {
    call(pipeline.addr(), || {
        // SAFETY: as the caller promises.
        let name = if name.is_null() { "frame" } else { unsafe { text(name, "the name")? } };
        let open = PIPELINES.get(pipeline.addr())?;
        let mut running = open.lock()?;
        running.answers.clear();
        running.pipeline.begin(name, Geometry::of_size(height, width));
        Ok(())
    })
}

/// Answers the next frame, alone. Heads that need all frames of a clip answer in mr_pipeline_finish. After a failure, the
/// frames since mr_pipeline_begin or mr_pipeline_finish are forgotten (not after MR_STATUS_ARGUMENT, _CLOSED and _BUSY).
///
/// # Safety
/// `frame` is NULL or points to a frame whose pixels nobody changes during the call, `limits` NULL or limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_push(
    pipeline: *mut Pipeline,
    frame: *const Frame,
    limits: *const Limits,
) -> Status {
    call(pipeline.addr(), || {
        let started = Instant::now();
        let open = PIPELINES.get(pipeline.addr())?;
        // SAFETY: as the caller promises.
        let (frame, limits) = unsafe { (read(frame)?, read_or_zero(limits)?) };
        open.within(&limits, started, |running| {
            // SAFETY: as the caller promises.
            let image = unsafe { running.image(&frame)? };
            let Running { pipeline, answers, .. } = running;
            let done = pipeline.push_into(&image, answers).map_err(failed);
            running.frame = Some(image);
            done
        })
    })
}

/// Takes the next frames of a clip or a volume, some of which run beside each other on the pipeline's threads; the answers
/// are those of mr_pipeline_finish. All frames say the same size of the structure. Failures are as in mr_pipeline_push.
///
/// # Safety
/// `frames` is NULL or points to `count` frames whose pixels nobody changes during the call, `limits` NULL or limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_extend(
    pipeline: *mut Pipeline,
    frames: *const Frame,
    count: usize,
    limits: *const Limits,
) -> Status {
    call(pipeline.addr(), || {
        let started = Instant::now();
        let open = PIPELINES.get(pipeline.addr())?;
        // SAFETY: as the caller promises.
        let (frames, limits) = unsafe { (Frames::of(frames, count)?, read_or_zero(limits)?) };
        for number in 0..count {
            // Before anything is done.
            // SAFETY: as the caller promises.
            unsafe { frames.read(number)? };
        }
        open.within(&limits, started, |running| {
            let Running { pipeline, answers, convert, .. } = running;
            pipeline.recycle(answers);
            let mut images = Vec::new();
            for number in 0..count {
                let begun = Instant::now();
                // SAFETY: as the caller promises.
                images.push(unsafe { frames.read(number)?.image(None)? });
                *convert += begun.elapsed();
                let bytes = images[0].pixels().as_bytes().len();
                if images.len() >= pipeline.together(bytes) || number + 1 == count {
                    open.interrupt.check().map_err(interrupted)?;
                    pipeline.extend(&images).map_err(failed)?;
                    images.clear();
                }
            }
            Ok(())
        })
    })
}

/// Answers for all frames since the last call, and forgets them. Without a frame there are no answers.
///
/// # Safety
/// `limits` is NULL or points to limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_finish(pipeline: *mut Pipeline, limits: *const Limits) -> Status {
    call(pipeline.addr(), || {
        let started = Instant::now();
        let open = PIPELINES.get(pipeline.addr())?;
        // SAFETY: as the caller promises.
        let limits = unsafe { read_or_zero(limits)? };
        open.within(&limits, started, |running| {
            running.answers = running.pipeline.finish().map_err(failed)?;
            Ok(())
        })
    })
}

/// Writes the number of answers of the last call.
///
/// # Safety
/// `count` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_answers(pipeline: *mut Pipeline, count: *mut usize) -> Status {
    call(pipeline.addr(), || {
        let open = PIPELINES.get(pipeline.addr())?;
        let running = open.lock()?;
        // SAFETY: as the caller promises.
        unsafe { put(count, running.answers.len(), "the place for the number") }
    })
}

/// Writes an answer of the last call. What it points to lasts until the next call on the pipeline that is not one of
/// mr_pipeline_answers, _answer, _mask, _json, _times and _cancel: until mr_pipeline_close, too, in whichever thread.
///
/// # Safety
/// `answer` is NULL or points to an answer whose size is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_answer(
    pipeline: *mut Pipeline,
    index: usize,
    answer: *mut Answer,
) -> Status {
    call(pipeline.addr(), || {
        let open = PIPELINES.get(pipeline.addr())?;
        let running = open.lock()?;
        // SAFETY: as the caller promises.
        unsafe { write(answer, &Answer::of(running.answer(index)?)) }
    })
}

impl Running {
    fn answer(&self, index: usize) -> Result<&pipeline::Answer, Failure> {
        let count = self.answers.len();
        self.answers.get(index).ok_or_else(|| Failure::argument(format!("answer {index} of {count}")))
    }
}

/// Copies a mask into the caller's memory: the class of each pixel, a byte each, with `stride` bytes from row to row (0:
/// nothing between them). `frame` is 0 unless the answer is for several.
///
/// # Safety
/// `out` is NULL or points to `length` bytes, which nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_mask(
    pipeline: *mut Pipeline,
    index: usize,
    frame: usize,
    out: *mut u8,
    stride: usize,
    length: usize,
) -> Status {
    call(pipeline.addr(), || {
        let open = PIPELINES.get(pipeline.addr())?;
        let running = open.lock()?;
        let Outcome::Mask(mask) = &running.answer(index)?.outcome else {
            return Err(Failure::argument(format!("answer {index} has classes, and no mask")));
        };
        if frame >= mask.depth {
            return Err(Failure::argument(format!("frame {frame} of a mask of {}", mask.depth)));
        }
        let stride = if stride == 0 { mask.width } else { stride };
        let needed = memory::rows(mask.height, mask.width, stride)?;
        if length < needed {
            return Err(Failure::new(
                Status::Small,
                format!("the mask takes {needed} bytes, and there are {length}"),
            ));
        }
        // SAFETY: as the caller promises.
        let out = unsafe { values_mut(out, needed, "the mask")? };
        let area = mask.height * mask.width;
        let labels = mask.labels[frame * area..][..area].chunks_exact(mask.width);
        out.chunks_mut(stride)
            .zip(labels)
            .for_each(|(out, labels)| out[..labels.len()].copy_from_slice(labels));
        Ok(())
    })
}

/// Writes the answers of the last call as JSON, with a zero byte behind, and its length without. Where the memory is too
/// small, only the length is written, and the status says so.
///
/// # Safety
/// `out` is NULL or points to `capacity` bytes, which nobody else uses during the call; `length` is NULL or points to a
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_json(
    pipeline: *mut Pipeline,
    out: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    call(pipeline.addr(), || {
        writable(length, "the place for the length")?;
        let open = PIPELINES.get(pipeline.addr())?;
        let running = open.lock()?;
        let heads: Vec<_> = running.pipeline.heads().collect();
        let json = write_json(&heads, &running.answers)?;
        // SAFETY: as the caller promises.
        unsafe { put(length, json.len(), "the place for the length")? };
        if capacity <= json.len() {
            let needed = json.len() + 1;
            return Err(Failure::new(
                Status::Small,
                format!("the JSON takes {needed} bytes, and there are {capacity}"),
            ));
        }
        // SAFETY: as the caller promises.
        let out = unsafe { values_mut(out.cast::<u8>(), json.len() + 1, "the memory for the JSON")? };
        out[..json.len()].copy_from_slice(json.as_bytes());
        out[json.len()] = 0;
        Ok(())
    })
}

/// Writes the time that each stage has taken since the last call of this function.
///
/// # Safety
/// `times` is NULL or points to times whose size is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_pipeline_times(pipeline: *mut Pipeline, times: *mut Times) -> Status {
    call(pipeline.addr(), || {
        let open = PIPELINES.get(pipeline.addr())?;
        let mut running = open.lock()?;
        let spent = running.pipeline.elapsed();
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let found = Times {
            size: size_of::<Times>(),
            convert_us: us(std::mem::take(&mut running.convert)),
            resize_us: us(spent.resize),
            backbone_us: us(spent.backbone),
            heads_us: us(spent.heads),
        };
        // SAFETY: as the caller promises.
        unsafe { write(times, &found) }
    })
}

/// Ends the call that runs on the pipeline in another thread: it returns MR_STATUS_CANCELLED. Without one, nothing happens.
#[unsafe(no_mangle)]
pub extern "C" fn mr_pipeline_cancel(pipeline: *mut Pipeline) -> Status {
    call(pipeline.addr(), || {
        PIPELINES.get(pipeline.addr())?.interrupt.cancel();
        Ok(())
    })
}

/// Closes a pipeline; NULL is nothing. A call that runs on it in another thread ends as usual.
#[unsafe(no_mangle)]
pub extern "C" fn mr_pipeline_close(pipeline: *mut Pipeline) -> Status {
    call(pipeline.addr(), || PIPELINES.close(pipeline.addr()))
}
