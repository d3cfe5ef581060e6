//! Latency of a model on this machine.

use std::collections::BTreeSet;
use std::time::Duration;

use microraptor::board::Root;
use microraptor::profile::{Budget, Journal, Options, Sweep, Watch};
use microraptor::training::Recipe;
use microraptor::{Cores, ReadOptions, Size};
use pyo3::prelude::*;

use crate::error::failed;
use crate::model::{Model, size};

/// The rows of a sweep without data, as JSON: those of `microraptor profile MODEL --no-cold --json`.
#[pyfunction]
pub fn profile_json(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    sizes: Vec<Bound<'_, PyAny>>,
    threads: Vec<usize>,
    runs: usize,
    seconds: f64,
) -> PyResult<String> {
    let sizes = sizes.iter().map(|given| Ok(size(Some(given))?.unwrap_or(Size::square(224))));
    let sizes = sizes.collect::<PyResult<Vec<Size>>>()?;
    let time = Duration::try_from_secs_f64(seconds).map_err(failed)?;
    let engine = model.get().engine.clone();
    py.detach(|| {
        sizes.iter().try_for_each(|&size| engine.check_size(size)).map_err(failed)?;
        let options = Options {
            sizes,
            threads: threads.into_iter().map(Cores::from).collect(),
            budget: Budget { runs, time },
            scenarios: Vec::new(),
            accuracy_threads: Cores::from(1),
            recipe: Recipe::default(),
            head: "linear".to_owned(),
            folds: None,
            seed: 0,
            val_share: 0.25,
            read: ReadOptions::default(),
            cache: None,
        };
        let root = Root::live();
        let sweep = Sweep {
            engines: &[engine],
            latency_only: &BTreeSet::new(),
            peers: &[],
            options: &options,
            data: None,
            heads: None,
            watch: Watch { root: &root, meters: &Vec::new },
            cold: None,
            signals: None,
            feeds: &|_| None,
            tick: &|| {},
        };
        let found = sweep.run(&mut Journal::in_memory()).map_err(failed)?;
        serde_json::to_string(&found.rows).map_err(failed)
    })
}
