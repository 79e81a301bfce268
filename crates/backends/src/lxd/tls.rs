//! TLS with a remote server: our certificate, and its own, which is known beforehand.

use std::sync::{Arc, OnceLock};

use dayfly_core::ports::{BackendError, BackendErrorKind};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::address::LxdRemote;
use crate::failure::failure;

/// Takes one certificate, byte by byte, and no other. Its names and its dates say nothing more: LXD signs its own
/// certificate, for the name that its machine had then.
#[derive(Debug)]
struct Pinned {
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

/// The certificate that is taken.
#[derive(Debug)]
enum Expected {
    This(CertificateDer<'static>),
    /// The one whose SHA-256 this is; it is kept once it was seen.
    Fingerprint([u8; 32], Arc<OnceLock<CertificateDer<'static>>>),
}

impl Expected {
    fn is(&self, shown: &CertificateDer<'_>) -> bool {
        match self {
            Self::This(certificate) => shown == certificate,
            Self::Fingerprint(sha256, seen) => {
                let is = <[u8; 32]>::from(Sha256::digest(shown)) == *sha256;
                if is {
                    // A second connection is shown the same one.
                    let _ = seen.set(shown.clone().into_owned());
                }
                is
            }
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected.is(end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// TLS that trusts the server's own certificate alone, and shows ours.
pub(super) fn pinned(server: &str, remote: &LxdRemote) -> Result<ClientConfig, BackendError> {
    configure(Expected::This(certificate(server)?), remote)
}

/// A server's certificate in PEM form.
pub(super) fn certificate(server: &str) -> Result<CertificateDer<'static>, BackendError> {
    CertificateDer::from_pem_slice(server.as_bytes())
        .map_err(|error| unusable("server_cert", &error))
}

/// TLS that trusts the certificate whose SHA-256 is known, and shows ours; and what the server showed.
pub(super) fn by_fingerprint(
    sha256: [u8; 32],
    remote: &LxdRemote,
) -> Result<(ClientConfig, Arc<OnceLock<CertificateDer<'static>>>), BackendError> {
    let seen = Arc::new(OnceLock::new());
    let config = configure(Expected::Fingerprint(sha256, Arc::clone(&seen)), remote)?;
    Ok((config, seen))
}

fn configure(expected: Expected, remote: &LxdRemote) -> Result<ClientConfig, BackendError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let ours: Vec<_> = CertificateDer::pem_slice_iter(remote.client_certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("client_cert", &error))?;
    // What the parser says of a key is not shown: it may quote it.
    let key = PrivateKeyDer::from_pem_slice(remote.client_key.expose_secret().as_bytes())
        .map_err(|_| unusable("client_key", &"it holds no private key in PEM form"))?;
    let verifier = Arc::new(Pinned { expected, provider: Arc::clone(&provider) });
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(ours, key)
        .map_err(|error| unusable("client_cert", &error))
}

/// Our certificate and key, for a server that this machine's authorities vouch for.
pub(super) fn identity(remote: &LxdRemote) -> Result<reqwest::Identity, BackendError> {
    let mut pem =
        secrecy::zeroize::Zeroizing::new(remote.client_key.expose_secret().as_bytes().to_vec());
    pem.push(b'\n');
    pem.extend_from_slice(remote.client_certificate.as_bytes());
    reqwest::Identity::from_pem(&pem)
        .map_err(|_| unusable("client_cert", &"it and the key are no pair in PEM form"))
}

pub(super) fn unusable(what: &str, detail: &dyn std::fmt::Display) -> BackendError {
    let detail = format!("`{what}` can't be used: {detail}");
    failure(BackendErrorKind::NotAllowed, "prepare the connection to LXD", detail)
}
