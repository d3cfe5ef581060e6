//! Runs an ONNX graph: a backbone of the supported family in it runs on this crate's kernels, everything else in tract.
//! `cargo run --release --example onnx_graph -- GRAPH PICTURE`

use std::error::Error;

use microraptor::{Engine, Image, Size};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [graph, picture] = &args[..] else { return Err("give GRAPH and PICTURE".into()) };
    let engine = Engine::open(graph)?;
    println!("{} runs on {}", engine.about().name, engine.about().runs_on());
    for assumed in &engine.about().assumed {
        println!("its files do not say, and this is assumed: {assumed}");
    }
    let size = engine.fixed_size().unwrap_or(Size::square(64));
    let tensor = Image::open(picture)?.tensor(size, &engine.about().preprocess);
    let features = engine.session(1)?.run(&tensor, size)?.clone();
    println!("cls [{}], patch [{}, {}]", features.dim(), features.rows, features.cols);
    for output in &features.outputs {
        println!("{} {:?}", output.name, output.shape);
    }
    Ok(())
}
