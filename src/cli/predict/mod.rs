//! `microraptor predict`

mod files;
mod line;
mod outputs;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use microraptor::heads::{Head, Outcome};
use microraptor::input::{InputError, expand};
use microraptor::pipeline::{Answer, Pipeline};
use microraptor::stamp::Stamp;

use super::args::PredictArgs;
use super::deployed::{Choice, Chosen, Deployed};
use super::head_line::HeadLine;
use super::loaded::{Loaded, cover, named, named_in};
use super::reading::{Read, readings};
use super::times::milliseconds;
use super::{backbone, limits, terminal};
use files::{Answered, Files};
use line::{Line, Milliseconds};

/// Prints one JSON line per image, clip or volume.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let (model, args, deployed) = chosen(args)?;
    let args = &args;
    if let Some(deployed) = &deployed {
        backbone::default_isa(deployed.isa())?;
    }
    let inputs = inputs(args)?;
    let mut heads = args.heads.iter().map(|path| Loaded::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(deployed) = &deployed {
        deployed.check_head(&heads[0])?;
    }
    let mut engine = None;
    if !args.outputs.is_empty() {
        let opened = backbone::open(&model, &args.hints.hints())?;
        heads.extend(outputs::heads(&opened, args)?);
        engine = Some(opened);
    }
    cover(&mut heads, args.coverage)?;
    let mut files = Files::new(args, &model, &inputs, &heads)?;
    let cores = args.threads.cores()?;
    let engine = match engine {
        Some(engine) => engine,
        None => backbone::open(&model, &args.hints.hints())?,
    };
    if let Some(deployed) = &deployed {
        deployed.check_model(engine.about())?;
    }
    let all: Vec<Arc<Head>> = heads.iter().map(|loaded| loaded.head.clone()).collect();
    let mut pipeline = Pipeline::new(engine.session(cores)?.pin_caller(), &all)
        .map_err(|error| named(error, &|head| heads[head].path.display().to_string()))?;
    // The same limit as for everything else that a file needs.
    pipeline.limit(limits::max_memory().map_or(usize::MAX, |bytes| bytes.0.try_into().unwrap_or(usize::MAX)));
    let readings = readings(&heads, &args.choices);
    if readings.len() > 1 && inputs.contains(&PathBuf::from("-")) {
        bail!(
            "standard input is read once, and these heads read it differently (window): run them one by one"
        );
    }
    let mut out = terminal::stdout();
    for path in &inputs {
        let start = Instant::now();
        // Heads with other reading options, overlays and DICOM objects read the input again.
        let stamp = if path == Path::new("-") { None } else { Stamp::of(path).ok() };
        let watched = limits::Watched::new(path.display().to_string());
        let mut line: Option<Line> = None;
        let mut said: Vec<Option<HeadLine>> = heads.iter().map(|_| None).collect();
        let mut decode = Duration::ZERO;
        for reading in &readings {
            pipeline.select(&reading.heads);
            let found = reading.run(&mut pipeline, path, args.stdin.format, &mut decode, &watched);
            let Read { info, geometry, frames, answers } =
                found.map_err(|error| named_in(error, path, &heads))?;
            let line =
                line.get_or_insert_with(|| Line::new(path, &info, engine.about(), args.with_identifiers));
            line.frames = frames;
            for Answer { head: i, outcome, ood } in answers {
                let mut head = HeadLine::new(&heads[i], &outcome);
                head.in_source_order(&info);
                head.unlike(ood);
                if let Outcome::Mask(mask) = &outcome {
                    head.measure(&heads[i], mask, &geometry);
                }
                let (info, read, loaded, outcome, about) =
                    (&info, &reading.read, &heads[i], &outcome, engine.about());
                files.write(Answered { path, info, read, loaded, outcome, about }, &mut head)?;
                said[i] = Some(head);
            }
        }
        if let Some(changed) = stamp.as_ref().and_then(Stamp::changed) {
            return Err(InputError::Changed { path: changed.to_owned() }.into());
        }
        let mut line = line.expect("at least one head");
        line.heads = said.into_iter().flatten().collect();
        line.ms = times(decode, &mut pipeline, start.elapsed());
        drop(watched);
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

/// The model, and the arguments completed from a deployment file.
fn chosen(args: &PredictArgs) -> anyhow::Result<(PathBuf, PredictArgs, Option<Deployed>)> {
    let mut args = args.clone();
    let choice = Choice {
        model: args.model.take(),
        heads: std::mem::take(&mut args.heads),
        hints: args.hints.clone(),
        threads: args.threads.clone(),
    };
    let Chosen { model, rest, choice, deployed } = choice.complete(args.deploy.as_deref())?;
    // With --deploy the argument in the place of MODEL is the first image.
    args.images.splice(0..0, rest);
    (args.heads, args.hints, args.threads) = (choice.heads, choice.hints, choice.threads);
    Ok((model, args, deployed))
}

/// The files, clips, volumes and streams that the arguments name.
fn inputs(args: &PredictArgs) -> anyhow::Result<Vec<PathBuf>> {
    let (streams, paths): (Vec<PathBuf>, Vec<PathBuf>) =
        args.images.iter().cloned().partition(|path| path == Path::new("-"));
    if streams.len() > 1 {
        bail!("standard input ('-') is given twice: give it once");
    }
    let mut all = if args.bags { paths } else { expand(&paths)?.paths };
    all.extend(streams);
    Ok(all)
}

/// Time of each stage, summed over all frames.
fn times(decode: Duration, pipeline: &mut Pipeline, total: Duration) -> Milliseconds {
    let spent = pipeline.elapsed();
    Milliseconds {
        decode: milliseconds(decode),
        resize: milliseconds(spent.resize),
        backbone: milliseconds(spent.backbone),
        head: milliseconds(spent.heads),
        total: milliseconds(total),
    }
}
