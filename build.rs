//! Cards and boards are embedded from `models/cards/` and `boards/`: a new one must rebuild the crate. Reports of a profile name the
//! commit that the program was built from, where that is known.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=models/cards");
    println!("cargo:rerun-if-changed=boards");
    if let (Some(commit), Some(log)) =
        (git(&["rev-parse", "--short=12", "HEAD"]), git(&["rev-parse", "--git-path", "logs/HEAD"]))
    {
        println!("cargo:rustc-env=MICRORAPTOR_COMMIT={commit}");
        println!("cargo:rerun-if-changed={log}");
    }
}

/// What git prints; None without git, or outside of a clone.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
