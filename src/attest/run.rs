//! Runs a backbone on the pictures of a seed.

use sha2::{Digest, Sha256};

use super::AttestError;
use super::pictures::{Picture, pictures};
use crate::checkpoint::file::hex;
use crate::engine::{Engine, Session};
use crate::features::Geometry;
use crate::quant::AttestedRun;
use crate::vit::{Features, Size};

/// What a backbone makes of the pictures of one size.
pub(super) struct Made {
    pub run: AttestedRun,
    /// One for each picture: for heads the frames of one clip.
    pub frames: Vec<Features>,
    /// Of the first picture.
    pub geometry: Geometry,
}

/// Input sizes, and the indices of their pictures.
///
/// The smaller size is not square and has an odd number of patches, the larger one an even number: with CLS and four
/// registers 20 and 41 tokens, fewer and more than a thread takes at once, and no multiple of a tile. A ViT-B makes 7e9
/// multiply-accumulates of the three pictures.
fn plan(engine: &Engine) -> Vec<(Size, &'static [usize])> {
    if let Some(size) = engine.fixed_size() {
        return vec![(size, &[0, 1])];
    }
    // Only a graph that resizes its input has no patch, and that one is not exact.
    let patch = engine.patch().unwrap_or(16);
    vec![(Size { height: 3 * patch, width: 5 * patch }, &[0, 1]), (Size::square(6 * patch), &[2])]
}

/// Runs `session` on the pictures of `seed`; the blocks `layers` are kept with the features.
pub(super) fn run(session: &mut Session, seed: u64, layers: &[usize]) -> Result<Vec<Made>, AttestError> {
    let preprocess = session.engine().about().preprocess;
    let all = pictures(seed);
    session.keep_layers(layers)?;
    let mut made = Vec::new();
    for (size, indices) in plan(session.engine()) {
        let [mut shown, mut inputs, mut tokens] = [(); 3].map(|()| Sha256::new());
        let mut frames = Vec::new();
        for Picture { image, bytes } in indices.iter().map(|&i| &all[i]) {
            shown.update(bytes);
            let pixels = image.tensor(size, &preprocess);
            update(&mut inputs, &pixels);
            let features = session.run(&pixels, size)?;
            update(&mut tokens, &features.cls);
            update(&mut tokens, &features.patch);
            frames.push(features.clone());
        }
        let [pictures, input, features] = [shown, inputs, tokens].map(|hash| hex(&hash.finalize()));
        let run = AttestedRun { size: size.to_string(), pictures, input, features };
        made.push(Made { run, frames, geometry: Geometry::of_image(&all[indices[0]].image) });
    }
    Ok(made)
}

fn update(hash: &mut Sha256, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    hash.update(bytes);
}
