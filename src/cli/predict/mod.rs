//! `microraptor predict`

mod contours;
mod explained;
mod files;
mod line;
mod outputs;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use microraptor::heads::Outcome;
use microraptor::input::{InputError, expand};
use microraptor::pipeline::{Answer, Pipeline};
use microraptor::stamp::Stamp;
use serde_json::json;

use super::answering::Answering;
use super::args::{PredictArgs, StartArgs};
use super::attest::at_start;
use super::audit::{self, Audit};
use super::contours::ask;
use super::head_line::HeadLine;
use super::loaded::{cover, named_in};
use super::reading::{Read, readings};
use super::times::milliseconds;
use super::{limits, terminal};
use files::{Answered, Files};
use line::{Line, Milliseconds};

/// Prints one JSON line per image, clip or volume.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let chosen = Answering::new(&args.answering)?;
    let inputs = inputs(&chosen, args)?;
    let mut heads = chosen.heads()?;
    let mut engine = None;
    if !args.outputs.is_empty() {
        let opened = chosen.engine()?;
        heads.extend(outputs::heads(&opened, args)?);
        engine = Some(opened);
    }
    cover(&mut heads, args.coverage)?;
    if args.explain.is_some() {
        explained::check(&heads)?;
    }
    let mut files = Files::new(args, &chosen, &inputs, &heads)?;
    let engine = match engine {
        Some(engine) => engine,
        None => chosen.engine()?,
    };
    let attest = at_start(StartArgs { no_attest: !args.attest }, &chosen, &engine, &heads)?;
    let mut pipeline = chosen.pipeline(&engine, &heads)?;
    ask(&mut pipeline, &heads);
    let mut audit = audit(args, &chosen, &inputs)?;
    audit.loaded(engine.about(), &heads, pipeline.session().threads())?;
    if args.attest {
        audit.attested(&attest)?;
    }
    // The same limit as for everything else that a file needs.
    pipeline.limit(limits::max_memory().map_or(usize::MAX, |bytes| bytes.0.try_into().unwrap_or(usize::MAX)));
    pipeline.explain(args.explain.is_some());
    let readings = readings(&heads, &args.choices);
    if readings.len() > 1 && inputs.contains(&PathBuf::from("-")) {
        bail!(
            "standard input is read once, and these heads read it differently (window): run them one by one"
        );
    }
    let mut out = terminal::stdout();
    let mut number = 0;
    let ended = inputs.iter().try_for_each(|path| {
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
            for Answer { head: i, outcome, ood, explanation, contours: zones } in answers {
                let mut head = HeadLine::new(&heads[i], &outcome);
                head.in_source_order(&info);
                head.unlike(ood);
                if let Outcome::Mask(mask) = &outcome {
                    head.measure(&heads[i], mask, &geometry);
                }
                head.contour(&heads[i], zones.as_ref(), &geometry);
                let (info, read, loaded, outcome, about) =
                    (&info, &reading.read, &heads[i], &outcome, engine.about());
                let contours = zones.as_ref();
                let answered = Answered { path, info, read, loaded, outcome, contours, about };
                files.write(answered, &mut head)?;
                contours::write(&mut files, answered, &mut head)?;
                if let Some(explanation) = &explanation {
                    explained::write(&mut files, answered, &geometry, explanation, &mut head)?;
                }
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
        let json = serde_json::to_string(&line)?;
        number += 1;
        audit.write(&audit::answer(number, &json))?;
        Ok(writeln!(out, "{json}")?)
    });
    audit.end("end of inputs", json!({"answered": number}), ended)
}

/// The audit log, in which it stands what answers.
fn audit(args: &PredictArgs, chosen: &Answering, images: &[PathBuf]) -> anyhow::Result<Audit> {
    let bags: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    Audit::open(&args.audit, "predict", &bags, |read| {
        chosen.add_files(read);
        args.classes.iter().chain(images).for_each(|path| read.add(path));
    })
}

/// The files, clips, volumes and streams that the arguments name.
fn inputs(chosen: &Answering, args: &PredictArgs) -> anyhow::Result<Vec<PathBuf>> {
    // With --deploy the argument in the place of MODEL is the first image.
    let images = chosen.rest.iter().chain(&args.images).cloned();
    let (streams, paths): (Vec<PathBuf>, Vec<PathBuf>) = images.partition(|path| path == Path::new("-"));
    if streams.is_empty() && paths.is_empty() {
        bail!("IMAGES is missing: name pictures, DICOM or NIfTI files, or folders of pictures");
    }
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
