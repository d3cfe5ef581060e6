//! Classifies or segments a camera's frames, each as it arrives:
//! `ffmpeg -i CLIP -f yuv4mpegpipe -pix_fmt yuv420p - | cargo run --release --example camera -- MODEL HEAD`

use std::error::Error;
use std::io::stdin;
use std::sync::Arc;
use std::time::Instant;

use microraptor::{Engine, Head, Outcome, Pipeline, ReadOptions, Scan, StreamFormat};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, head] = &args[..] else { return Err("give MODEL and HEAD".into()) };
    let head = Arc::new(Head::load(head)?);
    let engine = Engine::open(model)?;
    let mut pipeline = Pipeline::new(engine.session(2)?, std::slice::from_ref(&head))?;

    // A camera stream has no last frame, so no frame limit applies.
    let read = ReadOptions { max_frames: Some(usize::MAX), ..head.read.clone() };
    let frames = Scan::from_stream("camera", stdin(), StreamFormat::Y4m, &read)?;
    for (number, frame) in frames.enumerate() {
        let start = Instant::now();
        for answer in pipeline.push(&frame?)? {
            let outside = answer.ood.is_some_and(|ood| ood.outside);
            match answer.outcome {
                Outcome::Classes { prediction, .. } => {
                    let names = prediction.classes.iter().map(|&class| head.model.classes()[class].as_str());
                    print!("frame {number}: {}", names.collect::<Vec<_>>().join(", "));
                }
                Outcome::Mask(mask) => {
                    let found = mask.labels.iter().filter(|&&label| label > 0).count();
                    print!("frame {number}: {found} pixels");
                }
            }
            let unlike = if outside { ", unlike the training images" } else { "" };
            println!("{unlike} ({:.1} ms)", start.elapsed().as_secs_f64() * 1e3);
        }
    }
    // Predictions for all frames together.
    println!("{} answers for the whole clip", pipeline.finish()?.len());
    Ok(())
}
