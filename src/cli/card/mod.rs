//! `microraptor card`: the model card of a head, with the headings of Mitchell et al. 2019, "Model Cards for Model
//! Reporting" (arXiv 1810.03993).
//!
//! What the head file records is filled in, numbers of `evaluate --json` are added, and what only the manufacturer knows
//! comes from a TOML file (`given.rs`). What nobody said is named as missing; nothing is made up.

mod blocks;
mod caveats;
mod details;
mod evaluated;
mod given;
mod html;
mod markdown;
mod numbers;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use microraptor::files::write_atomically;
use microraptor::heads::Head;
use serde_json::json;

use self::blocks::{Block, Section};
use self::evaluated::Evaluated;
use self::given::Given;
use super::args::CardArgs;
use super::{inputs, limits, terminal};

/// All that a card is made of.
struct Facts {
    head: Head,
    /// SHA-256 of the head's file.
    sha256: String,
    evaluations: Vec<Evaluated>,
    given: Given,
}

/// Writes or prints the card.
pub fn run(args: &CardArgs) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    let Some(path) = &args.head else {
        return Ok(out.write_all(given::template().as_bytes())?);
    };
    let html = args.output.as_deref().map(|output| is_html(output, args.json)).transpose()?;
    if let Some(output) = &args.output {
        inputs::refuse(output, |inputs| {
            inputs::head(inputs, path);
            args.evaluations.iter().chain(&args.text).for_each(|file| inputs.add(file));
        })?;
    }
    let watched = limits::Watched::new(path.display().to_string());
    let (head, sha256) = Head::read(path)?;
    let evaluations = args.evaluations.iter().map(|file| Evaluated::read(file, &head, &sha256));
    let evaluations = evaluations.collect::<anyhow::Result<Vec<_>>>()?;
    let given = args.text.as_deref().map(Given::read).transpose()?.unwrap_or_default();
    drop(watched);
    let facts = Facts { head, sha256, evaluations, given };
    let (title, sections) = (facts.title(), facts.sections());
    let text = match (args.json, html) {
        (true, _) => facts.json(&title, &sections)?,
        (_, Some(true)) => html::page(&title, &sections),
        _ => markdown::page(&title, &sections),
    };
    match &args.output {
        Some(output) => Ok(write_atomically(output.as_path(), |file| file.write_all(text.as_bytes()))?),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

/// Whether the ending of `output` asks for HTML.
fn is_html(output: &Path, json: bool) -> anyhow::Result<bool> {
    match (output.extension().and_then(OsStr::to_str), json) {
        (Some("json"), true) | (Some("md"), false) => Ok(false),
        (Some("html"), false) => Ok(true),
        (_, true) => bail!("{}: end its name in .json, or leave out --json", output.display()),
        _ => bail!("{}: end its name in .md or .html, or give --json", output.display()),
    }
}

impl Facts {
    fn title(&self) -> String {
        let Head { model, backbone, .. } = &self.head;
        match self.given.get("name") {
            Some(name) => format!("Model card: {name}"),
            None => format!("Model card: {} head on {}", model.kind(), backbone.name),
        }
    }

    /// The nine sections of the paper, in its order.
    fn sections(&self) -> Vec<Section> {
        let section = |title: &'static str, blocks: Vec<Block>| Section { title, blocks };
        let given = |names: &[&'static str]| names.iter().map(|name| self.given.block(name)).collect();
        vec![
            section("Model details", details::model(self)),
            section("Intended use", given(&["primary_uses", "primary_users", "out_of_scope"])),
            section("Factors", [given(&["factors"]), details::factors()].concat()),
            section("Metrics", numbers::metrics(self)),
            section(
                "Evaluation data",
                [given(&["evaluation_data"]), details::evaluation_data(self)].concat(),
            ),
            section("Training data", [given(&["training_data"]), details::training_data(self)].concat()),
            section("Quantitative analyses", numbers::analyses(self)),
            section("Ethical considerations", given(&["ethics"])),
            section("Caveats and recommendations", [given(&["caveats"]), caveats::all(self)].concat()),
        ]
    }

    fn json(&self, title: &str, sections: &[Section]) -> anyhow::Result<String> {
        let record = self.head.training.record.as_deref();
        let missing: Vec<&str> =
            sections.iter().flat_map(|section| &section.blocks).filter_map(Block::missing).collect();
        let card = json!({
            "title": title, "head_sha256": self.sha256, "sections": sections, "missing": missing,
            "validation": record.map(|record| &record.validation), "evaluations": self.evaluations,
        });
        Ok(serde_json::to_string_pretty(&card).context("the card")? + "\n")
    }
}
