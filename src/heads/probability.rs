//! From logits to probabilities, with exponentials from the `libm` crate: the same bits on every machine.

/// Replaces logits with probabilities; returns `ln(sum(exp(z)))`.
pub(crate) fn softmax(z: &mut [f64]) -> f64 {
    let max = z.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v));
    let mut sum = 0.0;
    for v in z.iter_mut() {
        *v = libm::exp(*v - max);
        sum += *v;
    }
    for v in z.iter_mut() {
        *v /= sum;
    }
    max + libm::log(sum)
}

/// The logistic function, in a form that cannot overflow.
pub(crate) fn sigmoid(z: f64) -> f64 {
    let e = libm::exp(-z.abs());
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}
