//! The model file that is built into the program.

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
