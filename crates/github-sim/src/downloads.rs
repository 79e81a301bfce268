//! The runner programs that are offered for download, and until when a version is taken (protocol.md, 4.6 and 5.1).

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::call::{Call, Origin};
use crate::moment;
use crate::refusal::{Handled, Refusal, empty, ok, set_header};
use crate::sim::Sim;

/// The systems that GitHub lists, each with the ending of its archive.
const SYSTEMS: [(&str, &str, &str); 7] = [
    ("osx", "x64", "tar.gz"),
    ("osx", "arm64", "tar.gz"),
    ("linux", "x64", "tar.gz"),
    ("linux", "arm", "tar.gz"),
    ("linux", "arm64", "tar.gz"),
    ("win", "x64", "zip"),
    ("win", "arm64", "zip"),
];

/// How long a version is taken once the next one is there.
const TAKEN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A version, with one archive for all systems.
#[derive(Debug, Clone)]
pub(crate) struct RunnerProgram {
    version: String,
    archive: Bytes,
    /// As the list tells it, right or not.
    sha256: Option<String>,
    /// What the download asks for.
    token: Option<String>,
    released: Timestamp,
}

impl RunnerProgram {
    /// What `POST /control/programs` brings.
    pub fn of(call: &Call<'_>) -> Result<Self, Refusal> {
        let version = call.query("version").ok_or_else(|| Refusal::control(422, "no `version`"))?;
        let sum: String =
            digest(&SHA256, call.body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            version: version.to_owned(),
            archive: Bytes::copy_from_slice(call.body),
            sha256: match call.query("sha256") {
                None => Some(sum),
                Some("") => None,
                Some(told) => Some(told.to_owned()),
            },
            token: call.query("token").map(str::to_owned),
            released: call.now,
        })
    }

    fn file(&self, (os, architecture, ending): (&str, &str, &str)) -> String {
        format!("actions-runner-{os}-{architecture}-{}.{ending}", self.version)
    }

    fn offer(&self, origin: &Origin, system: (&str, &str, &str)) -> Value {
        let file = self.file(system);
        let mut offer = json!({
            "os": system.0,
            "architecture": system.1,
            "download_url":
                format!("{}/actions/runner/releases/download/v{}/{file}", origin.base, self.version),
            "filename": file,
        });
        if let Some(sum) = &self.sha256 {
            offer["sha256_checksum"] = sum.as_str().into();
        }
        if let Some(token) = &self.token {
            offer["temp_download_token"] = token.as_str().into();
        }
        offer
    }
}

impl Sim {
    /// `GET …/actions/runners/downloads`: the newest version for each system.
    pub(crate) fn program_list(&self, call: &Call<'_>) -> Handled {
        let offers = |newest: &RunnerProgram| -> Vec<Value> {
            SYSTEMS.into_iter().map(|system| newest.offer(&call.origin, system)).collect()
        };
        Ok(ok(&self.downloads.last().map(offers).unwrap_or_default()))
    }

    /// `GET …/actions/runners/deprecations/{version}`.
    pub(crate) fn program_deprecation(&self, version: &str) -> Handled {
        let place = self.downloads.iter().position(|known| known.version == version);
        let place = place.ok_or_else(Refusal::rest_not_found)?;
        let until =
            self.downloads.get(place + 1).map(|next| moment::seconds(next.released + TAKEN));
        Ok(ok(&json!({
            "runner_version": version,
            "registration_deprecates_at": until,
            "runtime_deprecates_at": until,
        })))
    }

    /// The download, which is no part of the API: it sends on to another place, as GitHub does, and is no business of any
    /// credential of the API.
    pub(crate) fn program_file(&self, call: &Call<'_>, version: &str, file: &str) -> Handled {
        let stored = call.segments.first().is_some_and(|first| first == "release-assets");
        let found = self.downloads.iter().find(|known| {
            known.version == version && SYSTEMS.into_iter().any(|system| known.file(system) == file)
        });
        let text = |status, text: &str| Refusal::Text { status, text: text.to_owned() };
        let found = found.ok_or_else(|| text(StatusCode::NOT_FOUND, "Not Found"))?;
        match (call.header("authorization"), &found.token) {
            (None, None) => {}
            (Some(given), Some(token)) if given == format!("Bearer {token}") => {}
            (None, Some(_)) => return Err(text(StatusCode::UNAUTHORIZED, "no token")),
            (Some(_), _) => return Err(text(StatusCode::BAD_REQUEST, "a token of something else")),
        }
        if !stored {
            let mut reply = empty(StatusCode::FOUND);
            let place = format!("{}/release-assets/{version}/{file}", call.origin.base);
            set_header(&mut reply, "location", &place);
            return Ok(reply);
        }
        let mut reply = Response::new(found.archive.clone());
        let kind = header::HeaderValue::from_static("application/octet-stream");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(reply)
    }
}
