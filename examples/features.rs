//! Prints the features of an image: `cargo run --release --example features -- MODEL PICTURE [SIDE]`

use std::error::Error;

use microraptor::{Engine, Image, Size};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, rest @ ..] = &args[..] else { return Err("give MODEL and PICTURE".into()) };
    let size = Size::square(rest.first().map_or(Ok(224), |side| side.parse())?);

    let engine = Engine::open(model)?;
    let mut session = engine.session(1)?;
    let tensor = Image::open(picture)?.tensor(size, &engine.about().preprocess);
    let features = session.run(&tensor, size)?;
    println!("cls [{}]: {:.4?} ...", features.dim(), &features.cls[..4.min(features.dim())]);
    println!("patch [{}, {}, {}]", features.rows, features.cols, features.dim());
    Ok(())
}
