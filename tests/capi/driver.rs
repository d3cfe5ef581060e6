//! Calls the library as a program in C may, with any arguments in any order, drawn from bytes.

use std::ffi::{CString, c_char, c_void};
use std::mem::size_of;
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use microraptor::ffi::*;
use microraptor::heads::{Backbone, HeadModel, LinearHead, TrainingSummary};
use microraptor::{Engine, Head, Isa, ReadOptions, Size};

/// Where arguments come from: bytes, then zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next() % all.len()]
    }

    /// One of `all`, or `other` as often as each.
    fn or<T: Copy>(&mut self, all: &[T], other: impl FnOnce(&mut Self) -> T) -> T {
        match self.next() % (all.len() + 1) {
            i if i < all.len() => all[i],
            _ => other(self),
        }
    }

    fn ended(&self) -> bool {
        self.0.is_empty()
    }
}

/// Handles that were made, closed ones among them, and numbers that never were handles.
struct Handles(Vec<usize>);

impl Handles {
    fn any<T>(&self, bytes: &mut Bytes) -> *mut T {
        let known = [0, 1, 4, usize::MAX, 1 << (usize::BITS - 2)];
        let place = bytes.next() % (self.0.len() * 4 + known.len());
        let handle =
            if place < self.0.len() * 4 { self.0[place / 4] } else { known[place - self.0.len() * 4] };
        without_provenance_mut(handle)
    }

    /// Calls `open` with a place for a handle, or NULL.
    fn add<T>(&mut self, bytes: &mut Bytes, open: impl FnOnce(*mut *mut T) -> Status) {
        let mut handle = null_mut();
        let at = if bytes.next() == 255 { null_mut() } else { &raw mut handle };
        let status = open(at);
        assert_eq!(status == Status::Ok, !handle.is_null(), "{status:?}");
        if !handle.is_null() && self.0.len() < 40 {
            self.0.push(handle.addr());
        }
    }
}

/// Room for a structure of any size that the library accepts; its fields are `value`, then zeros or other bytes.
#[repr(C, align(16))]
struct Room([u8; 8192]);

fn room<T: Copy>(value: T, bytes: &mut Bytes) -> Box<Room> {
    let mut room = Box::new(Room([0; 8192]));
    // SAFETY: the room is larger and aligned.
    unsafe { room.0.as_mut_ptr().cast::<T>().write(value) };
    let size = size_of::<T>();
    let said =
        bytes.of(&[size, size, size, size, size, 0, 7, 8, 16, size - 8, size + 8, 4096, 4097, usize::MAX]);
    room.0[..size_of::<usize>()].copy_from_slice(&said.to_ne_bytes());
    if bytes.next() == 200 {
        room.0[size + 3] = 1;
    }
    room
}

fn at<T>(room: &mut Room, bytes: &mut Bytes) -> *mut T {
    if bytes.next() == 255 { null_mut() } else { room.0.as_mut_ptr().cast() }
}

/// A frame whose pixels, if it points to any, are as many as it says.
fn frame(bytes: &mut Bytes, pixels: &[u8]) -> Frame {
    let sides = [64, 64, 64, 48, 33, 16, 9, 8, 7, 1, 0, u32::MAX, 1 << 31];
    let (format, width, height) =
        (bytes.of(&[1, 1, 3, 3, 2, 4, 5, 6, 7, 8, 9, 0, 10]), bytes.of(&sides), bytes.of(&sides));
    let stride = bytes.of(&[0, 0, 0, 64, 65, 200, 600, 1, usize::MAX, usize::MAX / 2]);
    let row = u128::from(width) * [1, 1, 2, 3, 3, 4, 4, 6, 1, 2, 1][format as usize];
    let step = if stride == 0 { row } else { stride as u128 };
    let known = u128::from(height).saturating_mul(step).saturating_add(row) <= pixels.len() as u128;
    let pixels = if known { pixels.as_ptr().cast::<c_void>() } else { null() };
    let chroma = if known && (format == 8 || bytes.next() == 255) { pixels } else { null() };
    let (bits, matrix, range) =
        (bytes.of(&[0, 0, 12, 16, 8, 17]), bytes.of(&[0, 1, 2, 3]), bytes.of(&[0, 1, 2]));
    Frame {
        size: size_of::<Frame>(),
        format,
        width,
        height,
        bits,
        pixels,
        stride,
        chroma,
        chroma_stride: stride,
        matrix,
        range,
    }
}

/// Makes the calls that `data` stands for. `head` is the file of a head for the built-in backbone.
pub fn drive(data: &[u8], head: &[u8]) {
    let bytes = &mut Bytes(data);
    let (mut models, mut heads) = (Handles(vec![]), Handles(vec![]));
    let (mut pipelines, mut extractors) = (Handles(vec![]), Handles(vec![]));
    let texts =
        ["demo", "/nonexistent", "", "0", "0-1", "x", "scalar"].map(|text| CString::new(text).unwrap());
    let pixels: Vec<u8> = (0..1 << 17).map(|i: usize| ((i * 31) >> 3) as u8).collect();
    let mut out = vec![0_u8; 1 << 16];
    while !bytes.ended() {
        let text = |bytes: &mut Bytes| match bytes.next() % 9 {
            8 => null::<c_char>(),
            7 => c"\xff\xfe".as_ptr(),
            i => texts[i].as_ptr(),
        };
        // SAFETY: every pointer is NULL or leads to as much as the header asks for.
        unsafe {
            match bytes.next() % 24 {
                0 => {
                    let (path, isa) =
                        (bytes.or(&[texts[0].as_ptr()], text), bytes.or(&[null(), null()], text));
                    let no_attest = bytes.of(&[0, 1, 1, 1]);
                    let mut options = room(ModelOptions { size: 0, isa, no_attest }, bytes);
                    let options = bytes.or(&[null_mut()], |bytes| at(&mut options, bytes));
                    models.add(bytes, |place| mr_model_open(path, options, place));
                }
                1 => {
                    let length = bytes.next() * 20;
                    models.add(bytes, |place| {
                        mr_model_open_memory(pixels.as_ptr().cast(), length, null(), place)
                    });
                }
                2 => {
                    let length = bytes.of(&[head.len(), head.len(), head.len(), 0, 100]);
                    heads.add(bytes, |place| mr_head_open_memory(head.as_ptr().cast(), length, place));
                }
                3 => heads.add(&mut Bytes(&[0]), |place| mr_head_open(texts[1].as_ptr(), place)),
                4 | 5 => {
                    let chosen: Vec<*mut TrainedHead> =
                        (0..bytes.next() % 4).map(|_| heads.any(bytes)).collect();
                    let (threads, cores) = (bytes.of(&[0, 1, 2, 257]), bytes.or(&[null(), null()], text));
                    let limit = bytes.of(&[0, 1, 1 << 20]);
                    let no_attest = bytes.of(&[0, 1]);
                    let mut options =
                        room(PipelineOptions { size: 0, threads, cores, limit, no_attest }, bytes);
                    let (model, options) = (models.any(bytes), at(&mut options, bytes));
                    pipelines.add(bytes, |place| {
                        mr_pipeline_open(model, chosen.as_ptr(), chosen.len(), options, place)
                    });
                }
                6 => {
                    let layers: Vec<usize> = (0..bytes.next() % 4).map(|_| bytes.next() % 14).collect();
                    let (height, width) = (bytes.of(&[0, 64, 63, 16, 1 << 20]), bytes.of(&[0, 64, 32]));
                    let (layers, layer_count) = (layers.as_ptr(), layers.len());
                    let options = ExtractorOptions {
                        size: 0,
                        threads: 1,
                        cores: null(),
                        height,
                        width,
                        layers,
                        layer_count,
                    };
                    let mut options = room(options, bytes);
                    let (model, options) = (models.any(bytes), at(&mut options, bytes));
                    extractors.add(bytes, |place| mr_extractor_open(model, options, place));
                }
                7..=9 => {
                    let mut frame = room(frame(bytes, &pixels), bytes);
                    let mut limits =
                        room(Limits { size: 0, deadline_us: bytes.of(&[0, 0, 0, 1, u64::MAX]) }, bytes);
                    let limits = bytes.or(&[null_mut()], |bytes| at(&mut limits, bytes));
                    mr_pipeline_push(pipelines.any(bytes), at(&mut frame, bytes), limits);
                }
                10 => {
                    let frames: Vec<Frame> = (0..bytes.next() % 4).map(|_| frame(bytes, &pixels)).collect();
                    mr_pipeline_extend(pipelines.any(bytes), frames.as_ptr(), frames.len(), null());
                }
                11 => {
                    mr_pipeline_finish(pipelines.any(bytes), null());
                }
                12 => {
                    let (height, width) = (bytes.of(&[64, 0, usize::MAX]), bytes.of(&[64, 1]));
                    mr_pipeline_begin(pipelines.any(bytes), text(bytes), height, width);
                }
                13 => {
                    let mut count = 0;
                    mr_pipeline_answers(pipelines.any(bytes), bytes.of(&[&raw mut count, null_mut()]));
                }
                14 => {
                    let mut answer = room(Answer { size: 0, ..std::mem::zeroed() }, bytes);
                    let (pipeline, index) = (pipelines.any(bytes), bytes.next() % 4);
                    let place: *mut Answer = at(&mut answer, bytes);
                    if mr_pipeline_answer(pipeline, index, place) == Status::Ok
                        && answer.0[0] == size_of::<Answer>() as u8
                    {
                        let answer = place.read();
                        let sum: f64 = match answer.class_count {
                            0 => 1.0,
                            count => std::slice::from_raw_parts(answer.probabilities, count).iter().sum(),
                        };
                        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
                    }
                }
                15 => {
                    let (index, frame) = (bytes.next() % 3, bytes.next() % 3);
                    let (stride, length) =
                        (bytes.of(&[0, 64, 65, 1, usize::MAX]), bytes.of(&[1 << 16, 100, 0]));
                    mr_pipeline_mask(pipelines.any(bytes), index, frame, out.as_mut_ptr(), stride, length);
                }
                16 => {
                    let mut length = 0;
                    let capacity = bytes.of(&[1 << 16, 10, 0]);
                    mr_pipeline_json(
                        pipelines.any(bytes),
                        out.as_mut_ptr().cast(),
                        capacity,
                        &raw mut length,
                    );
                }
                17 => {
                    let mut times = room(Times { size: 0, ..std::mem::zeroed() }, bytes);
                    mr_pipeline_times(pipelines.any(bytes), at(&mut times, bytes));
                    mr_pipeline_cancel(pipelines.any(bytes));
                }
                18 => {
                    let chosen: Vec<usize> = (0..bytes.next() % 3).map(|_| bytes.next() % 3).collect();
                    mr_pipeline_select(pipelines.any(bytes), chosen.as_ptr(), chosen.len());
                }
                19 | 20 => {
                    let mut frame = room(frame(bytes, &pixels), bytes);
                    let mut shape = room(FeatureShape { size: 0, ..std::mem::zeroed() }, bytes);
                    let extractor = extractors.any(bytes);
                    mr_extractor_run(extractor, at(&mut frame, bytes), null(), at(&mut shape, bytes));
                    let (layer, capacity) = (bytes.next() as i32 - 2, bytes.of(&[1 << 14, 0, 192]));
                    mr_extractor_copy(extractor, layer, out.as_mut_ptr().cast(), capacity, null_mut());
                    mr_extractor_cancel(extractor);
                }
                21 => {
                    let mut facts = room(ModelFacts { size: 0, ..std::mem::zeroed() }, bytes);
                    mr_model_about(models.any(bytes), at(&mut facts, bytes));
                    let mut facts = room(HeadFacts { size: 0, ..std::mem::zeroed() }, bytes);
                    mr_head_about(heads.any(bytes), at(&mut facts, bytes));
                    let mut name = null();
                    mr_head_class(heads.any(bytes), bytes.next() % 4, &raw mut name);
                }
                22 => match bytes.next() % 4 {
                    0 => {
                        mr_model_close(models.any(bytes));
                    }
                    1 => {
                        mr_head_close(heads.any(bytes));
                    }
                    2 => {
                        mr_pipeline_close(pipelines.any(bytes));
                    }
                    _ => {
                        mr_extractor_close(extractors.any(bytes));
                    }
                },
                _ => {
                    let message = mr_message(models.any::<c_void>(bytes));
                    assert!(std::ffi::CStr::from_ptr(message).to_str().is_ok());
                }
            }
        }
    }
    for &handle in &pipelines.0 {
        mr_pipeline_close(without_provenance_mut(handle));
    }
    for &handle in &extractors.0 {
        mr_extractor_close(without_provenance_mut(handle));
    }
    for &handle in &heads.0 {
        mr_head_close(without_provenance_mut(handle));
    }
    for &handle in &models.0 {
        mr_model_close(without_provenance_mut(handle));
    }
}

/// A head for the built-in backbone.
pub fn head() -> Head {
    let engine = Engine::demo(Isa::best()).unwrap();
    let dim = 2 * engine.config().unwrap().dim;
    let weight = (0..3 * dim).map(|i| ((i * 37 % 101) as f64 - 50.0) / 500.0).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let model =
        LinearHead::new(names, false, 0.5, [vec![0.0; dim], vec![1.0; dim], weight, vec![0.1, 0.0, -0.1]])
            .unwrap();
    Head {
        model: HeadModel::Linear(model),
        ood: None,
        conformal: None,
        contours: None,
        preprocess: engine.about().preprocess,
        read: ReadOptions::default(),
        size: Size::square(64),
        backbone: Backbone::of(engine.about()),
        training: TrainingSummary::default(),
        attestation: None,
        tool: Head::TOOL.to_owned(),
    }
}

/// Its file.
pub fn head_file() -> Vec<u8> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("microraptor-{}-{}.safetensors", name.0, name.1));
    head().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bytes
}
