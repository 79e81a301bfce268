//! Brings deliveries of webhooks to their addresses by HTTP, as GitHub does.

use std::time::Duration;

use reqwest::{Client, redirect::Policy};

use crate::delivery::Outgoing;

/// Deliveries under way at once: enough for thousands a second to a server that answers in milliseconds.
pub(crate) const AT_ONCE: usize = 64;

/// GitHub waits this long for an answer (protocol.md, 5.4).
const PATIENCE: Duration = Duration::from_secs(10);

/// What sends: one client that looks at certificates, and one for hooks with `insecure_ssl`.
#[derive(Clone)]
pub(crate) struct Clients {
    verifying: Client,
    trusting: Client,
}

impl Clients {
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = || Client::builder().timeout(PATIENCE).redirect(Policy::none()).no_proxy();
        Ok(Self {
            // A machine without any certificate of its own trusts nobody, and is no reason not to simulate.
            verifying: builder().build().or_else(|_| builder().tls_certs_only([]).build())?,
            trusting: builder().tls_danger_accept_invalid_certs(true).build()?,
        })
    }

    /// The status of the answer; `None`: none came.
    pub async fn send(&self, outgoing: Outgoing) -> Option<u16> {
        let client = if outgoing.verify_tls { &self.verifying } else { &self.trusting };
        let request = reqwest::Request::try_from(outgoing.request).ok()?;
        match client.execute(request).await {
            Ok(answer) => Some(answer.status().as_u16()),
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "a delivery was not answered");
                None
            }
        }
    }
}
