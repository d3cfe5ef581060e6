//! What a model computes of pictures that every machine can make: stored with the model when it is converted.

use serde::{Deserialize, Serialize};

/// Digests of what a model computes of generated pictures. [`attest`](crate::attest) makes and compares them.
///
/// They are the same for every device, since the features of a backbone that our encoder runs have the same bits on every
/// instruction set and for any number of threads (docs/architecture.md, "Numerical guarantees").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Version of the pictures, their sizes, and of what is digested: [`VERSION`](crate::attest::VERSION) when it was
    /// written. Digests of another version are not compared.
    pub version: u32,
    /// Seed of the pictures.
    #[serde(default)]
    pub seed: u64,
    /// One for each input size.
    #[serde(default)]
    pub runs: Vec<AttestedRun>,
}

/// The digests at one input size: SHA-256 in lower-case hex, each over all pictures of the size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedRun {
    /// Input size, such as `48x80` (height x width).
    pub size: String,
    /// Of the pictures: width and height in 32 bits, then their samples, all little-endian.
    pub pictures: String,
    /// Of the backbone's inputs, resized and normalised: f32, little-endian, `[3, height, width]` of each picture.
    pub input: String,
    /// Of the features: CLS, then the patch tokens of each picture: f32, little-endian.
    pub features: String,
}
