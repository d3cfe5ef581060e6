//! Ultrasound phantoms: synthetic breast images with known class and mask.
//!
//! Layers of skin, fat, gland and muscle that contain nothing, a cyst, or a mass. A cyst is anechoic and smooth and
//! hardly attenuates, so that the tissue behind it is bright (posterior enhancement); a mass is hypoechoic, has an
//! irregular margin and attenuates more than its surroundings (posterior shadow). These are the signs that BI-RADS
//! lists for ultrasound. `speckle.rs` renders the image.

use std::f32::consts::PI;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::speckle::{FIELD_MM, between, compound, compress, from_db, uniform};
use super::{Dataset, Dicom, Image, MIN_SIDE, Sample, Source, Split};

/// What a phantom shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhantomKind {
    /// Tissue without a lesion.
    Background,
    /// An anechoic cyst with a smooth edge.
    Cyst,
    /// A hypoechoic mass with an irregular margin and a shadow.
    Mass,
}

impl PhantomKind {
    /// All kinds, in the order of the classes of [`phantom_dataset`].
    pub const ALL: [PhantomKind; 3] = [PhantomKind::Background, PhantomKind::Cyst, PhantomKind::Mass];

    /// The class name.
    pub const fn name(self) -> &'static str {
        match self {
            PhantomKind::Background => "background",
            PhantomKind::Cyst => "cyst",
            PhantomKind::Mass => "mass",
        }
    }
}

/// An image with its ground truth.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// 8-bit grey, `side` x `side` px covering 40 mm x 40 mm.
    pub image: Image,
    /// `[side, side]`: 1 inside the lesion, else 0.
    pub mask: Vec<u8>,
    /// What it shows.
    pub kind: PhantomKind,
}

/// The phantom of `kind` for `seed`, identical on every machine. For one seed, all kinds have the same tissue.
///
/// # Panics
/// If `side` is below `MIN_SIDE` (8 px).
pub fn phantom(seed: u64, kind: PhantomKind, side: usize) -> Phantom {
    assert!(side >= MIN_SIDE, "a phantom of {side} px shows nothing");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tissue = Tissue::layers(&mut rng, side);
    let gain = between(&mut rng, -2.0, 2.0);
    let mask = match kind {
        PhantomKind::Background => vec![0; side * side],
        PhantomKind::Cyst => tissue.put(&Lesion::cyst(&mut rng)),
        PhantomKind::Mass => tissue.put(&Lesion::mass(&mut rng)),
    };
    let echo = tissue.echo(gain);
    let pixels = compress(&compound(&mut rng, &echo, side));
    let image = Image::from_grey8(side, side, pixels).expect("side * side pixels, side not below the least");
    Phantom { image, mask, kind }
}

/// A data set of `per_class` phantoms of each of the three kinds, in memory, `side` x `side` px. The last third of each kind (at
/// least one) is for validation, so [`Dataset::split`] needs two or more of each.
///
/// # Panics
/// If `side` is below `MIN_SIDE` (8 px).
pub fn phantom_dataset(seed: u64, per_class: usize, side: usize) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let val = (per_class / 3).max(1);
    let mut samples = Vec::with_capacity(3 * per_class);
    for (label, kind) in PhantomKind::ALL.into_iter().enumerate() {
        for i in 0..per_class {
            let image = Arc::new(phantom(rng.next_u64(), kind, side).image);
            samples.push(Sample {
                mask: None,
                name: format!("phantom-{}-{i:03}", kind.name()),
                source: Source::Memory(image),
                labels: vec![label],
                split: Some(if i + val < per_class { Split::Train } else { Split::Val }),
            });
        }
    }
    let classes = PhantomKind::ALL.map(|kind| kind.name().to_owned()).to_vec();
    Dataset { classes, samples, dicom: Dicom::Absent }
}

/// Acoustic properties of the tissue.
struct Tissue {
    side: usize,
    /// Echogenicity in dB, 0 for gland: `[side, side]`.
    db: Vec<f32>,
    /// Round-trip attenuation beyond what the time gain compensates, dB/mm: `[side, side]`.
    attenuation: Vec<f32>,
}

/// One tissue layer, from its upper boundary down.
struct Layer {
    /// Range of the mean depth of its upper boundary, mm.
    depth: (f32, f32),
    /// Amplitude of the boundary's undulation, mm.
    undulation: f32,
    /// Mean echogenicity, dB.
    db: f32,
    /// Variation of the echogenicity within the layer, dB, and the width and depth over which it varies, mm.
    mottle: f32,
    grain: (f32, f32),
    /// Brightness of fibres that run along the layer, dB.
    fibres: f32,
    /// Brightness of the fascia at the boundary, dB.
    fascia: f32,
}

/// Skin, subcutaneous fat, gland, pectoral muscle, and what lies below it. Fat is darker than gland and muscle is
/// striped; the depths are those of a breast under a linear probe.
#[rustfmt::skip]
const LAYERS: [Layer; 5] = [
    Layer { depth: (-1.0, -1.0), undulation: 0.0, db: 6.0, mottle: 2.0, grain: (12.0, 0.8), fibres: 0.0, fascia: 0.0 },
    Layer { depth: (1.5, 2.2), undulation: 0.3, db: -8.0, mottle: 3.0, grain: (7.0, 2.0), fibres: 8.0, fascia: 4.0 },
    Layer { depth: (5.0, 10.0), undulation: 2.0, db: -1.0, mottle: 8.0, grain: (6.0, 2.2), fibres: 9.0, fascia: 6.0 },
    Layer { depth: (25.0, 31.0), undulation: 1.5, db: -12.0, mottle: 4.0, grain: (14.0, 1.5), fibres: 14.0, fascia: 10.0 },
    Layer { depth: (35.0, 38.0), undulation: 1.0, db: -22.0, mottle: 4.0, grain: (5.0, 2.0), fibres: 0.0, fascia: 20.0 },
];

/// Width and depth over which fibres bend, mm.
const FIBRE_GRAIN: (f32, f32) = (9.0, 1.6);

impl Tissue {
    fn layers(rng: &mut ChaCha8Rng, side: usize) -> Tissue {
        let pixel = FIELD_MM / side as f32;
        let mut db = vec![0.0; side * side];
        let boundaries = LAYERS.each_ref().map(|layer| Boundary::draw(rng, layer));
        for (i, layer) in LAYERS.iter().enumerate() {
            let (mottle, fibres) = (Mottle::draw(rng, layer.grain), Mottle::draw(rng, FIBRE_GRAIN));
            for col in 0..side {
                let x = (col as f32 + 0.5) * pixel;
                let top = boundaries[i].at(x);
                let bottom = boundaries.get(i + 1).map_or(FIELD_MM, |next| next.at(x) + 0.5);
                let row = |depth: f32| ((depth / pixel).max(0.0) as usize).min(side);
                for row in row(top - 0.5)..row(bottom + pixel) {
                    let depth = (row as f32 + 0.5) * pixel - top;
                    // Fibres run where the noise crosses zero.
                    let fibre = (1.0 - 4.0 * fibres.at(x, depth).abs()).max(0.0);
                    let here = layer.db + layer.mottle * mottle.at(x, depth) + layer.fibres * fibre;
                    let fascia = layer.fascia * (1.0 - step(0.0, 0.4, depth.abs()));
                    let value = &mut db[row * side + col];
                    *value += step(-0.3, 0.3, depth) * (here - *value) + fascia;
                }
            }
        }
        Tissue { side, db, attenuation: vec![0.0; side * side] }
    }

    /// Puts a lesion into the tissue and returns its mask.
    fn put(&mut self, lesion: &Lesion) -> Vec<u8> {
        let pixel = FIELD_MM / self.side as f32;
        let mut mask = vec![0; self.side * self.side];
        for (i, mask) in mask.iter_mut().enumerate() {
            let (x, z) = (((i % self.side) as f32 + 0.5) * pixel, ((i / self.side) as f32 + 0.5) * pixel);
            let Some((distance, steepness)) = lesion.locate(x, z) else { continue };
            *mask = u8::from(distance < 0.0);
            let inside = 1.0 - step(-lesion.softness, lesion.softness, distance);
            let wall = lesion.wall * steepness * (1.0 - step(0.0, 0.4, distance.abs()));
            let halo = lesion.halo * (1.0 - step(0.0, 1.5, (distance - 1.0).abs()));
            // A trace of the tissue's own pattern remains visible in a mass.
            let db = lesion.db + 0.4 * self.db[i];
            self.db[i] += inside * (db - self.db[i]) + wall + halo;
            self.attenuation[i] += inside * lesion.attenuation;
        }
        mask
    }

    /// Amplitudes after attenuation along the path, plus the receiver's noise: `[side, side]`; `gain` in dB.
    fn echo(&self, gain: f32) -> Vec<f32> {
        let side = self.side;
        let pixel = FIELD_MM / side as f32;
        let mut echo = Vec::with_capacity(side * side);
        let mut way = vec![0.0; side];
        // The beam is about 1 mm wide and averages neighbouring paths, so shadows have soft edges.
        let half = (0.6 / pixel) as usize;
        for row in 0..side {
            let span = row * side..(row + 1) * side;
            for (way, attenuation) in way.iter_mut().zip(&self.attenuation[span.clone()]) {
                *way += attenuation * pixel;
            }
            // Below 20 mm depth the time gain does not compensate for the whole loss, and it raises the noise.
            let fade = 0.35 * (row as f32 * pixel - 20.0).max(0.0);
            let noise = from_db(gain - 40.0 + 10.0 * row as f32 / side as f32);
            for (col, db) in self.db[span].iter().enumerate() {
                let beam = &way[col.saturating_sub(half)..(col + half + 1).min(side)];
                let loss = beam.iter().sum::<f32>() / beam.len() as f32;
                echo.push(from_db(db - loss - fade + gain) + noise);
            }
        }
        echo
    }
}

/// A wavy line: depth as a function of lateral position, mm.
struct Boundary {
    depth: f32,
    waves: [(f32, f32, f32); 3],
}

impl Boundary {
    fn draw(rng: &mut ChaCha8Rng, layer: &Layer) -> Boundary {
        // Wavelengths of about 80, 35 and 15 mm.
        let waves = [(80.0, 1.0), (35.0, 0.5), (15.0, 0.25)].map(|(length, share)| {
            let length = length * between(rng, 0.8, 1.2);
            (
                layer.undulation * share * between(rng, 0.4, 1.0),
                2.0 * PI / length,
                between(rng, 0.0, 2.0 * PI),
            )
        });
        Boundary { depth: between(rng, layer.depth.0, layer.depth.1), waves }
    }

    fn at(&self, x: f32) -> f32 {
        self.depth + self.waves.iter().map(|(a, k, phase)| a * libm::sinf(k * x + phase)).sum::<f32>()
    }
}

/// Smooth noise: random values on a grid, interpolated.
struct Mottle {
    grain: (f32, f32),
    cols: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Mottle {
    fn draw(rng: &mut ChaCha8Rng, grain: (f32, f32)) -> Mottle {
        let (cols, rows) = ((FIELD_MM / grain.0) as usize + 3, (FIELD_MM / grain.1) as usize + 3);
        let values = (0..cols * rows).map(|_| between(rng, -1.0, 1.0)).collect();
        Mottle { grain, cols, rows, values }
    }

    /// A value from -1 to 1.
    fn at(&self, x: f32, z: f32) -> f32 {
        let (x, z) = ((x / self.grain.0).max(0.0), (z / self.grain.1).max(0.0));
        let (col, row) = ((x as usize).min(self.cols - 2), (z as usize).min(self.rows - 2));
        let (u, v) = (step(0.0, 1.0, x - col as f32), step(0.0, 1.0, z - row as f32));
        let at = |row: usize, col: usize| self.values[row * self.cols + col];
        let line = |row: usize| at(row, col) + u * (at(row, col + 1) - at(row, col));
        line(row) + v * (line(row + 1) - line(row))
    }
}

/// Number of directions in which a lesion's radius is tabulated.
const DIRECTIONS: usize = 512;

/// A region around a centre, with a radius for each direction.
struct Lesion {
    x: f32,
    z: f32,
    /// Radius in mm in each direction, clockwise from +x.
    radius: Vec<f32>,
    largest: f32,
    /// Half-width of the edge, mm.
    softness: f32,
    db: f32,
    /// Round-trip attenuation relative to the surroundings, dB/mm.
    attenuation: f32,
    /// Brightness of walls that face the probe, dB.
    wall: f32,
    /// Brightness of the surrounding tissue, dB.
    halo: f32,
}

impl Lesion {
    fn cyst(rng: &mut ChaCha8Rng) -> Lesion {
        let radius = between(rng, 3.0, 8.0);
        let aspect = between(rng, 0.65, 0.95);
        let mut lesion = Lesion::shaped(rng, radius, aspect, &[(2, 0.03), (3, 0.02)]);
        (lesion.softness, lesion.db, lesion.wall) = (0.25, -60.0, 7.0);
        // Fluid attenuates almost nothing, so the time gain, which assumes 0.5 dB/(cm MHz), overcompensates.
        lesion.attenuation = -between(rng, 0.5, 0.75);
        lesion
    }

    fn mass(rng: &mut ChaCha8Rng) -> Lesion {
        let radius = between(rng, 4.0, 8.0);
        let aspect = between(rng, 0.75, 1.2);
        // Lobes, then spicules.
        let mut waves = vec![(2, 0.12), (3, 0.12), (4, 0.09), (5, 0.07)];
        waves.extend((7..=17).step_by(2).map(|k| (k, 0.035)));
        let mut lesion = Lesion::shaped(rng, radius, aspect, &waves);
        (lesion.softness, lesion.db) = (between(rng, 0.6, 1.3), between(rng, -19.0, -13.0));
        lesion.halo = between(rng, 1.0, 5.0);
        lesion.attenuation = between(rng, 0.7, 1.5);
        lesion
    }

    /// An ellipse whose radius is modulated by a Fourier series of (order, amplitude).
    fn shaped(rng: &mut ChaCha8Rng, radius: f32, aspect: f32, waves: &[(u32, f32)]) -> Lesion {
        let waves: Vec<(f32, f32, f32)> = waves
            .iter()
            .map(|&(k, a)| (k as f32, a * between(rng, 0.5, 1.5), 2.0 * PI * uniform(rng)))
            .collect();
        let tilt = between(rng, -0.4, 0.4);
        let radius: Vec<f32> = (0..DIRECTIONS)
            .map(|i| {
                let angle = i as f32 * (2.0 * PI / DIRECTIONS as f32);
                let (sin, cos) = libm::sincosf(angle - tilt);
                let ellipse = radius / (cos * cos + sin * sin / (aspect * aspect)).sqrt();
                let wave: f32 = waves.iter().map(|(k, a, phase)| a * libm::cosf(k * angle + phase)).sum();
                ellipse * (1.0 + wave).max(0.3)
            })
            .collect();
        let largest = radius.iter().copied().fold(0.0, f32::max);
        Lesion {
            x: between(rng, 12.0, 28.0),
            z: between(rng, 11.0, 21.0),
            radius,
            largest,
            softness: 0.0,
            db: 0.0,
            attenuation: 0.0,
            wall: 0.0,
            halo: 0.0,
        }
    }

    /// Distance from the edge in mm (negative inside), and how much the edge faces the probe, 0 to 1; `None` far from
    /// the lesion.
    fn locate(&self, x: f32, z: f32) -> Option<(f32, f32)> {
        let (x, z) = (x - self.x, z - self.z);
        let from_centre = (x * x + z * z).sqrt();
        if from_centre > self.largest + 3.0 {
            return None;
        }
        let turn = libm::atan2f(z, x) / (2.0 * PI) + 1.0;
        let direction = (turn * DIRECTIONS as f32) as usize % DIRECTIONS;
        let facing = if from_centre > 0.0 { z * z / (from_centre * from_centre) } else { 0.0 };
        Some((from_centre - self.radius[direction], facing * facing))
    }
}

/// Hermite's smooth step from 0 at `low` to 1 at `high`.
fn step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
#[path = "phantom_tests.rs"]
mod tests;
