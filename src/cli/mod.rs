//! The command line: parse, call the library, print.

mod answering;
mod args;
mod attest;
mod audit;
mod backbone;
mod board;
mod card;
mod certainty;
mod cold;
mod compare;
mod contours;
mod convert;
#[cfg_attr(not(feature = "demo"), path = "demo_absent.rs")]
mod demo;
mod deployed;
#[cfg(all(unix, feature = "sign"))]
mod echo;
mod embed;
mod evaluate;
mod explained;
mod failure;
#[cfg_attr(not(feature = "dicom"), path = "fence_absent.rs")]
mod fence;
mod head_line;
mod info;
mod inputs;
mod limits;
mod loaded;
#[cfg(feature = "manual")]
mod manual;
mod masks;
mod models;
#[cfg(feature = "node")]
mod node;
mod notify;
#[cfg(feature = "dicom")]
mod objects;
mod predict;
mod private;
mod profile;
mod progress;
mod reading;
mod report;
mod sign;
mod signals;
mod stream;
mod table;
mod terminal;
mod times;
mod train;
#[cfg_attr(not(feature = "onnx"), path = "trial_absent.rs")]
mod trial;
mod trust;
mod usage;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{AuditCommand, Cli, Command};
use failure::{FAILURE, report};
use microraptor::names::printable;

/// The exit code of `compare` if something became worse, of `audit verify` if a log is not whole, and of `attest` if this
/// machine computes something else.
const REGRESSION: u8 = 1;

/// Parses the arguments, runs the command, and turns an error into one line on standard error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            report(&anyhow::anyhow!(usage::one_line(&error)));
            return ExitCode::from(FAILURE);
        }
        // Help: standard output, exit code 0.
        Err(error) => error.exit(),
    };
    // With nothing else of the program: what it starts here, the worker may not.
    if let Some(Command::Jpeg2000(args)) = &cli.command {
        return fence::run(args);
    }
    limits::catch_aborts();
    if cli.version {
        return ended(version::run(cli.verbose));
    }
    start_log(cli.verbose);
    // What runs until it is told to end has its own.
    if !runs_on(&cli.command) {
        signals::handle();
    }
    if let Err(error) = choose_isa(&cli) {
        report(&error);
        return ExitCode::from(FAILURE);
    }
    if let Err(error) = trust::choose(&cli.trust.trust, &cli.trust.trust_seen) {
        report(&error);
        return ExitCode::from(FAILURE);
    }
    let timeout = if reads_files(&cli.command) { limits::USUAL_TIMEOUT } else { limits::Seconds(0.0) };
    limits::choose(cli.limits, timeout);
    if !matches!(cli.command, Some(Command::Cold(_) | Command::Trial(_))) {
        trial::begin();
    }
    if let Err(error) = fence::begin(cli.limits.jpeg2000) {
        report(&error);
        return ExitCode::from(FAILURE);
    }
    let command = cli
        .command
        .unwrap_or_else(|| Cli::parse_from(profile::DEFAULT).command.expect("the default names a command"));
    let result = match command {
        Command::Info(args) => info::run(&args),
        Command::Card(args) => card::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Stream(args) => stream::run(&args),
        #[cfg(feature = "node")]
        Command::Node(args) => node::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Board(args) => board::run(&args),
        Command::Profile(args) => profile::run(&args, cli.isa.as_deref()),
        Command::Cold(args) => cold::run(&args),
        Command::Trial(args) => trial::run(&args),
        Command::Jpeg2000(args) => return fence::run(&args),
        #[cfg(feature = "manual")]
        Command::Manual(args) => manual::run(&args),
        #[cfg(feature = "sign")]
        Command::Key(args) => sign::key(&args),
        #[cfg(feature = "sign")]
        Command::Sign(args) => sign::sign(&args),
        Command::Verify(args) => sign::verify(&args),
        Command::Audit(args) => match args.command {
            AuditCommand::Verify(args) => return judged(audit::verify::run(&args)),
        },
        Command::Compare(args) => return judged(compare::run(&args)),
        Command::Attest(args) => return judged(attest::run(&args)),
    };
    ended(result)
}

/// The exit code of a command that compares.
fn judged(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(false) => ExitCode::from(REGRESSION),
        result => ended(result.map(|_| ())),
    }
}

/// Whether a command answers files of others, for which there is a time limit unless another one is given.
fn reads_files(command: &Option<Command>) -> bool {
    #[cfg(feature = "node")]
    if matches!(command, Some(Command::Node(_))) {
        return true;
    }
    matches!(command, Some(Command::Predict(_)))
}

/// Whether a command runs until a signal tells it to end.
fn runs_on(command: &Option<Command>) -> bool {
    #[cfg(feature = "node")]
    if matches!(command, Some(Command::Node(_))) {
        return true;
    }
    matches!(command, Some(Command::Stream(_)))
}

/// The exit code of a command, whose error is reported.
fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, closed the pipe.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(FAILURE)
        }
    }
}

/// Sets the instruction set given by `--isa`, or a default.
fn choose_isa(cli: &Cli) -> anyhow::Result<()> {
    match (&cli.isa, &cli.command) {
        // `profile` opens each model on every instruction set.
        (Some(name), Some(Command::Profile(_))) if name == profile::ALL_ISAS => backbone::choose_isa(None),
        // The deployment file may name one; it is read later, and only once.
        (None, Some(Command::Predict(args))) if args.answering.deploy.is_some() => Ok(()),
        (None, Some(Command::Stream(args))) if args.answering.deploy.is_some() => Ok(()),
        (None, Some(Command::Attest(args))) if args.deploy.is_some() => Ok(()),
        #[cfg(feature = "node")]
        (None, Some(Command::Node(args))) if args.answering.deploy.is_some() => Ok(()),
        (name, _) => backbone::choose_isa(name.as_deref()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Off)
        .filter_module("microraptor", level)
        .format(|out, record| {
            let style = out.default_level_style(record.level());
            let text = record.args().to_string().replace('\n', " ");
            writeln!(out, "[{style}{:<5}{style:#}] {}", record.level(), printable(&text))
        })
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_run_is_a_profile_with_accuracy() {
        let cli = Cli::try_parse_from(profile::DEFAULT).unwrap();
        let Some(Command::Profile(args)) = cli.command else { panic!("the default is a profile") };
        assert_eq!(args.data.as_deref(), Some(std::path::Path::new("phantoms")));
        let models: Vec<&str> = args.models.iter().filter_map(|model| model.to_str()).collect();
        let expected: &[&str] = if cfg!(feature = "demo") {
            &["demo", "untrained:dinov3-vits16", "untrained:dinov3-vitb16"]
        } else {
            &[]
        };
        assert_eq!(models, expected);
    }
}
