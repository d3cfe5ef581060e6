//! Models and heads.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::without_provenance_mut;
use std::sync::Arc;

use super::attest::attest;
use super::handles::Table;
use super::memory::{Versioned, path_at, put, read_or_zero, text, values, writable, write};
use super::status::{Failure, Status, call};
use super::trust::{ask, not_from_memory};
use crate::engine::{Engine, EngineError};
use crate::heads::{Head, HeadModel};
use crate::kernels::Isa;
use crate::quant;
use crate::sign::Role;

/// A backbone.
pub struct Model(());

/// A head: what makes classes or masks of a backbone's features.
pub struct TrainedHead(());

/// An open model, with its texts for C.
pub(super) struct OpenModel {
    pub engine: Engine,
    name: CString,
    sha256: CString,
    runs_on: CString,
}

/// An open head, with its texts for C.
pub(super) struct OpenHead {
    pub head: Arc<Head>,
    kind: CString,
    classes: Vec<CString>,
}

pub(super) static MODELS: Table<OpenModel> = Table::new(1, "model");
pub(super) static HEADS: Table<OpenHead> = Table::new(2, "head");

/// How a model is opened. All zero is a good choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelOptions {
    /// sizeof(mr_model_options).
    pub size: usize,
    /// The instruction set, as the program's --isa; NULL for the one that MICRORAPTOR_ISA names, or the fastest of this CPU.
    /// The bits are the same for int8.
    pub isa: *const c_char,
    /// Not 0: do not compare what this machine computes with what the model's file stores (MR_STATUS_ATTEST if it is something
    /// else).
    pub no_attest: u32,
}

/// Facts of a model. The texts last as long as the model is open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelFacts {
    /// sizeof(mr_model_facts).
    pub size: usize,
    /// Its name.
    pub name: *const c_char,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: *const c_char,
    /// What runs it.
    pub runs_on: *const c_char,
    /// Width of a token; 0 if it is not known before a run.
    pub dim: usize,
    /// Number of blocks; 0 if it is not known.
    pub blocks: usize,
    /// Side of a patch, of which both sides of an input are multiples; 0 if it is not known.
    pub patch: usize,
    /// Height of the only input that the model takes; 0 if it takes others.
    pub fixed_height: usize,
    /// Its width.
    pub fixed_width: usize,
}

/// Facts of a head. The texts last as long as the head is open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeadFacts {
    /// sizeof(mr_head_facts).
    pub size: usize,
    /// Its kind, such as linear or segment.
    pub kind: *const c_char,
    /// Number of classes; of a mask the first is the background.
    pub classes: usize,
    /// Whether an image may have several classes or none.
    pub multi_label: u32,
    /// Whether it answers with a mask.
    pub mask: u32,
    /// Height of the network's input.
    pub height: usize,
    /// Its width.
    pub width: usize,
}

// SAFETY: pointers and integers; the size is first.
unsafe impl Versioned for ModelOptions {
    const NAME: &str = "mr_model_options";
}
// SAFETY: as above.
unsafe impl Versioned for ModelFacts {
    const NAME: &str = "mr_model_facts";
}
// SAFETY: as above.
unsafe impl Versioned for HeadFacts {
    const NAME: &str = "mr_head_facts";
}

pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

impl OpenModel {
    fn new(engine: Engine) -> OpenModel {
        let about = engine.about();
        let (name, sha256, runs_on) = (c_text(&about.name), c_text(&about.sha256), c_text(&about.runs_on()));
        OpenModel { engine, name, sha256, runs_on }
    }
}

impl OpenHead {
    fn new(head: Head) -> OpenHead {
        let classes = head.model.classes().iter().map(|name| c_text(name)).collect();
        OpenHead { kind: c_text(head.model.kind()), classes, head: Arc::new(head) }
    }
}

/// Opens a model on the instruction set of `options`.
///
/// # Safety
/// As [`mr_model_open`].
unsafe fn open_model(
    options: *const ModelOptions,
    model: *mut *mut Model,
    open: impl FnOnce(Isa) -> Result<Engine, Failure>,
) -> Result<(), Failure> {
    writable(model, "the place for the model")?;
    // SAFETY: as the caller promises.
    let options = unsafe { read_or_zero(options)? };
    let isa = if options.isa.is_null() {
        Isa::preferred().map_err(Failure::model)?
    } else {
        // SAFETY: as the caller promises.
        let name = unsafe { text(options.isa, "the instruction set")? };
        Isa::named(name).map_err(Failure::argument)?
    };
    let engine = open(isa)?;
    if options.no_attest == 0 && engine.about().attestation.is_some() {
        attest(&engine, &[], 1)?;
    }
    let handle = MODELS.add(OpenModel::new(engine))?;
    // SAFETY: as the caller promises.
    unsafe { put(model, without_provenance_mut(handle), "the place for the model") }
}

fn refused(error: EngineError) -> Failure {
    Failure::model(error)
}

/// Opens a model: a file that `microraptor convert` wrote, a checkpoint, or an ONNX file. "demo" is the built-in one; a
/// file of that name is "./demo".
///
/// # Safety
/// `path` is NULL or a text that ends with a zero byte, `options` NULL or options, `model` NULL or a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_model_open(
    path: *const c_char,
    options: *const ModelOptions,
    model: *mut *mut Model,
) -> Status {
    call(0, || {
        // SAFETY: as the caller promises.
        let path = unsafe { path_at(path)? };
        let open = |isa: Isa| {
            #[cfg(feature = "demo")]
            if path == Path::new(crate::engine::DEMO) {
                return Engine::demo(isa).map_err(refused);
            }
            let asked = ask(&path, Role::Model)?;
            let engine = Engine::open_for(&path, isa).map_err(refused)?;
            asked.loaded_model(engine.about())?;
            Ok(engine)
        };
        // SAFETY: as the caller promises.
        unsafe { open_model(options, model, open) }
    })
}

/// Opens a model from the bytes of a file that `microraptor convert` wrote. They are not needed afterwards.
///
/// # Safety
/// `bytes` is NULL or points to `length` bytes; the rest as [`mr_model_open`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_model_open_memory(
    bytes: *const c_void,
    length: usize,
    options: *const ModelOptions,
    model: *mut *mut Model,
) -> Status {
    call(0, || {
        // SAFETY: as the caller promises.
        let bytes = unsafe { values(bytes.cast::<u8>(), length, "the model's bytes")? };
        not_from_memory()?;
        let open = |isa: Isa| {
            let name = Path::new("memory");
            let file = quant::file::parse(name, bytes).map_err(Failure::model)?;
            Engine::from_converted(name, file, isa).map_err(refused)
        };
        // SAFETY: as the caller promises.
        unsafe { open_model(options, model, open) }
    })
}

/// Writes the facts of a model.
///
/// # Safety
/// `facts` is NULL or points to facts whose size is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_model_about(model: *mut Model, facts: *mut ModelFacts) -> Status {
    call(model.addr(), || {
        let open = MODELS.get(model.addr())?;
        let (config, fixed) = (open.engine.config(), open.engine.fixed_size());
        let found = ModelFacts {
            size: size_of::<ModelFacts>(),
            name: open.name.as_ptr(),
            sha256: open.sha256.as_ptr(),
            runs_on: open.runs_on.as_ptr(),
            dim: config.map_or(0, |config| config.dim),
            blocks: config.map_or(0, |config| config.depth),
            patch: open.engine.patch().unwrap_or(0),
            fixed_height: fixed.map_or(0, |size| size.height),
            fixed_width: fixed.map_or(0, |size| size.width),
        };
        // SAFETY: as the caller promises.
        unsafe { write(facts, &found) }
    })
}

/// Closes a model; NULL is nothing. What was made of it stays as it is.
#[unsafe(no_mangle)]
pub extern "C" fn mr_model_close(model: *mut Model) -> Status {
    call(model.addr(), || MODELS.close(model.addr()))
}

/// Opens a head: a file that `microraptor train` wrote, or an ONNX file with its description beside it.
///
/// # Safety
/// `path` is NULL or a text that ends with a zero byte, `head` NULL or a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_head_open(path: *const c_char, head: *mut *mut TrainedHead) -> Status {
    call(0, || {
        writable(head, "the place for the head")?;
        // SAFETY: as the caller promises.
        let path = unsafe { path_at(path)? };
        let asked = ask(&path, Role::Head)?;
        let (opened, sha256) = Head::read(path).map_err(Failure::model)?;
        asked.loaded(&sha256)?;
        let handle = HEADS.add(OpenHead::new(opened))?;
        // SAFETY: as the caller promises.
        unsafe { put(head, without_provenance_mut(handle), "the place for the head") }
    })
}

/// Opens a head from the bytes of a file that `microraptor train` wrote. They are not needed afterwards.
///
/// # Safety
/// `bytes` is NULL or points to `length` bytes, `head` NULL or a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_head_open_memory(
    bytes: *const c_void,
    length: usize,
    head: *mut *mut TrainedHead,
) -> Status {
    call(0, || {
        writable(head, "the place for the head")?;
        // SAFETY: as the caller promises.
        let bytes = unsafe { values(bytes.cast::<u8>(), length, "the head's bytes")? };
        not_from_memory()?;
        let opened = Head::parse(Path::new("memory"), bytes).map_err(Failure::model)?;
        let handle = HEADS.add(OpenHead::new(opened))?;
        // SAFETY: as the caller promises.
        unsafe { put(head, without_provenance_mut(handle), "the place for the head") }
    })
}

/// Writes the facts of a head.
///
/// # Safety
/// `facts` is NULL or points to facts whose size is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_head_about(head: *mut TrainedHead, facts: *mut HeadFacts) -> Status {
    call(head.addr(), || {
        let open = HEADS.get(head.addr())?;
        let model: &HeadModel = &open.head.model;
        let found = HeadFacts {
            size: size_of::<HeadFacts>(),
            kind: open.kind.as_ptr(),
            classes: open.classes.len(),
            multi_label: model.multi_label().into(),
            mask: model.makes_masks().into(),
            height: open.head.size.height,
            width: open.head.size.width,
        };
        // SAFETY: as the caller promises.
        unsafe { write(facts, &found) }
    })
}

/// Writes the name of a class. It lasts as long as the head is open.
///
/// # Safety
/// `name` is NULL or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mr_head_class(
    head: *mut TrainedHead,
    index: usize,
    name: *mut *const c_char,
) -> Status {
    call(head.addr(), || {
        let open = HEADS.get(head.addr())?;
        let count = open.classes.len();
        let class = open.classes.get(index);
        let class = class.ok_or_else(|| Failure::argument(format!("class {index} of {count}")))?;
        // SAFETY: as the caller promises.
        unsafe { put(name, class.as_ptr(), "the place for the name") }
    })
}

/// Closes a head; NULL is nothing. What was made of it stays as it is.
#[unsafe(no_mangle)]
pub extern "C" fn mr_head_close(head: *mut TrainedHead) -> Status {
    call(head.addr(), || HEADS.close(head.addr()))
}
