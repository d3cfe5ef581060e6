//! The library for C, called from Rust: any arguments in any order, and what the calls promise.
#![cfg(all(feature = "capi", feature = "demo"))]

#[path = "capi/driver.rs"]
mod driver;

use std::ffi::CStr;
use std::mem::size_of;
use std::ptr::{null, null_mut};
use std::time::Duration;

use microraptor::ffi::*;
use microraptor::{Engine, Image, Isa, Outcome, Pipeline as RustPipeline};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
