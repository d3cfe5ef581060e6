//! Puts our encoder into a graph that tract loaded, and compares its outputs with tract's own.
//! `cargo run --release --example accelerate -- GRAPH HEIGHT WIDTH`

use std::error::Error;
use std::time::Instant;

use microraptor::graph::accelerate::{Accelerate, accelerate};
use tract_core::prelude::{DatumExt, IntoRunnable, TValue, Tensor, TractResult, TypedModel, tvec};
use tract_onnx::prelude::{Framework, InferenceModelExt};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [graph, height, width] = &args[..] else { return Err("give GRAPH, HEIGHT and WIDTH".into()) };
    let shape = [1, 3, height.parse()?, width.parse()?];
    let onnx = tract_onnx::onnx().with_ignore_value_info(true);
    let mut model = onnx.model_for_path(graph)?;
    model.set_input_fact(0, f32::fact(shape).into())?;
    let model = model.into_typed()?;

    let mut accelerated = model.clone();
    match accelerate(&mut accelerated, &Accelerate::default())? {
        Some(config) => println!("{} blocks of width {} run on microraptor", config.depth, config.dim),
        None => println!("the graph holds no vision transformer of the family"),
    }
    let pixels: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.1).sin()).collect();
    let (expected, found) = (run(model, &shape, &pixels)?, run(accelerated, &shape, &pixels)?);
    for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let (expected, found) = (expected.cast_to::<f32>()?, found.cast_to::<f32>()?);
        let (a, b) = (expected.to_plain_array_view::<f32>()?, found.to_plain_array_view::<f32>()?);
        let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("output {i} {:?}: differs by at most {difference:.1e}", expected.shape());
    }
    Ok(())
}

/// The model's outputs.
fn run(model: TypedModel, shape: &[usize], pixels: &[f32]) -> TractResult<Vec<TValue>> {
    let plan = model.into_optimized()?.into_runnable()?;
    let input = Tensor::from_shape(shape, pixels)?;
    let start = Instant::now();
    let outputs = plan.run(tvec![input.into()])?;
    println!("{:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(outputs.into_vec())
}
