//! How a failed call on an engine is put into words.

use std::error::Error;

use dayfly_core::ports::{BackendError, BackendErrorKind};

/// How many characters of an engine's words are kept, as [`BackendError::detail`] promises.
const DETAIL_MAX: usize = 2_000;

/// A failed call, its detail cut to its bound.
pub(crate) fn failure(
    kind: BackendErrorKind,
    operation: impl Into<String>,
    detail: impl AsRef<str>,
) -> BackendError {
    BackendError {
        kind,
        operation: operation.into(),
        detail: detail.as_ref().trim().chars().take(DETAIL_MAX).collect(),
    }
}

/// An error and its sources in one line; a source that its parent already quotes is left out.
#[cfg(any(feature = "docker", feature = "process"))]
pub(crate) fn chain(error: &dyn Error) -> String {
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
