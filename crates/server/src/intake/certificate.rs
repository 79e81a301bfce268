//! The certificate that is shown: read from files, and again when they change, so that a renewal needs no restart.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{info, warn};

use super::listener::TlsFiles;

/// How often the files are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate or key that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of `server.tls` can't be used: {}: {detail}", .path.display())]
pub struct CertificateError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

/// Two files are the same as before where this is: time of change, size and inode of both.
type Stamp = [(i64, i64, u64, u64); 2];

/// The certificate in force.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    provider: CryptoProvider,
    current: RwLock<(Stamp, Arc<CertifiedKey>)>,
}

impl Certificate {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, CertificateError> {
        let provider = aws_lc_rs::default_provider();
        let stamp = stamp(&files)?;
        let key = read(&files, &provider)?;
        Ok(Arc::new(Self { files, provider, current: RwLock::new((stamp, Arc::new(key))) }))
    }

    /// How connections are made: TLS 1.2 and 1.3, HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(self.provider.clone()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| {
            CertificateError { path: self.files.certificate.clone(), detail: error.to_string() }
        })?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reads the files again where they changed. What can't be used leaves the old certificate in force.
    pub fn look(&self) {
        let before = self.current.read().unwrap_or_else(PoisonError::into_inner).0;
        let renewed = stamp(&self.files).and_then(|stamp| {
            if stamp == before {
                return Ok(None);
            }
            read(&self.files, &self.provider).map(|key| Some((stamp, Arc::new(key))))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some(renewed)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
                info!(file = %self.files.certificate.display(), "a new certificate is in force");
            }
            // Half of a renewal looks like this for a moment.
            Err(error) => warn!(%error, "the old certificate stays in force"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}

fn stamp(files: &TlsFiles) -> Result<Stamp, CertificateError> {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).map_err(|error| failed(path, &error))?;
        Ok((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
    };
    Ok([of(&files.certificate)?, of(&files.key)?])
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let path = &files.certificate;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(path, &error))?;
    if chain.is_empty() {
        return Err(failed(path, &"it holds no certificate in PEM"));
    }
    // The library's words say what is wrong, never what is in the file.
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key, &error))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| failed(&files.key, &format!("{error}; is it the certificate's key?")))
}

fn failed(path: &Path, detail: &dyn fmt::Display) -> CertificateError {
    CertificateError { path: path.to_owned(), detail: detail.to_string() }
}
