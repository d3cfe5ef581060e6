//! The password of a private key.

use std::io::{self, BufRead, Read};
use std::path::Path;

use anyhow::{Context, bail};
use microraptor::names::shown;
use microraptor::sign::{MIN_PASSWORD, read_private};

use crate::cli::args::PasswordArgs;

/// Longest password, in bytes, as minisign has it.
const MOST: usize = 1024;

/// A password for a new key, which is asked for twice.
pub fn new(args: &PasswordArgs) -> anyhow::Result<String> {
    if let Some(file) = &args.password_file {
        return first_line(file);
    }
    let password = ask(&format!("Password of the new key (at least {MIN_PASSWORD} characters): "))?;
    if ask("The same password again: ")? != password {
        bail!("the two passwords differ: try again");
    }
    checked(password)
}

/// The password of the key in the file `key`.
pub fn of(key: &Path, args: &PasswordArgs) -> anyhow::Result<String> {
    match &args.password_file {
        Some(file) => first_line(file),
        None => checked(ask(&format!("Password of {}: ", shown(key)))?),
    }
}

/// Asks on the terminal, which does not show what is typed.
fn ask(prompt: &str) -> anyhow::Result<String> {
    #[cfg(unix)]
    let answer = crate::cli::echo::kept(|| rpassword::prompt_password(prompt));
    #[cfg(not(unix))]
    let answer = rpassword::prompt_password(prompt);
    answer.context("there is no terminal on which to ask for the password: give --password-file")
}

/// The first line of a file of the user's own, or of standard input.
fn first_line(file: &Path) -> anyhow::Result<String> {
    let text = if file == Path::new("-") {
        let mut line = String::new();
        let mut input = io::stdin().lock().take(MOST as u64 + 2);
        input.read_line(&mut line).context("standard input: no password can be read there")?;
        line
    } else {
        read_private(file)?
    };
    let line = text.split('\n').next().unwrap_or_default();
    checked(line.strip_suffix('\r').unwrap_or(line).to_owned()).with_context(|| shown(file))
}

fn checked(password: String) -> anyhow::Result<String> {
    if password.is_empty() {
        bail!("the password is empty: a key is kept under a password");
    }
    if password.len() > MOST {
        bail!("the password is longer than {MOST} bytes");
    }
    Ok(password)
}
