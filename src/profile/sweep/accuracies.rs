//! Accuracies of a sweep: one for each combination of weights, backend and input size, shared by all instruction sets
//! and numbers of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::engine::{About, Engine};
use crate::features::{Request, ScanFeatures, gather};
use crate::heads::{Head, HeadModel};
use crate::profile::accuracy::{Examination, Measured};
use crate::profile::{
    Journal, Options, Outcomes, PeerSpec, ProfileError, Row, Why, headfile, peer_features, why,
};
use crate::vit::Size;

/// Everything that accuracy depends on.
pub(super) struct Configuration {
    model: String,
    sha256: String,
    backend: String,
    size: Size,
}

impl Configuration {
    fn of_engine(about: &About, size: Size) -> Configuration {
        let (model, sha256) = (about.name.clone(), about.sha256.clone());
        Configuration { model, sha256, backend: about.runs_on(), size }
    }

    fn of_peer(spec: &PeerSpec, size: Size) -> Configuration {
        let (model, sha256) = (spec.name.clone(), String::new());
        Configuration { model, sha256, backend: spec.backend(), size }
    }

    /// Configuration of a row.
    pub fn of_row(row: &Row) -> Configuration {
        let (model, sha256) = (row.model.clone(), row.sha256.clone());
        Configuration { model, sha256, backend: row.backend.clone(), size: row.size() }
    }

    fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.sha256, self.model, self.backend, self.size)
    }

    /// Empty outcomes of this configuration.
    fn outcomes(self) -> Outcomes {
        Outcomes {
            model: self.model,
            sha256: self.sha256,
            backend: self.backend,
            height: self.size.height,
            width: self.size.width,
            truth: Vec::new(),
            values: Vec::new(),
        }
    }
}

/// Result of one configuration.
pub(super) struct Judged {
    /// Accuracy and outcomes.
    pub measured: Measured,
    /// The evaluated head; `None` for a peer, or if an earlier run measured it and did not save it.
    pub head: Option<HeadModel>,
}

/// All accuracies of a sweep.
#[derive(Default)]
pub(super) struct Accuracies {
    judged: BTreeMap<String, Judged>,
    /// File of each saved head, keyed by the SHA-256 of the weights and the size.
    pub files: BTreeMap<(String, Size), PathBuf>,
    /// Where the answers at the largest size come from.
    pub why: Vec<Why>,
}

impl Accuracies {
    /// Result of one configuration.
    pub fn of(&self, configuration: &Configuration) -> Option<&Judged> {
        self.judged.get(&configuration.key())
    }

    /// Outcomes of each configuration.
    pub fn outcomes(&self) -> Vec<Outcomes> {
        self.judged.values().filter_map(|judged| judged.measured.outcomes.clone()).collect()
    }

    /// Name of the accuracy metric; empty if there are no accuracies.
    pub fn metric(&self) -> &str {
        self.judged.values().next().map_or("", |judged| &judged.measured.accuracy.metric)
    }
}

/// Which accuracies are measured, and how.
pub(super) struct Judging<'a> {
    pub engines: &'a [Engine],
    /// SHA-256 of the weights whose accuracy is not measured.
    pub latency_only: &'a BTreeSet<String>,
    pub peers: &'a [PeerSpec],
    pub options: &'a Options,
    /// Folder to save the heads in, if requested.
    pub heads: Option<&'a Path>,
    /// Called after each image of each configuration.
    pub tick: &'a dyn Fn(),
}

impl<'a> Judging<'a> {
    /// Engines whose accuracy is measured, one for each combination of weights and backend.
    pub fn judged(&self) -> Vec<&'a Engine> {
        let mut found: Vec<&Engine> = Vec::new();
        let judged = |engine: &&Engine| !self.latency_only.contains(&engine.about().sha256);
        for engine in self.engines.iter().filter(judged) {
            let identity = |e: &Engine| (e.about().sha256.clone(), e.about().runs_on());
            let same = |e: &&Engine| identity(e) == identity(engine);
            if !found.iter().any(same) {
                found.push(engine);
            }
        }
        found
    }

    /// Measures the accuracies that are not in `journal` yet.
    ///
    /// # Errors
    /// [`ProfileError`] if an image cannot be read, a fit fails, or a file cannot be written.
    pub fn accuracies(
        &self,
        examination: &Examination<'_>,
        journal: &mut Journal,
    ) -> Result<Accuracies, ProfileError> {
        let mut known = Accuracies::default();
        for engine in self.judged() {
            for &size in &self.options.sizes {
                let about = engine.about();
                let configuration = Configuration::of_engine(about, size);
                let key = configuration.key();
                let file = self.heads.map(|folder| folder.join(headfile::name(about, size)));
                if let Some(file) = &file {
                    known.files.insert((about.sha256.clone(), size), file.clone());
                }
                let place = format!("accuracy/{key}");
                let judged = if let Some(measured) = journal.get(&place) {
                    (0..examination.data.set.samples.len()).for_each(|_| (self.tick)());
                    let head = file.map(|file| Head::load(&file)).transpose()?;
                    Judged { measured, head: head.map(|head| head.model) }
                } else {
                    let features = self.features(engine, examination, size)?;
                    let (measured, fitted) = examination.measure(&features, configuration.outcomes())?;
                    let head = Some(fitted.model.clone());
                    if let Some(file) = &file {
                        headfile::save(file, engine, size, examination, &features, fitted, &measured)?;
                    }
                    Judged { measured: journal.part(&place, || Ok(measured))?, head }
                };
                if let (Some(head), true) =
                    (&judged.head, self.options.sizes.iter().max_by_key(|s| s.area()) == Some(&size))
                {
                    known.why.extend(self.why(engine, examination, (head, size), journal)?);
                }
                known.judged.insert(key, judged);
            }
        }
        self.accuracies_of_peers(examination, journal, &mut known)?;
        Ok(known)
    }

    /// Where the answers of a head come from; `None` if it has seen all images, or is not linear in the patches.
    fn why(
        &self,
        engine: &Engine,
        examination: &Examination<'_>,
        (head, size): (&HeadModel, Size),
        journal: &mut Journal,
    ) -> Result<Option<Why>, ProfileError> {
        if examination.roles.folds.is_some() {
            return Ok(None);
        }
        let key = Configuration::of_engine(engine.about(), size).key();
        journal.part(&format!("why/{key}"), || {
            let mut session = engine.session(&self.options.accuracy_threads)?.pin_caller();
            let images = (&examination.data.set, &examination.roles.held_out[..], &self.options.read);
            why::measure(engine, &mut session, (head, size), images)
        })
    }

    fn features(
        &self,
        engine: &Engine,
        examination: &Examination<'_>,
        size: Size,
    ) -> Result<Vec<ScanFeatures>, ProfileError> {
        let mut session = engine.session(&self.options.accuracy_threads)?.pin_caller();
        let (preprocess, read) = (&engine.about().preprocess, &self.options.read);
        let request = Request { size, preprocess, read, tokens: self.options.recipe.tokens() };
        let cache = self.options.cache.as_ref();
        Ok(gather(&mut session, &examination.data.set, &examination.used, &request, cache, self.tick)?)
    }

    fn accuracies_of_peers(
        &self,
        examination: &Examination<'_>,
        journal: &mut Journal,
        known: &mut Accuracies,
    ) -> Result<(), ProfileError> {
        if self.options.recipe.dense() {
            // A peer returns one row of features per image, which is not enough for masks.
            return Ok(());
        }
        let folder = tempfile::tempdir().map_err(ProfileError::temporary)?;
        for spec in self.peers {
            for &size in &self.options.sizes {
                let configuration = Configuration::of_peer(spec, size);
                let key = configuration.key();
                let measured = journal.part(&format!("accuracy/{key}"), || {
                    let features = peer_features::gather(spec, size, examination, folder.path(), self.tick)?;
                    Ok(examination.measure(&features, configuration.outcomes())?.0)
                })?;
                known.judged.insert(key, Judged { measured, head: None });
            }
        }
        Ok(())
    }
}
