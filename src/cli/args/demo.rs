//! Arguments of `demo`.

use std::path::PathBuf;

use clap::{Args, value_parser};
use microraptor::vit::Size;

use super::Threads;

/// The whole chain on the built-in backbone.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Output folder: index.html, pictures, phantoms/labels.csv, heads and a profile report
    #[arg(short, long, value_name = "DIR", default_value = "microraptor-demo")]
    pub output: PathBuf,
    /// Number of phantoms of each of the three kinds; a third of them is held out
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = value_parser!(u32).range(6..=500))]
    pub phantoms: u32,
    /// Input sizes to profile; the heads and their pictures are made at the largest
    #[arg(
        long,
        visible_alias = "size",
        value_name = "R,...",
        value_delimiter = ',',
        default_value = "64,96,128,160,224"
    )]
    pub sizes: Vec<Size>,
    /// Seed of the phantoms and of every other random choice
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub threads: Threads,
}
