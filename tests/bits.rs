//! int8 gives the same bits on every instruction set, with any number of threads, in every run.
//!
//! The digests below are of features computed by plain Rust. Every instruction set of this machine must give the same
//! digests, and so must every other machine. If a change of the arithmetic alters them, its commit states why.

mod support;

use half::f16;
use microraptor::checkpoint::Card;
use microraptor::encoder::{Encoder, Plan, Workspace};
use microraptor::input::{PhantomKind, phantom};
use microraptor::kernels::pool::Pool;
use microraptor::kernels::{Isa, IsaError, VARIABLE};
use microraptor::quant::{Layer, Matrix, Network};
use microraptor::vit::{Config, FeedForward, Size, seeded_weights};
use sha2::{Digest, Sha256};

/// Number of blocks to which a published architecture is cut: enough for every kind of layer.
const DEPTH: usize = 3;

/// Cards and the digests of their features, from the first three blocks with weights from seed 7, quantised by
/// [`mixed`].
const DIGESTS: [(&str, &str); 3] = [
    ("dinov3-vits16", "937ec41ecbb33318c64b91d3724dc4e3c474eafd70844f521d9f03e55f99bfcf"),
    ("dinov3-vits16plus", "0093807e0ba3366387b5c6edcd70debf53eb0116fbae3167b2bf03dffd9026a7"),
    ("deit-tiny", "75379bdd7cf9987cdb2dd8b5a90ac83027c1beb54430a6ecd8706042e9aac9a2"),
];

/// Quantises to symmetric int8, with the largest weight of each row at `most`.
fn int8(layer: &mut Layer, most: f32) {
    let Matrix::F32(w) = &layer.weight else { panic!("an f32 network") };
    let inputs = w.len() / layer.bias.len();
    let scales: Vec<f32> =
        w.chunks_exact(inputs).map(|r| r.iter().fold(0f32, |m, v| m.max(v.abs())) / most).collect();
    let values = w.iter().enumerate().map(|(i, v)| (v / scales[i / inputs]).round() as i8).collect();
    layer.weight = Matrix::Int8 { values, scales };
}

fn fp16(layer: &mut Layer) {
    let Matrix::F32(w) = &layer.weight else { panic!("an f32 network") };
    layer.weight = Matrix::F16(w.iter().map(|&w| f16::from_f32(w)).collect());
}

/// A network with every kind of matrix and of attention: 7-bit, 8-bit and fp16 layers, depending on the block; the
/// second block has float attention.
fn mixed(config: &Config) -> Network {
    let config = Config { depth: DEPTH, ..*config };
    let mut network = Network::from_weights(&config, seeded_weights(&config, 7));
    for (i, block) in network.blocks.iter_mut().enumerate() {
        block.int8_attention = i != 1;
        block.key_centre = (0..config.dim).map(|c| (c % 7) as f32 * 0.01).collect();
        block.hidden_scale = (0..config.hidden).map(|c| 1.0 + (c % 5) as f32 * 0.1).collect();
        let most = if i == 1 { 127.0 } else { 63.0 };
        int8(&mut block.qkv, most);
        int8(&mut block.proj, 127.0);
        let (up, down) = match &mut block.mlp {
            FeedForward::Gelu { up, down } => (up, down),
            FeedForward::SwiGlu { gate, up, down } => {
                int8(gate, most);
                (up, down)
            }
        };
        int8(up, most);
        if i == 2 { fp16(down) } else { int8(down, most) }
    }
    network
}

/// SHA-256 of the bits of the features of two images at two sizes.
fn digest(network: &Network, isa: Isa, threads: usize) -> String {
    let encoder = Encoder::new(network.clone(), isa);
    let mut workspace = Workspace::default();
    let mut pool = Pool::new(threads).unwrap();
    let mut hash = Sha256::new();
    for size in [Size::square(96), Size { height: 48, width: 80 }] {
        let plan = Plan::new(&encoder, size, threads).unwrap();
        workspace.reserve(&encoder, &plan).unwrap();
        for (seed, kind) in [(0, PhantomKind::Mass), (1, PhantomKind::Mass)] {
            let pixels = phantom(seed, kind, 128).image.tensor(size, &microraptor::vit::Preprocess::IMAGENET);
            let tokens = encoder.run(&plan, &mut workspace, &mut pool, &pixels).unwrap();
            tokens.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// All instruction sets of this CPU, or only the one that [`VARIABLE`] names: an emulated CPU is too slow for all of
/// them.
fn isas() -> Vec<Isa> {
    match std::env::var(VARIABLE) {
        Ok(name) if !name.is_empty() => vec![Isa::named(&name).unwrap()],
        _ => {
            for name in ALL {
                if matches!(Isa::named(name), Err(IsaError::Lacking { .. })) {
                    support::left_out(&format!("{name}, which this CPU lacks"));
                }
            }
            Isa::available()
        }
    }
}

/// Instruction sets of this architecture.
#[cfg(target_arch = "x86_64")]
const ALL: &[&str] = &["avx2", "avxvnni", "avx512vnni"];
#[cfg(target_arch = "aarch64")]
const ALL: &[&str] = &["neon", "dotprod", "i8mm"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALL: &[&str] = &[];

#[test]
fn features_have_the_same_bits_everywhere() {
    let isas = isas();
    for (name, expected) in DIGESTS {
        let card = Card::by_name(name).unwrap();
        let network = mixed(&card.architecture);
        for &isa in &isas {
            for threads in [1, 2, 5] {
                assert_eq!(digest(&network, isa, threads), expected, "{name} on {isa}, {threads} threads");
            }
        }
        println!("{name}: {} agree", isas.iter().map(|i| i.name()).collect::<Vec<_>>().join(", "));
    }
}
