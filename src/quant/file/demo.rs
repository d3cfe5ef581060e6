//! The model file that is built into the program.

use crate::quant::Attestation;

/// The bytes of `models/demo/demo.safetensors`, a model file as [`write`](super::write()) makes it: a small backbone of
/// DINOv3's architecture, which lets every feature be tried without a download. Its model card is `demo`.
///
/// ```
/// use microraptor::quant::file;
/// let file::ModelFile { model, .. } = file::parse("demo".as_ref(), file::DEMO_FILE)?;
/// assert_eq!(model.network.config.patch, 16);
/// # Ok::<(), microraptor::quant::QuantError>(())
/// ```
pub static DEMO_FILE: &[u8] = include_bytes!("../../../models/demo/demo.safetensors");

/// The attestation of [`DEMO_FILE`], which lies beside it: heads are bound to the SHA-256 of the file, which was written before
/// files stored their attestation.
static ATTESTATION: &str = include_str!("../../../models/demo/attestation.json");

/// The attestation of the model file of SHA-256 `sha256`, if that is [`DEMO_FILE`].
pub fn demo_attestation(sha256: &str) -> Option<Attestation> {
    #[derive(serde::Deserialize)]
    struct Beside {
        sha256: String,
        attestation: Attestation,
    }
    let beside: Beside = serde_json::from_str(ATTESTATION).ok()?;
    (beside.sha256 == sha256).then_some(beside.attestation)
}
