//! What was found, as DICOM objects that a hospital's archive files beside the images: a Segmentation
//! ([`write_segmentation`]) and a Structured Report ([`write_report`]).
//!
//! Both copy the patient and study of the [`Sources`] they refer to, for this is how they are filed, and get a series of
//! their own. UIDs follow from the sources, the model, the head and what was found, so that a run that is repeated
//! makes the same objects again. Text is UTF-8, the transfer syntax Explicit VR Little Endian.

mod item;
mod modules;
mod seg;
mod source;
mod sr;
mod uid;

pub use seg::{Segment, write_segmentation};
pub use source::Sources;
pub use sr::{Finding, Measurement, OutOfDistribution, write_report};

use sha2::{Digest, Sha256};

/// Designator of the coding scheme of names that have no standard code; "99" begins a private one (PS3.16, 8.2).
pub const PRIVATE_SCHEME: &str = "99MICRORAPTOR";

/// A coded concept (PS3.3, 8): what a value means in a scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Code in the scheme, such as 85756007.
    pub value: String,
    /// Designator of the scheme, such as SCT (SNOMED CT), DCM, UCUM.
    pub scheme: String,
    /// What it means, in words of at most 64 characters.
    pub meaning: String,
}

impl Code {
    /// A code of a scheme.
    pub fn new(value: &str, scheme: &str, meaning: &str) -> Code {
        Code { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }

    /// A code of [`PRIVATE_SCHEME`] for a name, such as a class of a head. Its value is the name itself where that is
    /// a plain word of at most 16 characters, else 16 hexadecimal digits of the name's SHA-256.
    ///
    /// ```
    /// # use microraptor::output::dicom::Code;
    /// assert_eq!(Code::private("malignant").value, "malignant");
    /// assert_eq!(Code::private("Nothing to be seen").value, "55bd87f4fedc6cbf");
    /// ```
    pub fn private(name: &str) -> Code {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let value = if (1..=16).contains(&name.len()) && name.chars().all(plain) {
            name.to_owned()
        } else {
            Sha256::digest(name).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
        };
        Code { value, scheme: PRIVATE_SCHEME.into(), meaning: name.into() }
    }
}

/// Who found it: a head on a backbone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// Name, such as that of the head's file.
    pub name: String,
    /// Version of this program.
    pub version: String,
    /// SHA-256 of the model's weights file, in hexadecimal digits.
    pub model_sha256: String,
    /// SHA-256 of the head's file, in hexadecimal digits.
    pub head_sha256: String,
}

impl Algorithm {
    /// What identifies the run, for UIDs.
    fn identity(&self) -> [&[u8]; 2] {
        [self.model_sha256.as_bytes(), self.head_sha256.as_bytes()]
    }

    /// The two files, as the parameters of the algorithm.
    fn parameters(&self) -> [String; 2] {
        [format!("model SHA-256 {}", self.model_sha256), format!("head SHA-256 {}", self.head_sha256)]
    }
}
