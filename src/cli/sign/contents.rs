//! What a file to be signed holds.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use microraptor::board::Board;
use microraptor::checkpoint;
use microraptor::engine::is_onnx;
use microraptor::heads::Head;
use microraptor::profile::Deploy;
use microraptor::quant;
use microraptor::sign::Role;
use sha2::{Digest, Sha256};

use crate::cli::inputs;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// SHA-256 in lower-case hex of the file `path` alone.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let named = || path.display().to_string();
    let mut file = microraptor::files::open(path).with_context(named)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => digest.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(named),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// SHA-256 of what is read where `path` is used as `role`, which it must be fit for: a head in ONNX is read with the files
/// beside it. `own` is that of the file alone.
pub fn covered(path: &Path, role: Role, own: String) -> anyhow::Result<String> {
    match role {
        Role::Head => Ok(Head::read(path)?.1),
        Role::Deploy => Ok(Deploy::read(path)?.1),
        Role::Board => Ok(Board::read(path)?.1),
        Role::Model => is_model(path).map(|()| own),
    }
}

/// Refuses what is no model in one file.
fn is_model(path: &Path) -> anyhow::Result<()> {
    if quant::file::is_ours(path) {
        return Ok(());
    }
    if !is_onnx(path) {
        checkpoint::list_tensors(path)?;
    }
    let of_model = path.canonicalize().with_context(|| path.display().to_string())?;
    let read_too = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        !name.starts_with("licen") && file.canonicalize().is_ok_and(|file| file != of_model)
    };
    if let Some(more) = inputs::files(path).into_iter().find(|file| read_too(file)) {
        bail!(
            "{}: {} may be read together with it, and a signature is of one file: convert the model, so that one file \
             holds everything",
            path.display(),
            more.display()
        );
    }
    Ok(())
}
