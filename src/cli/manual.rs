//! `microraptor manual`

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use microraptor::files::write_atomically;

use super::args::{Cli, ManualArgs};

/// Where the shells look for completions, below /usr/share.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/microraptor"),
    (Shell::Fish, "fish/vendor_completions.d/microraptor.fish"),
    (Shell::Zsh, "zsh/vendor-completions/_microraptor"),
];

/// Writes a manual page for the program and one for each command, and completions.
pub fn run(args: &ManualArgs) -> anyhow::Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let shown = || program.get_subcommands().filter(|command| !command.is_hide_set());
    page(&program, &args.folder)?;
    for command in shown() {
        page(command, &args.folder)?;
    }
    // The generators of completions offer hidden commands too.
    let mut offered =
        Command::new("microraptor").args(Cli::command().get_arguments()).subcommands(shown().cloned());
    for (shell, name) in COMPLETIONS {
        let mut text = Vec::new();
        generate(shell, &mut offered, "microraptor", &mut text);
        write(&args.folder.join(name), &text)?;
    }
    Ok(())
}

/// Writes the manual page of a command.
fn page(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    write(&folder.join("man/man1").join(page.get_filename()), &text)
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(path, |file| file.write_all(text))?)
}
