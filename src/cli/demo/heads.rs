//! The two heads of the demonstration: one classifies the image, one segments the lesion.

use std::path::Path;

use anyhow::Context;
use microraptor::engine::{Engine, Session};
use microraptor::features::{Request, gather};
use microraptor::heads::{
    Bootstrap, Evaluation, EvaluationSet, FitOptions, Head, Outcome, Predictor, ProbeSearch, Provenance,
    Recipe, SegmentOptions, evaluate,
};
use microraptor::input::{LabelMap, Parts, ReadOptions};
use microraptor::vit::Size;

use super::phantoms::Phantoms;
use crate::cli::{backbone, progress};

/// A head, and its metrics on the held-out phantoms.
pub struct Measured {
    /// Name of its file.
    pub file: &'static str,
    /// The head.
    pub head: Head,
    /// Metrics on the held-out phantoms.
    pub judgement: Evaluation,
}

/// Both heads, and their predictions on the held-out phantoms.
pub struct Heads {
    /// Classifies the image.
    pub class: Measured,
    /// Segments the lesion.
    pub lesion: Measured,
    /// Indices of the held-out phantoms.
    pub test: Vec<usize>,
    /// Predicted mask of each held-out phantom.
    pub found: Vec<LabelMap>,
}

impl Heads {
    /// Fits both heads on the features of one backbone pass at `size`.
    ///
    /// # Errors
    /// If the backbone or a fit fails.
    pub fn fit(phantoms: &Phantoms, session: &mut Session, size: Size, seed: u64) -> anyhow::Result<Heads> {
        let engine = session.engine().clone();
        let layers = layers(engine.config().context("the built-in backbone has an architecture")?.depth);
        let (read, preprocess) = (ReadOptions::default(), engine.about().preprocess);
        let request = Request { size, preprocess: &preprocess, read: &read, tokens: Some(&layers) };
        let all: Vec<usize> = (0..phantoms.set.samples.len()).collect();
        let bar = progress::bar(all.len(), "features");
        let features = gather(session, &phantoms.set, &all, &request, None, &|| bar.inc(1))?;
        bar.finish_and_clear();
        let set = EvaluationSet {
            data: &phantoms.set,
            mask_classes: &phantoms.mask_classes,
            features: &features,
            masks: &phantoms.masks,
            multi_label: false,
        };
        set.check_masks()?;
        let parts = phantoms.set.split(seed, 0.0)?;
        let fit = Fit { set: &set, parts: &parts, engine: &engine, size, read: &read, seed };
        // Fitted as `profile` does it, so that the report has the same number at this size.
        let linear =
            Recipe::Linear(ProbeSearch { refit: true, ..ProbeSearch::default() }, FitOptions::default());
        let segment = Recipe::segment(&layers, SegmentOptions { seed, ..SegmentOptions::default() });
        let class = fit.head("class.safetensors", &linear)?;
        let lesion = fit.head("lesion.safetensors", &segment)?;
        let predictor = Predictor::new(&lesion.head.model, backbone::isa());
        let mut found = Vec::with_capacity(parts.test.len());
        for &i in &parts.test {
            if let Outcome::Mask(mask) = predictor.predict(&features[i])? {
                found.push(mask);
            }
        }
        Ok(Heads { class, lesion, test: parts.test, found })
    }

    /// Writes both head files into `folder`.
    ///
    /// # Errors
    /// If a file cannot be written; the message has the path.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        [&self.class, &self.lesion].into_iter().try_for_each(|m| Ok(m.head.save(folder.join(m.file))?))
    }
}

/// Blocks at a third, two thirds and the end of a backbone of `depth` blocks: early blocks have clearer edges.
fn layers(depth: usize) -> Vec<usize> {
    let mut layers: Vec<usize> = (1..=3).map(|third| (depth * third / 3).max(1) - 1).collect();
    layers.dedup();
    layers
}

/// Inputs shared by both fits.
struct Fit<'a> {
    set: &'a EvaluationSet<'a>,
    parts: &'a Parts,
    engine: &'a Engine,
    size: Size,
    read: &'a ReadOptions,
    seed: u64,
}

impl Fit<'_> {
    fn head(&self, file: &'static str, recipe: &Recipe) -> anyhow::Result<Measured> {
        let Fit { set, parts, engine, size, read, seed } = *self;
        let (isa, bootstrap) = (backbone::isa(), Bootstrap { seed, ..Bootstrap::default() });
        let bar = progress::bar(0, format!("fitting {}", file.trim_end_matches(".safetensors")));
        let fitted = recipe.fit(set, &parts.train, &parts.val, isa, &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let judgement = evaluate(&fitted.model, set, &parts.test, None, isa, &bootstrap)?;
        let examples = (parts.train.as_slice(), parts.val.as_slice());
        // Every phantom names its part.
        let provenance = Provenance { read: read.clone(), drawn: None };
        let validation = (&judgement).into();
        let mut head = Head::fitted(engine.about(), size, set, examples, fitted, validation, provenance)?;
        head.attestation = microraptor::attest::of_head(engine, &head)?;
        Ok(Measured { file, head, judgement })
    }
}

#[cfg(test)]
mod tests {
    use super::layers;

    #[test]
    fn three_blocks_of_any_depth_and_the_last_among_them() {
        assert_eq!(layers(12), [3, 7, 11]);
        assert_eq!(layers(8), [1, 4, 7]);
        assert_eq!(layers(6), [1, 3, 5]);
        assert_eq!(layers(1), [0]);
    }
}
