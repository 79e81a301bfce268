//! Answers that refuse: the error shapes of the public REST, the Actions service, the broker and the token endpoint.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

/// An answer as the state machine makes it.
pub(crate) type Reply = Response<Bytes>;

/// A handler's outcome.
pub(crate) type Handled = Result<Reply, Refusal>;

/// Why a request is refused, in the shape of the surface it came to.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The Actions service: `typeName` and `message` matter.
    Service { status: StatusCode, type_name: &'static str, message: String },
    /// The public REST.
    Rest { status: StatusCode, message: String, headers: Vec<(&'static str, String)> },
    /// The runners' broker.
    Broker { status: StatusCode, kind: &'static str, message: String },
    /// The runners' token endpoint (RFC 6749, 5.2).
    OAuth { error: &'static str, message: String },
    /// A router's plain text.
    Text { status: StatusCode, text: String },
    /// The control API.
    Control { status: StatusCode, message: String },
}

impl Refusal {
    pub fn rest(status: u16, message: impl Into<String>) -> Self {
        Self::Rest { status: code(status), message: message.into(), headers: Vec::new() }
    }

    pub fn rest_not_found() -> Self {
        Self::rest(404, "Not Found")
    }

    pub fn service(status: u16, type_name: &'static str, message: impl Into<String>) -> Self {
        Self::Service { status: code(status), type_name, message: message.into() }
    }

    /// Expired, unknown or wrong kind of token on the Actions service.
    pub fn invalid_token() -> Self {
        Self::service(401, INVALID_TOKEN, "Access token is invalid or expired.")
    }

    pub fn no_set(id: impl std::fmt::Display) -> Self {
        Self::service(404, NO_SET, format!("No runner scale set found with identifier {id}."))
    }

    pub fn no_agent(id: impl std::fmt::Display) -> Self {
        Self::service(404, NO_AGENT, format!("Could not find the agent {id}."))
    }

    pub fn broker(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Broker { status: code(status), kind, message: message.into() }
    }

    pub fn control(status: u16, message: impl Into<String>) -> Self {
        Self::Control { status: code(status), message: message.into() }
    }

    /// What a router says about a path it does not have.
    pub fn no_page() -> Self {
        Self::Text { status: StatusCode::NOT_FOUND, text: "404 page not found\n".to_owned() }
    }

    pub fn into_reply(self) -> Reply {
        match self {
            Self::Service { status, type_name, message } => json_reply(
                status,
                &json!({
                    "$id": "1",
                    "innerException": null,
                    "message": message,
                    "typeName": type_name,
                    "typeKey": type_name.split(',').next().and_then(|name| name.rsplit('.').next()),
                    "errorCode": 0,
                    "eventId": 3000,
                }),
            ),
            Self::Rest { status, message, headers } => {
                let mut reply = json_reply(
                    status,
                    &json!({
                        "message": message,
                        "documentation_url": "https://docs.github.com/rest",
                        "status": status.as_str(),
                    }),
                );
                for (name, value) in headers {
                    set_header(&mut reply, name, &value);
                }
                reply
            }
            Self::Broker { status, kind, message } => json_reply(
                status,
                &json!({
                    "source": "actions-broker-listener",
                    "errorKind": kind,
                    "statusCode": status.as_u16(),
                    "errorMessage": message,
                }),
            ),
            Self::OAuth { error, message } => json_reply(
                StatusCode::BAD_REQUEST,
                &json!({ "error": error, "error_description": message }),
            ),
            Self::Text { status, text } => text_reply(status, text),
            Self::Control { status, message } => json_reply(status, &json!({ "error": message })),
        }
    }
}

pub(crate) const INVALID_TOKEN: &str =
    "GitHub.Services.OAuth.Client.InvalidTokenException, GitHub.Services.OAuth.Client";
pub(crate) const NO_SET: &str =
    "GitHub.Actions.Runtime.WebApi.RunnerScaleSetNotFoundException, GitHub.Actions.Runtime.WebApi";
pub(crate) const SET_EXISTS: &str =
    "GitHub.Actions.Runtime.WebApi.RunnerScaleSetExistsException, GitHub.Actions.Runtime.WebApi";
pub(crate) const SESSION_CONFLICT: &str = "GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionConflictException, GitHub.Actions.Runtime.WebApi";
pub(crate) const SESSION_EXPIRED: &str = "GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionExpiredException, GitHub.Actions.Runtime.WebApi";
pub(crate) const RUNNER_ADMIN: &str =
    "GitHub.Actions.Runtime.WebApi.RunnerAdminException, GitHub.Actions.Runtime.WebApi";
pub(crate) const AGENT_EXISTS: &str =
    "GitHub.DistributedTask.WebApi.TaskAgentExistsException, GitHub.DistributedTask.WebApi";
pub(crate) const NO_AGENT: &str =
    "GitHub.DistributedTask.WebApi.TaskAgentNotFoundException, GitHub.DistributedTask.WebApi";
pub(crate) const JOB_RUNNING: &str = "GitHub.DistributedTask.WebApi.TaskAgentJobStillRunningException, GitHub.DistributedTask.WebApi";
/// The exact class for malformed input was never recorded; any name that the table of known ones does not contain will do.
pub(crate) const BAD_ARGUMENT: &str =
    "GitHub.Services.Common.VssPropertyValidationException, GitHub.Services.Common";

/// A status by number; 500 for a number that is none.
pub(crate) fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn json_reply(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    // Only our own values come here, whose keys are strings: they always serialise.
    written_reply(status, serde_json::to_vec(body).unwrap_or_default())
}

/// An answer whose JSON is written already.
pub(crate) fn written_reply(status: StatusCode, json: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(json.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    reply
}

pub(crate) fn ok(body: &impl serde::Serialize) -> Reply {
    json_reply(StatusCode::OK, body)
}

pub(crate) fn text_reply(status: StatusCode, text: String) -> Reply {
    let mut reply = Response::new(Bytes::from(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    reply
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

/// Sets a header; a value that HTTP does not allow is left out.
pub(crate) fn set_header(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = header::HeaderValue::from_str(value) {
        reply.headers_mut().insert(header::HeaderName::from_static(name), value);
    }
}
