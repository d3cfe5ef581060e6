//! TLS 1.2 and 1.3 by rustls (PS3.15, B.12: the BCP 195 profiles), as a server and as a client.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions, TlsStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use thiserror::Error;

use super::connection::chain;

/// Certificate, key and trust of a node.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Certificates or keys that cannot be used.
#[derive(Debug, Error)]
#[error("{path}: {problem}")]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

impl Tls {
    /// Reads PEM files: the certificate of the node and those that vouch for it, its key, and the authorities that vouch
    /// for peers: whoever calls must have a certificate of theirs, and so must destinations, for the host that is called.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn open(certificate: &Path, key: &Path, authorities: &Path) -> Result<Tls, TlsError> {
        let wrong = |path: &Path, problem: String| TlsError { path: path.to_owned(), problem };
        let own = certificates(certificate)?;
        let secret = || {
            PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong(key, format!("no private key in PEM can be read: {error}")))
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error: rustls::Error| wrong(certificate, format!("cannot be used: {error}"));
        let mut roots = RootCertStore::empty();
        for root in certificates(authorities)? {
            roots.add(root).map_err(|error| wrong(authorities, format!("is no authority: {error}")))?;
        }
        let roots = Arc::new(roots);
        let versions =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error| wrong(authorities, error.to_string()))?;
        let server = versions.map_err(unusable)?.with_client_cert_verifier(verifier);
        let server = server.with_single_cert(own.clone(), secret()?).map_err(unusable)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(own, secret()?)
            .map_err(unusable)?;
        Ok(Tls { server: Arc::new(server), client: Arc::new(client) })
    }

    /// Accepts a connection. The handshake is done here, because that of dicom-ul 0.10 does not end when a peer that has
    /// sent nothing closes the connection.
    pub(super) fn accept(
        &self,
        mut socket: TcpStream,
    ) -> Result<StreamOwned<ServerConnection, TcpStream>, String> {
        let failed = |problem: String| format!("no TLS connection comes about: {problem}");
        let mut connection =
            ServerConnection::new(self.server.clone()).map_err(|error| failed(error.to_string()))?;
        while connection.is_handshaking() {
            let done: io::Result<_> = connection.complete_io(&mut socket);
            if done.map_err(|error| failed(error.to_string()))? == (0, 0) {
                return Err(failed("the peer closed it".into()));
            }
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// Calls `address` with the options of an association.
    pub(super) fn call(
        &self,
        options: ClientAssociationOptions<'_>,
        host: &str,
        address: (&str, u16),
    ) -> Result<ClientAssociation<TlsStream>, String> {
        let options = options.tls_config(self.client.clone()).server_name(host);
        options.establish_tls(address).map_err(|error| chain(&error))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError { path: path.to_owned(), problem };
    let each = CertificateDer::pem_file_iter(path).and_then(|each| each.collect::<Result<Vec<_>, _>>());
    let found = each.map_err(|error| wrong(format!("no certificates in PEM can be read: {error}")))?;
    if found.is_empty() { Err(wrong("holds no certificate in PEM".into())) } else { Ok(found) }
}
