//! Files in an instance, running or not, through the server.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;
use tokio::{
    fs::File,
    time::{sleep, timeout},
};

use super::{
    client::{Body, Client},
    error::Failed,
    guest::EXIT,
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

/// Puts a large file into an instance, for its root alone, part by part: it is never held in memory whole.
pub(super) async fn put_large(
    client: &Client,
    instance: &str,
    path: &str,
    file: File,
) -> Result<(), Failed> {
    let url = client.url(&format!("/1.0/instances/{instance}/files"), &[("path", path)]);
    let (status, body) =
        client.exchange(Method::POST, url, Body::LargeFile(file), ANSWER_MAX).await?;
    if status.is_success() { Ok(()) } else { Err(refused(status.as_u16(), &body)) }
}

/// Has the server start the program by which it reaches an instance's files, and keeps for some seconds: the registration
/// that comes next need not wait for it.
pub(super) async fn get_ready(client: &Client, instance: &str) {
    // Whatever it answers. A virtual machine's agent may not be up yet, which takes the server long to say.
    let asked = read(client, instance, EXIT, 1);
    let _ = timeout(READY_TIME, asked).await;
}

/// The beginning of a file, at most `bytes_max` of it; `None` where it is not there. How long it may take is the caller's
/// to say.
pub(super) async fn read(
    client: &Client,
    instance: &str,
    path: &str,
    bytes_max: usize,
) -> Result<Option<Bytes>, Failed> {
    let url = client.url(&format!("/1.0/instances/{instance}/files"), &[("path", path)]);
    let (mut refusals, mut patience) = (0, FIRST_READ_TIME);
    loop {
        let asked = client.exchange(Method::GET, url.clone(), Body::Nothing, bytes_max);
        let Ok(answer) = timeout(patience, asked).await else {
            tracing::debug!(instance, path, ?patience, "a file is asked for again");
            patience *= 2;
            continue;
        };
        let (status, body) = answer?;
        match status.as_u16() {
            200 => return Ok(Some(body)),
            404 => return Ok(None),
            status => {
                let failed = refused(status, &body);
                refusals += 1;
                if status < 500 || refusals == READS_MAX {
                    return Err(failed);
                }
                tracing::debug!(instance, path, ?failed, "a file can't be read yet");
                sleep(BETWEEN_READS * (1 << refusals)).await;
            }
        }
    }
}

/// How long the server may take to start the program by which it reaches files; nothing hangs on it.
const READY_TIME: Duration = Duration::from_secs(2);

/// How often a file is asked for, and half of how long until the second time; it is twice as long until each later one.
/// While an instance ends, LXD ends the process by which it reads the files of that instance: a read that has just begun is
/// reset, with status 500.
const READS_MAX: u32 = 5;
const BETWEEN_READS: Duration = Duration::from_millis(100);

/// How long the first answer is waited for; each later one twice as long. LXD 5.0.2 may connect a read to such a process
/// that listens no more, and then awaits its first word for ever (`FileSFTP` of its `driver_lxc.go`); the next read waits
/// for that process's end, which is ten seconds away at most.
const FIRST_READ_TIME: Duration = Duration::from_secs(5);

/// How long an answer to an upload may be: it says little more than yes or no.
const ANSWER_MAX: usize = 64 << 10;

fn refused(status: u16, body: &[u8]) -> Failed {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = answer["error"].as_str().unwrap_or_default().chars().take(1_000).collect();
    Failed::Refused { status, words }
}
