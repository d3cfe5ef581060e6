//! Signatures of the files that answers depend on: models, heads, deployment files and board files.
//!
//! A signature is a file beside the signed one, `FILE.minisig`, in the format of minisign: an Ed25519 signature of the
//! file's BLAKE2b digest, a line of text (the trusted comment), and a second signature over both. The text is a
//! [`Statement`]: what the file is for, its name, its number among the versions of that file, and its SHA-256. A
//! [`Trust`] says whose signatures count, for what, and until when; it keeps the highest number that it saw of each file,
//! so that an older version with a signature that was good once is refused.
//!
//! [`Trust::verify`] reads a file whole before anything parses it. The SHA-256 in the statement then ties what was parsed
//! to what was signed ([`Trust::accept`]), so that a file that is exchanged between the two readings is not used.

mod date;
mod error;
mod key_id;
mod public;
mod role;
#[cfg(feature = "sign")]
mod secret;
mod seen;
mod statement;
mod trust;
mod verify;

pub use date::Day;
pub use error::{Refusal, SignError};
pub use key_id::KeyId;
pub use public::PublicKey;
pub use role::Role;
#[cfg(feature = "sign")]
pub use secret::{MIN_PASSWORD, SecretKey, read_private, sign_file};
pub use statement::Statement;
pub use trust::{Key, Minimum, Trust};
pub use verify::{Verified, signature_of};
