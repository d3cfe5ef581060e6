use super::*;
use crate::kernels::pool::Pool;
use crate::vit::{Mlp, Positions, Size, Weights, forward, seeded_weights};

fn config(mlp: Mlp, positions: Positions, registers: usize) -> Config {
    Config {
        dim: 48,
        depth: 3,
        heads: 3,
        patch: 8,
        mlp,
        hidden: 80,
        registers,
        positions,
        layer_scale: true,
        norm_eps: 1e-5,
    }
}

/// Seeded weights with no parameter at its neutral value, so that a missing term is noticed.
fn uneven_weights(config: &Config) -> Weights {
    let mut weights = seeded_weights(config, 11);
    let mut counter = 0u32;
    let mut wave = |values: &mut [f32], centre: f32, depth: f32| {
        for v in values {
            counter += 1;
            *v = centre + depth * (counter as f32 * 0.37).sin();
        }
    };
    for block in &mut weights.blocks {
        wave(&mut block.scale1, 0.5, 0.4);
        wave(&mut block.scale2, 0.5, 0.4);
        wave(&mut block.qkv.bias, 0.0, 0.3);
        wave(&mut block.proj.bias, 0.0, 0.3);
        for norm in [&mut block.norm1, &mut block.norm2] {
            wave(&mut norm.weight, 1.0, 0.5);
            wave(&mut norm.bias, 0.0, 0.5);
        }
        // Large enough that attention is not uniform.
        block.qkv.weight.iter_mut().for_each(|w| *w *= 12.0);
    }
    wave(&mut weights.cls, 0.0, 1.0);
    wave(&mut weights.registers, 0.0, 1.0);
    wave(&mut weights.patch.bias, 0.0, 0.5);
    weights
}

/// The configurations that the tests go through.
const SHAPES: [(Mlp, Positions, usize); 4] = [
    (Mlp::Gelu, Positions::Rope, 4),
    (Mlp::SwiGlu, Positions::Rope, 4),
    (Mlp::Gelu, Positions::learned(5, 9), 0),
    (Mlp::Gelu, Positions::learned(3, 3), 2),
];

const SIZE: Size = Size { height: 40, width: 72 };

fn pixels(size: Size) -> Vec<f32> {
    (0..3 * size.area()).map(|i| (i as f32 * 0.013).sin() * 2.0).collect()
}

/// The tokens of two runs, which must be bit-identical.
fn tokens(
    network: &Network,
    isa: Isa,
    threads: usize,
    pixels: &[f32],
    size: Size,
) -> Result<Vec<f32>, EncoderError> {
    let encoder = Encoder::new(network.clone(), isa);
    let plan = Plan::new(&encoder, size, threads)?;
    let mut workspace = Workspace::default();
    workspace.reserve(&encoder, &plan)?;
    let mut pool = Pool::new(threads).unwrap();
    let first = encoder.run(&plan, &mut workspace, &mut pool, pixels)?.to_vec();
    let again = encoder.run(&plan, &mut workspace, &mut pool, pixels)?;
    assert!(first == again, "two runs differ");
    Ok(first)
}

#[test]
fn f32_agrees_with_the_reference_and_is_the_same_bits_everywhere() {
    let pixels = pixels(SIZE);
    for (mlp, positions, registers) in SHAPES {
        let config = config(mlp, positions, registers);
        let weights = uneven_weights(&config);
        let expected = forward(&config, &weights, &pixels, SIZE).unwrap().output;
        let network = Network::from_weights(&config, weights);
        let scalar = tokens(&network, Isa::SCALAR, 1, &pixels, SIZE).unwrap();
        let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (a, b) in scalar.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-5 * largest, "{mlp:?} {positions:?}: {a} {b}");
        }
        for isa in Isa::available() {
            for threads in [1, 2, 3, 7] {
                let found = tokens(&network, isa, threads, &pixels, SIZE).unwrap();
                assert!(found == scalar, "{mlp:?} {positions:?} {isa} {threads}");
            }
        }
    }
}

#[test]
fn a_tap_is_what_the_network_cut_there_would_give() {
    let (mlp, positions, registers) = SHAPES[0];
    let config = config(mlp, positions, registers);
    let network = Network::from_weights(&config, uneven_weights(&config));
    let pixels = pixels(SIZE);
    for threads in [1, 3] {
        let encoder = Encoder::new(network.clone(), Isa::best());
        let last = config.depth - 1;
        let plan = Plan::new(&encoder, SIZE, threads).unwrap().with_taps(&encoder, &[last, 0, 0]).unwrap();
        assert_eq!(plan.taps(), [0, last]);
        let mut workspace = Workspace::default();
        workspace.reserve(&encoder, &plan).unwrap();
        let mut pool = Pool::new(threads).unwrap();
        let output = encoder.run(&plan, &mut workspace, &mut pool, &pixels).unwrap().to_vec();
        assert!(workspace.tap(&encoder, &plan, 1) == output);
        let mut cut = network.clone();
        cut.blocks.truncate(1);
        assert!(
            workspace.tap(&encoder, &plan, 0) == tokens(&cut, Isa::best(), threads, &pixels, SIZE).unwrap()
        );
        assert!(matches!(
            Plan::new(&encoder, SIZE, threads).unwrap().with_taps(&encoder, &[last + 1]),
            Err(EncoderError::Layer { .. })
        ));
    }
}

/// Rounds every matrix to int8, with the largest weight of each row at `most`.
fn int8(network: &mut Network, most: f32, attention: bool) {
    let quantise = |layer: &mut Layer| {
        let Matrix::F32(w) = &layer.weight else { panic!("an f32 network") };
        let inputs = w.len() / layer.bias.len();
        let scales: Vec<f32> =
            w.chunks_exact(inputs).map(|r| r.iter().fold(0f32, |m, v| m.max(v.abs())) / most).collect();
        let values = w.iter().enumerate().map(|(i, v)| (v / scales[i / inputs]).round() as i8).collect();
        layer.weight = Matrix::Int8 { values, scales };
    };
    for block in &mut network.blocks {
        block.int8_attention = attention;
        quantise(&mut block.qkv);
        quantise(&mut block.proj);
        block.mlp.layers_mut().for_each(quantise);
    }
}

#[test]
fn int8_is_the_same_bits_everywhere_and_near_f32() {
    let pixels = pixels(SIZE);
    for (mlp, positions, registers) in SHAPES {
        let config = config(mlp, positions, registers);
        let exact = Network::from_weights(&config, uneven_weights(&config));
        let reference = tokens(&exact, Isa::SCALAR, 1, &pixels, SIZE).unwrap();
        for (most, attention) in [(63.0, true), (127.0, true), (127.0, false)] {
            let mut network = exact.clone();
            int8(&mut network, most, attention);
            let scalar = tokens(&network, Isa::SCALAR, 1, &pixels, SIZE).unwrap();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            for (a, b) in scalar.chunks_exact(config.dim).zip(reference.chunks_exact(config.dim)) {
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                // 8-bit rounding of 48 channels through three blocks; an arithmetic error gives far less.
                assert!(cosine > 0.995, "{mlp:?} {positions:?} {most} {attention}: {cosine}");
            }
            for isa in Isa::available() {
                for threads in [1, 2, 3, 7] {
                    let found = tokens(&network, isa, threads, &pixels, SIZE).unwrap();
                    assert!(found == scalar, "{mlp:?} {positions:?} {most} {attention} {isa} {threads}");
                }
            }
        }
    }
}

/// The error message of a run on a black image after `spoil` has modified the weights.
fn error_of(spoil: impl FnOnce(&mut Weights), int: bool) -> String {
    let config = config(Mlp::Gelu, Positions::Rope, 4);
    let mut weights = seeded_weights(&config, 1);
    spoil(&mut weights);
    let mut network = Network::from_weights(&config, weights);
    if int {
        int8(&mut network, 63.0, true);
    }
    let size = Size::square(16);
    tokens(&network, Isa::best(), 1, &[0.0; 3 * 16 * 16], size).unwrap_err().to_string()
}

#[test]
fn a_value_that_is_not_finite_names_its_layer() {
    for int in [false, true] {
        let error = error_of(|w| w.patch.bias[3] = f32::NAN, int);
        assert!(error.starts_with("patch_embed: "), "{error}");
        let error = error_of(|w| w.blocks[1].qkv.bias[0] = f32::NAN, int);
        assert!(error.starts_with("block 1: "), "{error}");
        let error = error_of(|w| w.blocks[2].norm2.bias[7] = f32::INFINITY, int);
        assert!(error.starts_with("block 2: "), "{error}");
        // The weights are finite, but the product overflows.
        let error = error_of(|w| w.norm.weight.fill(f32::MAX), int);
        assert!(error.starts_with("norm: "), "{error}");
    }
}

#[test]
fn a_timed_run_gives_the_same_bits_and_its_times_sum_to_the_whole() {
    let pixels = pixels(SIZE);
    for (mlp, positions, registers) in SHAPES {
        let config = config(mlp, positions, registers);
        let exact = Network::from_weights(&config, uneven_weights(&config));
        for int in [false, true] {
            let mut network = exact.clone();
            if int {
                int8(&mut network, 63.0, true);
            }
            let encoder = Encoder::new(network.clone(), Isa::best());
            for threads in [1, 3] {
                let plan = Plan::new(&encoder, SIZE, threads).unwrap().with_taps(&encoder, &[1]).unwrap();
                let mut workspace = Workspace::default();
                workspace.reserve(&encoder, &plan).unwrap();
                let mut pool = Pool::new(threads).unwrap();
                let mut run = |workspace: &mut Workspace| {
                    encoder.run(&plan, workspace, &mut pool, &pixels).unwrap().to_vec()
                };
                let untimed = run(&mut workspace);
                assert_eq!(workspace.operator_times(), None);
                workspace.time_operators(true);
                assert_eq!(workspace.operator_times(), None);
                assert!(run(&mut workspace) == untimed, "{mlp:?} {positions:?} {int} {threads}");
                let times = workspace.operator_times().unwrap();
                check_times(&times, threads, int, positions == Positions::Rope);
                workspace.time_operators(false);
                assert!(run(&mut workspace) == untimed);
                assert_eq!(workspace.operator_times(), None);
            }
        }
    }
}

/// Each operator of the network took some time and all others none, and the times add up to the total.
fn check_times(times: &OperatorTimes, threads: usize, int: bool, rope: bool) {
    assert_eq!((times.threads(), times.runs()), (threads, 1));
    for operator in Operator::ALL {
        let there = match operator {
            Operator::Quantise => int,
            Operator::Rope => rope,
            _ => true,
        };
        assert_eq!(times.of(operator) > 0, there, "{operator:?} {times:?}");
    }
    let parts: u64 = Operator::ALL.iter().map(|&operator| times.of(operator)).sum();
    assert_eq!(parts + times.wait(), threads as u64 * times.wall());
}

#[test]
fn multiply_accumulates_are_of_the_numbers_of_each_layer() {
    let (mlp, positions, registers) = SHAPES[1];
    let config = config(mlp, positions, registers);
    let mut network = Network::from_weights(&config, uneven_weights(&config));
    int8(&mut network, 63.0, true);
    network.blocks[2].int8_attention = false;
    let encoder = Encoder::new(network.clone(), Isa::SCALAR);
    let macs = |operator| encoder.macs(operator, SIZE).unwrap();
    let total: u64 = Operator::ALL.iter().map(|&operator| macs(operator).total()).sum();
    assert_eq!(total, config.macs(SIZE).unwrap());
    let attention = macs(Operator::Attention);
    assert_eq!((attention.int8, attention.fp16), (2 * attention.f32, 0));
    assert_eq!(attention.precision(), Some(quant::Precision::Int8));
    assert_eq!(macs(Operator::PatchEmbed).precision(), Some(quant::Precision::F32));
    assert_eq!(macs(Operator::Fc1).int8, macs(Operator::Fc1).total());
    assert_eq!(macs(Operator::Norm).precision(), None);
}
