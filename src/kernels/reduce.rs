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
/// Floats are compared as integers, in one pass: the compiler vectorises the minimum and maximum of integers with both
/// in registers, while for floats it would have to respect NaN.
#[inline(always)]
pub fn range(values: &[f32]) -> (f32, f32) {
    const INFINITY: i32 = f32::INFINITY.to_bits() as i32;
    const NEGATIVE_INFINITY: i32 = ordered(f32::NEG_INFINITY.to_bits() as i32);
    let (mut low, mut high) = (0, 0);
    for v in values {
        let v = ordered(v.to_bits() as i32);
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
    }
    let value = |v: i32| f32::from_bits(ordered(v) as u32);
    // NaN is beyond infinity on the side of its sign. Adding 0.0 turns -0.0 into 0.0.
    let finite = NEGATIVE_INFINITY < low && high < INFINITY;
    (value(low) + 0.0, if finite { value(high) } else { f32::NAN })
}

/// The bits of a float as an integer in the order of the floats, -0.0 before 0.0; applied to that integer, the bits of
/// the float.
#[inline(always)]
const fn ordered(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
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
