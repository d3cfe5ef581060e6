//! Why a signature is refused, or cannot be made.

use std::io;
use std::path::PathBuf;

use super::{Day, KeyId, Role};
use crate::files::WriteError;

/// A file that is not accepted, or that cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A signed file that is refused.
    #[error("{}: {reason}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Refusal,
    },
    /// A file that cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A trust file, a key or a counter that makes no sense.
    #[error("{}: {problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The counter against older versions cannot be written.
    #[error(
        "{source}: the counter against older versions is kept there: name another file for it where it can be written"
    )]
    Counter {
        /// What went wrong.
        source: WriteError,
    },
    /// A file that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a file is refused.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no signature.
    #[error("is not signed: there is no {}: have somebody sign it whom {} trusts", .signature.display(), .trust.display())]
    Unsigned {
        /// Where the signature would be.
        signature: PathBuf,
        /// The trust file.
        trust: PathBuf,
    },
    /// The signature file is no signature.
    #[error("its signature cannot be read ({0}): have it signed again")]
    Malformed(String),
    /// The signature is of a key that is not trusted at all.
    #[error("is signed with key {id}, which {} does not name: have somebody sign it whom it trusts", .trust.display())]
    Foreign {
        /// The key.
        id: KeyId,
        /// The trust file.
        trust: PathBuf,
    },
    /// The contents are not those that were signed, or the signature was changed.
    #[error(
        "is not what {0} signed: the file or its signature was changed: put both back, or have it signed again"
    )]
    Changed(String),
    /// The trusted comment is no statement of this program.
    #[error("its trusted comment is not one of `microraptor sign` ({0}): have it signed again")]
    Statement(String),
    /// What was loaded is not what was signed.
    #[error(
        "what was loaded has SHA-256 {found}, and {signed} is signed: the file was exchanged while it was read, or more \
         than this file was read: convert the model, so that one file holds everything"
    )]
    Exchanged {
        /// Digest of what was loaded.
        found: String,
        /// Digest in the statement.
        signed: String,
    },
    /// The signature is for a file of another name.
    #[error(
        "carries the signature of {0:?}: put the signature of this file beside it, or give the file its name back"
    )]
    Name(String),
    /// The signature says that the file is something else.
    #[error("is signed as a {signed}, and is used as a {used}: have it signed as that")]
    Role {
        /// As what it was signed.
        signed: Role,
        /// As what it is used.
        used: Role,
    },
    /// The key may not sign such a file.
    #[error("is signed by {signer}, who may sign {}, but no {role}: have somebody sign it who may", list(.may))]
    NotAllowed {
        /// Whose key it is.
        signer: String,
        /// What the key may sign.
        may: Vec<Role>,
        /// What the file is.
        role: Role,
    },
    /// The key was revoked.
    #[error("is signed with a key of {0} that was revoked: have it signed with another")]
    Revoked(String),
    /// The key is not valid yet, or was not when the file was signed.
    #[error("is signed with the key of {signer}, which counts from {from} on: have it signed again")]
    KeyTooEarly {
        /// Whose key it is.
        signer: String,
        /// Its first day.
        from: Day,
    },
    /// The key has expired.
    #[error("is signed with the key of {signer}, which counted until {until}: have it signed with another")]
    KeyExpired {
        /// Whose key it is.
        signer: String,
        /// Its last day.
        until: Day,
    },
    /// The signature has expired.
    #[error("its signature counted until {0}: have it signed again, with a later day")]
    Expired(Day),
    /// A newer version was seen.
    #[error(
        "is version {serial}, and version {seen} was used here before: put the newer file back, or have this one signed anew"
    )]
    RolledBack {
        /// Its number.
        serial: u64,
        /// The highest number that was seen.
        seen: u64,
    },
    /// Other contents with the same number were seen.
    #[error(
        "is version {0}, and so was a file with other contents that was used here: have it signed with a higher number"
    )]
    SameSerial(u64),
    /// The trust file asks for a newer version.
    #[error("is version {serial}, and {} asks for {minimum} or later: put a newer file there", .trust.display())]
    TooOld {
        /// Its number.
        serial: u64,
        /// The lowest number that is accepted.
        minimum: u64,
        /// The trust file.
        trust: PathBuf,
    },
    /// More than one file was read.
    #[error(
        "was read together with other files beside it (config.json, preprocessor_config.json), which no signature covers: convert the model, so that one file holds everything"
    )]
    Described,
    /// A folder is given in place of a file.
    #[error(
        "is a folder, and a signature is of one file: convert the model, so that one file holds everything"
    )]
    Folder,
}

fn list(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
