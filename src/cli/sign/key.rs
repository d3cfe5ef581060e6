//! `microraptor key`

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use microraptor::sign::{PublicKey, SecretKey, read_private};

use super::password;
use crate::cli::args::{KeyAction, KeyArgs, PasswordArgs};
use crate::cli::terminal;

/// Makes a key pair, or prints a public key.
pub fn run(args: &KeyArgs) -> anyhow::Result<()> {
    match &args.action {
        KeyAction::New { output, password } => new(output, password),
        KeyAction::Show { file, password } => show(file, password),
    }
}

fn new(private: &Path, password: &PasswordArgs) -> anyhow::Result<()> {
    let public = private.with_extension("pub");
    if public == private {
        bail!("{}: that is the name of a public key: give another ending, such as .key", private.display());
    }
    for path in [private, &public] {
        if path.symlink_metadata().is_ok() {
            bail!("{}: is there already, and a key is not overwritten: choose another name", path.display());
        }
    }
    let (key, text) = SecretKey::generate(&password::new(password)?).map_err(anyhow::Error::msg)?;
    create(private, &text, 0o600)?;
    create(&public, &public_text(key.public()), 0o644)?;
    let mut out = terminal::stdout();
    writeln!(
        out,
        "{}: the private key, which only you can read: keep it and its password apart",
        private.display()
    )?;
    writeln!(out, "{}: the public key {}, for those who trust you", public.display(), key.public().id())?;
    Ok(())
}

fn show(file: &Path, password: &PasswordArgs) -> anyhow::Result<()> {
    let public = if file.extension().is_some_and(|e| e == "pub") {
        PublicKey::read(file)?
    } else {
        unlock(file, password)?.public().clone()
    };
    Ok(write!(terminal::stdout(), "{}", public_text(&public))?)
}

/// The private key in `file`.
pub fn unlock(file: &Path, password: &PasswordArgs) -> anyhow::Result<SecretKey> {
    let text = read_private(file)?;
    let password = password::of(file, password)?;
    SecretKey::decrypt(&text, &password).map_err(|problem| anyhow!("{}: {problem}", file.display()))
}

/// The text of a `.pub` file.
fn public_text(key: &PublicKey) -> String {
    format!("untrusted comment: microraptor public key {}\n{}\n", key.id(), key.line())
}

/// Writes a new file whole, or not at all, and never over another one; it has its permissions from the beginning.
fn create(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".microraptor-").suffix(".tmp");
        restrict(&mut builder, mode);
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(unix)]
fn restrict(builder: &mut tempfile::Builder, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn restrict(_: &mut tempfile::Builder, _: u32) {}
