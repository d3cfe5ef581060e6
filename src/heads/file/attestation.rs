//! What a head answers to pictures that every machine can make: stored with the head when it is trained.

use serde::{Deserialize, Serialize};

/// Digests of a head and of its answers to the pictures of an [`Attestation`](crate::quant::Attestation), on the backbone to
/// which the head is bound: SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadAttestation {
    /// Version of the pictures and of what is digested, as of an [`Attestation`](crate::quant::Attestation).
    pub version: u32,
    /// Seed of the pictures.
    #[serde(default)]
    pub seed: u64,
    /// Of the head's own numbers, which its answers to a few pictures do not all depend on (the neighbours of `knn`).
    #[serde(default)]
    pub values: String,
    /// Of its answers.
    #[serde(default)]
    pub answers: String,
}
