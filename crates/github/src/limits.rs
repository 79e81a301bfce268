//! GitHub's rate limits, as its answers tell of them, and until when it must be left alone.

use dayfly_core::{model::later, ports::RateLimit};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};

/// What a REST call counts against (protocol.md, 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// The credential's hour.
    Core,
    /// The App's own calls, signed with its JWT: another hour than its installation's.
    App,
    /// Registrations, which have an hour of their own.
    Registration,
}

/// How long a secondary limit lasts that does not say so (protocol.md, 5.5).
const SECONDARY_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// The longest wait that is believed: GitHub's windows are an hour.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(2);

/// The shortest wait: a reset that is just past does not make a refusal untrue.
const WAIT_MIN: SignedDuration = SignedDuration::from_secs(1);

/// What is known of the limits of one credential.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    newest: Option<RateLimit>,
    refused_until: [Option<Timestamp>; 3],
}

impl Limits {
    /// Takes in the headers of an answer. `skew` is GitHub's clock minus ours.
    pub fn note(&mut self, bucket: Bucket, headers: &HeaderMap, skew: SignedDuration) {
        let of_core =
            header(headers, "x-ratelimit-resource").is_none_or(|resource| resource == "core");
        if bucket != Bucket::Core || !of_core {
            return;
        }
        let number = |name| header(headers, name).and_then(|value| value.parse::<u32>().ok());
        if let (Some(limit), Some(remaining), Some(resets_at)) =
            (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), reset(headers, skew))
        {
            self.newest = Some(RateLimit { limit, remaining, resets_at });
        }
    }

    /// The newest numbers.
    pub fn newest(&self) -> Option<RateLimit> {
        self.newest
    }

    /// Remembers a refusal.
    pub fn refuse_until(&mut self, bucket: Bucket, until: Timestamp) {
        self.refused_until[bucket as usize] = Some(until);
    }

    /// Until when calls of this kind would be refused, if they would.
    pub fn refused_until(&self, bucket: Bucket, now: Timestamp) -> Option<Timestamp> {
        self.refused_until[bucket as usize].filter(|until| *until > now)
    }
}

/// Until when, by our clock, an answer asks to be left alone; `None` where it is no rate limit.
pub(crate) fn limited_until(
    status: StatusCode,
    headers: &HeaderMap,
    words: &str,
    now: Timestamp,
    skew: SignedDuration,
) -> Option<Timestamp> {
    let exhausted = header(headers, "x-ratelimit-remaining") == Some("0");
    let retry_after = retry_after(headers, now, skew);
    let limited = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            exhausted || retry_after.is_some() || words.to_ascii_lowercase().contains("rate limit")
        }
        _ => false,
    };
    let until = retry_after
        .or_else(|| reset(headers, skew).filter(|_| exhausted))
        .unwrap_or_else(|| later(now, SECONDARY_WAIT));
    limited.then(|| until.clamp(later(now, WAIT_MIN), later(now, WAIT_MAX)))
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp, skew: SignedDuration) -> Option<Timestamp> {
    let value = header(headers, "retry-after")?;
    match value.parse::<u32>() {
        Ok(seconds) => Some(later(now, SignedDuration::from_secs(seconds.into()))),
        Err(_) => by_our_clock(http_date(value)?, skew),
    }
}

fn reset(headers: &HeaderMap, skew: SignedDuration) -> Option<Timestamp> {
    let seconds = header(headers, "x-ratelimit-reset")?.parse().ok()?;
    by_our_clock(Timestamp::from_second(seconds).ok()?, skew)
}

fn by_our_clock(github: Timestamp, skew: SignedDuration) -> Option<Timestamp> {
    github.checked_sub(skew).ok()
}

/// A date as HTTP writes it.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// A header's value as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn waits() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let check = |status: u16,
                     pairs: &[(&'static str, &'static str)],
                     words: &str,
                     seconds: Option<i64>| {
            let status = StatusCode::from_u16(status).unwrap();
            let until =
                limited_until(status, &headers(pairs), words, now, SignedDuration::from_secs(10));
            assert_eq!(
                until.map(|until| until.as_second() - now.as_second()),
                seconds,
                "{status} {pairs:?}"
            );
        };
        check(403, &[], "Resource not accessible", None);
        check(403, &[("x-ratelimit-remaining", "7")], "", None);
        check(403, &[("retry-after", "30")], "", Some(30));
        check(403, &[], "You have exceeded a secondary rate limit", Some(60));
        // GitHub's clock is ten seconds ahead of ours.
        check(
            403,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000110")],
            "",
            Some(100),
        );
        check(
            429,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000110")],
            "",
            Some(100),
        );
        check(429, &[("retry-after", "5"), ("x-ratelimit-reset", "1000110")], "", Some(5));
        check(429, &[("retry-after", "Mon, 12 Jan 1970 13:48:40 GMT")], "", Some(110));
        check(429, &[], "", Some(60));
        check(429, &[("retry-after", "nonsense")], "", Some(60));
        // Neither the past nor next year is believed.
        check(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "5")], "", Some(1));
        check(429, &[("retry-after", "4000000000")], "", Some(7_200));
        check(429, &[("retry-after", "99999999999999")], "", Some(60));
        check(500, &[("retry-after", "5")], "rate limit", None);
    }

    #[test]
    fn only_the_credentials_own_hour_is_told() {
        let mut limits = Limits::default();
        let core = headers(&[
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "17"),
            ("x-ratelimit-reset", "9"),
        ]);
        limits.note(Bucket::App, &core, SignedDuration::ZERO);
        limits.note(Bucket::Core, &headers(&[("x-ratelimit-limit", "-3")]), SignedDuration::ZERO);
        assert_eq!(limits.newest(), None);
        limits.note(Bucket::Core, &core, SignedDuration::ZERO);
        let mut other = core.clone();
        other.insert("x-ratelimit-resource", HeaderValue::from_static("search"));
        other.insert("x-ratelimit-remaining", HeaderValue::from_static("1"));
        limits.note(Bucket::Core, &other, SignedDuration::ZERO);
        assert_eq!(limits.newest().map(|limit| (limit.limit, limit.remaining)), Some((5000, 17)));
    }
}
