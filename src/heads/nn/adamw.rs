//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) and early stopping.

/// The optimiser state for a vector of parameters.
pub struct AdamW {
    mean: Vec<f32>,
    square: Vec<f32>,
    step: i32,
    weight_decay: f32,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// For `parameters` parameters. `weight_decay` is decoupled: each step subtracts the fraction `rate * weight_decay`
    /// of a parameter.
    pub fn new(parameters: usize, weight_decay: f32) -> AdamW {
        AdamW { mean: vec![0.0; parameters], square: vec![0.0; parameters], step: 0, weight_decay }
    }

    /// One step against `gradient` with learning rate `rate`.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        self.step += 1;
        let (bias1, bias2) = (1.0 - BETA1.powi(self.step), 1.0 - BETA2.powi(self.step));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((p, g), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *mean = BETA1 * *mean + (1.0 - BETA1) * g;
            *square = BETA2 * *square + (1.0 - BETA2) * g * g;
            *p -= rate * self.weight_decay * *p;
            *p -= rate * (*mean / bias1) / ((*square / bias2).sqrt() + EPSILON);
        }
    }
}

/// Half a cosine from `peak` down to zero over `steps` steps (arXiv 1608.03983), without restarts.
pub fn cosine_rate(peak: f32, step: usize, steps: usize) -> f32 {
    0.5 * peak * (1.0 + (std::f32::consts::PI * step as f32 / steps.max(1) as f32).cos())
}

/// Keeps the best parameters seen and decides when to stop.
pub struct EarlyStopping {
    patience: usize,
    best: Option<(f64, Vec<f32>, usize)>,
    seen: usize,
}

impl EarlyStopping {
    /// Stops after `patience` epochs without a better score.
    pub fn new(patience: usize) -> EarlyStopping {
        EarlyStopping { patience, best: None, seen: 0 }
    }

    /// Takes an epoch's validation score (higher is better); returns true when training should stop.
    pub fn stop(&mut self, score: f64, parameters: &[f32]) -> bool {
        self.seen += 1;
        if self.best.as_ref().is_none_or(|(best, ..)| score > *best) {
            self.best = Some((score, parameters.to_vec(), self.seen));
        }
        self.best.as_ref().is_some_and(|(_, _, at)| self.seen - at >= self.patience)
    }

    /// The best score, its parameters and its epoch (from 1); `None` if every score was NaN.
    pub fn best(self) -> Option<(f64, Vec<f32>, usize)> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_as_pytorch() {
        // torch.optim.AdamW([p], lr=0.1, weight_decay=0.01), p = [1, -2], gradients [0.5, -1], [0.25, 2], [0, 1]
        let expected = [[0.899, -1.898], [0.804_883_1, -1.932_712_4], [0.732_020_4, -1.982_703_8]];
        let mut p = [1.0, -2.0];
        let mut adam = AdamW::new(2, 0.01);
        for (gradient, expected) in [[0.5, -1.0], [0.25, 2.0], [0.0, 1.0]].iter().zip(expected) {
            adam.step(&mut p, gradient, 0.1);
            for (a, b) in p.iter().zip(expected) {
                assert!((a - b).abs() < 2e-6, "{p:?}");
            }
        }
    }

    #[test]
    fn stops_after_patience_and_keeps_the_best() {
        let mut stopping = EarlyStopping::new(2);
        assert!(!stopping.stop(0.5, &[1.0]));
        assert!(!stopping.stop(0.7, &[2.0]));
        assert!(!stopping.stop(0.6, &[3.0]));
        assert!(stopping.stop(0.7, &[4.0]));
        assert_eq!(stopping.best(), Some((0.7, vec![2.0], 2)));
    }
}
