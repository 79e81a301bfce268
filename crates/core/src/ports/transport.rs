//! One HTTP request in, one response out.

use bytes::Bytes;

use super::BoxFuture;

/// A request that got no HTTP response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: the request was not sent.
    #[error("no connection to {host}: {detail}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        detail: String,
    },
    /// The TLS handshake failed: wrong certificate, unknown authority.
    #[error("no trusted connection to {host}: {detail}")]
    Tls {
        /// Host and port.
        host: String,
        /// What the TLS library said.
        detail: String,
    },
    /// Sent, or partly, and no whole answer came: the other side may have acted.
    #[error("no answer from {host}: {detail}")]
    NoAnswer {
        /// Host and port.
        host: String,
        /// What happened.
        detail: String,
    },
}

/// One HTTP request in, one response out. No retry, no token, no meaning; redirects are not followed. Bodies are
/// bounded by the implementation (25 MB, GitHub's own limit for payloads).
pub trait Transport: Send + Sync {
    /// Sends one request. The timeout is the caller's, in the request's extensions or around the future.
    ///
    /// # Errors
    /// Where no whole response came.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;
}
