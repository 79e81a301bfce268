//! Files in an instance, running or not, through the server.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use super::{
    client::{Body, Client},
    error::Failed,
};

/// Puts a file into an instance, for its root alone.
pub(super) async fn put(
    client: &Client,
    instance: &str,
    path: &str,
    content: Bytes,
) -> Result<(), Failed> {
    let url = client.url(&format!("/1.0/instances/{instance}/files"), &[("path", path)]);
    let (status, body) =
        client.exchange(Method::POST, url, Body::File(content), ANSWER_MAX).await?;
    if status.is_success() { Ok(()) } else { Err(refused(status.as_u16(), &body)) }
}

/// The beginning of a file, at most `bytes_max` of it; `None` where it is not there.
pub(super) async fn read(
    client: &Client,
    instance: &str,
    path: &str,
    bytes_max: usize,
) -> Result<Option<Bytes>, Failed> {
    let url = client.url(&format!("/1.0/instances/{instance}/files"), &[("path", path)]);
    let (status, body) = client.exchange(Method::GET, url, Body::Nothing, bytes_max).await?;
    match status.as_u16() {
        200 => Ok(Some(body)),
        404 => Ok(None),
        status => Err(refused(status, &body)),
    }
}

/// How long an answer to an upload may be: it says little more than yes or no.
const ANSWER_MAX: usize = 64 << 10;

fn refused(status: u16, body: &[u8]) -> Failed {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = answer["error"].as_str().unwrap_or_default().chars().take(1_000).collect();
    Failed::Refused { status, words }
}
