//! Single kernels on one thread: `cargo bench --bench kernels`. Prints G multiply-adds per second, the best of many
//! runs, and their share of the peak of the same instructions on registers. Layers are run twice: with weights that
//! stay in the caches, and with weights that come from memory, as in a forward pass.

use std::time::{Duration, Instant};

use microraptor::kernels::attention::{self, Dims, IntHead};
use microraptor::kernels::linear::{OutputMode, PackedLinear, Rows, Scratch, codes_stride};
use microraptor::kernels::peak::{PeakOf, peak};
use microraptor::kernels::quantise::{self, QuantParams, QuantisedKeys, QuantisedRows};
use microraptor::kernels::{Isa, activation};

/// Seconds for which each case is timed.
const SECONDS: f64 = 0.4;

/// Bytes of weights in the layer copies that run in turn when loading from memory counts: more than a last-level cache
/// holds.
const COLD_BYTES: usize = 96 << 20;

/// Seconds of the shortest run of `f`.
fn best(mut f: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < SECONDS {
        let run = Instant::now();
        f();
        best = best.min(run.elapsed().as_secs_f64());
    }
    best
}

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// The layers of ViT-S and ViT-B on 96 rows.
fn linear(isa: Isa) {
    let [int_peak, float_peak] = PeakOf::ALL.map(|of| {
        let peak = peak(isa, of, Duration::from_secs_f64(SECONDS));
        println!("{isa:>10}  peak of {}  {:6.1} GMAC/s", of.name(), peak / 1e9);
        peak
    });
    for (n, k) in [(384, 384), (1536, 384), (384, 1536), (768, 768), (3072, 768), (768, 3072)] {
        let m = 96;
        let x = wave(m * k);
        let (weight, bias) = (wave(n * k), wave(n));
        let stride = codes_stride(k);
        let (mut codes, mut quants) = (vec![0; m * stride], vec![QuantParams::default(); m]);
        for (i, quant) in quants.iter_mut().enumerate() {
            *quant = quantise::row(isa, &x[i * k..][..k], &mut codes[i * stride..]);
        }
        let mut out = vec![0.0; m * n];
        let int = |most: f32| {
            let values: Vec<i8> = weight.iter().map(|w| (w * most).round() as i8).collect();
            PackedLinear::int8(isa, &values, &vec![1.0 / most; n], &bias)
        };
        let half: Vec<half::f16> = weight.iter().map(|&w| half::f16::from_f32(w)).collect();
        let kinds: [(&str, usize, &dyn Fn() -> PackedLinear); 4] = [
            ("int7", 1, &|| int(63.0)),
            ("int8", 1, &|| int(127.0)),
            ("fp16", 2, &|| PackedLinear::f16(isa, &half, &bias)),
            ("f32", 4, &|| PackedLinear::f32(isa, &weight, &bias)),
        ];
        for (name, bytes, layer) in kinds {
            let warm = layer();
            let mut scratch = Scratch::of(&warm, m);
            let codes = QuantisedRows { codes: &codes, quants: &quants };
            let rows = if warm.is_int8() { Rows::Codes(codes) } else { Rows::Float(&x) };
            let warm_seconds = best(|| warm.apply(rows, &mut scratch, &mut out, OutputMode::Store));
            let copies: Vec<PackedLinear> =
                (0..COLD_BYTES.div_ceil(n * k * bytes)).map(|_| layer()).collect();
            let cold_seconds = best(|| {
                copies.iter().for_each(|layer| layer.apply(rows, &mut scratch, &mut out, OutputMode::Store));
            }) / copies.len() as f64;
            let peak = if warm.is_int8() { int_peak } else { float_peak };
            let rate = |seconds: f64| (m * n * k) as f64 / seconds;
            let share = |seconds: f64| 100.0 * rate(seconds) / peak;
            println!(
                "{isa:>10}  {name}  {m} x {n} x {k}  {:6.1} GMAC/s, {:3.0}%; weights from memory {:6.1}, {:3.0}%",
                rate(warm_seconds) / 1e9,
                share(warm_seconds),
                rate(cold_seconds) / 1e9,
                share(cold_seconds)
            );
        }
    }
}

/// Attention of one head of 64 channels, 96 queries.
fn head(isa: Isa) {
    for tokens in [201, 581, 1029] {
        let dims = Dims { tokens, heads: 1, head_dim: 64 };
        let x = wave(tokens * 64);
        let (mut codes, mut keys) = (vec![0; tokens * 64], vec![0; tokens * 64]);
        let (mut quants, mut scales) = (vec![QuantParams::default(); tokens], vec![0.0; tokens]);
        for i in 0..tokens {
            let row = i * 64..(i + 1) * 64;
            quants[i] = quantise::row(isa, &x[row.clone()], &mut codes[row.clone()]);
            scales[i] = quantise::key(isa, &mut x[row.clone()].to_vec(), &[], &mut keys[row]);
        }
        let (mut packed, mut scratch) = (IntHead::default(), attention::Scratch::default());
        packed.reserve(dims).unwrap();
        scratch.reserve(dims).unwrap();
        let mut out = vec![0.0; 96 * 64];
        let head = dims.head(0);
        let queries = QuantisedRows { codes: &codes, quants: &quants };
        let keys = QuantisedKeys { codes: &keys, scales: &scales };
        let pack = best(|| attention::pack_int(isa, head, keys, &x, &mut packed));
        let seconds = best(|| attention::int(isa, head, queries, &packed, &mut scratch, &mut out));
        let macs = (2 * 96 * tokens * 64) as f64;
        println!(
            "{isa:>10}  attention  96 of {tokens}  {:6.1} GMAC/s, packing {:.1} us",
            macs / seconds / 1e9,
            pack * 1e6
        );
    }
}

/// Row operations, in nanoseconds per element.
fn rows(isa: Isa) {
    let n = 1536;
    let x = wave(n);
    let mut y = x.clone();
    let mut codes = vec![0; n];
    let each = |seconds: f64| seconds * 1e9 / n as f64;
    let gelu = best(|| {
        y.copy_from_slice(&x);
        activation::gelu_row(isa, &mut y, &[]);
    });
    let quantised = best(|| _ = std::hint::black_box(quantise::row(isa, &x, &mut codes)));
    println!("{isa:>10}  gelu {:.2} ns, quantise {:.2} ns an element", each(gelu), each(quantised));
}

fn main() {
    // `cargo test --benches` and clippy's `--all-targets` build this; only `cargo bench` runs it.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    for isa in Isa::available() {
        if isa == Isa::SCALAR {
            continue;
        }
        linear(isa);
        head(isa);
        rows(isa);
    }
}
