//! Counts allocations: after the first run at a size, a session allocates nothing, and a pipeline retains nothing of
//! a stream.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use microraptor::checkpoint::{Card, Model};
use microraptor::encoder::{Encoder, Plan, Workspace};
use microraptor::engine::Engine;
use microraptor::heads::{Backbone, Head, HeadModel, LinearHead, TrainingSummary};
use microraptor::input::{Image, ReadOptions};
use microraptor::kernels::Isa;
use microraptor::kernels::pool::Pool;
use microraptor::pipeline::Pipeline;
use microraptor::quant::{Matrix, Network};
use microraptor::vit::{Config, FeedForward, Positions, Preprocess, Size, seeded_weights};

/// The system's allocator, with counters.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Bytes currently allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: `alloc` and `dealloc` forward to `System`, which meets the contract; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller meets the contract of `alloc`, which `System` shares.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller passes a `pointer` that was allocated above with `layout`, so it comes from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A network with int8 layers and attention in two blocks, fp16 layers in one, and f32 in one.
fn network() -> Network {
    let config = Config { depth: 4, ..Card::by_name("dinov3-vits16").unwrap().architecture };
    let mut network = Network::from_weights(&config, seeded_weights(&config, 3));
    for block in &mut network.blocks[..2] {
        block.int8_attention = true;
        let FeedForward::Gelu { up, down } = &mut block.mlp else { panic!("ViT-S has a GELU") };
        for layer in [&mut block.qkv, &mut block.proj, up, down] {
            let Matrix::F32(w) = &layer.weight else { panic!("an f32 network") };
            let values = w.iter().map(|v| (v * 500.0).round().clamp(-127.0, 127.0) as i8).collect();
            layer.weight = Matrix::Int8 { values, scales: vec![1.0 / 500.0; layer.bias.len()] };
        }
    }
    let block = &mut network.blocks[2];
    let FeedForward::Gelu { up, down } = &mut block.mlp else { panic!("ViT-S has a GELU") };
    for layer in [&mut block.qkv, &mut block.proj, up, down] {
        let Matrix::F32(w) = &layer.weight else { panic!("an f32 network") };
        layer.weight = Matrix::F16(w.iter().map(|&v| half::f16::from_f32(v)).collect());
    }
    network
}

/// Does not use libtest, because the counters are global to the process: concurrent tests would count each other's
/// allocations, and libtest's own thread allocates when a test has run for 60 seconds, which happens under emulation.
fn main() {
    an_encoder_allocates_nothing();
    a_session_allocates_nothing();
    a_stream_keeps_its_memory();
    println!("test a_run_allocates_nothing ... ok");
}

fn an_encoder_allocates_nothing() {
    let encoder = Encoder::new(network(), Isa::best());
    for threads in [1, 3] {
        let mut pool = Pool::new(threads).unwrap();
        let mut workspace = Workspace::default();
        for size in [Size::square(64), Size { height: 96, width: 48 }] {
            let plan = Plan::new(&encoder, size, threads).unwrap();
            workspace.reserve(&encoder, &plan).unwrap();
            let pixels = vec![0.3; 3 * size.area()];
            for run in 0..5 {
                workspace.time_operators(run > 2);
                let before = COUNT.load(Ordering::Relaxed);
                encoder.run(&plan, &mut workspace, &mut pool, &pixels).unwrap();
                let after = COUNT.load(Ordering::Relaxed);
                assert_eq!(after - before, 0, "{threads} threads, {size}, run {run}");
            }
        }
    }
}

/// What `predict` does for each file: it selects the layers and runs. Two heads with different sizes or layers
/// alternate.
fn a_session_allocates_nothing() {
    let engine = Engine::from_model(Model::seeded("deit-tiny", 3).unwrap(), Isa::best());
    let turns: [(Size, &[usize]); 3] =
        [(Size::square(64), &[]), (Size::square(64), &[11, 3]), (Size { height: 96, width: 48 }, &[5])];
    for threads in [1, 3] {
        let mut session = engine.session(threads).unwrap();
        for round in 0..4 {
            for (size, layers) in turns {
                let pixels = vec![0.3; 3 * size.area()];
                let before = COUNT.load(Ordering::Relaxed);
                session.keep_layers(layers).unwrap();
                session.run(&pixels, size).unwrap();
                let after = COUNT.load(Ordering::Relaxed);
                // In the second round, the buffers for layers may still grow.
                assert!(
                    round < 2 || after == before,
                    "{threads} threads, {size} {layers:?}, round {round}: {}",
                    after - before
                );
            }
        }
    }
}

/// A head for `engine` at `size`, with arbitrary weights.
fn head(engine: &Engine, size: Size, volume: bool) -> Arc<Head> {
    let dim = 2 * engine.config().unwrap().dim;
    let weight = (0..2 * dim).map(|i| (i as f64 * 0.7).sin()).collect();
    let parts = [vec![0.0; dim], vec![1.0; dim], weight, vec![0.0; 2]];
    let linear = LinearHead::new(vec!["a".into(), "b".into()], false, 0.5, parts).unwrap();
    Arc::new(Head {
        model: if volume { HeadModel::Volume(linear) } else { HeadModel::Linear(linear) },
        ood: None,
        conformal: None,
        contours: None,
        preprocess: Preprocess::IMAGENET,
        read: ReadOptions::default(),
        size,
        backbone: Backbone::of(engine.about()),
        training: TrainingSummary::default(),
        attestation: None,
        tool: String::new(),
    })
}

/// 20,000 frames, one by one and four at once, with heads of two sizes: the memory in use stays within 1 MB of its
/// early value, and each later step makes as many allocations as step 100.
fn a_stream_keeps_its_memory() {
    let mut model = Model::seeded("deit-tiny", 3).unwrap();
    model.config = Config { dim: 16, depth: 2, heads: 2, patch: 4, hidden: 32, ..model.config };
    model.config.positions = Positions::Rope;
    model.weights = seeded_weights(&model.config, 3);
    let engine = Engine::from_model(model, Isa::best());
    let sizes = [Size::square(8), Size { height: 12, width: 8 }];
    let heads =
        [head(&engine, sizes[0], false), head(&engine, sizes[1], false), head(&engine, sizes[0], true)];
    let image = Image::from_rgb8(18, 16, (0..18 * 16 * 3).map(|i| (i * 29 % 256) as u8).collect()).unwrap();
    let frames = vec![image; 4];
    for together in [1, 4] {
        let mut pipeline = Pipeline::new(engine.session(2).unwrap(), &heads).unwrap();
        let mut early = (0, 0);
        for i in 0..20_000 / together {
            let before = COUNT.load(Ordering::Relaxed);
            match &frames[..together] {
                [frame] => assert_eq!(pipeline.push(frame).unwrap().len(), 2),
                frames => pipeline.extend(frames).unwrap(),
            }
            let counted = COUNT.load(Ordering::Relaxed) - before;
            let live = LIVE.load(Ordering::Relaxed);
            match i {
                100 => early = (counted, live),
                _ if i > 100 => {
                    assert_eq!(counted, early.0, "{together} together, step {i}");
                    assert!(live.abs_diff(early.1) < 1 << 20, "{together} together, step {i}: {live} bytes");
                }
                _ => {}
            }
        }
        assert_eq!(pipeline.finish().unwrap().len(), 3);
    }
}
