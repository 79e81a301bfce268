//! Calls on adapters, each with an end: an answer, a time-out, a caught panic, or the daemon's own end.

use std::{any::Any, fmt, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How much of a panic's text is kept: what the ports promise for the other side's words.
const PANIC_CHARS_MAX: usize = 1_000;

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// It took too long.
    TimedOut(Duration),
    /// The adapter panicked.
    Panicked(String),
    /// The daemon ends.
    Ending,
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => {
                write!(f, "no answer within {} s; it is tried again", limit.as_secs())
            }
            Self::Panicked(text) => write!(
                f,
                "the adapter panicked: {text}; this is a fault of dayfly, please report it"
            ),
            Self::Ending => f.write_str("the daemon ended before the answer came"),
        }
    }
}

/// Runs a call to its end. None begins after the daemon's end; an answer that is there wins over it.
pub(crate) async fn bounded<T>(
    ending: &CancellationToken,
    limit: Duration,
    call: impl Future<Output = T>,
) -> Result<T, Lapse> {
    if ending.is_cancelled() {
        return Err(Lapse::Ending);
    }
    // Both arms may be dropped halfway: a call that is abandoned is settled by a later listing.
    tokio::select! {
        biased;
        answer = timeout(limit, AssertUnwindSafe(call).catch_unwind()) => match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(panic)) => Err(Lapse::Panicked(panic_text(panic.as_ref()))),
            Err(_) => Err(Lapse::TimedOut(limit)),
        },
        () = ending.cancelled() => Err(Lapse::Ending),
    }
}

/// What a panic said, where it said it in words.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words");
    text.chars().take(PANIC_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_call_has_an_end() {
        let limit = Duration::from_secs(60);
        let open = CancellationToken::new();
        let ended = CancellationToken::new();
        ended.cancel();
        assert_eq!(bounded(&open, limit, async { 7 }).await, Ok(7));
        assert_eq!(bounded(&ended, limit, async { 7 }).await, Err(Lapse::Ending));
        let last = CancellationToken::new();
        let ends_all = async {
            last.cancel();
            7
        };
        assert_eq!(bounded(&last, limit, ends_all).await, Ok(7));
        let never = std::future::pending::<()>;
        assert_eq!(bounded(&open, limit, never()).await, Err(Lapse::TimedOut(limit)));
        assert_eq!(bounded(&ended, limit, never()).await, Err(Lapse::Ending));
        let panics = async {
            assert_eq!(1, 2, "a bug");
        };
        let Err(Lapse::Panicked(text)) = bounded(&open, limit, panics).await else {
            panic!("not caught")
        };
        assert!(text.contains("a bug"), "{text}");
    }
}
