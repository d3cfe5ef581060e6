//! Cards and boards are embedded from `models/cards/` and `boards/`: a new one must rebuild the crate. Reports of a profile name the
//! commit that the program was built from, where that is known; `--version --verbose` names compiler, target and features too.

use std::process::Command;
use std::{env, fs};

fn main() {
    // Cargo sets these for a build script.
    for (name, variable) in [("TARGET", "TARGET"), ("FEATURES", "CARGO_CFG_FEATURE")] {
        println!("cargo:rustc-env=MICRORAPTOR_{name}={}", env::var(variable).unwrap_or_default());
    }
    let rustc = env::var_os("RUSTC").and_then(|rustc| printed(Command::new(rustc).arg("--version")));
    println!("cargo:rustc-env=MICRORAPTOR_RUSTC={}", rustc.unwrap_or_default());
    println!("cargo:rerun-if-changed=models/cards");
    println!("cargo:rerun-if-changed=boards");
    if let (Some(commit), Some(log)) =
        (git(&["rev-parse", "--short=12", "HEAD"]), git(&["rev-parse", "--git-path", "logs/HEAD"]))
        && is_own_clone()
    {
        println!("cargo:rustc-env=MICRORAPTOR_COMMIT={commit}");
        println!("cargo:rerun-if-changed={log}");
    }
}

/// Whether the clone is of this package, and not of a product that holds a copy of it.
fn is_own_clone() -> bool {
    let top = git(&["rev-parse", "--show-toplevel"]).and_then(|top| fs::canonicalize(top).ok());
    let own = env::var_os("CARGO_MANIFEST_DIR").and_then(|own| fs::canonicalize(own).ok());
    top.is_some() && top == own
}

/// What git prints; None without git, or outside of a clone.
fn git(args: &[&str]) -> Option<String> {
    printed(Command::new("git").args(args))
}

/// What a command prints, if it succeeds.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
