//! How well the outputs of a converted graph agree with those of its original.

use super::{Engine, EngineError};
use crate::quant::{Cosine, OutputAgreement};
use crate::vit::{Output, Size};

/// Agreement of each output of the graph of `converted` with that of `reference`, the graph around the same backbone in
/// f32, on `images` (at least one, each `[3, height, width]` of `size`).
///
/// # Errors
/// As [`Session::run`](super::Session::run).
pub fn output_agreement(
    reference: &Engine,
    converted: &Engine,
    images: &[Vec<f32>],
    size: Size,
) -> Result<Vec<OutputAgreement>, EngineError> {
    let (mut reference, mut converted) = (reference.session(1)?, converted.session(1)?);
    let mut sums: Vec<(String, Sums)> = Vec::new();
    for pixels in images {
        let expected = &reference.run(pixels, size)?.outputs;
        let found = &converted.run(pixels, size)?.outputs;
        sums.resize_with(expected.len(), Default::default);
        for ((sum, expected), found) in sums.iter_mut().zip(expected).zip(found) {
            sum.0.clone_from(&expected.name);
            sum.1.add(expected, found);
        }
    }
    Ok(sums.into_iter().map(|(name, sums)| sums.of(name)).collect())
}

/// What is known of an output after some images.
#[derive(Default)]
struct Sums {
    cosines: Vec<f64>,
    largest: f64,
    difference: f64,
    /// Places whose largest channel is the same, and all places.
    same: usize,
    places: usize,
}

impl Sums {
    fn add(&mut self, expected: &Output, found: &Output) {
        let (a, b) = (&expected.values, &found.values);
        if expected.shape != found.shape {
            // An output whose length depends on its values.
            self.cosines.push(0.0);
            return;
        }
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let norm = (dot(a, a) * dot(b, b)).sqrt();
        self.cosines.push(if norm == 0.0 { f64::from(u8::from(a == b)) } else { dot(a, b) / norm });
        for (&a, &b) in a.iter().zip(b) {
            self.largest = self.largest.max(f64::from(a.abs()));
            self.difference = self.difference.max(f64::from((a - b).abs()));
        }
        // Channels of a vector or of a map; tokens have none that are classes.
        if let [1, channels] | [1, channels, _, _] = expected.shape[..]
            && channels > 1
        {
            let places = a.len() / channels;
            self.places += places;
            let top = |values: &[f32], place: usize| {
                (0..channels).fold(0, |best, channel| {
                    let at = |channel: usize| values[channel * places + place];
                    if at(channel) > at(best) { channel } else { best }
                })
            };
            self.same += (0..places).filter(|&place| top(a, place) == top(b, place)).count();
        }
    }

    fn of(self, name: String) -> OutputAgreement {
        let round = |v: f64| (v * 1e7).round() / 1e7;
        OutputAgreement {
            name,
            cosine: Cosine::of(self.cosines),
            difference: round(self.difference / if self.largest > 0.0 { self.largest } else { 1.0 }),
            same_class: (self.places > 0).then(|| round(self.same as f64 / self.places as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_as_a_whole_and_by_their_largest_channel() {
        let output = |values: Vec<f32>, shape: Vec<usize>| Output { name: "y".into(), shape, values };
        let mut sums = Sums::default();
        // Two channels at two places: the second place has another largest channel.
        let shape = vec![1, 2, 1, 2];
        sums.add(&output(vec![4.0, 1.0, 0.0, 0.5], shape.clone()), &output(vec![4.0, 0.0, 0.0, 0.5], shape));
        let found = sums.of("y".into());
        assert_eq!((found.same_class, found.difference), (Some(0.5), 0.25));
        assert!((found.cosine.mean - 16.25 / (17.25f64 * 16.25).sqrt()).abs() < 1e-6);
    }
}
