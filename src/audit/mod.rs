//! An audit log: a file of JSON lines, each with the digest of the one before, to which lines are only added.
//!
//! [`Log`] writes it and [`verify()`] reads it again; docs/trust.md says what it proves, and docs/audit-schema.json what a
//! line holds. Nothing in a line is about a patient: who writes an [`Event`] sees to that.

mod error;
mod event;
mod line;
mod log;
mod place;
mod sync;
mod tail;
mod verify;

pub use error::AuditError;
pub use event::{Event, FORMAT, Program};
pub use line::digest;
pub use line::{Head, MAX_LINE};
pub use log::{Full, Log, Options, Written};
pub use sync::Durability;
pub use verify::{Anchor, Fault, FaultKind, Report, Torn, Verdict, verify};

#[cfg(test)]
mod tests;
