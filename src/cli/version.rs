//! `microraptor --version`

use std::io::Write;

use microraptor::Isa;

use super::terminal;

/// What is built in, and the terms of its licences; written by cargo-about (docs/packages.md).
const THIRD_PARTY: &str = include_str!("../../THIRD-PARTY.txt");
/// Ends the list of the licences, before their texts.
const TEXTS: &str = "\n\n====";

/// Prints name and version in one line; from `verbose` 1 how it was built, what it can run on here, and which licences
/// apply to it; from 2 the texts of these.
pub fn run(verbose: u8) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    writeln!(out, "microraptor {}", env!("CARGO_PKG_VERSION"))?;
    if verbose == 0 {
        return Ok(());
    }
    let here: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    let rows = [
        (
            "commit",
            option_env!("MICRORAPTOR_COMMIT").unwrap_or("not known: not built from a clone").to_owned(),
        ),
        ("target", env!("MICRORAPTOR_TARGET").to_owned()),
        ("compiler", env!("MICRORAPTOR_RUSTC").to_owned()),
        ("features", env!("MICRORAPTOR_FEATURES").replace(',', " ")),
        ("instruction sets", format!("{} (fastest last; this CPU)", here.join(" "))),
        ("licence", env!("CARGO_PKG_LICENSE").to_owned()),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<17} {value}")?;
    }
    let list = THIRD_PARTY.split(TEXTS).next().unwrap_or(THIRD_PARTY);
    let shown = if verbose == 1 { list } else { THIRD_PARTY };
    writeln!(out, "\n{}", shown.trim_end())?;
    if verbose == 1 {
        writeln!(out, "\nTheir texts: microraptor --version --verbose --verbose")?;
    }
    Ok(())
}
