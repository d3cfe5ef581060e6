//! What a program does with a foreign graph before tract meets it in its own process.

use std::path::Path;
use std::sync::OnceLock;

use super::OnnxError;

/// Tries the file at `path` out: opens it, and where `shape` is given plans it for such an input. The error says why this
/// process should not.
pub type Trial = fn(path: &Path, shape: Option<&[usize]>) -> Result<(), String>;

static TRIAL: OnceLock<Trial> = OnceLock::new();

/// From now on ONNX files are tried out by `trial` before they are opened, and before they are planned for a shape.
///
/// tract allocates while it plans, as much as the file asks for, and an allocation that fails ends the process: no check
/// within the process is safe. A program that opens files of others lets another process try them, within limits. The first
/// call counts. Without one, files are opened untried.
pub fn set_trial(trial: Trial) {
    let _ = TRIAL.set(trial);
}

/// Tries `path` out, if there is a trial.
pub(crate) fn try_out(path: &Path, shape: Option<&[usize]>) -> Result<(), OnnxError> {
    let Some(trial) = TRIAL.get() else { return Ok(()) };
    trial(path, shape).map_err(|reason| OnnxError::Trial { path: path.into(), reason })
}
