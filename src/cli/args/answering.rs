//! Arguments of the commands that answer: `predict`, `stream` and `node`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{HintArgs, Threads};

/// A model and heads, by their names or by a deployment file.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("answers").required(true).multiple(true))]
pub struct AnsweringArgs {
    /// Backbone that the heads were trained on (omit it with --deploy, which names one)
    #[arg(required_unless_present = "deploy", value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Head file from `train`; may be repeated: the backbone runs once for all heads of the same input size
    #[arg(long = "head", group = "answers", value_name = "FILE")]
    pub heads: Vec<PathBuf>,
    /// Deployment file from `profile --budget`: model, head, threads and instruction set
    #[arg(long, group = "answers", value_name = "deploy.toml", conflicts_with = "heads")]
    pub deploy: Option<PathBuf>,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub hints: HintArgs,
}
