//! Turns what went wrong into a [`ForgeError`]: which kind it is, what the other side said, and what to do.

use bytes::Bytes;
use dayfly_core::{
    model::ScopeKind,
    ports::{ForgeError, ForgeErrorKind, Permission, TransportError},
};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    address::Address,
    limits::{header, limited_until},
    operation::Operation,
    scrub::{clean, scrub},
};

/// How much of the other side's words is quoted.
const WORDS_MAX: usize = 600;

/// How long a whole detail may be ([`ForgeError::detail`]).
const DETAIL_MAX: usize = 2_000;

/// Who refused: the same status means different things from each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// The public REST API, below the scope.
    Rest,
    /// The public REST API, as the App itself.
    App,
    /// The registration endpoint of the REST API.
    Registration,
    /// The Actions service.
    Service,
    /// The Actions service's routes below one scale set.
    ScaleSet,
    /// The Actions service's session routes.
    Session,
    /// A scale set's message queue.
    Queue,
}

impl Surface {
    fn word(self) -> &'static str {
        match self {
            Self::Rest | Self::App | Self::Registration => "GitHub",
            Self::Service | Self::ScaleSet | Self::Session => "the Actions service",
            Self::Queue => "the message queue",
        }
    }
}

/// What is needed to judge an answer.
pub(crate) struct Judge<'a> {
    pub operation: &'a Operation<'a>,
    pub surface: Surface,
    pub address: &'a Address,
    pub now: Timestamp,
    pub skew: SignedDuration,
    /// The token that was sent, to be taken out of what is quoted.
    pub token: &'a str,
}

/// What an error's body tells (protocol.md, 1.7).
#[derive(Debug, Default, Deserialize)]
struct Body {
    message: Option<String>,
    #[serde(rename = "typeName")]
    type_name: Option<String>,
    #[serde(rename = "errorMessage")]
    error_message: Option<String>,
}

/// Class names of the Actions service and what they mean; live they stand within longer names.
const CLASSES: [(&str, ForgeErrorKind); 10] = [
    ("RunnerScaleSetNotFoundException", ForgeErrorKind::ScaleSetGone),
    ("RunnerScaleSetExistsException", ForgeErrorKind::Conflict),
    ("SessionConflictException", ForgeErrorKind::Conflict),
    ("SessionExpiredException", ForgeErrorKind::SessionGone),
    ("RunnerAdminException", ForgeErrorKind::SessionGone),
    ("AgentExistsException", ForgeErrorKind::Conflict),
    ("AgentNotFoundException", ForgeErrorKind::NotFound),
    ("JobStillRunningException", ForgeErrorKind::Busy),
    ("InvalidTokenException", ForgeErrorKind::Unauthorized),
    ("UnauthorizedException", ForgeErrorKind::Unauthorized),
];

impl Judge<'_> {
    /// Judges an answer that is no success.
    pub fn judge(&self, response: &Response<Bytes>) -> ForgeError {
        let body = body(response.body());
        let type_name = body.type_name.as_deref().unwrap_or_default();
        let said = said(&body, response.body());
        let kind = self.kind(response, type_name, &said);
        let words = scrub(&said, self.token, WORDS_MAX);
        let mut detail = format!("{} answered {}", self.surface.word(), response.status());
        if !words.is_empty() {
            detail.push_str(&format!(": \"{words}\""));
        }
        if let Some(class) = short_class(type_name) {
            detail.push_str(&format!(" ({class})"));
        }
        if let Some(request) = header(response.headers(), "x-github-request-id") {
            detail.push_str(&format!(", request {}", clean(request, 80)));
        }
        if let Some(remedy) = self.remedy(&kind, response) {
            detail.push_str(&format!("; {remedy}"));
        }
        self.error(kind, &detail)
    }

    /// An error of this operation.
    pub fn error(&self, kind: ForgeErrorKind, detail: &str) -> ForgeError {
        error(self.operation, kind, &scrub(detail, self.token, DETAIL_MAX))
    }

    fn kind(&self, response: &Response<Bytes>, type_name: &str, said: &str) -> ForgeErrorKind {
        let status = response.status();
        if let Some(until) = limited_until(status, response.headers(), said, self.now, self.skew) {
            return ForgeErrorKind::RateLimited(until);
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return ForgeErrorKind::Transient;
        }
        // A token just renewed that is refused is the service's disorder, not the user's credential.
        if self.surface == Surface::Queue && status == StatusCode::UNAUTHORIZED {
            return ForgeErrorKind::Transient;
        }
        if let Some((_, kind)) = CLASSES.iter().find(|(class, _)| type_name.contains(class)) {
            return kind.clone();
        }
        match (self.surface, status.as_u16()) {
            (Surface::Queue, 400 | 404 | 410) | (Surface::Session, 400 | 404) => {
                ForgeErrorKind::SessionGone
            }
            (_, 401) => ForgeErrorKind::Unauthorized,
            // GitHub hides what the credential may not see behind 404.
            (_, 403) | (Surface::Rest, 404) => ForgeErrorKind::NotAllowed(self.permission()),
            // A 404 without a class is a router's: it says that the address is wrong, and nothing about the thing.
            (Surface::ScaleSet, 404) if !type_name.is_empty() => ForgeErrorKind::ScaleSetGone,
            (Surface::Service, 404) if !type_name.is_empty() => ForgeErrorKind::NotFound,
            (Surface::App, 404) => ForgeErrorKind::NotFound,
            (_, 409) => ForgeErrorKind::Conflict,
            _ => ForgeErrorKind::Refused,
        }
    }

    fn remedy(&self, kind: &ForgeErrorKind, response: &Response<Bytes>) -> Option<String> {
        let status = response.status();
        if status.is_redirection() {
            let to = header(response.headers(), "location").unwrap_or("an unnamed place");
            return Some(format!(
                "it moved to {}: was it renamed? put its new address into the configuration",
                clean(to, 200)
            ));
        }
        match kind {
            ForgeErrorKind::Unauthorized => {
                Some("the credential is wrong, expired or revoked: give a valid one".to_owned())
            }
            ForgeErrorKind::NotAllowed(permission) => {
                let scope = self.address.words();
                let mut remedy = if status == StatusCode::NOT_FOUND {
                    format!(
                        "{scope} does not exist, or the credential has no access to it: check the address, and that the credential has {}",
                        permission.0
                    )
                } else {
                    format!("the credential needs {} on {scope}", permission.0)
                };
                if let Some(scopes) = header(response.headers(), "x-oauth-scopes") {
                    remedy
                        .push_str(&format!("; this token has the scopes: {}", clean(scopes, 200)));
                }
                if response.headers().contains_key("x-github-sso") {
                    remedy.push_str("; the organization asks for single sign-on: authorize the token for it in its settings");
                }
                Some(remedy)
            }
            ForgeErrorKind::RateLimited(until) => Some(format!("not asked again before {until}")),
            _ => None,
        }
    }

    fn permission(&self) -> Permission {
        let words = match self.operation {
            Operation::FindJobs { .. } | Operation::ReadJob { .. } | Operation::ListRuns(_) => {
                "the repository permission \"Actions: read\" (classic token: scope repo)"
            }
            Operation::ListRepositories { .. } => {
                "the repository permission \"Metadata: read\" (classic token: scope repo)"
            }
            Operation::ListHooks(_)
            | Operation::ChangeHook(_)
            | Operation::ListDeliveries(_)
            | Operation::Redeliver(_) => match self.address.kind() {
                ScopeKind::Organization(_) => {
                    "the organization permission \"Webhooks: read and write\" (classic token: scope admin:org_hook)"
                }
                _ => {
                    "the repository permission \"Webhooks: read and write\" (classic token: scope admin:repo_hook)"
                }
            },
            _ => return needed(self.address.kind()),
        };
        Permission(words.to_owned())
    }
}

/// The permission that a scope's credential needs, in GitHub's words (protocol.md, 1.2).
pub(crate) fn needed(kind: &ScopeKind) -> Permission {
    Permission(
        match kind {
            ScopeKind::Organization(_) => {
                "the organization permission \"Self-hosted runners: read and write\" (classic token: scope admin:org)"
            }
            ScopeKind::Repository { .. } => {
                "the repository permission \"Administration: read and write\" (classic token: scope repo)"
            }
            ScopeKind::Enterprise(_) => "a classic token with the scope manage_runners:enterprise",
        }
        .to_owned(),
    )
}

/// An error of `operation`; the detail is cleaned and cut.
pub(crate) fn error(operation: &Operation<'_>, kind: ForgeErrorKind, detail: &str) -> ForgeError {
    ForgeError {
        kind,
        operation: clean(&operation.to_string(), 400),
        detail: clean(detail, DETAIL_MAX),
    }
}

/// A request that got no answer.
pub(crate) fn unanswered(
    operation: &Operation<'_>,
    token: &str,
    cause: &TransportError,
) -> ForgeError {
    let remedy = match cause {
        TransportError::Connect { .. } => {
            "check the address, the network, and the proxy if there is one"
        }
        TransportError::Tls { .. } => {
            "check the system's certificates; a server with an authority of its own needs that authority's certificate"
        }
        TransportError::NoAnswer { .. } => "it is tried again",
    };
    error(
        operation,
        ForgeErrorKind::Transient,
        &scrub(&format!("{cause}; {remedy}"), token, DETAIL_MAX),
    )
}

/// The same failure as part of a larger operation, which then leads.
pub(crate) fn within(operation: &Operation<'_>, inner: &ForgeError) -> ForgeError {
    error(operation, inner.kind.clone(), &format!("{}: {}", inner.operation, inner.detail))
}

/// An answer that has another form than agreed. Waiting may mend it: seen live are empty bodies (F4).
pub(crate) fn unreadable(operation: &Operation<'_>, surface: Surface, what: &str) -> ForgeError {
    error(
        operation,
        ForgeErrorKind::Transient,
        &format!("{} gave an answer that can't be used: {what}", surface.word()),
    )
}

/// A body without the byte order mark that the service sometimes puts before it (protocol.md, 1.5).
pub(crate) fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

fn body(bytes: &[u8]) -> Body {
    serde_json::from_slice(without_bom(bytes)).unwrap_or_default()
}

/// The other side's words: its message, else what there is of text.
fn said(body: &Body, bytes: &[u8]) -> String {
    match body.message.as_ref().or(body.error_message.as_ref()) {
        Some(message) => clean(message, 4 * WORDS_MAX),
        None => {
            let bytes = without_bom(bytes);
            clean(
                String::from_utf8_lossy(&bytes[..bytes.len().min(4 * WORDS_MAX)]).trim(),
                4 * WORDS_MAX,
            )
        }
    }
}

/// `Namespace.Class, Assembly` without namespace and assembly.
fn short_class(type_name: &str) -> Option<String> {
    let class = type_name.split(',').next()?.rsplit('.').next()?.trim();
    (!class.is_empty()).then(|| clean(class, 100))
}

#[cfg(test)]
mod tests;
