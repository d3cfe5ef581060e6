//! `microraptor audit verify`

use std::io::Write;

use microraptor::audit::{Anchor, Fault, Report, Verdict, verify};
use microraptor::names::shown;
use serde_json::json;

use crate::cli::args::AuditVerifyArgs;
use crate::cli::terminal;

/// Prints what the log is found to be; whether it is whole.
pub fn run(args: &AuditVerifyArgs) -> anyhow::Result<bool> {
    let anchor = Anchor { sha256: args.head.clone(), lines: args.lines };
    let verdict = verify(&args.files, &anchor)?;
    let mut out = terminal::stdout();
    match &verdict {
        Verdict::Whole(report) if args.json => {
            let mut line = serde_json::to_value(report)?;
            line["whole"] = true.into();
            writeln!(out, "{line}")?;
        }
        Verdict::Broken(fault) if args.json => writeln!(out, "{}", json!({"whole": false, "fault": fault}))?,
        Verdict::Whole(report) => print(&mut out, report)?,
        Verdict::Broken(Fault { file, line, problem, .. }) => {
            writeln!(out, "{} line {line}: {problem}", shown(file))?;
        }
    }
    Ok(matches!(verdict, Verdict::Whole(_)))
}

fn print(out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
    let Report { lines, first, head, runs, unfinished, lost, torn } = report;
    writeln!(out, "{lines} lines are as they were written")?;
    if *first > 0 {
        writeln!(out, "the first one is line {first} of the chain: files before it were not given")?;
    }
    if let Some(head) = head {
        writeln!(out, "the last one is line {}, SHA-256 {}", head.seq, head.sha256)?;
    }
    writeln!(out, "{runs} runs began, {unfinished} of them did not say that they end")?;
    if *lost > 0 {
        writeln!(out, "{lost} lines could not be written")?;
    }
    for torn in torn {
        let file = shown(&torn.file);
        writeln!(
            out,
            "{file} line {}: {} bytes of a line that was not written to its end",
            torn.line, torn.bytes
        )?;
    }
    Ok(())
}
