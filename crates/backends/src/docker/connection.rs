//! The connection to the engine: its socket or TLS, and the version of the API that both speak.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker as Client};
use dayfly_core::ports::{BackendError, BackendErrorKind};
use http::HeaderValue;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    endpoint::{Endpoint, TlsFiles, wrong},
    error::{chain, unread},
};

/// How long the engine may take to begin an answer, in seconds. A start on a loaded engine takes tens of them.
const ANSWER_S_MAX: u64 = 120;

/// How long a stream may be silent before its first byte: as long as a runner may idle, which has no end.
const SILENCE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How often an idle connection to a remote engine is probed, so that one that died unseen is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A connection that is made when it is first used, and made anew for an engine that may be another version by now.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    client: Mutex<Option<Client>>,
}

impl Connection {
    /// Reads the certificates; asks the engine nothing.
    ///
    /// # Errors
    /// Where a certificate or key can't be used.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, BackendError> {
        let tls = match &endpoint {
            Endpoint::Tcp { tls: Some(files), .. } => Some(Arc::new(tls_config(files)?)),
            _ => None,
        };
        Ok(Self { endpoint, tls, client: Mutex::default() })
    }

    /// The client, once the engine told which version of the API it speaks.
    pub(super) async fn client(&self) -> Result<Client, BackendError> {
        let kept = self.kept().clone();
        match kept {
            Some(client) => Ok(client),
            None => self.renew().await,
        }
    }

    /// A client for the version that the engine speaks now, which everybody gets from here on. Where the engine does
    /// not tell its version, the client that there was stays.
    pub(super) async fn renew(&self) -> Result<Client, BackendError> {
        let client = self.negotiate().await?;
        *self.kept() = Some(client.clone());
        Ok(client)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client for streams that may be silent for long.
    pub(super) async fn patient(&self) -> Result<Client, BackendError> {
        Ok(self.client().await?.with_timeout(SILENCE_MAX))
    }

    async fn negotiate(&self) -> Result<Client, BackendError> {
        let operation = format!("reach the engine at {}", self.endpoint);
        let client = self.build().map_err(|error| unread(operation.as_str(), &error))?;
        client.negotiate_version().await.map_err(|error| unread(operation, &error))
    }

    fn build(&self) -> Result<Client, bollard::errors::Error> {
        let client = match &self.endpoint {
            Endpoint::Unix(path) => Client::connect_with_unix(
                &path.to_string_lossy(),
                ANSWER_S_MAX,
                API_DEFAULT_VERSION,
            )?,
            Endpoint::Tcp { authority, .. } => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let address = Some(format!("{scheme}://{authority}"));
                let mut tcp = HttpConnector::new();
                tcp.enforce_http(false);
                tcp.set_nodelay(true);
                tcp.set_keepalive(Some(KEEP_ALIVE));
                match &self.tls {
                    None => remote(tcp, address)?,
                    Some(tls) => remote(HttpsConnector::from((tcp, Arc::clone(tls))), address)?,
                }
            }
        };
        Ok(client.with_request_modifier(url_safe_credentials))
    }
}

/// A client over TCP. A connection serves one request: the engine's streams and upgrades take theirs over.
fn remote<C>(connector: C, address: Option<String>) -> Result<Client, bollard::errors::Error>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let http = HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let send = move |request: BollardRequest| {
        let answer = http.request(request);
        async move { answer.await.map_err(Into::into) }
    };
    Client::connect_with_custom_transport(send, address, ANSWER_S_MAX, API_DEFAULT_VERSION)
}

/// The engine reads registry credentials as URL-safe base64; bollard 0.21 spells them in the plain alphabet.
fn url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut("x-registry-auth") {
        let spelled: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if let Ok(mut spelled) = HeaderValue::from_bytes(&spelled) {
            spelled.set_sensitive(true);
            *value = spelled;
        }
    }
    request
}

/// Trusts the given authorities alone, and shows our certificate.
fn tls_config(files: &TlsFiles) -> Result<ClientConfig, BackendError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| unusable(&files.ca, &error))?;
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.certificate, &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&files.certificate)?, key)
        .map_err(|error| unusable(&files.certificate, &error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, &error))?;
    let certificates: Vec<_> =
        read.collect::<Result<_, _>>().map_err(|error| unusable(file, &error))?;
    if certificates.is_empty() {
        return Err(wrong(&format!("{}: holds no certificate in PEM form", file.display())));
    }
    Ok(certificates)
}

fn unusable(file: &Path, error: &dyn std::error::Error) -> BackendError {
    let mut failed = wrong(&format!("{}: {}", file.display(), chain(error)));
    failed.kind = BackendErrorKind::NotAllowed;
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_spelled_as_the_engine_reads_them() {
        let body = bollard::body_full(bytes::Bytes::new());
        let request = http::Request::builder()
            .header("X-Registry-Auth", "a+b/c=")
            .header("X-Other", "a+b")
            .body(body);
        let request = url_safe_credentials(request.unwrap());
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c=");
        assert!(!format!("{:?}", request.headers()).contains("a-b"), "never printed");
        assert_eq!(request.headers()["x-other"], "a+b");
    }

    #[test]
    fn a_bad_certificate_is_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let files = TlsFiles::in_directory(home.path());
        let connect = || {
            let endpoint =
                Endpoint::Tcp { authority: "rack1:2376".to_owned(), tls: Some(files.clone()) };
            Connection::new(endpoint).unwrap_err().detail
        };
        assert!(connect().contains("ca.pem"));
        std::fs::write(&files.ca, "no certificate").unwrap();
        assert!(connect().contains("holds no certificate"));
    }
}
