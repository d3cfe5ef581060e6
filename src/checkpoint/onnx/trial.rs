//! Trial of an untrusted graph in another process, before tract handles it in this one.

use std::path::Path;
use std::sync::OnceLock;

use super::OnnxError;

/// Tries the file at `path`: opens it and, if `shape` is given, plans it for an input of that shape. The error says why
/// this process should not do the same.
pub type Trial = fn(path: &Path, shape: Option<&[usize]>) -> Result<(), String>;

static TRIAL: OnceLock<Trial> = OnceLock::new();

/// Sets the `trial` that ONNX files must pass before they are opened and before they are planned for a shape.
///
/// tract allocates as much as the file requests while it plans, and a failed allocation ends the process, so no check
/// within the process is safe. A program that opens untrusted files lets another process try them, within limits. Only
/// the first call has an effect. Without a trial, files are opened untried.
pub fn set_trial(trial: Trial) {
    let _ = TRIAL.set(trial);
}

/// Runs the trial on `path`, if one is set.
pub(crate) fn try_out(path: &Path, shape: Option<&[usize]>) -> Result<(), OnnxError> {
    let Some(trial) = TRIAL.get() else { return Ok(()) };
    trial(path, shape).map_err(|reason| OnnxError::Trial { path: path.into(), reason })
}
