//! Scores that a graph computes, as probabilities or a mask.

use std::str::FromStr;

use serde::Deserialize;

use super::HeadError;
use super::frame::Said;
use super::nn::bilinear::Bilinear;
use super::probability::{sigmoid, softmax};
use super::segment::largest;
use crate::input::LabelMap;

/// The function that turns scores into probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// One class an image.
    #[default]
    Softmax,
    /// Any number of labels an image.
    Sigmoid,
    /// The scores are probabilities already.
    None,
}

impl FromStr for Activation {
    type Err = String;

    fn from_str(text: &str) -> Result<Activation, String> {
        match text {
            "softmax" => Ok(Activation::Softmax),
            "sigmoid" => Ok(Activation::Sigmoid),
            "none" => Ok(Activation::None),
            other => Err(format!("'{other}' is none of softmax, sigmoid, none")),
        }
    }
}

/// What `scores` of `shape` say of `classes` classes, on an image of which the backbone sees `seen` rows and columns:
///
/// - `[1, classes]` are scores of the image;
/// - `[1, classes, rows, columns]` are scores of each place of a map, which is resized to `seen`;
/// - `[1, 1, rows, columns]` are the scores of the second of two classes: it is where the activation's result reaches
///   `threshold`;
/// - `[1, rows, columns]` are numbers of classes.
pub(super) fn said(
    shape: &[usize],
    scores: &[f32],
    (classes, activation, threshold): (usize, Activation, f64),
    seen: (usize, usize),
) -> Result<Said, HeadError> {
    if let Some(column) = scores.iter().position(|v| !v.is_finite()) {
        return Err(HeadError::NonFinite { row: 0, column });
    }
    // The numbers of a mask have 8 bits.
    if shape.len() > 2 && classes > 256 {
        return Err(HeadError::TooManyClasses(classes));
    }
    let wrong = || HeadError::OnnxOutput { found: shape.to_vec(), classes };
    let labels = match *shape {
        [1, found] if found == classes => {
            let mut p: Vec<f64> = scores.iter().map(|&v| v.into()).collect();
            match activation {
                Activation::Softmax => drop(softmax(&mut p)),
                Activation::Sigmoid => p.iter_mut().for_each(|z| *z = sigmoid(*z)),
                Activation::None => {}
            }
            return Ok(Said::Probabilities(p));
        }
        [1, found, rows, columns] if found == classes && rows * columns > 0 => {
            let resized = resized(scores, classes, (rows, columns), seen);
            resized.chunks_exact(classes).map(|logits| largest(logits) as u8).collect()
        }
        [1, 1, rows, columns] if classes == 2 && rows * columns > 0 => {
            let present = |&score: &f32| match activation {
                Activation::None => f64::from(score) >= threshold,
                Activation::Softmax | Activation::Sigmoid => sigmoid(score.into()) >= threshold,
            };
            let resized = resized(scores, 1, (rows, columns), seen);
            resized.iter().map(|score| u8::from(present(score))).collect()
        }
        [1, rows, columns] if rows * columns > 0 => {
            let whole = |&v: &f32| v.fract() == 0.0 && v >= 0.0 && (v as usize) < classes;
            if !scores.iter().all(whole) {
                return Err(wrong());
            }
            let (height, width) = seen;
            let at = |place: usize, from: usize, to: usize| (2 * place + 1) * from / (2 * to);
            let place = |i: usize| at(i / width, rows, height) * columns + at(i % width, columns, width);
            (0..height * width).map(|i| scores[place(i)] as u8).collect()
        }
        _ => return Err(wrong()),
    };
    let (height, width) = seen;
    Ok(Said::Mask(LabelMap { depth: 1, height, width, labels }))
}

/// Bilinearly resized scores `[channels, rows, columns]`, by place.
fn resized(scores: &[f32], channels: usize, (rows, columns): (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let cells = rows * columns;
    let by_cell: Vec<f32> = (0..scores.len()).map(|i| scores[i % channels * cells + i / channels]).collect();
    Bilinear::new((rows, columns), to).apply(&by_cell, channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(shape: &[usize], scores: &[f32], how: (usize, Activation, f64), seen: (usize, usize)) -> Vec<u8> {
        match said(shape, scores, how, seen) {
            Ok(Said::Mask(mask)) => mask.labels,
            _ => panic!("{shape:?} is a mask"),
        }
    }

    #[test]
    fn scores_become_probabilities_or_masks_by_their_shape() {
        let two = |activation| (2, activation, 0.5);
        let Ok(Said::Probabilities(p)) = said(&[1, 2], &[0.0, 2.0], two(Activation::Softmax), (4, 4)) else {
            panic!("scores of an image")
        };
        assert!((p[1] - 1.0 / (1.0 + (-2.0f64).exp())).abs() < 1e-12 && (p[0] + p[1] - 1.0).abs() < 1e-12);
        let map = [1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5];
        assert_eq!(mask(&[1, 2, 2, 2], &map, two(Activation::Softmax), (2, 2)), [0, 1, 1, 1]);
        let one = [-1.0, 1.0, 3.0, -0.1];
        assert_eq!(mask(&[1, 1, 2, 2], &one, two(Activation::Sigmoid), (2, 2)), [0, 1, 1, 0]);
        assert_eq!(mask(&[1, 1, 2, 2], &one, (2, Activation::Sigmoid, 0.9), (2, 2)), [0, 0, 1, 0]);
        // Each place of a map of classes covers four of the pixels that the backbone sees.
        let classes = mask(&[1, 1, 2], &[2.0, 1.0], (3, Activation::Softmax, 0.5), (2, 4));
        assert_eq!(classes, [2, 2, 1, 1, 2, 2, 1, 1]);
        let many = said(&[1, 257, 1, 1], &[0.0; 257], (257, Activation::Softmax, 0.5), (1, 1));
        assert!(matches!(many, Err(HeadError::TooManyClasses(257))));
        for (shape, scores) in [(&[1, 3][..], &[0.0; 3][..]), (&[1, 1, 2], &[0.5, 1.0]), (&[1, 1, 1], &[2.0])]
        {
            let error = said(shape, scores, two(Activation::Softmax), (2, 2)).err();
            assert!(matches!(error, Some(HeadError::OnnxOutput { .. })), "{shape:?}");
        }
    }
}
