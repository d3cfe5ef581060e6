use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::*;

const SIDE: usize = 128;
const SEEDS: std::ops::Range<u64> = 0..8;

fn grey(phantom: &Phantom) -> &[u8] {
    phantom.image.pixels().as_bytes()
}

/// Mean grey level of `kind` minus that of the same tissue without a lesion, over all seeds and the pixels selected by
/// `region` from mask and position (row, col).
fn contrast(kind: PhantomKind, region: impl Fn(&[u8], usize, usize) -> bool) -> f64 {
    let (mut sum, mut pixels) = (0.0, 0);
    for seed in SEEDS {
        let (lesion, plain) = (phantom(seed, kind, SIDE), phantom(seed, PhantomKind::Background, SIDE));
        for i in (0..SIDE * SIDE).filter(|i| region(&lesion.mask, i / SIDE, i % SIDE)) {
            sum += f64::from(grey(&lesion)[i]) - f64::from(grey(&plain)[i]);
            pixels += 1;
        }
    }
    assert!(pixels > 500);
    sum / f64::from(pixels)
}

fn inside(mask: &[u8], row: usize, col: usize) -> bool {
    mask[row * SIDE + col] == 1
}

/// 2 to 8 mm below a lesion in the same column.
fn behind(mask: &[u8], row: usize, col: usize) -> bool {
    let mm = SIDE / 40;
    let above = |depth: usize| row >= depth && inside(mask, row - depth, col);
    above(8 * mm) && (0..2 * mm).all(|depth| !above(depth))
}

/// More than 6 mm to the side of any lesion.
fn beside(mask: &[u8], row: usize, col: usize) -> bool {
    let cols = col.saturating_sub(6 * SIDE / 40)..(col + 6 * SIDE / 40).min(SIDE);
    !mask[..].chunks(SIDE).any(|line| line[cols.clone()].contains(&1)) && row > 0
}

/// 60 dB span 255 levels: 4.25 levels per dB. The gland is near 0 dB, the noise in a cyst at -40 to -30 dB, a mass at
/// -13 dB or less; shadow and enhancement are about 0.5 dB/mm over several mm. Each bound is about half of the
/// predicted value.
#[test]
fn lesions_have_the_signs_of_their_kind() {
    let cyst = contrast(PhantomKind::Cyst, inside);
    let mass = contrast(PhantomKind::Mass, inside);
    assert!(cyst < -70.0 && mass < -30.0 && mass > cyst + 10.0, "inside: cyst {cyst}, mass {mass}");
    let (cyst, mass) = (contrast(PhantomKind::Cyst, behind), contrast(PhantomKind::Mass, behind));
    assert!(cyst > 8.0 && mass < -12.0, "behind: cyst {cyst}, mass {mass}");
    // Elsewhere the tissue is the same with different speckle: the mean over thousands of pixels changes by less than
    // half a dB.
    let (cyst, mass) = (contrast(PhantomKind::Cyst, beside), contrast(PhantomKind::Mass, beside));
    assert!(cyst.abs() < 2.0 && mass.abs() < 2.0, "beside: cyst {cyst}, mass {mass}");
}

/// Perimeter^2 / (4 pi area): 1 for a circle, larger for a more ragged margin.
fn raggedness(mask: &[u8]) -> f64 {
    let edges = (SIDE..SIDE * (SIDE - 1))
        .filter(|&i| mask[i] == 1)
        .flat_map(|i| [i - 1, i + 1, i - SIDE, i + SIDE])
        .filter(|&i| mask[i] == 0)
        .count();
    let area = mask.iter().filter(|&&m| m == 1).count();
    // Outlines along pixel edges are too long by a factor of 4 / pi on average.
    let perimeter = edges as f64 * std::f64::consts::PI / 4.0;
    perimeter * perimeter / (4.0 * std::f64::consts::PI * area as f64)
}

#[test]
fn margins_are_smooth_or_irregular() {
    for seed in SEEDS {
        let of = |kind| phantom(seed, kind, SIDE).mask;
        assert!(of(PhantomKind::Background).iter().all(|&m| m == 0));
        let (cyst, mass) = (raggedness(&of(PhantomKind::Cyst)), raggedness(&of(PhantomKind::Mass)));
        assert!(cyst < 1.3 && mass > cyst, "seed {seed}: cyst {cyst}, mass {mass}");
    }
}

#[test]
fn the_phantoms_of_every_machine_have_these_bits() {
    let mut hash = Sha256::new();
    for kind in PhantomKind::ALL {
        hash.update(grey(&phantom(1, kind, 96)));
    }
    let hex: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "4cd2efa53c0bc456");
}

#[test]
fn the_smallest_phantom_works() {
    for kind in PhantomKind::ALL {
        assert_eq!(phantom(0, kind, MIN_SIDE).image.width(), MIN_SIDE);
    }
}

#[test]
fn the_data_set_is_balanced_and_splits_as_it_says() {
    let data = phantom_dataset(3, 4, 32);
    assert_eq!(data.classes, ["background", "cyst", "mass"]);
    assert_eq!(data.counts(), [4, 4, 4]);
    let parts = data.split(0, 0.5).unwrap();
    assert_eq!((parts.train.len(), parts.val), (9, vec![3, 7, 11]));
    let names: BTreeSet<&str> = data.samples.iter().map(|s| &s.name[..]).collect();
    assert_eq!(names.len(), 12);
    assert_eq!(data, phantom_dataset(3, 4, 32));
    assert_ne!(data, phantom_dataset(4, 4, 32));
}
