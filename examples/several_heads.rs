//! Runs several heads on one pass of the backbone over an image, a DICOM object, a clip or a volume:
//! `cargo run --release --example several_heads -- MODEL FILE HEAD...`

use std::error::Error;
use std::sync::Arc;

use microraptor::{Engine, Geometry, Head, Outcome, Pipeline, Scan};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, file, heads @ ..] = &args[..] else { return Err("give MODEL, FILE and HEADs".into()) };
    let heads = heads.iter().map(|head| Head::load(head).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = heads.first() else { return Err("give at least one HEAD".into()) };
    // Heads with different reading options (another window, for example) need a scan of their own.
    if let Some(other) = heads.iter().find(|head| head.read != first.read) {
        return Err(format!("{} reads files in another way", other.model.kind()).into());
    }

    let engine = Engine::open(model)?;
    let mut pipeline = Pipeline::new(engine.session(2)?, &heads)?;
    let mut scan = Scan::open(file, &first.read)?;
    let mut begun = false;
    while let Some(frame) = scan.next().transpose()? {
        if !begun {
            pipeline.begin(file, Geometry::of(scan.info(), &frame));
            begun = true;
        }
        pipeline.extend(std::slice::from_ref(&frame))?;
    }
    for answer in pipeline.finish()? {
        let head = &heads[answer.head];
        match answer.outcome {
            Outcome::Classes { prediction, .. } => {
                println!("{}: {:?} {:.3?}", head.model.kind(), prediction.classes, prediction.probabilities);
            }
            Outcome::Mask(mask) => {
                println!(
                    "{}: a mask of {} x {} x {}",
                    head.model.kind(),
                    mask.depth,
                    mask.height,
                    mask.width
                );
            }
        }
    }
    Ok(())
}
