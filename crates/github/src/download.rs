//! Fetching the runner program's archive, from hosts that are not the API's and get no credential of it.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response, redirect::Policy};
use secrecy::ExposeSecret;

use crate::{programs::OfferedProgram, scrub::clean};

/// The longest archive: twice what the largest one was in 2025.
pub const PROGRAM_BYTES_MAX: u64 = 512 << 20;

/// A host that takes longer to connect is not there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A download that gives nothing for so long has broken.
const READ_TIME: Duration = Duration::from_secs(60);

/// GitHub sends downloads of its releases on to another host, once.
const REDIRECTS_MAX: usize = 5;

/// Characters of another side's words that are kept.
const WORDS_MAX: usize = 400;

/// A download that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// No whole answer came.
    #[error("no whole answer from {host}: {detail}")]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        detail: String,
    },
    /// It was refused.
    #[error("{host} answered with status {status}")]
    Refused {
        /// The host that refused.
        host: String,
        /// Its status.
        status: u16,
    },
    /// It is larger than any runner program.
    #[error("the archive is longer than {} bytes", PROGRAM_BYTES_MAX)]
    TooLong,
}

/// Fetches archives.
#[derive(Debug, Clone)]
pub struct Downloader(Client);

/// An archive on its way.
#[derive(Debug)]
pub struct Download {
    response: Response,
    left: u64,
}

impl Downloader {
    /// Makes the client. It follows redirects, and never from https:// to anything else.
    ///
    /// # Errors
    /// Where TLS can't be set up.
    pub fn new() -> Result<Self, DownloadError> {
        let redirects = Policy::custom(|attempt| {
            let was_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error("too many redirects")
            } else if was_https && attempt.url().scheme() != "https" {
                attempt.error("it is redirected to an address that is not https://")
            } else {
                attempt.follow()
            }
        });
        let built = Client::builder()
            .connect_timeout(CONNECT_TIME)
            .read_timeout(READ_TIME)
            .redirect(redirects)
            .http1_only()
            .referer(false)
            .user_agent(concat!("dayfly/", env!("CARGO_PKG_VERSION")))
            .build();
        built.map(Self).map_err(|error| broken("the client", error))
    }

    /// Begins a download.
    ///
    /// # Errors
    /// Where the host can't be reached, or refuses.
    pub async fn begin(&self, program: &OfferedProgram) -> Result<Download, DownloadError> {
        let host = host_of(&program.url);
        let mut request = self.0.get(program.url.clone());
        if let Some(token) = &program.token {
            // Redirects to other hosts go without it.
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(|error| broken(&host, error))?;
        if !response.status().is_success() {
            let (host, status) = (host_of(response.url()), response.status().as_u16());
            return Err(DownloadError::Refused { host, status });
        }
        if response.content_length().is_some_and(|length| length > PROGRAM_BYTES_MAX) {
            return Err(DownloadError::TooLong);
        }
        Ok(Download { response, left: PROGRAM_BYTES_MAX })
    }
}

impl Download {
    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// Where it breaks off, or is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let host = host_of(self.response.url());
        let Some(part) = self.response.chunk().await.map_err(|error| broken(&host, error))? else {
            return Ok(None);
        };
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(length).ok_or(DownloadError::TooLong)?;
        Ok(Some(part))
    }
}

fn host_of(url: &url::Url) -> String {
    clean(url.host_str().unwrap_or("the host"), WORDS_MAX)
}

/// An error with its causes. Without the address: that of a redirect is signed, and whoever has it may fetch.
fn broken(host: &str, error: reqwest::Error) -> DownloadError {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(known) = cause {
        words = format!("{words}: {known}");
        cause = known.source();
    }
    DownloadError::Broken { host: host.to_owned(), detail: clean(&words, WORDS_MAX) }
}
