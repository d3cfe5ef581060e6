//! Reductions in one canonical order on every machine: 16 virtual lanes, then a fixed tree.

/// Number of virtual lanes: one AVX-512 register, two AVX2 registers or four NEON registers.
pub const LANES: usize = 16;

/// Folds `f` over the lanes: element `i` goes to lane `i % 16`, then lanes 8, 4, 2 and 1 apart are combined in pairs.
#[inline(always)]
fn reduce(values: &[f32], start: f32, map: impl Fn(f32) -> f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, map(v));
        }
    }
    // Without this the compiler splits the loop above into pairs, to match the end of the tree below, and it takes
    // twice as long.
    let mut lanes = std::hint::black_box(lanes);
    for (lane, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = f(*lane, map(v));
    }
    let half: [f32; 8] = std::array::from_fn(|i| f(lanes[i], lanes[i + 8]));
    let quad: [f32; 4] = std::array::from_fn(|i| f(half[i], half[i + 4]));
    f(f(quad[0], quad[2]), f(quad[1], quad[3]))
}

/// Sum.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    reduce(values, 0.0, |v| v, |a, b| a + b)
}

/// Sum of `(v - centre)^2`.
#[inline(always)]
pub fn sum_of_squares(values: &[f32], centre: f32) -> f32 {
    reduce(values, 0.0, |v| (v - centre) * (v - centre), |a, b| a + b)
}

/// Largest value, ignoring NaN; negative infinity if empty.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    reduce(values, f32::NEG_INFINITY, |v| v, |a, b| if b > a { b } else { a })
}

/// Smallest and largest of the values and 0; the largest is NaN if any value is not finite.
///
/// This takes three passes: in a single pass the compiler does not keep three sets of lanes in registers, and it takes
/// twice as long.
#[inline(always)]
pub fn range(values: &[f32]) -> (f32, f32) {
    let low = reduce(values, 0.0, |v| v, |a, b| if b < a { b } else { a });
    let high = reduce(values, 0.0, |v| v, |a, b| if b > a { b } else { a });
    // `v * 0.0` is NaN if `v` is not finite, and NaN propagates through the sum; the comparisons above ignore NaN.
    (low, high + reduce(values, 0.0, |v| v * 0.0, |a, b| a + b))
}

/// Largest magnitude, ignoring NaN.
#[inline(always)]
pub fn largest_magnitude(values: &[f32]) -> f32 {
    reduce(values, 0.0, f32::abs, |a, b| if b > a { b } else { a })
}

/// Whether all values are finite.
pub fn all_finite(values: &[f32]) -> bool {
    // `v * 0.0` is 0 for finite `v` and NaN otherwise, and NaN propagates through the sum.
    reduce(values, 0.0, |v| v * 0.0, |a, b| a + b) == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_agree_with_plain_loops_on_every_tail() {
        for n in 0..70 {
            let values: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32) - 50.0).collect();
            // Small integers: every order gives the exact sum.
            assert_eq!(sum(&values), values.iter().sum::<f32>());
            assert_eq!(
                sum_of_squares(&values, 2.0),
                values.iter().map(|v| (v - 2.0) * (v - 2.0)).sum::<f32>()
            );
            assert_eq!(max(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            assert!(all_finite(&values));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for i in 0..n {
                    let mut values = values.clone();
                    values[i] = bad;
                    assert!(!all_finite(&values));
                }
            }
        }
    }
}
