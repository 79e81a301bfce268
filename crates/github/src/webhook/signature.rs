//! The signature of a delivery: `X-Hub-Signature-256` (protocol.md, 5.4; GitHub's "Validating webhook deliveries").

use std::fmt;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

/// What stands before the digest's digits.
const PREFIX: &str = "sha256=";

/// Bytes of a SHA-256 digest.
const DIGEST_BYTES: usize = 32;

/// The secrets under which deliveries are accepted: several, so that one can be replaced without losing a delivery.
#[derive(Clone)]
pub struct WebhookSecrets(Vec<hmac::Key>);

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecrets({} hidden)", self.0.len())
    }
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header, or the hook has no secret.
    #[error("it has no X-Hub-Signature-256: set a secret at the webhook")]
    Missing,
    /// Not `sha256=` and 64 digits; SHA-1 is not taken.
    #[error("its X-Hub-Signature-256 is not `sha256=` and 64 hexadecimal digits")]
    Form,
    /// Made with none of our secrets, or for another body.
    #[error(
        "its signature fits none of the secrets: the webhook's secret and `server.webhook_secret` must be equal"
    )]
    Wrong,
}

impl WebhookSecrets {
    /// Takes the secrets; an empty one is left out, for anyone could sign with it.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let filled = secrets.into_iter().filter(|secret| !secret.is_empty());
        Self(filled.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect())
    }

    /// [`Self::new`] of secrets as configurations hold them.
    #[must_use]
    pub fn of(secrets: &[SecretString]) -> Self {
        Self::new(secrets.iter().map(|secret| secret.expose_secret().as_bytes()))
    }

    /// Whether no delivery can be accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the header's value over the body as it came, in a time that does not depend on where they differ.
    ///
    /// # Errors
    /// Where the delivery is not to be believed.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8]) -> Result<(), SignatureError> {
        let digest = digest(header.ok_or(SignatureError::Missing)?).ok_or(SignatureError::Form)?;
        // Every secret is tried, so that the time does not tell which one fits.
        let fits = |key: &hmac::Key| hmac::verify(key, body, &digest).is_ok();
        if self.0.iter().filter(|key| fits(key)).count() > 0 {
            Ok(())
        } else {
            Err(SignatureError::Wrong)
        }
    }
}

/// GitHub writes lower-case digits; others are refused, so that one delivery has one signature.
fn digest(header: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let digits = header.strip_prefix(PREFIX.as_bytes())?;
    let mut digest = [0; DIGEST_BYTES];
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn digit(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'a'..=b'f' => Some(char - b'a' + 10),
        _ => None,
    }
}
