//! A resident worker for `../compare.py`: one ONNX file, run by rten or tract, timed on demand.
//!
//!     rust-peers rten|tract MODEL.onnx THREADS SIZE PIXELS.f32 FEATURES.f32
//!
//! PIXELS holds [1, 3, SIZE, SIZE] as raw little-endian f32. Once the model is ready, the worker prints a line of JSON
//! with the runtime's version. Each line of standard input is then an order: a number N requests one untimed run and N
//! timed ones, answered by `{"ms": [...]}`; `features` writes the first output as raw f32, answered by
//! `{"shapes": [[...]]}`. The worker sleeps between orders and exits at the end of its input.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rten_tensor::prelude::*;
use rten_tensor::{Tensor as RtenTensor, TensorView};
use serde_json::{Value, json};
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::*;

/// The version of crate `name` that this program was built with.
fn locked(name: &str) -> &'static str {
    let entry = include_str!("../Cargo.lock").split_once(&format!("name = \"{name}\"\nversion = \""));
    entry.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown")
}

/// One forward pass: pixels in, first output out.
trait Runtime {
    fn run(&self, pixels: &[f32]) -> Result<Features>;
}

/// Shape and values of the first output.
struct Features {
    shape: Vec<usize>,
    values: Vec<f32>,
}

struct Rten {
    model: rten::Model,
    options: rten::RunOptions,
    size: usize,
}

impl Rten {
    fn load(path: &str, threads: usize, size: usize) -> Result<Rten> {
        let mut options = rten::ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options.load_file(path)?;
        let pool = Arc::new(rten::ThreadPool::with_num_threads(threads));
        Ok(Rten { model, options: rten::RunOptions::default().with_thread_pool(Some(pool)), size })
    }
}

impl Runtime for Rten {
    fn run(&self, pixels: &[f32]) -> Result<Features> {
        let view = TensorView::from_data(&[1, 3, self.size, self.size][..], pixels);
        let output = self.model.run_one(view.into(), Some(self.options.clone()))?;
        let output: RtenTensor<f32> = output.try_into()?;
        Ok(Features { shape: output.shape().to_vec(), values: output.into_data() })
    }
}

struct Tract {
    plan: Arc<TypedSimplePlan>,
    size: usize,
}

impl Tract {
    fn load(path: &str, threads: usize, size: usize) -> Result<Tract> {
        let shape = f32::fact([1, 3, size, size]);
        let model =
            tract_onnx::onnx().model_for_path(path)?.with_input_fact(0, shape.into())?.into_optimized()?;
        // `Executor::multithread(1)` would run on rayon's global pool (tract issue 2894).
        let executor = match threads {
            1 => Executor::SingleThread,
            n => Executor::MultiThread(Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build()?)),
        };
        let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
        Ok(Tract { plan: TypedSimplePlan::new_with_options(model, &options)?, size })
    }
}

impl Runtime for Tract {
    fn run(&self, pixels: &[f32]) -> Result<Features> {
        let input = Tensor::from_shape(&[1, 3, self.size, self.size], pixels)?;
        let output = self.plan.run(tvec![input.into()])?.remove(0);
        let view = output.to_plain_array_view::<f32>()?;
        Ok(Features { shape: view.shape().to_vec(), values: view.iter().copied().collect() })
    }
}

/// Milliseconds of each of `runs` runs, after one that is not counted.
fn time(runtime: &dyn Runtime, pixels: &[f32], runs: usize) -> Result<Vec<f64>> {
    runtime.run(pixels)?;
    let mut ms = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        let features = runtime.run(pixels)?;
        ms.push(start.elapsed().as_secs_f64() * 1e3);
        drop(features);
    }
    Ok(ms)
}

fn obey(order: &str, runtime: &dyn Runtime, pixels: &[f32], out: &str) -> Result<Value> {
    if order == "features" {
        let Features { shape, values } = runtime.run(pixels)?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(out, bytes)?;
        return Ok(json!({ "shapes": [shape] }));
    }
    let runs = order.parse().with_context(|| format!("order {order:?}"))?;
    Ok(json!({ "ms": time(runtime, pixels, runs)? }))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, path, threads, size, pixels, out] = &arguments[..] else {
        bail!("usage: rust-peers rten|tract MODEL THREADS SIZE PIXELS FEATURES");
    };
    let (threads, size) = (threads.parse()?, size.parse()?);
    let bytes = std::fs::read(pixels).with_context(|| pixels.clone())?;
    let pixels: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let (runtime, version): (Box<dyn Runtime>, _) = match &kind[..] {
        "rten" => (Box::new(Rten::load(path, threads, size)?), locked("rten")),
        "tract" => (Box::new(Tract::load(path, threads, size)?), locked("tract-onnx")),
        other => bail!("{other} is neither rten nor tract"),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", json!({ "version": version }))?;
    stdout.flush()?;
    for order in std::io::stdin().lock().lines() {
        writeln!(stdout, "{}", obey(order?.trim(), &*runtime, &pixels, out)?)?;
        stdout.flush()?;
    }
    Ok(())
}
