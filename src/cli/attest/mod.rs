//! `microraptor attest`

mod record;
mod start;

use std::io::{self, Write};

use anyhow::bail;
use microraptor::attest;
use microraptor::files::{check_writable, write_atomically};
use microraptor::heads::Head;
use microraptor::kernels::Isa;
use microraptor::names::printable;

use super::answering::Answering;
use super::args::AttestArgs;
use super::{backbone, inputs, terminal};
use record::{LeftOut, Line, Record, Run};

pub use start::{Differs, at_start};

/// Compares what this machine computes with what the files store; whether all is equal.
pub fn run(args: &AttestArgs) -> anyhow::Result<bool> {
    let chosen = Answering::new(&args.answering())?;
    if let Some(path) = &args.record {
        check_writable(path)?;
        inputs::refuse(path, |read| chosen.add_files(read))?;
    }
    let heads = chosen.heads()?;
    let all: Vec<&Head> = heads.iter().map(|loaded| &*loaded.head).collect();
    let cores = chosen.cores()?;
    let isas = if args.all_isas { Isa::available() } else { vec![backbone::isa()] };
    let (mut runs, mut about) = (Vec::new(), None);
    for isa in isas {
        let engine = backbone::open_on(&chosen.model, isa, &chosen.hints())?;
        chosen.check(&engine)?;
        for loaded in &heads {
            loaded.check_backbone(&engine)?;
        }
        runs.push(Run::new(&attest::check(&engine, &all, cores.clone())?, &chosen.model, &heads));
        about = Some(engine.about().clone());
    }
    let (Some(about), Some(run)) = (about, runs.first()) else { bail!("no instruction set to run on") };
    let missing = run.left_out.iter().find(|_| args.require || run.checks.is_empty());
    if let Some(LeftOut { of, reason, why }) = missing {
        bail!("{of}: {why}{}", advice(reason));
    }
    let record = Record::new(&chosen.model, &about, &heads, runs);
    let json = serde_json::to_string_pretty(&record)?;
    if let Some(path) = &args.record {
        write_atomically(path, |file| writeln!(file, "{json}"))?;
    }
    let mut out = terminal::stdout();
    if args.json {
        writeln!(out, "{json}")?
    } else {
        print(&record, &mut out)?
    }
    Ok(record.equal)
}

/// What to do about what was left out.
fn advice(reason: &str) -> &'static str {
    match reason {
        "absent" => ": `convert` stores one with a model, and `train` with a head: make the file again",
        "not-exact" => ": measure it on this machine with `evaluate`, on images whose classes are known",
        _ => ": take the program that wrote it, or make the file again",
    }
}

fn print(record: &Record, out: &mut impl Write) -> io::Result<()> {
    for run in &record.runs {
        writeln!(out, "{}", run.title())?;
        for Line { of, part, size, expected, found, equal } in &run.checks {
            let size = size.as_deref().unwrap_or_default();
            let word = if *equal { "equal  " } else { "DIFFERS" };
            write!(out, "  {word}  {part:<8}  {size:<9}  {found}  {}", printable(of))?;
            if *equal { writeln!(out)? } else { writeln!(out, " (expected {})", printable(expected))? }
        }
        for LeftOut { of, why, reason } in &run.left_out {
            writeln!(out, "  note: {} {why}{}", printable(of), advice(reason))?;
        }
    }
    match record.equal {
        true => writeln!(out, "equal: this machine computes what was validated, to the bit"),
        false => writeln!(out, "DIFFERENT: this machine computes something else than was validated"),
    }
}
