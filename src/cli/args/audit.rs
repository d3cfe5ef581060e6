//! Arguments of audit logs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use microraptor::audit::{Durability, Full, Options};

use crate::cli::limits::Bytes;

/// Where a command that answers writes down what it does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Audit log")]
pub struct AuditArgs {
    /// Add what is done to this file, as JSON lines that are chained by digests, without data of patients (docs/trust.md)
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// What happens when the log cannot be written, as on a full disk
    #[arg(long, value_enum, default_value = "stop", requires = "audit")]
    pub audit_full: OnFull,
    /// When lines are put on the disk, for what a power cut may take
    #[arg(long, value_enum, default_value = "second", requires = "audit")]
    pub audit_sync: AuditSync,
    /// Size from which the file is put aside as FILE.1, FILE.2 and so on, such as 100MiB [default: never]
    #[arg(long, value_name = "SIZE", requires = "audit")]
    pub audit_max: Option<Bytes>,
}

impl AuditArgs {
    /// The library's options.
    pub fn options(&self) -> Options {
        let full = match self.audit_full {
            OnFull::Stop => Full::Stop,
            OnFull::GoOn => Full::GoOn,
        };
        let durability = match self.audit_sync {
            AuditSync::Line => Durability::Line,
            AuditSync::Second => Durability::Second,
            AuditSync::None => Durability::None,
        };
        let max = self.audit_max.map(|bytes| bytes.0).filter(|bytes| *bytes > 0);
        Options { durability, full, max }
    }
}

/// What happens when a line cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFull {
    /// The command ends: no answer is given that is not in the log
    Stop,
    /// Answers are given; the log says how many lines are missing as soon as it can be written again
    GoOn,
}

/// When lines are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditSync {
    /// Each one before its answer is given
    Line,
    /// Once a second
    Second,
    /// When the system does so by itself
    None,
}

/// Reads audit logs.
#[derive(Debug, Args)]
pub struct AuditCommandArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find the first line of a log that was changed, removed or moved; exit code 1 if there is one.
    Verify(AuditVerifyArgs),
}

#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// The log; if it was put aside when it became large, all its files, the oldest first
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// SHA-256 of a line that must be there, as an earlier run or `verify` has printed it: without it, lines that were
    /// removed from the end are not missed
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    pub head: Option<String>,
    /// Number of lines that there must be at least
    #[arg(long, value_name = "N")]
    pub lines: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads a SHA-256 in hexadecimal digits.
fn digest(text: &str) -> Result<String, String> {
    let sound = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("'{text}' is no SHA-256: give 64 hex digits"))
}
