//! Errors in the arguments, in one line: clap prints up to eight.

use clap::CommandFactory;

use super::args::Cli;

/// The message of `error`, its tips, and a pointer to the help.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut message = String::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let separator = match line {
            _ if message.is_empty() => "",
            _ if line.starts_with("tip:") => "; ",
            // Missing arguments come one per line, after a colon; possible values come in brackets.
            _ if line.starts_with('[') || message.ends_with(':') => " ",
            _ => ", ",
        };
        message.push_str(separator);
        message.push_str(line.strip_prefix("error: ").unwrap_or(line));
    }
    format!("{message}; see '{} --help'", command())
}

/// The program's name, followed by the subcommand if one was given.
fn command() -> String {
    let cli = Cli::command();
    let called =
        std::env::args_os().skip(1).find_map(|arg| cli.find_subcommand(arg).map(clap::Command::get_name));
    [Some(cli.get_name()), called].into_iter().flatten().collect::<Vec<_>>().join(" ")
}
