//! GitHub's list of its runner program, and until when a version is taken (protocol.md, 4.6 and 5.1).

use std::fmt;

use dayfly_core::ports::{ForgeError, ForgeErrorKind};
use http::{Method, StatusCode};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    address::Address,
    client::GitHub,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, error, unreadable, without_bom},
};

/// The longest version that is believed to be one: three or four numbers.
const VERSION_MAX: usize = 30;

/// A runner program that GitHub offers for download.
#[derive(Debug, Clone)]
pub struct OfferedProgram {
    /// Its version: numbers and dots.
    pub version: String,
    /// Where its archive is. Another host than the API's: no credential is sent there.
    pub url: Url,
    /// The archive's SHA-256 in lower-case hexadecimal, where GitHub tells it.
    pub sha256: Option<String>,
    /// What the host of `url` asks for, where it does: it is good for this download alone.
    pub token: Option<SecretString>,
}

#[derive(Deserialize)]
struct DownloadWire {
    os: String,
    architecture: String,
    download_url: String,
    filename: String,
    #[serde(default)]
    sha256_checksum: Option<String>,
    #[serde(default)]
    temp_download_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct DeprecationWire {
    #[serde(default)]
    registration_deprecates_at: Option<Timestamp>,
    #[serde(default)]
    runtime_deprecates_at: Option<Timestamp>,
}

impl fmt::Display for OfferedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runner program {} at {}", self.version, self.url.host_str().unwrap_or("?"))
    }
}

impl OfferedProgram {
    /// Another version at the place where releases lie: the same address with the other version in it.
    #[must_use]
    pub fn at_version(&self, version: &str, sha256: &str) -> Option<Self> {
        let text = self.url.as_str();
        let url = is_version(version).then(|| text.replace(&self.version, version))?;
        Some(Self {
            version: version.to_owned(),
            url: Url::parse(&url).ok().filter(|url| url.origin() == self.url.origin())?,
            sha256: Some(sha256.to_owned()),
            token: self.token.clone(),
        })
    }
}

impl GitHub {
    /// The newest runner program for Linux on processors of an architecture (`x64`, `arm64` or `arm`).
    ///
    /// # Errors
    /// What GitHub said, or that its list has none.
    pub async fn newest_program(&self, architecture: &str) -> Result<OfferedProgram, ForgeError> {
        let operation = Operation::ListPrograms { scope: &self.shared.scope };
        let url = self.shared.address.scope_url(&["actions", "runners", "downloads"]);
        let response = self.shared.rest(&operation, Method::GET, &url).await?;
        let listed: Vec<DownloadWire> = serde_json::from_slice(without_bom(response.body()))
            .map_err(|_| unreadable(&operation, Surface::Rest, "it is no list of downloads"))?;
        let found = listed
            .into_iter()
            .find(|known| known.os == "linux" && known.architecture == architecture);
        let Some(found) = found else {
            let detail = format!("GitHub lists no runner program for linux on {architecture}");
            return Err(error(&operation, ForgeErrorKind::Refused, &detail));
        };
        offered(&self.shared.address, found, architecture)
            .map_err(|what| unreadable(&operation, Surface::Rest, what))
    }

    /// From when on GitHub refuses runners of a version, as far as it tells: it does not on every server.
    ///
    /// # Errors
    /// What GitHub said.
    pub async fn program_refused_from(
        &self,
        version: &str,
    ) -> Result<Option<Timestamp>, ForgeError> {
        let operation = Operation::ReadDeprecation(version);
        let segments = ["actions", "runners", "deprecations", version];
        let url = self.shared.address.scope_url(&segments);
        let (authorization, response) =
            self.shared.rest_answer(&operation, Method::GET, &url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !response.status().is_success() {
            let (surface, bucket) = (Surface::Rest, Bucket::Core);
            return Err(self.shared.rest_refusal(
                &operation,
                surface,
                bucket,
                &authorization,
                &response,
            ));
        }
        let told: DeprecationWire = serde_json::from_slice(without_bom(response.body()))
            .map_err(|_| unreadable(&operation, Surface::Rest, "it tells no dates"))?;
        let dates = [told.registration_deprecates_at, told.runtime_deprecates_at];
        Ok(dates.into_iter().flatten().min())
    }
}

/// Checks what becomes the name of a file and the address of a download.
fn offered(
    address: &Address,
    wire: DownloadWire,
    architecture: &str,
) -> Result<OfferedProgram, &'static str> {
    let version = wire
        .filename
        .strip_prefix("actions-runner-linux-")
        .and_then(|rest| rest.strip_prefix(architecture)?.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".tar.gz"))
        .filter(|version| is_version(version))
        .ok_or("its file has another name than actions-runner-linux-ARCHITECTURE-VERSION.tar.gz")?;
    let url = Url::parse(&wire.download_url).ok();
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none();
    let url = url.filter(|url| address.trusts(url) && plain(url));
    let sha256 = match wire.sha256_checksum.map(|sum| sum.to_ascii_lowercase()) {
        Some(sum) if sum.is_empty() => None,
        Some(sum) if !is_sha256(&sum) => return Err("its sum is no SHA-256"),
        sum => sum,
    };
    Ok(OfferedProgram {
        version: version.to_owned(),
        url: url.ok_or("its download has no https:// address")?,
        sha256,
        token: wire.temp_download_token,
    })
}

/// Numbers and dots, as in `2.330.0`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= VERSION_MAX && text.contains('.') && text.split('.').all(number)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filename: &str, url: &str, sum: Option<&str>) -> Result<OfferedProgram, &'static str> {
        let wire = DownloadWire {
            os: "linux".to_owned(),
            architecture: "x64".to_owned(),
            download_url: url.to_owned(),
            filename: filename.to_owned(),
            sha256_checksum: sum.map(str::to_owned),
            temp_download_token: None,
        };
        offered(&Address::parse("https://github.com/acme").unwrap(), wire, "x64")
    }

    #[test]
    fn only_what_can_be_a_program_is_taken() {
        const FILE: &str = "actions-runner-linux-x64-2.330.0.tar.gz";
        const URL: &str = "https://github.com/actions/runner/releases/download/v2.330.0/actions-runner-linux-x64-2.330.0.tar.gz";
        let sum = "ab".repeat(32);
        let check =
            |filename: &str, url: &str, sum: Option<&str>, expected: Result<(), &str>| match (
                read(filename, url, sum),
                expected,
            ) {
                (Ok(_), Ok(())) => {}
                (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
                (read, expected) => panic!("{filename} {url}: {read:?}, not {expected:?}"),
            };
        check(FILE, URL, Some(&sum), Ok(()));
        check(FILE, URL, Some(&sum.to_uppercase()), Ok(()));
        check(FILE, URL, None, Ok(()));
        check(FILE, URL, Some(""), Ok(()));
        check(FILE, URL, Some("abc"), Err("SHA-256"));
        check(FILE, "http://github.com/a", None, Err("https://"));
        check(FILE, "https://me:word@github.com/a", None, Err("https://"));
        check(FILE, "file:///etc/passwd", None, Err("https://"));
        check("actions-runner-linux-arm64-2.330.0.tar.gz", URL, None, Err("another name"));
        check("actions-runner-linux-x64-../../x.tar.gz", URL, None, Err("another name"));
        check("actions-runner-linux-x64-2.tar.gz", URL, None, Err("another name"));
        check("actions-runner-linux-x64-2..0.tar.gz", URL, None, Err("another name"));
        assert_eq!(read(FILE, URL, None).unwrap().version, "2.330.0");
    }

    #[test]
    fn another_version_lies_beside_the_newest() {
        let file = "actions-runner-linux-x64-2.330.0.tar.gz";
        let url = format!("https://github.com/actions/runner/releases/download/v2.330.0/{file}");
        let newest = read(file, &url, None).unwrap();
        let pinned = newest.at_version("2.329.0", "00").unwrap();
        assert_eq!(pinned.url.as_str(), url.replace("2.330.0", "2.329.0"));
        assert_eq!(pinned.sha256.as_deref(), Some("00"));
        for wrong in ["", "../..", "2", "2.x", "2.329.0/../..", &"1.".repeat(40)] {
            assert!(newest.at_version(wrong, "00").is_none(), "{wrong}");
        }
    }
}
