//! Dense heads on patch tokens: one class per patch, or a light decoder to a finer grid, then logits bilinearly
//! resampled to the size of the image (DINOv2's linear and multi-layer protocols, arXiv 2304.07193, section 7.4). For
//! volumes, the decoder also sees neighbouring slices.

mod loss;
mod train;

pub use train::{Masked, SegmentOptions};

use super::HeadError;
use super::contour::margin;
use super::frame::Memory;
use super::nn::{ConvNet, Kind, LayerSpec, Packed, Working};
use super::targets::check_classes;
use crate::features::Tokens;
use crate::input::LabelMap;
use crate::kernels::Isa;

/// A dense head: maps patch tokens to one class per pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentHead {
    /// Names of the classes; the first is the background.
    pub classes: Vec<String>,
    /// Blocks whose tokens it reads, concatenated, numbered from 0; empty for the last block only.
    pub layers: Vec<usize>,
    /// Whether it sees the slices of a volume together.
    pub volume: bool,
    pub(super) mean: Vec<f32>,
    pub(super) std: Vec<f32>,
    pub(super) network: ConvNet,
}

impl SegmentHead {
    /// The layers of a head: one matrix, or a decoder. A volume head always has a decoder, over three slices.
    pub(super) fn architecture(
        channels: usize,
        classes: usize,
        decoder: bool,
        volume: bool,
    ) -> Vec<LayerSpec> {
        let layer = |kind, inputs, outputs| LayerSpec { kind, inputs, outputs };
        let conv = |inputs, outputs| layer(Kind::Conv { depth: if volume { 3 } else { 1 } }, inputs, outputs);
        let relu = |n| layer(Kind::Relu, n, n);
        let upsample = |n| layer(Kind::Upsample, n, n);
        let pointwise = |inputs, outputs| layer(Kind::Pointwise, inputs, outputs);
        match (decoder, volume) {
            (false, false) => vec![pointwise(channels, classes)],
            (true, false) => vec![
                pointwise(channels, 64),
                relu(64),
                upsample(64),
                conv(64, 32),
                relu(32),
                upsample(32),
                conv(32, 16),
                relu(16),
                pointwise(16, classes),
            ],
            (_, true) => vec![
                pointwise(channels, 32),
                relu(32),
                conv(32, 32),
                relu(32),
                upsample(32),
                conv(32, 16),
                relu(16),
                pointwise(16, classes),
            ],
        }
    }

    /// A head from the contents of its file: mean and standard deviation `[channels]`, and its layers' parameters.
    pub(super) fn from_parts(
        classes: Vec<String>,
        layers: Vec<usize>,
        (decoder, volume): (bool, bool),
        mean: Vec<f32>,
        std: Vec<f32>,
        parameters: Vec<f32>,
    ) -> Result<SegmentHead, HeadError> {
        check_classes(&classes, false)?;
        let architecture = SegmentHead::architecture(mean.len(), classes.len(), decoder, volume);
        let expected = ConvNet::count(&architecture);
        for (what, found, expected) in [
            ("number of weights", parameters.len(), expected),
            ("number of standard deviations", std.len(), mean.len()),
        ] {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        if let Some(&std) = std.iter().find(|&&s| s <= 0.0) {
            return Err(HeadError::SegmentDeviation(std));
        }
        let network = ConvNet { layers: architecture, parameters };
        Ok(SegmentHead { classes, layers, volume, mean, std, network })
    }

    /// Length of a token.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Whether it has a decoder.
    pub fn decoder(&self) -> bool {
        self.network.layers.len() > 1
    }

    /// The most probable class of each pixel of an image, or of a volume's slices, of `height` x `width`. The bits are
    /// the same on every `isa`.
    ///
    /// # Errors
    /// [`HeadError::Shape`] when the tokens do not have the head's length.
    pub fn predict(
        &self,
        tokens: &Tokens,
        (height, width): (usize, usize),
        isa: Isa,
    ) -> Result<LabelMap, HeadError> {
        self.predict_packed(tokens, (height, width), &self.pack(isa), &mut Memory::default())
    }

    /// The network, packed for `isa`.
    pub(super) fn pack(&self, isa: Isa) -> Packed {
        self.network.pack(isa)
    }

    /// As [`SegmentHead::predict`], with the network that [`SegmentHead::pack`] returned.
    pub(super) fn predict_packed(
        &self,
        tokens: &Tokens,
        (height, width): (usize, usize),
        network: &Packed,
        memory: &mut Memory,
    ) -> Result<LabelMap, HeadError> {
        self.check(tokens)?;
        let Memory { working, line, labels, contours, .. } = memory;
        self.standardise(tokens, &mut working.values);
        let grid = network.run(tokens.grid, working);
        let classes = self.classes.len();
        let (resize, between, logits) = working.resize((grid.height, grid.width), (height, width));
        let mut labels = std::mem::take(labels);
        labels.clear();
        labels.reserve(grid.depth * height * width);
        contours.iter_mut().for_each(|(_, zones)| zones.clear());
        for slice in logits.chunks_exact(grid.height * grid.width * classes) {
            for row in 0..height {
                line.clear();
                resize.rows_of(slice, classes, row..row + 1, between, line);
                labels.extend(line.chunks_exact(classes).map(|logits| largest(logits) as u8));
                if let Some((rule, zones)) = contours {
                    zones.extend(line.chunks_exact(classes).map(|logits| rule.zone(margin(logits))));
                }
            }
        }
        Ok(LabelMap { depth: grid.depth, height, width, labels })
    }

    /// What the network gives before it is resized: the scores of each position.
    ///
    /// # Errors
    /// As [`SegmentHead::predict`].
    pub(crate) fn scores(&self, tokens: &Tokens, isa: Isa) -> Result<Vec<f32>, HeadError> {
        self.check(tokens)?;
        let mut working = Working::default();
        self.standardise(tokens, &mut working.values);
        self.pack(isa).run(tokens.grid, &mut working);
        Ok(working.values)
    }

    /// The margin of each pixel of an image of `height` x `width`: the largest logit of the other classes minus that of the
    /// background.
    pub(super) fn margins(
        &self,
        tokens: &Tokens,
        size: (usize, usize),
        network: &Packed,
    ) -> Result<Vec<f32>, HeadError> {
        self.check(tokens)?;
        let mut working = Working::default();
        self.standardise(tokens, &mut working.values);
        let grid = network.run(tokens.grid, &mut working);
        let (classes, mut line) = (self.classes.len(), Vec::new());
        let (resize, between, logits) = working.resize((grid.height, grid.width), size);
        let mut margins = Vec::with_capacity(size.0 * size.1);
        for row in 0..size.0 {
            line.clear();
            resize.rows_of(logits, classes, row..row + 1, between, &mut line);
            margins.extend(line.chunks_exact(classes).map(margin));
        }
        match margins.iter().all(|margin| margin.is_finite()) {
            true => Ok(margins),
            false => Err(HeadError::NonFinite { row: 0, column: 0 }),
        }
    }

    fn check(&self, tokens: &Tokens) -> Result<(), HeadError> {
        let shapes = [
            ("length of a token", tokens.channels, self.channels()),
            ("number of token values", tokens.values.len(), tokens.grid.positions() * tokens.channels),
        ];
        for (what, found, expected) in shapes {
            if found != expected {
                return Err(HeadError::Shape { what, found, expected });
            }
        }
        Ok(())
    }

    pub(super) fn standardised(&self, tokens: &Tokens) -> Vec<f32> {
        let mut out = Vec::new();
        self.standardise(tokens, &mut out);
        out
    }

    /// The standardised tokens, in `out`.
    fn standardise(&self, tokens: &Tokens, out: &mut Vec<f32>) {
        let scale = self.mean.iter().zip(&self.std).cycle();
        out.clear();
        out.extend(tokens.values.iter().zip(scale).map(|(v, (mean, std))| (v.to_f32() - mean) / std));
    }
}

/// Index of the largest value; the first if tied.
pub(super) fn largest(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
