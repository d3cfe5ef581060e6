//! The record of an attestation. Its schema is docs/attest-schema.json.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use microraptor::attest::{Check, Reason, Report, Subject};
use microraptor::board::{Machine, Root, recognise};
use microraptor::engine::About;
use microraptor::names::shown;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::loaded::Loaded;
use crate::cli::times::{milliseconds, utc};

/// Version of the schema.
const SCHEMA: u32 = 1;

/// The file that `subject` is from.
pub fn of(subject: Subject, model: &Path, heads: &[Loaded]) -> String {
    match subject {
        Subject::Model => shown(model),
        Subject::Head(number) => shown(&heads[number].path),
    }
}

/// What was attested, on what, and what was found.
#[derive(Serialize)]
pub struct Record {
    schema: u32,
    /// When it was made, UTC.
    time: String,
    /// Whether something was compared, and all of it is equal.
    pub equal: bool,
    program: Value,
    device: Value,
    model: Value,
    heads: Vec<Value>,
    pub runs: Vec<Run>,
}

/// The comparison on one instruction set.
#[derive(Serialize)]
pub struct Run {
    isa: Option<String>,
    threads: usize,
    ms: f64,
    equal: bool,
    pub checks: Vec<Line>,
    pub left_out: Vec<LeftOut>,
}

/// One digest.
#[derive(Serialize)]
pub struct Line {
    /// The file: MODEL, or that of a head.
    pub of: String,
    pub part: &'static str,
    pub size: Option<String>,
    pub expected: String,
    pub found: String,
    pub equal: bool,
}

/// What was not compared.
#[derive(Serialize)]
pub struct LeftOut {
    pub of: String,
    pub reason: &'static str,
    pub why: String,
}

impl Record {
    /// The record of `runs` of the model at `path` with `heads`.
    pub fn new(path: &Path, about: &About, heads: &[Loaded], runs: Vec<Run>) -> Record {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let features: Vec<&str> =
            env!("MICRORAPTOR_FEATURES").split(',').filter(|name| !name.is_empty()).collect();
        let head = |loaded: &Loaded| json!({"file": shown(&loaded.path), "sha256": loaded.sha256, "kind": loaded.head.model.kind()});
        Record {
            schema: SCHEMA,
            time: utc(now),
            equal: !runs.is_empty() && runs.iter().all(|run| run.equal),
            program: json!({
                "version": env!("CARGO_PKG_VERSION"),
                "commit": option_env!("MICRORAPTOR_COMMIT"),
                "target": env!("MICRORAPTOR_TARGET"),
                "features": features,
            }),
            device: device(&Root::live()),
            model: json!({
                "file": shown(path),
                "name": about.name,
                "sha256": about.sha256,
                "precision": about.precision,
            }),
            heads: heads.iter().map(head).collect(),
            runs,
        }
    }
}

impl Run {
    pub fn new(report: &Report, path: &Path, heads: &[Loaded]) -> Run {
        let line = |check: &Check| Line {
            of: of(check.subject, path, heads),
            part: check.part.name(),
            size: check.size.clone(),
            expected: check.expected.clone(),
            found: check.found.clone(),
            equal: check.expected == check.found,
        };
        let left_out = |(subject, reason): &(Subject, Reason)| LeftOut {
            of: of(*subject, path, heads),
            reason: reason.name(),
            why: reason.to_string(),
        };
        Run {
            isa: report.isa.map(|isa| isa.name().to_owned()),
            threads: report.threads,
            ms: milliseconds(report.elapsed),
            equal: report.is_equal(),
            checks: report.checks.iter().map(line).collect(),
            left_out: report.left_out.iter().map(left_out).collect(),
        }
    }

    /// What ran, in words.
    pub fn title(&self) -> String {
        let Run { isa, threads, ms, .. } = self;
        let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        format!("{}, {threads}, {ms:.0} ms", isa.as_deref().unwrap_or("tract"))
    }
}

/// The machine, its firmware and its operating system; null for what cannot be read.
fn device(root: &Root) -> Value {
    let machine = Machine::read(root);
    let board = recognise(&machine).map(|recognised| recognised.board.title);
    json!({
        "machine": machine.title(),
        "board": board,
        "product": machine.product,
        "cpu": machine.cpu_name,
        "cores": machine.usable.iter().count(),
        "arch": std::env::consts::ARCH,
        "os": os(root),
        "kernel": root.line("proc/sys/kernel/osrelease"),
        "firmware": firmware(root),
    })
}

/// The operating system by its own name.
fn os(root: &Root) -> String {
    let text = root.text("etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or(std::env::consts::OS.into(), |name| name.trim_matches(['"', '\'']).to_owned())
}

/// Version and date of the firmware: of a PC as DMI says them, of a board as its boot loader does.
fn firmware(root: &Root) -> Option<String> {
    let dmi = ["bios_vendor", "bios_version", "bios_date"];
    let dmi: Vec<String> =
        dmi.iter().filter_map(|name| root.line(&format!("sys/class/dmi/id/{name}"))).collect();
    let boot = ["bootloader/version", "u-boot,version"];
    let boot = || boot.iter().find_map(|name| root.line(&format!("proc/device-tree/chosen/{name}")));
    if dmi.is_empty() { boot() } else { Some(dmi.join(" ")) }
}
