//! Times as GitHub writes them.

use jiff::{
    SignedDuration, Timestamp,
    fmt::{rfc2822, temporal},
};

/// How GitHub writes "not set" on the Actions service.
pub(crate) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// `at` plus a number of milliseconds; the end of time when that is beyond it.
pub(crate) fn after(at: Timestamp, ms: u64) -> Timestamp {
    let span = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// Whole seconds, as the public REST writes times.
pub(crate) fn seconds(at: Timestamp) -> String {
    const WHOLE: temporal::DateTimePrinter = temporal::DateTimePrinter::new().precision(Some(0));
    WHOLE.timestamp_to_string(&at)
}

/// As HTTP's `Date` header writes times.
pub(crate) fn http_date(at: Timestamp) -> String {
    // It fails for years that HTTP has no digits for.
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

/// With fractions, as the Actions service writes times; `None` is [`ZERO_TIME`].
pub(crate) fn precise(at: Option<Timestamp>) -> String {
    at.map_or_else(|| ZERO_TIME.to_owned(), |at| at.to_string())
}

/// Unix seconds with fractions, as the control API writes times.
pub(crate) fn unix(at: Timestamp) -> f64 {
    SignedDuration::from_nanos_i128(at.as_nanosecond()).as_secs_f64()
}
