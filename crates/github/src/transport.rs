//! The `Transport` port over real HTTP.

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use dayfly_core::ports::{BoxFuture, Transport, TransportError};
use reqwest::{Certificate, Client, ClientBuilder, redirect::Policy};

/// GitHub's own limit for payloads ([`Transport`]).
const BODY_MAX: usize = 25_000_000;

/// A host that takes longer to connect is not there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Bounds a connection that falls silent, whatever its caller's own time-out: above the 50 seconds of a held poll.
const READ_TIME: Duration = Duration::from_secs(120);

/// Shorter than the minute after which proxies on the way forget a connection that says nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The client could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpTransportError {
    /// The extra certificates can't be read.
    #[error("the extra authority's certificates are not PEM: {detail}")]
    Certificate {
        /// What the TLS library said.
        detail: String,
    },
    /// The client could not be made.
    #[error("the HTTP client could not be made: {detail}")]
    Client {
        /// What the library said.
        detail: String,
    },
}

/// Marks, among a request's extensions, one whose answer is held back for most of a minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongPoll;

/// HTTP/1.1 and HTTP/2 by reqwest and rustls; redirects are not followed; a proxy is taken from the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
#[derive(Debug, Clone)]
pub struct HttpTransport {
    calls: Client,
    /// Long polls go to the same host as calls, and a host bounds the streams of an HTTP/2 connection (100 is common):
    /// with that many pools the polls would hold up every other call. Each has an HTTP/1.1 connection of its own.
    polls: Client,
}

impl HttpTransport {
    /// Makes the client. `extra_authorities` are certificates in PEM that are trusted beside the system's: for a GitHub
    /// Enterprise Server with an authority of its own.
    ///
    /// # Errors
    /// Where the certificates can't be read, or TLS can't be set up.
    pub fn new(extra_authorities: Option<&[u8]>) -> Result<Self, HttpTransportError> {
        let extra = match extra_authorities {
            Some(pem) => certificates(pem)?,
            None => Vec::new(),
        };
        // A machine without any certificate of its own is no reason to refuse http:// and the extra authorities: every
        // other server is then untrusted, and said to be so.
        let build = |configure: fn(ClientBuilder) -> ClientBuilder| {
            let builder = || configure(Self::builder());
            let client = builder().tls_certs_merge(extra.iter().cloned()).build();
            let client =
                client.or_else(|_| builder().tls_certs_only(extra.iter().cloned()).build());
            client
                .map_err(|cause| HttpTransportError::Client { detail: chain(&cause.without_url()) })
        };
        Ok(Self { calls: build(|builder| builder)?, polls: build(ClientBuilder::http1_only)? })
    }

    fn builder() -> ClientBuilder {
        Client::builder()
            .connect_timeout(CONNECT_TIME)
            .read_timeout(READ_TIME)
            .redirect(Policy::none())
            .tcp_keepalive(KEEP_ALIVE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(CONNECT_TIME)
            .pool_idle_timeout(Duration::from_secs(60))
    }

    async fn exchange(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let client = if request.extensions().get::<LongPoll>().is_some() {
            &self.polls
        } else {
            &self.calls
        };
        let request = reqwest::Request::try_from(request).map_err(|cause| failure(&host, cause))?;
        let mut response = client.execute(request).await.map_err(|cause| failure(&host, cause))?;
        let expected = response.content_length().unwrap_or(0);
        let too_long = || TransportError::NoAnswer {
            host: host.clone(),
            detail: format!("its answer is longer than {BODY_MAX} bytes"),
        };
        let expected = usize::try_from(expected)
            .ok()
            .filter(|length| *length <= BODY_MAX)
            .ok_or_else(too_long)?;
        let mut body = BytesMut::with_capacity(expected);
        while let Some(chunk) = response.chunk().await.map_err(|cause| failure(&host, cause))? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = http::Response::new(body.freeze());
        *answer.status_mut() = response.status();
        *answer.version_mut() = response.version();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, HttpTransportError> {
    let unreadable = |detail: String| HttpTransportError::Certificate { detail };
    let certificates = Certificate::from_pem_bundle(pem)
        .map_err(|cause| unreadable(chain(&cause.without_url())))?;
    if certificates.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Sorts a failure by what it says about the request: never sent, or perhaps carried out.
fn failure(host: &str, cause: reqwest::Error) -> TransportError {
    // The address may hold a session's id.
    let cause = cause.without_url();
    let (host, detail) = (host.to_owned(), chain(&cause));
    if is_tls(&cause) {
        TransportError::Tls { host, detail }
    } else if cause.is_connect() || cause.is_builder() {
        TransportError::Connect { host, detail }
    } else {
        TransportError::NoAnswer { host, detail }
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    error.is_connect() && causes(error).any(|cause| cause.is::<rustls::Error>() || holds_tls(cause))
}

/// I/O errors hold the TLS library's as their inside, several deep, and do not show it as their source.
fn holds_tls(cause: &(dyn Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>() || holds_tls(inner))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// An error with its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error).map(ToString::to_string) {
        if words.last().is_none_or(|last| !last.contains(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}
