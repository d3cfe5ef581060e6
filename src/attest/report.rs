//! What was compared, and what was found.

use std::fmt;
use std::time::Duration;

use crate::kernels::Isa;

/// The digests of a model and its heads on this machine, beside those that their files store.
#[derive(Clone, Debug)]
pub struct Report {
    /// The instruction set that ran.
    pub isa: Option<Isa>,
    /// Number of threads.
    pub threads: usize,
    /// Time that the pictures, the runs and the heads took.
    pub elapsed: Duration,
    /// What was compared.
    pub checks: Vec<Check>,
    /// What could not be compared, and why.
    pub left_out: Vec<(Subject, Reason)>,
}

impl Report {
    /// Whether something was compared, and all of it is equal.
    pub fn is_equal(&self) -> bool {
        !self.checks.is_empty() && self.differing().next().is_none()
    }

    /// What is computed otherwise than it was validated.
    pub fn differing(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.expected != check.found)
    }
}

/// One digest: SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whose it is.
    pub subject: Subject,
    /// Of what.
    pub part: Part,
    /// The input size, such as `48x80`; `None` for a head, whose digest is over all sizes.
    pub size: Option<String>,
    /// The digest in the file.
    pub expected: String,
    /// The digest of what this machine computes.
    pub found: String,
}

impl fmt::Display for Check {
    /// What is wrong with what does not match, after `this machine computes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check { subject, part, size, expected, found } = self;
        let part = part.name();
        match subject {
            Subject::Model => write!(f, "other {part}")?,
            Subject::Head(number) => write!(f, "other {part} of head {}", number + 1)?,
        }
        if let Some(size) = size {
            write!(f, " at {size} px")?;
        }
        write!(f, " than were validated: expected SHA-256 {expected}, found {found}")
    }
}

/// Whose digest it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The backbone.
    Model,
    /// The head of this index.
    Head(usize),
}

/// What is digested, in the order in which one depends on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The generated pictures.
    Pictures,
    /// The backbone's inputs.
    Input,
    /// CLS and patch tokens.
    Features,
    /// A head's own numbers.
    Values,
    /// What a head makes of the features.
    Answers,
}

impl Part {
    /// Its name in output and records.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Pictures => "pictures",
            Part::Input => "input",
            Part::Features => "features",
            Part::Values => "values",
            Part::Answers => "answers",
        }
    }
}

/// Why there is nothing to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The file stores no digests.
    Absent,
    /// The digests are of another version.
    Version(u32),
    /// The digests are of other sizes than those of their version.
    Sizes,
    /// tract runs a part, and its bits need not be the same on every machine.
    NotExact,
}

impl Reason {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Absent => "absent",
            Reason::Version(_) => "version",
            Reason::Sizes => "sizes",
            Reason::NotExact => "not-exact",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Absent => write!(f, "stores no attestation"),
            Reason::Version(found) => {
                write!(
                    f,
                    "stores an attestation of version {found}, and this program knows {}",
                    super::VERSION
                )
            }
            Reason::Sizes => write!(f, "stores an attestation of other input sizes than its version has"),
            Reason::NotExact => {
                write!(f, "is run by tract in part, whose bits need not be the same on every machine")
            }
        }
    }
}
