//! Arguments of `attest`, and of what commands do at their start.

use std::path::PathBuf;

use clap::Args;

use super::{AnsweringArgs, HintArgs, Threads};

#[derive(Debug, Args)]
pub struct AttestArgs {
    /// Model file that `convert` wrote, or demo (omit it with --deploy, which names one)
    #[arg(required_unless_present = "deploy", value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Head file from `train`; may be repeated
    #[arg(long = "head", value_name = "FILE")]
    pub heads: Vec<PathBuf>,
    /// Deployment file from `profile --budget`: model, head, threads and instruction set
    #[arg(long, value_name = "deploy.toml", conflicts_with_all = ["heads", "model"])]
    pub deploy: Option<PathBuf>,
    /// Attest on each instruction set of this CPU, and not only on the one that is used
    #[arg(long)]
    pub all_isas: bool,
    /// Fail, with exit code 2, if the model or a head stores no attestation
    #[arg(long)]
    pub require: bool,
    /// Write a record: machine, firmware, program, files, digests, time
    #[arg(long, value_name = "FILE.json")]
    pub record: Option<PathBuf>,
    /// Print the record instead of lines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}

impl AttestArgs {
    /// What is attested, as for a command that answers.
    pub fn answering(&self) -> AnsweringArgs {
        AnsweringArgs {
            model: self.model.clone(),
            heads: self.heads.clone(),
            deploy: self.deploy.clone(),
            threads: self.threads.clone(),
            hints: self.hints.clone(),
        }
    }
}

/// Whether a command that runs on attests at its start.
#[derive(Clone, Copy, Debug, Args)]
pub struct StartArgs {
    /// Do not compare, before the first answer, what this machine computes with what the model and the heads were validated
    /// with
    #[arg(long)]
    pub no_attest: bool,
}
