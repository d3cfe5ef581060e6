//! Pictures that every machine makes to the bit: from a seed, by integer arithmetic alone.

use crate::input::Image;

/// Number of soft spots in a channel.
const SPOTS: usize = 5;

/// Largest sample of 16 bits.
const MOST: i64 = u16::MAX as i64;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included: the upper bits of a product, without a division.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low + 1) as u64;
        low + ((u128::from(self.next()) * u128::from(span)) >> 64) as i64
    }
}

/// A generated picture, with the bytes that are digested.
pub(super) struct Picture {
    pub image: Image,
    /// Width and height in 32 bits, then the samples, all little-endian.
    pub bytes: Vec<u8>,
}

/// The pictures of `seed`: grey of 16 bits, smaller than most inputs; RGB, larger than the smallest ones; grey of 8 bits.
/// Between them they are enlarged and reduced, from every kind of sample that a picture file gives.
pub(super) fn pictures(seed: u64) -> [Picture; 3] {
    let mut random = Random(seed);
    let small = plane(&mut random, 61, 47);
    let colour = [(); 3].map(|()| plane(&mut random, 131, 97));
    let large = plane(&mut random, 200, 150);
    let byte = |sample: u16| (sample >> 8) as u8;
    let pixels = (0..131 * 97).flat_map(|i| colour.each_ref().map(|plane| byte(plane[i])));
    let (rgb, grey): (Vec<u8>, Vec<u8>) = (pixels.collect(), large.into_iter().map(byte).collect());
    let wide: Vec<u8> = small.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let fits = "as many samples as pixels, and sides above the least";
    [
        Picture { bytes: bytes(61, 47, &wide), image: Image::from_grey16(61, 47, small).expect(fits) },
        Picture { bytes: bytes(131, 97, &rgb), image: Image::from_rgb8(131, 97, rgb).expect(fits) },
        Picture { bytes: bytes(200, 150, &grey), image: Image::from_grey8(200, 150, grey).expect(fits) },
    ]
}

fn bytes(width: u32, height: u32, samples: &[u8]) -> Vec<u8> {
    [&width.to_le_bytes()[..], &height.to_le_bytes(), samples].concat()
}

/// A spot whose brightness falls off with the square of the distance from its centre.
struct Spot {
    x: i64,
    y: i64,
    /// Square of its radius.
    reach: i64,
    level: i64,
}

/// Samples of one channel, `[height, width]`: a slope, soft spots and noise.
fn plane(random: &mut Random, width: i64, height: i64) -> Vec<u16> {
    let level = random.between(MOST / 4, MOST / 2);
    let slope = (random.between(-160, 160), random.between(-160, 160));
    let spots: [Spot; SPOTS] = std::array::from_fn(|_| {
        let radius = random.between(height / 8, height / 2);
        let (x, y) = (random.between(0, width - 1), random.between(0, height - 1));
        Spot { x, y, reach: radius * radius, level: random.between(-24_000, 24_000) }
    });
    let mut samples = Vec::with_capacity((width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let mut value = level + slope.0 * (x - width / 2) + slope.1 * (y - height / 2);
            for spot in &spots {
                let distance = (x - spot.x) * (x - spot.x) + (y - spot.y) * (y - spot.y);
                value += spot.level * (spot.reach - distance).max(0) / spot.reach;
            }
            value += random.between(-2_000, 2_000);
            samples.push(value.clamp(0, MOST) as u16);
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 1234567, as other implementations of the generator give them.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random(1_234_567);
        let found = [(); 5].map(|()| random.next());
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn pictures_are_the_same_everywhere_and_not_flat() {
        let all = pictures(1);
        let digests = all.each_ref().map(|picture| crate::sealed::sha256(&picture.bytes));
        // A change of these is a new version of the attestation (`super::super::VERSION`).
        assert_eq!(digests, DIGESTS);
        for Picture { image, bytes } in &all {
            let tensor = image.tensor(crate::vit::Size::square(32), &crate::vit::Preprocess::IMAGENET);
            let (low, high) = tensor.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            assert!(high - low > 1.0 && bytes.len() > 5_000, "{low} {high}");
        }
        assert_ne!(pictures(2)[0].bytes, all[0].bytes);
    }

    /// A second implementation, in Python, gives the same.
    const DIGESTS: [&str; 3] = [
        "dc3096f3c620f1d9bdc06a7bce64e0b441fa2fac6b038b30b08893edd06a31f1",
        "7c1eec51b7babceb26985523806935cf6589ae837597e06a7d231777f8bce2ac",
        "dbd2d27d792d4397bba9527f622731e810e48e1197c3022e7d2fcf7e5e82164e",
    ];
}
