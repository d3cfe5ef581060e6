//! `microraptor profile`, and what happens with no command at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use microraptor::input::{Dataset, phantom_dataset};
use microraptor::profile::{self, Budget, Environment, Options, Results, Row, SCHEMA};

use super::args::{ProfileArgs, start_pool};
use super::models::giga;
use super::table::{render, table};
use super::{backbone, progress};

/// The architecture that is profiled where no model is given.
const DEFAULT_MODEL: &str = "untrained:dinov3-vits16";

/// The value of --data that stands for phantoms.
const PHANTOMS: &str = "phantoms";

/// Phantoms of each of the three kinds: 72 images, of which a third is held out. At 128, 224 and 384 px on two cores
/// their features take about half of the two minutes that the default run may last.
const PHANTOMS_PER_KIND: usize = 24;

/// Side of a phantom in pixels.
const PHANTOM_SIDE: usize = 256;

/// What no command at all stands for: the built-in model on phantoms, at sizes that end within two minutes.
pub const DEFAULT: [&str; 6] = ["microraptor", "profile", "--sizes", "128,224,384", "--data", PHANTOMS];

/// Measures latency, and accuracy beside it.
pub fn run(args: &ProfileArgs) -> anyhow::Result<()> {
    let options = options(args)?;
    let data = args.data.as_deref().map(|data| open_data(data, args)).transpose()?;
    if let Some(folder) = &args.output {
        profile::check_folder(folder)?;
    }
    let models = match args.models.as_slice() {
        [] => &[PathBuf::from(DEFAULT_MODEL)],
        models => models,
    };
    // All of them are opened before the first is measured: a wrong path should not cost the minutes before it.
    let engines = models.iter().map(|model| backbone::open(model)).collect::<anyhow::Result<Vec<_>>>()?;
    for engine in &engines {
        options.sizes.iter().try_for_each(|&size| engine.check_size(size))?;
    }

    let mut environment = Environment::here();
    let mut rows = Vec::new();
    for engine in &engines {
        let steps = profile::steps(&options, data.as_ref().map_or(0, |d| d.samples.len()));
        let bar = progress::bar(steps, engine.about().name.clone());
        rows.extend(profile::sweep(engine, &options, data.as_ref(), &|| bar.inc(1))?);
        bar.finish_and_clear();
    }
    environment.finish();
    let data = args.data.as_ref().map(|data| data.display().to_string());
    let results = Results { schema: SCHEMA, environment, data, rows };
    if let Some(folder) = &args.output {
        profile::save(&results, folder)?;
    }
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&results)?)?;
    } else {
        print(&results, &mut out)?;
        if let Some(folder) = &args.output {
            writeln!(out, "\nwritten: results.json and results.csv in {}", folder.display())?;
        }
    }
    Ok(())
}

fn options(args: &ProfileArgs) -> anyhow::Result<Options> {
    if !(args.seconds >= 0.0 && args.seconds <= 3600.0) {
        bail!("--seconds {}: give 0 to 3600", args.seconds);
    }
    let best = args.placement.choose(&[None])?.remove(0);
    start_pool(&best);
    let mut threads: Vec<Option<usize>> = args.threads.iter().copied().map(Some).collect();
    if threads.is_empty() {
        threads = vec![Some(1), Some(best.threads())];
        threads.dedup();
    }
    Ok(Options {
        sizes: args.sizes.clone(),
        threads: args.placement.choose(&threads)?,
        budget: Budget { runs: args.runs as usize, time: Duration::from_secs_f64(args.seconds) },
        accuracy_threads: best,
        seed: args.split.seed,
        val_share: args.split.val_share,
    })
}

fn open_data(data: &Path, args: &ProfileArgs) -> anyhow::Result<Dataset> {
    let dataset = if data == Path::new(PHANTOMS) {
        phantom_dataset(args.split.seed, PHANTOMS_PER_KIND, PHANTOM_SIDE)
    } else {
        Dataset::open(data)?
    };
    Ok(match &args.target {
        Some(target) => dataset.target(target)?,
        None => dataset,
    })
}

fn print(results: &Results, out: &mut impl Write) -> io::Result<()> {
    let e = &results.environment;
    writeln!(out, "{}, {} cores, {} {}, microraptor {}\n", e.cpu, e.cores, e.os, e.arch, e.version)?;
    let metric = results.rows.iter().find_map(|r| r.accuracy.as_ref()).map(|a| a.metric);
    let accuracy = metric.map(|m| format!("{m} [95%]"));
    let mut header =
        vec!["model", "runs on", "size", "threads", "GMAC", "min ms", "median", "p90", "p99", "runs"];
    header.extend(accuracy.as_deref());
    let mut table = table(&header, 2);
    for row in &results.rows {
        table.add_row(cells(row, metric.is_some()));
    }
    writeln!(out, "{}\n", render(&table))?;
    writeln!(
        out,
        "Latency is one image through the backbone, pixels to features; decoding and resizing are not in it."
    )?;
    if let Some(data) = &results.data {
        let images = results.rows.iter().find_map(|r| r.accuracy.as_ref()).map_or(0, |a| a.images);
        writeln!(
            out,
            "Accuracy is that of a linear probe trained at each size, on {images} held-out images of {data}, with a bootstrap interval."
        )?;
    }
    if results.rows.iter().any(|r| r.untrained) {
        writeln!(
            out,
            "UNTRAINED: the weights come from a seed. The latency is real; the accuracy says what random features \
             can do,\nnot what DINOv3 can. Give a checkpoint for that (`microraptor models` says where they are)."
        )?;
    }
    Ok(())
}

/// `int8 avx2`; `tract f32` where tract runs the model.
fn runs_on(backend: &str, isa: Option<&str>) -> String {
    match isa {
        Some(isa) => format!("{} {isa}", backend.trim_start_matches("microraptor ")),
        None => backend.to_owned(),
    }
}

fn cells(row: &Row, with_accuracy: bool) -> Vec<String> {
    let l = &row.latency;
    let ms = |v: f64| if v < 100.0 { format!("{v:.2}") } else { format!("{v:.1}") };
    let mut cells = vec![
        row.model.clone(),
        runs_on(row.backend, row.isa),
        row.size().to_string(),
        row.threads.to_string(),
        row.macs.map_or("-".into(), giga),
        ms(l.min_ms),
        ms(l.median_ms),
        ms(l.p90_ms),
        ms(l.p99_ms),
        l.runs.to_string(),
    ];
    if with_accuracy {
        cells.push(match &row.accuracy {
            Some(a) => match (a.low, a.high) {
                (Some(low), Some(high)) => format!("{:.3} [{low:.3}, {high:.3}]", a.value),
                _ => format!("{:.3}", a.value),
            },
            None => "-".into(),
        });
    }
    cells
}
