//! Cold start of one row of a profile, in a new process: time from process start to the first features, and memory.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use microraptor::board::sensors::process_memory;
use microraptor::board::{Cores, Root};
use microraptor::profile::{ColdStart, ProfileError, Row, picture};

use super::args::{ColdArgs, HintArgs, start_pool};
use super::{backbone, terminal};

/// Runs in the new process: loads the model, runs one image, prints times and memory as JSON.
pub fn run(args: &ColdArgs) -> anyhow::Result<()> {
    let cores = args.placement.choose(&[Some(args.threads)])?.remove(0);
    start_pool(&cores);
    let start = Instant::now();
    let engine = backbone::open(&args.model, &args.hints.hints())?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let pixels = picture(args.size).tensor(args.size, &engine.about().preprocess);
    let first = Instant::now();
    engine.session(&cores)?.pin_caller().run(&pixels, args.size)?;
    let first_ms = first.elapsed().as_secs_f64() * 1e3;
    let memory = process_memory(&Root::live());
    let cold = ColdStart {
        load_ms,
        first_ms,
        process_ms: 0.0,
        resident_kib: memory.map(|m| m.resident_kib),
        peak_kib: memory.and_then(|m| m.peak_kib),
    };
    writeln!(terminal::stdout(), "{}", serde_json::to_string(&cold)?)?;
    Ok(())
}

/// Starts this program again for `row` of `model`. `None`, with a warning, if it cannot be started: a user-mode
/// emulator that runs this process does not always run its children.
///
/// # Errors
/// [`ProfileError::Cold`] if the new process fails.
pub fn measure(
    model: &Path,
    row: &Row,
    cores: &Cores,
    hints: &HintArgs,
) -> Result<Option<ColdStart>, ProfileError> {
    let failed = |reason: String| ProfileError::Cold { model: model.display().to_string(), reason };
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut command = Command::new(program);
    command.arg("cold").arg(model).args(["--size", &row.size().to_string()]);
    command.args(["--threads", &cores.threads().to_string()]);
    if !cores.cpus().is_empty() {
        command.args(["--cores", &cores.cpus().to_string()]);
    }
    command.args(hints.arguments());
    if let Some(isa) = &row.isa {
        command.args(["--isa", isa]);
    }
    let start = Instant::now();
    let absent = |why: &dyn std::fmt::Display| {
        log::warn!("no cold start of {}: a new process cannot be started ({why})", row.label());
        Ok(None)
    };
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return absent(&error),
    };
    // This program always prints why it fails. A process that exits silently, and not by a signal, never became this
    // program: that is how an emulator reports that it could not start the child.
    if !output.status.success() && output.status.code().is_some() && output.stderr.is_empty() {
        return absent(&output.status);
    }
    let process_ms = start.elapsed().as_secs_f64() * 1e3;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or("the process was killed").trim_start_matches("error: ");
        return Err(failed(last.to_owned()));
    }
    let cold: ColdStart = serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
    Ok(Some(ColdStart { process_ms, ..cold }))
}
