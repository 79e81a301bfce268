//! Errors of the API: what went wrong, what to do, and a word for programs.

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use dayfly_core::model::InvalidName;
use dayfly_engine::{Refused, Stopped};
use serde::{Deserialize, Serialize};

/// The document that an error answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// What went wrong, with what.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// A word for programs: `not_found`, `bad_request`, `too_large`, `not_stored`, `stopping`, `timed_out`.
    pub code: String,
}

/// An error with its status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

impl ApiError {
    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), hint: hint.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message, hint)
    }

    pub(crate) fn bad_request(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, hint)
    }

    pub(crate) fn no_such_route() -> Self {
        let hint = "the client and the daemon may be of different versions; `dayfly --version` and /v1/version tell";
        Self::not_found("the API has no such route", hint)
    }

    pub(crate) fn no_such_method() -> Self {
        let hint = "the client and the daemon may be of different versions; `dayfly --version` and /v1/version tell";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "bad_request",
            "the route does not know this method",
            hint,
        )
    }

    pub(crate) fn timed_out() -> Self {
        let hint = "the daemon is overloaded or its disk hangs; look at its log";
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timed_out",
            "the daemon gave no answer in time",
            hint,
        )
    }

    /// What a rejected body, query or path says. Its text names what was wrong with the input; it is bounded, for it
    /// may repeat the input.
    fn rejected(status: StatusCode, text: &str, hint: &str) -> Self {
        let message: String = text.chars().take(500).collect();
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "too_large",
                message,
                "no request of this API needs more than 16 KiB",
            ),
            status => Self::new(status, "bad_request", message, hint),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error =
            ErrorDetail { message: self.message, hint: self.hint, code: self.code.to_owned() };
        (self.status, Json(ErrorBody { error })).into_response()
    }
}

impl From<Stopped> for ApiError {
    fn from(stopped: Stopped) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            stopped.to_string(),
            "start the daemon again",
        )
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::NoSuchRunner(_) => Self::not_found(message, "`dayfly runners` lists them"),
            Refused::NoSuchPool(_) => Self::not_found(message, "`dayfly status` lists them"),
            Refused::NotStored(error) => {
                let hint =
                    "it takes effect once the store can be written; a restart before that loses it";
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "not_stored",
                    format!("{message}: {error}"),
                    hint,
                )
            }
            Refused::Stopped(stopped) => stopped.into(),
        }
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        let hint = format!("a {} is {}", error.kind, error.rule);
        Self::bad_request(error.to_string(), hint)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let hint =
            "send JSON such as {\"even_busy\": false}, with `content-type: application/json`";
        Self::rejected(rejection.status(), &rejection.body_text(), hint)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let hint = "give `?what=`: a job's id or address, a pool or a runner";
        Self::rejected(rejection.status(), &rejection.body_text(), hint)
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::rejected(rejection.status(), &rejection.body_text(), "names are plain ASCII")
    }
}
