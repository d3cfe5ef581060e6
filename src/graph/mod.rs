//! tract runs the model; the blocks are ours.
//!
//! The graph is coarse: `pixels -> PatchEmbed -> EncoderBlock x L -> FinalNorm -> tokens`. tract contributes the typed
//! graph and the plan (40 to 160 ns an operator); each operator calls [`crate::kernels`] and updates the residual
//! stream in the tensor that it was handed.

mod features;
#[cfg(feature = "onnx")]
pub mod onnx;
mod ops;
mod scratch;

use std::sync::Arc;

use tract_core::internal::*;

use crate::vit::{Config, Positions, RopeTable, Size, SizeError, Weights, learned_positions};
pub use features::Features;
use ops::{EncoderBlock, FinalNorm, PatchEmbed, Shared};
pub use scratch::Scratch;

/// Why a graph could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The input size does not suit the model.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// tract refused the graph or an operator failed; the message names it.
    #[error("{0}")]
    Tract(String),
}

impl From<TractError> for GraphError {
    fn from(error: TractError) -> GraphError {
        // The root cause is ours ("block 3: ..."); tract's own context lines only repeat the node's name.
        GraphError::Tract(error.root_cause().to_string())
    }
}

/// A vision transformer for one input size, ready to run.
///
/// Plans of several sizes share weights and scratch; a plan belongs to one session.
pub struct VitPlan {
    state: TypedSimpleState,
    size: Size,
    tokens: usize,
    dim: usize,
}

impl VitPlan {
    /// Builds the graph of `config` at `size`.
    ///
    /// `weights` must have passed [`Weights::validate`] and have LayerScale folded in
    /// ([`Weights::fold_layer_scale`]); `scratch` is the session's, and `threads` the width of its pool.
    ///
    /// # Errors
    /// [`GraphError::Size`] when `size` is not a whole number of patches.
    pub fn new(
        config: &Config,
        weights: &Arc<Weights>,
        size: Size,
        scratch: &Scratch,
        threads: usize,
    ) -> Result<VitPlan, GraphError> {
        let (rows, cols) = size.grid(config.patch)?;
        let tokens = config.tokens(size)?;
        let rope = match config.positions {
            Positions::Rope => Some(RopeTable::new(&weights.rope_periods, rows, cols)),
            Positions::Learned { .. } => None,
        };
        let shared = Arc::new(Shared {
            config: *config,
            weights: weights.clone(),
            rows,
            cols,
            tokens,
            rope,
            scratch: scratch.clone(),
            threads,
        });

        let mut model = TypedModel::default();
        let shape = [3, size.height, size.width];
        let mut wire = model.add_source("pixels", f32::fact(shape))?;
        let base = token_base(config, weights, size, tokens)?;
        wire = model.wire_node("patch_embed", PatchEmbed { shared: shared.clone(), base }, &[wire])?[0];
        for index in 0..config.depth {
            let block = EncoderBlock { shared: shared.clone(), index };
            wire = model.wire_node(format!("block {index}"), block, &[wire])?[0];
        }
        wire = model.wire_node("norm", FinalNorm { shared }, &[wire])?[0];
        model.select_output_outlets(&[wire])?;
        let state = model.into_runnable()?.spawn()?;
        Ok(VitPlan { state, size, tokens, dim: config.dim })
    }

    /// Runs the model on `pixels` (`[3, height, width]`, preprocessed): the tokens after the final LayerNorm,
    /// `[tokens, dim]` in the order CLS, registers, patches by row.
    ///
    /// # Errors
    /// [`GraphError::Tract`] names the block whose output is not finite.
    pub fn run(&mut self, pixels: &[f32]) -> Result<Tokens, GraphError> {
        let pixels = Tensor::from_shape(&[3, self.size.height, self.size.width], pixels)?;
        let mut outputs = self.state.run(tvec!(pixels.into_tvalue()))?;
        let tensor = outputs.remove(0);
        debug_assert_eq!(tensor.shape(), [self.tokens, self.dim]);
        Ok(Tokens(tensor))
    }
}

/// The tokens that a plan returns, in tract's own memory.
pub struct Tokens(TValue);

impl Tokens {
    /// `[tokens, dim]`
    pub fn as_slice(&self) -> &[f32] {
        ops::floats(&self.0).expect("the plan's output is f32")
    }
}

/// What every token starts from, before the patch embedding is added: `[tokens, dim]`.
///
/// CLS (with its position), registers, and for each patch the embedding's bias plus its learned position.
fn token_base(config: &Config, weights: &Weights, size: Size, tokens: usize) -> Result<Vec<f32>, SizeError> {
    let mut base = weights.cls.clone();
    base.extend_from_slice(&weights.registers);
    for _ in config.prefix()..tokens {
        base.extend_from_slice(&weights.patch.bias);
    }
    if let Positions::Learned { .. } = config.positions {
        let positions = learned_positions(config, weights, size)?;
        let (cls, patches) = positions.split_at(config.dim);
        let (base_cls, rest) = base.split_at_mut(config.dim);
        let base_patches = &mut rest[config.registers * config.dim..];
        for (b, p) in base_cls.iter_mut().zip(cls).chain(base_patches.iter_mut().zip(patches)) {
            *b += p;
        }
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vit::{Mlp, forward, seeded_weights};

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

    /// Seeded weights with nothing left at its neutral value, so that no term can be forgotten unseen.
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
            // Large enough that attention is not flat.
            block.qkv.weight.iter_mut().for_each(|w| *w *= 12.0);
        }
        wave(&mut weights.cls, 0.0, 1.0);
        wave(&mut weights.registers, 0.0, 1.0);
        wave(&mut weights.patch.bias, 0.0, 0.5);
        weights
    }

    #[test]
    fn plan_agrees_with_the_reference() {
        let size = Size { height: 40, width: 72 };
        let pixels: Vec<f32> = (0..3 * size.area()).map(|i| (i as f32 * 0.013).sin() * 2.0).collect();
        for (mlp, positions, registers) in [
            (Mlp::Gelu, Positions::Rope, 4),
            (Mlp::SwiGlu, Positions::Rope, 4),
            (Mlp::Gelu, Positions::Learned { rows: 5, cols: 9 }, 0),
            (Mlp::Gelu, Positions::Learned { rows: 3, cols: 3 }, 2),
        ] {
            let config = config(mlp, positions, registers);
            let mut weights = uneven_weights(&config);
            let expected = forward(&config, &weights, &pixels, size).unwrap().output;
            weights.fold_layer_scale();
            let weights = Arc::new(weights);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            for threads in [1, 3] {
                let mut plan = VitPlan::new(&config, &weights, size, &Scratch::default(), threads).unwrap();
                for _ in 0..2 {
                    let tokens = pool.install(|| plan.run(&pixels)).unwrap();
                    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                    for (a, b) in tokens.as_slice().iter().zip(&expected) {
                        assert!((a - b).abs() <= 1e-5 * largest, "{mlp:?} {positions:?}: {a} {b}");
                    }
                }
            }
        }
    }

    /// The message of a run on a black image after `spoil` went over the weights.
    fn error_of(spoil: impl FnOnce(&mut Weights)) -> String {
        let config = config(Mlp::Gelu, Positions::Rope, 4);
        let mut weights = seeded_weights(&config, 1);
        spoil(&mut weights);
        weights.fold_layer_scale();
        let size = Size::square(16);
        let mut plan = VitPlan::new(&config, &Arc::new(weights), size, &Scratch::default(), 1).unwrap();
        let Err(error) = plan.run(&[0.0; 3 * 16 * 16]) else { panic!("no error") };
        error.to_string()
    }

    #[test]
    fn a_value_that_is_not_finite_names_its_layer() {
        let error = error_of(|w| w.patch.bias[3] = f32::NAN);
        assert!(error.starts_with("patch_embed: "), "{error}");
        let error = error_of(|w| w.blocks[1].qkv.weight[0] = f32::INFINITY);
        assert!(error.starts_with("block 1: "), "{error}");
        // Finite weights, but the product overflows.
        let error = error_of(|w| w.norm.weight.fill(f32::MAX));
        assert!(error.starts_with("norm: "), "{error}");
    }
}
