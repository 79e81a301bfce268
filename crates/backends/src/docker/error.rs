//! What an engine's refusal means to the planner, and its words.

use bollard::errors::Error;
use dayfly_core::ports::{BackendError, BackendErrorKind};

use crate::failure::failure;

/// Words in an engine's refusal that tell of want of room; lower case.
const NO_CAPACITY: [&str; 5] = [
    "no space left on device",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "no available ip",
    "address pool",
];

/// Words in a 500 of the engine that tell that the same request will be refused again; lower case.
const NOT_ALLOWED: [&str; 14] = [
    "oci runtime",
    "operation not permitted",
    "permission denied",
    "gathering device information",
    "no such file or directory",
    "unknown runtime",
    "unable to find",
    "invalid reference format",
    "invalid argument",
    "not supported",
    "could not select device driver",
    "executable file not found",
    "linux runtime spec",
    "shim task",
];

/// A failed call that changes something: where the connection died on the way, it may have had its effect.
pub(super) fn refused(operation: impl Into<String>, error: &Error) -> BackendError {
    let kind = kind(error);
    failure(kind, operation, words(error))
}

/// A failed call that only reads: whatever happened, nothing was done.
pub(super) fn unread(operation: impl Into<String>, error: &Error) -> BackendError {
    let mut failed = refused(operation, error);
    if failed.kind == BackendErrorKind::Unknown {
        failed.kind = BackendErrorKind::Unreachable;
    }
    failed
}

/// Whether the name is taken. Podman 4 tells it by words alone.
pub(super) fn is_name_taken(error: &Error) -> bool {
    let is_told = |message: &str| message.contains("name is already in use");
    is_status(error, 409)
        || matches!(error, Error::DockerResponseServerError { message, .. } if is_told(message))
}

/// Whether the engine answered with this status.
pub(super) fn is_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

fn kind(error: &Error) -> BackendErrorKind {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            by_status(*status_code, message)
        }
        Error::DockerStreamError { error } => by_words(error, BackendErrorKind::Transient),
        Error::HyperLegacyError { err } if err.is_connect() => BackendErrorKind::Unreachable,
        Error::SocketNotFoundError(_) => BackendErrorKind::Unreachable,
        _ => BackendErrorKind::Unknown,
    }
}

fn by_status(status: u16, message: &str) -> BackendErrorKind {
    match status {
        404 if is_image_missing(message) => BackendErrorKind::ImageMissing,
        400..=408 => by_words(message, BackendErrorKind::NotAllowed),
        // 409: another call on the same container is under way.
        _ => by_words(message, BackendErrorKind::Transient),
    }
}

fn is_image_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("no such image") || message.contains("image not known")
}

fn by_words(message: &str, other: BackendErrorKind) -> BackendErrorKind {
    let message = message.to_lowercase();
    if message.contains("quota") {
        BackendErrorKind::Quota
    } else if NO_CAPACITY.iter().any(|words| message.contains(words)) {
        BackendErrorKind::NoCapacity
    } else if NOT_ALLOWED.iter().any(|words| message.contains(words)) {
        BackendErrorKind::NotAllowed
    } else {
        other
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { status_code, message } if message.trim().is_empty() => {
            format!("the engine answered with status {status_code} and no word")
        }
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        Error::SocketNotFoundError(path) => {
            format!("there is no socket {path}: is the engine running?")
        }
        Error::RequestTimeoutError => "the engine did not answer in time".to_owned(),
        other => {
            let text = chain(other);
            if text.contains("Permission denied") {
                format!(
                    "{text}: run dayfly as a user who may use the engine's socket (root, or the group `docker`)"
                )
            } else {
                text
            }
        }
    }
}

/// An error and its sources in one line; a source that its parent already quotes is left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use BackendErrorKind as Kind;

    use super::*;

    #[test]
    fn an_answer_tells_its_kind_and_keeps_the_engines_words() {
        let check = |status_code: u16, message: &str, expected: Kind| {
            let error =
                Error::DockerResponseServerError { status_code, message: message.to_owned() };
            let failed = refused("create container a", &error);
            assert_eq!(failed.kind, expected, "{status_code} {message}");
            assert!(failed.detail.contains(message) && !failed.detail.is_empty(), "{failed}");
        };
        check(404, "No such image: a:latest", Kind::ImageMissing);
        check(404, "network nope not found", Kind::NotAllowed);
        check(400, "Unknown runtime specified nope", Kind::NotAllowed);
        check(400, "Minimum memory limit allowed is 6MB", Kind::NotAllowed);
        check(403, "authorization denied by plugin", Kind::NotAllowed);
        check(409, "removal of container a is already in progress", Kind::Transient);
        check(
            500,
            "OCI runtime create failed: unable to apply caps: operation not permitted",
            Kind::NotAllowed,
        );
        check(500, "write /var/lib/docker/x: no space left on device", Kind::NoCapacity);
        check(500, "fork/exec /usr/bin/runc: resource temporarily unavailable", Kind::NoCapacity);
        check(500, "mkdir: disk quota exceeded", Kind::Quota);
        check(500, "context deadline exceeded", Kind::Transient);
        check(503, "", Kind::Transient);
    }

    #[test]
    fn a_lost_answer_is_unknown_for_a_change_and_nothing_for_a_read() {
        assert_eq!(refused("create", &Error::RequestTimeoutError).kind, Kind::Unknown);
        assert_eq!(unread("list", &Error::RequestTimeoutError).kind, Kind::Unreachable);
        let absent = Error::SocketNotFoundError("/run/none.sock".to_owned());
        assert_eq!(refused("create", &absent).kind, Kind::Unreachable);
    }
}
