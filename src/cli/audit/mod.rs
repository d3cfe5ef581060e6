//! The audit log of a command, and `microraptor audit`.

mod class;
mod settings;
pub mod verify;

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
pub use microraptor::audit::Event;
use microraptor::audit::{Log, Program, Written, digest};
use microraptor::engine::About;
use microraptor::names::{printable, shown};
use microraptor::output::{FileId, Inputs};
use serde_json::{Value, json};

use super::args::AuditArgs;
use super::failure::one_line;
use super::inputs;
use super::loaded::Loaded;
pub use class::class;

/// What a command writes down; nothing without `--audit`.
pub struct Audit {
    log: Option<Log>,
    ended: bool,
    /// Whether it ended without an error.
    clean: bool,
}

/// That lines are missing from the log, or come again.
pub enum Notice {
    Failed { problem: String },
    Again { lost: u64 },
}

impl Audit {
    /// Opens the log and says that the command begins. The log is none of the files that `gather` adds, nor in one of the
    /// folders of which all files are read.
    pub fn open(
        args: &AuditArgs,
        command: &str,
        folders: &[&Path],
        gather: impl FnOnce(&mut Inputs),
    ) -> anyhow::Result<Audit> {
        let Some(path) = &args.audit else { return Ok(Audit { log: None, ended: true, clean: false }) };
        inputs::refuse(path, gather)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(read) =
            folders.iter().find(|read| read.is_dir() && FileId::of(read) == FileId::of(folder))
        {
            bail!(
                "{}: all files of this folder are read: put the audit log into another one",
                read.display()
            );
        }
        let mut audit = Audit { log: Some(Log::open(path, args.options())?), ended: false, clean: false };
        let program = Program {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("MICRORAPTOR_COMMIT").map(str::to_owned),
            target: env!("MICRORAPTOR_TARGET").into(),
            features: env!("MICRORAPTOR_FEATURES").into(),
        };
        audit.write(&Event::Start { command: command.into(), program, settings: settings::given() })?;
        Ok(audit)
    }

    /// Model and heads are open, on so many threads.
    pub fn loaded(&mut self, about: &About, heads: &[Loaded], threads: usize) -> anyhow::Result<()> {
        self.write(&Event::Loaded { model: model(about), heads: names(heads), threads })
    }

    /// What comparing with the digests in the files gave, as the first line of a stream says it.
    pub fn attested(&mut self, attest: &Value) -> anyhow::Result<()> {
        self.write(&self::attest(attest))
    }

    /// Writes down that a command ends with `error` before its model and heads are open; the error.
    pub fn failed(args: &AuditArgs, command: &str, folders: &[&Path], error: anyhow::Error) -> anyhow::Error {
        match Audit::open(args, command, folders, |_| {}) {
            Ok(audit) => audit.end("error", json!({}), Err(error)).expect_err("it is returned"),
            // One line is reported, and this one comes first.
            Err(other) => {
                log::warn!("{}", one_line(&other));
                error
            }
        }
    }

    /// Writes a line; what cannot be written and is not an error is a warning.
    pub fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        match self.say(event)? {
            None => {}
            Some(Notice::Failed { problem }) => log::warn!("{problem}: answers are given without it"),
            Some(Notice::Again { lost }) => {
                log::warn!("the audit log is written again: it lacks {lost} lines")
            }
        }
        Ok(())
    }

    /// Writes a line.
    pub fn say(&mut self, event: &Event) -> anyhow::Result<Option<Notice>> {
        let Some(log) = &mut self.log else { return Ok(None) };
        if let Event::Stop { reason, .. } = event {
            (self.ended, self.clean) = (true, reason != "error");
        }
        Ok(match log.append(event)? {
            Written::Yes | Written::Lost { problem: None } => None,
            Written::Again { lost } => Some(Notice::Again { lost }),
            Written::Lost { problem: Some(problem) } => Some(Notice::Failed { problem }),
        })
    }

    /// Says that the command ends, with its error if there is one; the error is returned.
    pub fn end(mut self, reason: &str, counts: Value, ended: anyhow::Result<()>) -> anyhow::Result<()> {
        let reason = if ended.is_ok() { reason } else { "error" };
        let said =
            ended.as_ref().err().map_or(Ok(()), |error| self.write(&Event::Error { class: class(error) }));
        let stopped = said.and_then(|()| self.write(&Event::Stop { reason: reason.into(), counts }));
        ended.and(stopped)
    }
}

impl Audit {
    /// Says how the log ends: whoever writes that down elsewhere finds lines that are removed from the end. Later lines
    /// go nowhere.
    pub fn close(&mut self) {
        if !self.ended {
            // The error that ends the command is reported.
            let _ = self.say(&Event::Stop { reason: "error".into(), counts: json!({}) });
        }
        let log = self.log.take();
        let Some(head) = log.as_ref().and_then(Log::head).filter(|_| self.clean) else { return };
        // If standard error is closed, nothing more can be done.
        let _ = writeln!(io::stderr(), "audit log: line {}, SHA-256 {}", head.seq, head.sha256);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

/// What comparing with the digests in the files gave: numbers alone, since it names files.
pub fn attest(attest: &Value) -> Event {
    let left_out = attest["left_out"].as_array().map_or(0, Vec::len);
    let ms = attest["ms"].as_f64().unwrap_or(0.0);
    Event::Attest { ok: attest["ok"].as_bool(), left_out, ms }
}

/// The answer to input `input`, which is the line `json`.
pub fn answer(input: u64, json: &str) -> Event {
    // As it is printed, without its line feed.
    let line_sha256 = Some(digest(printable(json).as_bytes()));
    Event::Answer { input, line_sha256, files: Vec::new(), late: None, withheld: None }
}

/// A model in the log.
pub fn model(about: &About) -> Value {
    let isa = about.backend.isa().map(|isa| isa.name());
    json!({"name": base(Path::new(&about.name)), "sha256": about.sha256, "runs_on": about.runs_on(), "isa": isa})
}

/// Heads in the log, by the names of their files without folders.
pub fn names(heads: &[Loaded]) -> Vec<Value> {
    heads.iter().map(|loaded| json!({"name": base(&loaded.path), "sha256": loaded.sha256})).collect()
}

fn base(path: &Path) -> String {
    shown(path.file_name().unwrap_or_default())
}
