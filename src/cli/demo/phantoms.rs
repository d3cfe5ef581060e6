//! Phantoms on disk, as labelled data for every command.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use microraptor::files::write_atomically;
use microraptor::input::{Dataset, LabelMap, PhantomKind, ReadOptions, Split, phantom};
use microraptor::output::{write_mask, write_picture};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::cli::{masks, progress};

/// Side of a phantom in pixels.
const SIDE: usize = 256;

/// Classes of the masks: everything in a phantom except tissue is lesion.
const MASK_CLASSES: [&str; 2] = ["background", "lesion"];

/// Labelled images, read back from disk.
pub struct Phantoms {
    /// Path of `labels.csv`.
    pub csv: PathBuf,
    /// The images.
    pub set: Dataset,
    /// Mask of each image.
    pub masks: Vec<LabelMap>,
    /// Classes of the masks.
    pub mask_classes: Vec<String>,
}

impl Phantoms {
    /// Writes `per_kind` phantoms of each kind into `images/` and `masks/` below `folder`, then `labels.csv`, and reads
    /// them.
    ///
    /// # Errors
    /// If a file cannot be written or read; the message has the path.
    pub fn make(folder: &Path, seed: u64, per_kind: usize) -> anyhow::Result<Phantoms> {
        for part in ["images", "masks"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let seeds: Vec<u64> = (0..3 * per_kind).map(|_| rng.next_u64()).collect();
        let bar = progress::bar(seeds.len(), "phantoms");
        let write = |(i, &seed): (usize, &u64)| {
            let (kind, number) = (PhantomKind::ALL[i / per_kind], i % per_kind);
            let made = phantom(seed, kind, SIDE);
            let [image, mask] = names(kind, number);
            write_picture(&folder.join(image), &made.image)?;
            let map = LabelMap::new(1, SIDE, SIDE, made.mask)?;
            write_mask(&folder.join(mask), &map, 0, MASK_CLASSES.len())?;
            bar.inc(1);
            anyhow::Ok(())
        };
        seeds.par_iter().enumerate().try_for_each(write)?;
        bar.finish_and_clear();
        let csv = folder.join("labels.csv");
        write_atomically(&csv, |file| file.write_all(list(per_kind).as_bytes()))?;
        let set = Dataset::open(&csv)?;
        let names = MASK_CLASSES.map(str::to_owned);
        let (masks, mask_classes) = masks::read(&set, &csv, &ReadOptions::default(), &names)?;
        Ok(Phantoms { csv, set, masks, mask_classes })
    }
}

/// Paths of a phantom's image and mask, relative to `labels.csv`.
fn names(kind: PhantomKind, number: usize) -> [String; 2] {
    ["images", "masks"].map(|part| format!("{part}/{}-{number:03}.png", kind.name()))
}

/// Split of phantom `number` of `per_kind`: of each kind a third for testing, a sixth for validation, the rest for
/// training.
fn split(number: usize, per_kind: usize) -> Split {
    let (test, val) = (per_kind / 3, (per_kind / 6).max(1));
    match number {
        n if n + test >= per_kind => Split::Test,
        n if n + test + val >= per_kind => Split::Val,
        _ => Split::Train,
    }
}

/// Text of `labels.csv`.
fn list(per_kind: usize) -> String {
    let mut text = "image,mask,label,split\n".to_owned();
    for kind in PhantomKind::ALL {
        for number in 0..per_kind {
            let split = match split(number, per_kind) {
                Split::Train => "train",
                Split::Val => "val",
                Split::Test => "test",
            };
            let [image, mask] = names(kind, number);
            text.push_str(&format!("{image},{mask},{},{split}\n", kind.name()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_images_for_each_purpose() {
        for per_kind in [6, 7, 48, 500] {
            let count = |wanted| (0..per_kind).filter(|&n| split(n, per_kind) == wanted).count();
            let [train, val, test] = [Split::Train, Split::Val, Split::Test].map(count);
            assert_eq!((val, test), (per_kind / 6, per_kind / 3));
            assert!(train >= 3 && train + val + test == per_kind, "{per_kind}");
        }
    }
}
