//! A head that tract runs; `heads/file/onnx.rs` loads it.

use super::HeadError;
use super::frame::{Frame, Said};
use super::scores::{Activation, said};
use crate::graph::head::OnnxFunction;

/// A head that tract runs.
#[derive(Clone, Debug)]
pub struct OnnxHead {
    /// Names of the classes; the first class of a segmentation model is the background.
    pub classes: Vec<String>,
    /// Probability from which the second of two classes, or a label, is predicted.
    pub threshold: f64,
    pub(super) activation: Activation,
    pub(super) function: OnnxFunction,
}

impl PartialEq for OnnxHead {
    fn eq(&self, other: &OnnxHead) -> bool {
        (&self.classes, self.threshold, self.activation, self.function.sha256())
            == (&other.classes, other.threshold, other.activation, other.function.sha256())
    }
}

impl OnnxHead {
    /// Whether an image may have several labels.
    pub fn multi_label(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    /// Whether it reads patch tokens.
    pub fn tokens(&self) -> bool {
        self.function.input().len() > 2
    }

    /// Class probabilities, or a mask of what the backbone sees.
    pub(super) fn frame(&self, frame: &Frame) -> Result<Said, HeadError> {
        let classes = self.classes.len();
        let (shape, values) = self.input(frame)?;
        let (shape, scores) = self.function.run(&shape, &values)?;
        said(&shape, &scores, (classes, self.activation, self.threshold), frame.seen)
    }

    /// A frame's features in the shape that the model declares.
    fn input(&self, frame: &Frame) -> Result<(Vec<usize>, Vec<f32>), HeadError> {
        let declared = self.function.input();
        if declared.len() == 2 {
            let row = frame.row;
            // A declared length of half the row selects CLS; any other length, or a dynamic one, the whole row.
            let dim = declared[1].filter(|&dim| 2 * dim == row.len()).unwrap_or(row.len());
            return Ok((vec![1, dim], row[..dim].to_vec()));
        }
        let tokens = frame.tokens()?;
        let (positions, channels) = (tokens.grid.positions(), tokens.channels);
        let own = &tokens.values;
        if declared.len() == 3 {
            return Ok((vec![1, positions, channels], own.iter().map(|v| v.to_f32()).collect()));
        }
        let mut map = vec![0.0; own.len()];
        for (position, token) in own.chunks_exact(channels).enumerate() {
            token.iter().enumerate().for_each(|(c, v)| map[c * positions + position] = v.to_f32());
        }
        Ok((vec![1, channels, tokens.grid.height, tokens.grid.width], map))
    }
}
