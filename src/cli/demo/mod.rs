//! `microraptor demo`: the whole chain on the built-in backbone. It writes phantoms, fits two heads on them, and makes
//! a page of the predictions on held-out phantoms, with a profile report next to it.

mod gallery;
mod heads;
mod page;
mod phantoms;
mod summary;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::Parser;
use microraptor::engine::{DEMO, Engine};
use microraptor::files::write_atomically;
use microraptor::output::Inputs;
use microraptor::profile::{Results, check_folder};
use microraptor::vit::Size;
use serde_json::json;

use self::gallery::Example;
use self::heads::Heads;
use self::phantoms::Phantoms;
use super::args::{Cli, Command, DemoArgs, ProfileArgs};
use super::report::record;
use super::{backbone, inputs, profile, terminal};

/// Minimum measuring time per row of the report, in seconds: a small model runs many times in it.
const SECONDS: &str = "0.5";

/// Contents of the page.
struct Shown<'a> {
    engine: &'a Engine,
    size: Size,
    heads: &'a Heads,
    examples: Vec<Example>,
    results: &'a Results,
}

/// Makes the gallery. The page is written last, so that every file it links exists.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let folder = &args.output;
    let Some(&size) = args.sizes.iter().max_by_key(|size| size.height * size.width) else {
        bail!("--sizes: give at least one");
    };
    check_folder(folder)?;
    let mut read = Inputs::default();
    inputs::board(&mut read, &args.threads.placement);
    for own in ["", "phantoms", "pictures", "report", "report/heads"] {
        read.refuse_in(&folder.join(own), |name| Some(name.into()))?;
    }
    let cores = args.threads.cores()?;
    let engine = backbone::demo(backbone::isa())?;
    args.sizes.iter().try_for_each(|&size| engine.check_size(size))?;
    let mut session = engine.session(cores)?.pin_caller();
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;

    let phantoms = Phantoms::make(&folder.join("phantoms"), args.seed, args.phantoms as usize)?;
    let heads = Heads::fit(&phantoms, &mut session, size, args.seed)?;
    heads.save(folder)?;
    let one = args.threads.placement.choose(&[Some(1)])?.remove(0);
    let examples = gallery::make(folder, &phantoms, &heads, engine.session(one)?)?;
    let (results, _) = profile::measure(&sweep(args, &phantoms.csv)?, None)?;
    let shown = Shown { engine: &engine, size, heads: &heads, examples, results: &results };
    let page = folder.join("index.html");
    write_atomically(&page, |file| file.write_all(page::page(&shown).as_bytes()))?;

    let mut out = terminal::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&about(args, &phantoms, &shown))?)?;
    } else {
        print(&page, &phantoms, &shown, &mut out)?;
    }
    Ok(())
}

/// Arguments of the profile for the report: those of the command line, with the demo's values.
fn sweep(args: &DemoArgs, csv: &Path) -> anyhow::Result<ProfileArgs> {
    let usual = Cli::try_parse_from(["microraptor", "profile", DEMO, "--seconds", SECONDS, "--no-cache"])?;
    let Some(Command::Profile(mut sweep)) = usual.command else { bail!("profile is no command") };
    sweep.sizes.clone_from(&args.sizes);
    sweep.threads = args.threads.threads.into_iter().collect();
    sweep.placement = args.threads.placement.clone();
    sweep.data = Some(csv.to_owned());
    sweep.split.seed = args.seed;
    sweep.output = Some(args.output.join("report"));
    Ok(sweep)
}

/// Output of `--json`.
fn about(args: &DemoArgs, phantoms: &Phantoms, shown: &Shown) -> serde_json::Value {
    let about = shown.engine.about();
    json!({
        "schema": 1,
        "folder": microraptor::names::shown(&args.output),
        "backbone": {"name": about.name, "sha256": about.sha256, "untrained": about.untrained},
        "size": shown.size.to_string(),
        "seed": args.seed,
        "images": {"all": phantoms.set.samples.len(), "held_out": shown.heads.test.len()},
        "class": record(&shown.heads.class.judgement),
        "lesion": record(&shown.heads.lesion.judgement),
        "examples": shown.examples,
        "files": FILES,
    })
}

/// Files in the output folder, the page first.
const FILES: [&str; 6] = [
    "index.html",
    "class.safetensors",
    "lesion.safetensors",
    "phantoms/labels.csv",
    "pictures",
    "report/report.html",
];

fn print(page: &Path, phantoms: &Phantoms, shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let about = shown.engine.about();
    let (all, held_out) = (phantoms.set.samples.len(), shown.heads.test.len());
    writeln!(
        out,
        "{all} phantoms, {held_out} of them held out; {} {} at {} px\n",
        about.name,
        about.runs_on(),
        shown.size
    )?;
    writeln!(out, "class of the image       {}", summary::scores(&shown.heads.class.judgement))?;
    writeln!(out, "outline of the lesion    {}", summary::scores(&shown.heads.lesion.judgement))?;
    writeln!(out, "latency of the backbone  {}", summary::latency(shown.results, shown.size))?;
    for (i, line) in summary::resolution(shown.results).iter().enumerate() {
        writeln!(out, "{:<25}{line}", if i == 0 { "class, by input size" } else { "" })?;
    }
    writeln!(
        out,
        "\n[low, high]: 95% bootstrap intervals. Phantoms are no patients: this shows that the chain works."
    )?;
    if about.untrained {
        writeln!(
            out,
            "UNTRAINED: the weights of the backbone come from a seed; the heads find this in random features."
        )?;
    }
    let folder = page.parent().unwrap_or(Path::new(""));
    writeln!(
        out,
        "\nwritten to {}: {}\nopen {} in a browser",
        folder.display(),
        FILES.join(", "),
        page.display()
    )
}
