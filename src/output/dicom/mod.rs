//! Writes results as DICOM objects that a hospital's archive files with the images: a Segmentation
//! ([`write_segmentation`]) and a Structured Report ([`write_report`]).
//!
//! Both copy the patient and study of their [`Sources`], by which the archive files them, and each goes into a separate
//! series. UIDs are derived from the sources, the model, the head and the results, so repeating a run produces the same
//! UIDs. Text is UTF-8, and the transfer syntax is Explicit VR Little Endian.

mod item;
mod modules;
mod seg;
mod source;
mod sr;
mod uid;

pub use seg::{Segment, write_segmentation};
pub use source::Sources;
pub use sr::{Finding, Measurement, OutOfDistribution, write_report};
#[cfg(feature = "node")]
pub(crate) use uid::is_valid as is_valid_uid;

use sha2::{Digest, Sha256};

/// Designator of the coding scheme for names without a standard code; "99" marks a private scheme (PS3.16, 8.2).
pub const PRIVATE_SCHEME: &str = "99MICRORAPTOR";

/// A coded concept (PS3.3, 8): a code, its coding scheme and its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Code in the scheme, such as 85756007.
    pub value: String,
    /// Designator of the scheme, such as SCT (SNOMED CT), DCM, UCUM.
    pub scheme: String,
    /// Meaning, in at most 64 characters.
    pub meaning: String,
}

impl Code {
    /// Creates a code of any scheme.
    pub fn new(value: &str, scheme: &str, meaning: &str) -> Code {
        Code { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }

    /// Creates a code of [`PRIVATE_SCHEME`] for a name, such as a class of a head. Its value is the name itself if that
    /// is a plain word of at most 16 characters, otherwise 16 hexadecimal digits of the name's SHA-256.
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

/// The algorithm that produced a result: a head on a backbone.
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
    /// What identifies the algorithm, for deriving UIDs.
    fn identity(&self) -> [&[u8]; 2] {
        [self.model_sha256.as_bytes(), self.head_sha256.as_bytes()]
    }

    /// Digests of the two files, as the parameters of the algorithm.
    fn parameters(&self) -> [String; 2] {
        [format!("model SHA-256 {}", self.model_sha256), format!("head SHA-256 {}", self.head_sha256)]
    }
}
