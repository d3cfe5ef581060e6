//! Tries out an ONNX graph that tract runs, in a separate process first.
//!
//! While it plans, tract evaluates and allocates as much as the file demands: a graph of 150 bytes can request
//! terabytes, and a failed allocation ends the process. So the program starts itself again under limits of memory and
//! time. The child opens, plans and runs the graph once, and this process continues only if that succeeded. An ordinary
//! error in the trial does not stop it: the same error then occurs here, with its own message.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use microraptor::Engine;
use microraptor::checkpoint::onnx::{external_files, set_trial};
use microraptor::engine::is_onnx;
use microraptor::graph::head::OnnxFunction;
use microraptor::kernels::Isa;
use microraptor::vit::Size;

use super::args::TrialArgs;
use super::limits::{self, Bytes, Seconds};

/// Number of copies of the weights held at once while a graph is read and planned: the file, the protobuf messages,
/// tract's tensors, and the tensors packed for its kernels, old and new at the same time.
const COPIES: u64 = 6;

/// Polling interval for the end of the trial.
const POLL: Duration = Duration::from_millis(2);

/// Makes this process try out graphs, from now on, before it plans them.
pub fn begin() {
    set_trial(|path, shape| limits::apart(|| try_out(path, shape)));
}

/// Runs in the new process: opens the graph as the program would, or plans it for an input of `shape` and runs it once.
pub fn run(args: &TrialArgs) -> anyhow::Result<()> {
    let TrialArgs { model, shape, memory } = args;
    // The child has its own limits too, in case its parent is gone and cannot kill it.
    let _watched = limits::Watched::new(model.display().to_string());
    let length = std::fs::metadata(model)?.len();
    if let Some(memory) = memory {
        let before = limits::address_space();
        bound(before, memory.0 + COPIES * length);
        let outside = if is_onnx(model) { external_files(model)? } else { Vec::new() };
        let outside = outside.iter().filter_map(|file| std::fs::metadata(file).ok());
        let length = outside.fold(length, |sum, metadata| sum.saturating_add(metadata.len()));
        bound(before, memory.0.saturating_add(COPIES.saturating_mul(length)));
    }
    if shape.is_empty() {
        Engine::open_for(model, Isa::best())?;
    } else if let (false, &[_, _, height, width]) = (is_onnx(model), &shape[..]) {
        // A converted model with a graph around its backbone.
        let size = Size { height, width };
        let values = size.grid(1).map(|(height, width)| 3 * height * width)?;
        Engine::open_for(model, Isa::best())?.session(1)?.run(&vec![0.0; values], size)?;
    } else {
        let values = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        let zeros = vec![0.0; values.ok_or_else(|| anyhow::anyhow!("{shape:?} is no shape"))?];
        OnnxFunction::load(model)?.run(shape, &zeros)?;
    }
    Ok(())
}

/// Limits the address space of this process to `bytes` above `before`.
#[cfg(target_os = "linux")]
fn bound(before: u64, bytes: u64) {
    let wanted = before.saturating_add(bytes);
    let limited =
        rlimit::Resource::AS.get().and_then(|(_, hard)| rlimit::Resource::AS.set(wanted.min(hard), hard));
    if let Err(error) = limited {
        log::warn!("the memory of a trial cannot be bound: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn bound(_: u64, _: u64) {}

/// Tries out `path`, for an input of `shape` or only to open it. A trial that succeeded is not repeated.
fn try_out(path: &Path, shape: Option<&[usize]>) -> Result<(), String> {
    static SOUND: Mutex<BTreeSet<(PathBuf, Vec<usize>)>> = Mutex::new(BTreeSet::new());
    let key = (path.to_owned(), shape.unwrap_or_default().to_vec());
    if SOUND.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
        return Ok(());
    }
    let (memory, timeout) = (limits::max_memory(), limits::timeout_apart());
    let mut command = match std::env::current_exe() {
        Ok(program) => Command::new(program),
        Err(error) => return absent(&error),
    };
    command.arg("trial").arg(path);
    if let Some(shape) = shape {
        let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
        command.args(["--shape", &sides.join(",")]);
    }
    if let Some(Seconds(timeout)) = timeout {
        // Well after this process should have killed it.
        command.args(["--timeout", &(2.0 * timeout + 10.0).to_string()]);
    }
    // No limit here, because it would count the weights: `--memory` limits the memory above them.
    command.args(["--max-memory", "0"]);
    if let Some(Bytes(memory)) = memory {
        command.args(["--memory", &memory.to_string()]);
    }
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return absent(&error),
    };
    let Some(status) = wait(&mut child, timeout.map(|timeout| Duration::from_secs_f64(timeout.0))) else {
        let timeout = timeout.expect("nothing else ends the wait");
        return Err(format!("planning it takes longer than {timeout}: refused; give --timeout for more"));
    };
    let mut said = String::new();
    let _ = child.stderr.take().map(|stderr| stderr.take(1 << 16).read_to_string(&mut said));
    // Messages of Rust and of tract.
    let starved = ["memory allocation of", "failed to allocate"].iter().any(|words| said.contains(words));
    match memory {
        Some(memory) if starved => Err(format!(
            "planning it needs more than {memory} of memory above its weights: refused; give --max-memory for more"
        )),
        // An error that the program itself reports occurs here again, with the full message.
        _ if status.success() || said.starts_with("error: ") => {
            SOUND.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
            Ok(())
        }
        // A process that exits silently, and not by a signal, never became this program: an emulator reports it so.
        _ if said.is_empty() && status.code().is_some() => absent(&status),
        _ => Err(format!("tract cannot plan it and would end the program ({status}): refused")),
    }
}

/// Waits for `child` to end. After `timeout` it is killed, and the result is `None`.
fn wait(child: &mut Child, timeout: Option<Duration>) -> Option<std::process::ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if timeout.is_none_or(|timeout| started.elapsed() < timeout) => thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// If no new process can be started, the graph is planned without a trial.
fn absent(why: &dyn std::fmt::Display) -> Result<(), String> {
    log::warn!("an ONNX graph is planned without a trial, for a new process cannot be started ({why})");
    Ok(())
}
