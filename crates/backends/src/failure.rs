//! How a failed call on an engine is put into words.

use dayfly_core::ports::{BackendError, BackendErrorKind};

/// How many characters of an engine's words are kept, as [`BackendError::detail`] promises.
const DETAIL_MAX: usize = 2_000;

/// A failed call, its detail cut to its bound and without the control characters that a terminal would obey.
pub(crate) fn failure(
    kind: BackendErrorKind,
    operation: impl Into<String>,
    detail: impl AsRef<str>,
) -> BackendError {
    BackendError {
        kind,
        operation: operation.into(),
        detail: detail.as_ref().trim().chars().map(plain).take(DETAIL_MAX).collect(),
    }
}

fn plain(c: char) -> char {
    if c.is_control() && c != '\n' { ' ' } else { c }
}
