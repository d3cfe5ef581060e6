//! The library for C, called from Rust: any arguments in any order, and what the calls promise.
#![cfg(all(feature = "capi", feature = "demo"))]

#[path = "capi/driver.rs"]
mod driver;

use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::ptr::{null, null_mut};
use std::time::Duration;

use microraptor::ffi::*;
use microraptor::heads::{Head, HeadAttestation};
use microraptor::quant::file;
use microraptor::{Engine, Image, Isa, Outcome, Pipeline as RustPipeline};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A model and a head whose files store other digests than what is computed here.
#[test]
fn what_computes_something_else_is_refused_unless_that_is_not_asked() {
    let other = "0".repeat(64);
    let mut stored = Engine::demo(Isa::best()).unwrap().about().attestation.clone().unwrap();
    let mut model = file::parse("demo".as_ref(), file::DEMO_FILE).unwrap().model;
    stored.runs[1].features.clone_from(&other);
    model.attestation = Some(stored);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    file::write(&path, &model).unwrap();
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let attestation = HeadAttestation { version: 1, seed: 1, values: other.clone(), answers: other };
    let attested = Head { attestation: Some(attestation), ..driver::head() };
    let path_of_head = folder.path().join("head.safetensors");
    attested.save(&path_of_head).unwrap();
    let path_of_head = CString::new(path_of_head.to_str().unwrap()).unwrap();

    let (mut opened, mut head, mut pipeline) = (null_mut(), null_mut(), null_mut());
    let options = ModelOptions { size: size_of::<ModelOptions>(), isa: null(), no_attest: 1 };
    let unasked = PipelineOptions {
        size: size_of::<PipelineOptions>(),
        threads: 2,
        cores: null(),
        limit: 0,
        no_attest: 1,
    };
    // SAFETY: every pointer leads to what the header asks for.
    unsafe {
        assert_eq!(mr_model_open(path.as_ptr(), null(), &raw mut opened), Status::Attest);
        assert!(opened.is_null());
        let said = message(null_mut::<Model>());
        assert!(said.contains("demo: this machine computes other features at 96 px"), "{said}");
        assert_eq!(mr_model_open(path.as_ptr(), &raw const options, &raw mut opened), Status::Ok);
        assert_eq!(mr_model_close(opened), Status::Ok);

        assert_eq!(mr_model_open(c"demo".as_ptr(), null(), &raw mut opened), Status::Ok);
        assert_eq!(mr_head_open(path_of_head.as_ptr(), &raw mut head), Status::Ok);
        let open = |options, place| mr_pipeline_open(opened, &raw const head, 1, options, place);
        assert_eq!(open(null(), &raw mut pipeline), Status::Attest);
        assert!(message(opened).contains("other values of head 1"), "{}", message(opened));
        assert_eq!(open(&raw const unasked, &raw mut pipeline), Status::Ok);
        assert_eq!((mr_pipeline_close(pipeline), mr_head_close(head)), (Status::Ok, Status::Ok));
        assert_eq!(mr_model_close(opened), Status::Ok);
    }
}

/// For 5 seconds, or for CAPI_SECONDS.
#[test]
fn any_arguments_in_any_order() {
    let file = driver::head_file();
    let seconds = std::env::var("CAPI_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let started = std::time::Instant::now();
    for seed in 0.. {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let data: Vec<u8> = (0..4096).map(|_| rng.random()).collect();
        driver::drive(&data, &file);
        if started.elapsed() > Duration::from_secs_f64(seconds) {
            println!("{} sequences of calls", seed + 1);
            break;
        }
    }
}

fn message<T>(handle: *mut T) -> String {
    // SAFETY: a text of this thread, which makes no other call before it is copied.
    unsafe { CStr::from_ptr(mr_message(handle.cast())) }.to_str().unwrap().to_owned()
}

#[test]
fn answers_are_those_of_the_library_and_failures_say_why() {
    let file = driver::head_file();
    let pixels: Vec<u8> = (0..80 * 60 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let engine = Engine::demo(Isa::preferred().unwrap()).unwrap();
    let heads = [std::sync::Arc::new(driver::head())];
    let mut expected = RustPipeline::new(engine.session(1).unwrap(), &heads).unwrap();
    let expected = expected.push(&Image::from_rgb8(80, 60, pixels.clone()).unwrap()).unwrap();
    let Outcome::Classes { prediction, .. } = &expected[0].outcome else { panic!("no classes") };

    let (mut model, mut head, mut pipeline) = (null_mut(), null_mut(), null_mut());
    // SAFETY: every pointer leads to what the header asks for.
    unsafe {
        assert_eq!(mr_model_open(c"demo".as_ptr(), null(), &raw mut model), Status::Ok);
        assert_eq!(mr_head_open_memory(file.as_ptr().cast(), file.len(), &raw mut head), Status::Ok);
        assert_eq!(mr_pipeline_open(model, &raw const head, 1, null(), &raw mut pipeline), Status::Ok);
        // What the pipeline needs, it keeps.
        assert_eq!((mr_model_close(model), mr_head_close(head)), (Status::Ok, Status::Ok));
        assert_eq!(mr_head_close(head), Status::Closed);
        assert!(message(head).contains("no open head"), "{}", message(head));

        let mut frame =
            Frame { size: size_of::<Frame>(), format: 3, width: 80, height: 60, ..std::mem::zeroed() };
        frame.pixels = pixels.as_ptr().cast();
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Ok);
        let mut answer = Answer { size: size_of::<Answer>(), ..std::mem::zeroed() };
        assert_eq!(mr_pipeline_answer(pipeline, 0, &raw mut answer), Status::Ok);
        assert_eq!(
            std::slice::from_raw_parts(answer.probabilities, answer.class_count),
            prediction.probabilities
        );
        assert_eq!(std::slice::from_raw_parts(answer.classes, answer.present), prediction.classes);
        assert_eq!(mr_pipeline_answer(pipeline, 1, &raw mut answer), Status::Argument);
        assert_eq!(message(pipeline), "answer 1 of 1");

        // A program that was built when the structure was shorter gets what it knows.
        answer = Answer { size: 16, head: 7, class_count: 9, ..std::mem::zeroed() };
        assert_eq!(mr_pipeline_answer(pipeline, 0, &raw mut answer), Status::Ok);
        assert_eq!((answer.head, answer.class_count), (0, 9));

        frame.width = 81;
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Frame);
        frame.width = 80;
        let late = Limits { size: size_of::<Limits>(), deadline_us: 1 };
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, &raw const late), Status::Late);
        assert!(message(pipeline).contains("deadline"), "{}", message(pipeline));
        let mut count = 1;
        assert_eq!(mr_pipeline_answers(pipeline, &raw mut count), Status::Ok);
        assert_eq!(count, 0);
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Ok);
        assert_eq!(mr_pipeline_close(pipeline), Status::Ok);
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Closed);
    }
}

/// A frame that is refused takes its clip along; a longer structure steps over frames as its caller does; an extractor
/// gives nothing where there is nothing.
#[test]
fn nothing_is_left_of_what_failed() {
    let file = driver::head_file();
    let (mut model, mut head, mut pipeline, mut extractor) = (null_mut(), null_mut(), null_mut(), null_mut());
    let pixels = vec![99_u8; 64 * 64];
    // SAFETY: every pointer leads to what the header asks for.
    unsafe {
        assert_eq!(mr_model_open(c"demo".as_ptr(), null(), &raw mut model), Status::Ok);
        assert_eq!(mr_head_open_memory(file.as_ptr().cast(), file.len(), &raw mut head), Status::Ok);
        assert_eq!(mr_pipeline_open(model, &raw const head, 1, null(), &raw mut pipeline), Status::Ok);
        assert_eq!(mr_extractor_open(model, null(), &raw mut extractor), Status::Ok);
        let mut frame =
            Frame { size: size_of::<Frame>(), format: 1, width: 64, height: 64, ..std::mem::zeroed() };
        frame.pixels = pixels.as_ptr().cast();
        let answers = |pipeline| {
            let mut count = 99;
            assert_eq!(mr_pipeline_finish(pipeline, null()), Status::Ok);
            assert_eq!(mr_pipeline_answers(pipeline, &raw mut count), Status::Ok);
            count
        };
        assert_eq!(mr_pipeline_extend(pipeline, [frame; 3].as_ptr(), 3, null()), Status::Ok);
        assert_eq!(answers(pipeline), 1);
        assert_eq!(mr_pipeline_extend(pipeline, [frame; 3].as_ptr(), 3, null()), Status::Ok);
        let bad = Frame { format: 77, ..frame };
        assert_eq!(mr_pipeline_push(pipeline, &raw const bad, null()), Status::Frame);
        assert_eq!(answers(pipeline), 0);

        // A later version's frames, with 16 bytes more, which are zero.
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Longer(Frame, [u64; 2]);
        let longer = Longer(Frame { size: size_of::<Longer>(), ..frame }, [0; 2]);
        assert_eq!(mr_pipeline_extend(pipeline, [longer; 5].as_ptr().cast(), 5, null()), Status::Ok);
        assert_eq!(answers(pipeline), 1);
        let asks = Longer(longer.0, [0, 1]);
        assert_eq!(mr_pipeline_extend(pipeline, [asks; 2].as_ptr().cast(), 2, null()), Status::Argument);
        // What a later version has behind an answer is set to zero.
        #[repr(C)]
        struct More(Answer, u64);
        let mut more = More(Answer { size: size_of::<More>(), ..std::mem::zeroed() }, 7);
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Ok);
        assert_eq!(mr_pipeline_answer(pipeline, 0, (&raw mut more).cast()), Status::Ok);
        assert_eq!((more.0.class_count, more.1), (3, 0));

        let mut token = [0.0_f32; 192];
        let mut copied = || mr_extractor_copy(extractor, -1, token.as_mut_ptr(), 192, null_mut());
        assert_eq!(copied(), Status::Argument);
        assert_eq!(mr_extractor_run(extractor, &raw const frame, null(), null_mut()), Status::Ok);
        assert_eq!(copied(), Status::Ok);
        let late = Limits { size: size_of::<Limits>(), deadline_us: 1 };
        assert_eq!(mr_extractor_run(extractor, &raw const frame, &raw const late, null_mut()), Status::Late);
        assert_eq!(copied(), Status::Argument);
        let (layers, mut other) = ([3_usize, 2], null_mut());
        let options = ExtractorOptions {
            size: size_of::<ExtractorOptions>(),
            layers: layers.as_ptr(),
            layer_count: 2,
            ..std::mem::zeroed()
        };
        assert_eq!(mr_extractor_open(model, &raw const options, &raw mut other), Status::Argument);
        mr_extractor_close(extractor);
        mr_pipeline_close(pipeline);
        mr_head_close(head);
        mr_model_close(model);
    }
}

/// Another thread ends a long clip.
#[test]
fn a_call_is_cancelled_from_another_thread() {
    let file = driver::head_file();
    let (mut model, mut head, mut pipeline) = (null_mut(), null_mut(), null_mut());
    let pixels = vec![99_u8; 64 * 64];
    // SAFETY: every pointer leads to what the header asks for.
    unsafe {
        assert_eq!(mr_model_open(c"demo".as_ptr(), null(), &raw mut model), Status::Ok);
        assert_eq!(mr_head_open_memory(file.as_ptr().cast(), file.len(), &raw mut head), Status::Ok);
        assert_eq!(mr_pipeline_open(model, &raw const head, 1, null(), &raw mut pipeline), Status::Ok);
        let mut frame =
            Frame { size: size_of::<Frame>(), format: 1, width: 64, height: 64, ..std::mem::zeroed() };
        frame.pixels = pixels.as_ptr().cast();
        let frames = vec![frame; 4000];
        let handle = pipeline.addr();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let pipeline: *mut Pipeline = std::ptr::without_provenance_mut(handle);
            let mut count = 0;
            let busy = mr_pipeline_answers(pipeline, &raw mut count);
            (busy, mr_pipeline_cancel(pipeline))
        });
        let ended = mr_pipeline_extend(pipeline, frames.as_ptr(), frames.len(), null());
        assert_eq!(other.join().unwrap(), (Status::Busy, Status::Ok));
        assert_eq!(ended, Status::Cancelled);
        assert_eq!(mr_pipeline_push(pipeline, &raw const frame, null()), Status::Ok);
        mr_pipeline_close(pipeline);
        mr_head_close(head);
        mr_model_close(model);
    }
}
