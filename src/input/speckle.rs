//! B-mode ultrasound image of an echogenicity map: scatterers, point-spread function, envelope, log compression.
//!
//! Speckle is the interference of many scatterers within one resolution cell (Burckhardt 1978,
//! doi:10.1109/T-SU.1978.30978). Each echo is represented in complex baseband: the pulse, a Gaussian-modulated cosine,
//! becomes a Gaussian along depth, and its carrier the phase 4 pi z / wavelength of the scatterer at depth z. Pixels
//! may then be coarser than a wavelength. All functions come from `libm` or are IEEE basic operations, so that every
//! machine computes the same bits.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Depth and width of the image, mm, as in a breast scan with a linear probe.
pub(super) const FIELD_MM: f32 = 40.0;

/// Wavelength of 7.5 MHz at 1540 m/s, mm.
const WAVELENGTH_MM: f32 = 0.2053;

/// Full widths at half maximum of the point-spread function, mm: axially a pulse of two cycles, laterally the beam at
/// its focus.
const AXIAL_MM: f32 = 0.45;
const LATERAL_MM: f32 = 0.8;

/// Depth of the focus, and the distance from it at which the beam is wider by a factor of sqrt(2), mm.
const FOCUS_MM: f32 = 18.0;
const FOCAL_ZONE_MM: f32 = 15.0;

/// Minimum width in pixels, so that small images still show speckle and not white noise.
const LEAST_PIXELS: f32 = 1.5;

/// Scatterers per resolution cell (product of both widths) at the focus: above 10, speckle is fully developed.
const DENSITY: f32 = 12.0;

/// Full width at half maximum of a Gaussian with standard deviation 1.
const FWHM: f32 = 2.354_82;

/// Number of phases to which the carrier is rounded.
const PHASES: usize = 1024;

/// Dynamic range of the display, dB; 0 dB, the mean power of glandular tissue, is shown at [`MIDDLE`].
const RANGE_DB: f32 = 60.0;
const MIDDLE: f32 = 0.5;

/// A random number in [0, 1).
pub(super) fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// A random number in [low, high).
pub(super) fn between(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * uniform(rng)
}

/// Converts decibels to an amplitude factor.
pub(super) fn from_db(db: f32) -> f32 {
    libm::exp2f(db * (std::f32::consts::LOG2_10 / 20.0))
}

/// Number of looks averaged: scanners compound frames of several steering angles or bands, whose speckle differs.
const LOOKS: usize = 3;

/// Mean envelope of [`LOOKS`] independent looks, `[side, side]`; the arguments are those of [`envelope`].
pub(super) fn compound(rng: &mut ChaCha8Rng, echo: &[f32], side: usize) -> Vec<f32> {
    let mut sum = vec![0.0; side * side];
    for _ in 0..LOOKS {
        add(&mut sum, 1.0 / LOOKS as f32, &envelope(rng, echo, side));
    }
    sum
}

/// Envelope of the echoes, `[side, side]`. `echo` is the tissue's root-mean-square amplitude, `[side, side]`; where it
/// varies slowly, the result has the same one.
fn envelope(rng: &mut ChaCha8Rng, echo: &[f32], side: usize) -> Vec<f32> {
    let pixel_mm = FIELD_MM / side as f32;
    let axial = (AXIAL_MM / pixel_mm).max(LEAST_PIXELS);
    let lateral = (LATERAL_MM / pixel_mm).max(LEAST_PIXELS);
    let spread = |row: usize| {
        let off = ((row as f32 + 0.5) * pixel_mm - FOCUS_MM) / FOCAL_ZONE_MM;
        lateral * (1.0 + off * off).sqrt() / FWHM
    };
    let pulse = gaussian(axial / FWHM);
    let beams: Vec<Vec<f32>> = (0..side).map(|row| gaussian(spread(row))).collect();
    // Scatterers extend beyond the edges, so that speckle does not fade there.
    let margin = beams.iter().map(|b| b.len() / 2).max().unwrap_or(0).max(pulse.len() / 2);
    let density = DENSITY / (axial * lateral);
    let (real, imaginary) = scatter(rng, echo, side, margin, density);
    let filtered = |plane: &[f32]| convolve(plane, side, margin, &pulse, &beams);
    let (real, imaginary) = (filtered(&real), filtered(&imaginary));
    real.iter().zip(&imaginary).map(|(a, b)| (a * a + b * b).sqrt()).collect()
}

/// Real and imaginary parts of the echoes of randomly placed point scatterers, `[side + 2 margin, side + 2 margin]`.
/// `density` is the mean number of scatterers per pixel.
fn scatter(
    rng: &mut ChaCha8Rng,
    echo: &[f32],
    side: usize,
    margin: usize,
    density: f32,
) -> (Vec<f32>, Vec<f32>) {
    let carrier: Vec<(f32, f32)> =
        (0..PHASES).map(|i| libm::sincosf(i as f32 * (2.0 * std::f32::consts::PI / PHASES as f32))).collect();
    let padded = side + 2 * margin;
    let mut planes = (vec![0.0; padded * padded], vec![0.0; padded * padded]);
    let number = (density * (padded * padded) as f32) as usize;
    let strength = 1.0 / density.sqrt();
    // Half wavelengths per pixel, because the path is a round trip.
    let turns = 2.0 * FIELD_MM / side as f32 / WAVELENGTH_MM;
    let inside = |i: usize| i.saturating_sub(margin).min(side - 1);
    for _ in 0..number {
        let (z, x) = (uniform(rng) * padded as f32, uniform(rng) * padded as f32);
        let (row, col) = ((z as usize).min(padded - 1), (x as usize).min(padded - 1));
        let phase = z * turns;
        let (sin, cos) = carrier[(phase * PHASES as f32) as usize % PHASES];
        let amplitude = strength * echo[inside(row) * side + inside(col)];
        planes.0[row * padded + col] += amplitude * cos;
        planes.1[row * padded + col] += amplitude * sin;
    }
    planes
}

/// A Gaussian with a standard deviation of `deviation` pixels, cut at three deviations, of unit energy: this preserves
/// the mean power of incoherent echoes.
fn gaussian(deviation: f32) -> Vec<f32> {
    let half = (3.0 * deviation).ceil() as i32;
    let values: Vec<f32> =
        (-half..=half).map(|i| (i as f32 / deviation).powi(2)).map(|q| libm::expf(-0.5 * q)).collect();
    let energy: f32 = values.iter().map(|v| v * v).sum();
    values.iter().map(|v| v / energy.sqrt()).collect()
}

/// Convolves `plane` (`[side + 2 margin, side + 2 margin]`) with `pulse` along columns and with each row's beam along
/// rows: `[side, side]`.
fn convolve(plane: &[f32], side: usize, margin: usize, pulse: &[f32], beams: &[Vec<f32>]) -> Vec<f32> {
    let padded = side + 2 * margin;
    let mut output = vec![0.0; side * side];
    let mut line = vec![0.0; padded];
    for (row, (out, beam)) in output.chunks_exact_mut(side).zip(beams).enumerate() {
        line.fill(0.0);
        let first = row + margin - pulse.len() / 2;
        for (weight, source) in pulse.iter().zip(plane[first * padded..].chunks_exact(padded)) {
            add(&mut line, *weight, source);
        }
        let first = margin - beam.len() / 2;
        for (tap, weight) in beam.iter().enumerate() {
            add(out, *weight, &line[first + tap..]);
        }
    }
    output
}

fn add(out: &mut [f32], weight: f32, values: &[f32]) {
    for (o, v) in out.iter_mut().zip(values) {
        *o += weight * v;
    }
}

/// Log compression: maps amplitudes to grey levels over a dynamic range of 60 dB.
pub(super) fn compress(envelope: &[f32]) -> Vec<u8> {
    let level = |amplitude: &f32| {
        let db = 20.0 * libm::log10f(amplitude.max(f32::MIN_POSITIVE));
        (255.0 * (MIDDLE + db / RANGE_DB)).clamp(0.0, 255.0).round() as u8
    };
    envelope.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Mean and standard deviation.
    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    /// Fully developed speckle has a Rayleigh-distributed envelope: mean / deviation = sqrt(pi / (4 - pi)) = 1.913, and
    /// here mean power 1.
    #[test]
    fn speckle_of_uniform_tissue_is_rayleigh() {
        for side in [128, 256, 512] {
            let mut rng = ChaCha8Rng::seed_from_u64(side as u64);
            let amplitude = envelope(&mut rng, &vec![1.0; side * side], side);
            let (mean, deviation) = moments(&amplitude);
            // Number of independent cells: the squared correlation of the field integrates to 2 pi sigma_z sigma_x
            // pixels, and the beam is at most 1.8 times and on average less than 1.4 times as wide as at its focus.
            let pixel_mm = FIELD_MM / side as f32;
            let deviations = (AXIAL_MM / pixel_mm).max(LEAST_PIXELS) * LATERAL_MM / pixel_mm / (FWHM * FWHM);
            let cells = (side * side) as f64 / (2.0 * std::f64::consts::PI * f64::from(deviations) * 1.4);
            // Delta method with Rayleigh's skewness 0.631 and kurtosis 3.245: the standard deviation of the ratio over
            // n cells is sqrt(1.85 / n). Four of these; the second term allows for the finite number of scatterers per
            // cell.
            let bound = 4.0 * (1.85 / cells).sqrt() + 1.913 / (4.0 * 2.0 * f64::from(DENSITY));
            let ratio = mean / deviation;
            assert!((ratio - 1.913).abs() < bound, "{side} px: {ratio}, {cells} cells, bound {bound}");
            // Power is exponentially distributed: the standard deviation of its mean over n cells is 1 / sqrt(n).
            let power = mean * mean + deviation * deviation;
            assert!((power - 1.0).abs() < 4.0 / cells.sqrt(), "{side} px: power {power}");
        }
    }

    #[test]
    fn the_display_is_logarithmic() {
        assert_eq!(
            compress(&[1.0, from_db(30.0), from_db(-30.0), 0.0, from_db(15.0)]),
            [128, 255, 0, 0, 191]
        );
    }
}
