//! TLS, in builds without the feature `node-tls`.

use std::net::TcpStream;
use std::path::Path;

use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use thiserror::Error;

/// TLS, which this build cannot do.
#[derive(Clone)]
pub enum Tls {}

/// There is no TLS in this build.
#[derive(Debug, Error)]
#[error("TLS: this build has none: use one with the feature node-tls")]
pub struct TlsError;

impl Tls {
    /// Would read certificates and a key.
    ///
    /// # Errors
    /// Always, in this build.
    pub fn open(_: &Path, _: &Path, _: &Path) -> Result<Tls, TlsError> {
        Err(TlsError)
    }

    pub(super) fn accept(&self, _: TcpStream) -> Result<TcpStream, String> {
        match *self {}
    }

    pub(super) fn call(
        &self,
        _: ClientAssociationOptions<'_>,
        _: &str,
        _: (&str, u16),
    ) -> Result<ClientAssociation<TcpStream>, String> {
        match *self {}
    }
}
