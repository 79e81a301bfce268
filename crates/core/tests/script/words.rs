//! How names, times, counts and errors are written in a script.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{BackendName, Exit, PoolName, ScopeName, Statistics},
    ports::{BackendError, BackendErrorKind, ForgeError, ForgeErrorKind, Permission},
};
use jiff::{SignedDuration, Timestamp};

/// The words of a command: split at spaces, quoted texts whole, a trailing comma or colon dropped.
pub fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = command.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            words.push(quoted[..end].to_owned());
            rest = quoted.get(end + 1..).unwrap_or("").trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest[..end].trim_end_matches(':').to_owned());
            rest = rest[end..].trim_start();
        }
    }
    words
}

/// `90s`, `10m`, `2h`, `-1h`, `1d`.
pub fn duration(word: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{word}` is no duration");
    let (number, unit) = word.split_at(word.len().saturating_sub(1));
    let number: i64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "s" => Ok(SignedDuration::from_secs(number)),
        "m" => Ok(SignedDuration::from_mins(number)),
        "h" => Ok(SignedDuration::from_hours(number)),
        "d" => Ok(SignedDuration::from_hours(24 * number)),
        _ => Err(wrong()),
    }
}

/// A time since the script's beginning, in the same form as it is written.
pub fn since(start: Timestamp, at: Timestamp) -> String {
    let mut seconds = at.duration_since(start).as_secs();
    let sign = if seconds < 0 { "-" } else { "+" };
    seconds = seconds.abs();
    let mut text = sign.to_owned();
    for (unit, length) in [("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            text.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if text.len() == 1 { "+0s".to_owned() } else { text }
}

pub fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

pub fn pool(word: &str) -> Result<PoolName, String> {
    PoolName::new(word).map_err(|error| error.to_string())
}

pub fn backend(word: &str) -> Result<BackendName, String> {
    BackendName::new(word).map_err(|error| error.to_string())
}

pub fn scope(word: &str) -> Result<ScopeName, String> {
    ScopeName::new(word).map_err(|error| error.to_string())
}

/// Words of the form `name=value`.
pub fn pairs(words: &[String]) -> Result<BTreeMap<&str, &str>, String> {
    words
        .iter()
        .map(|word| word.split_once('=').ok_or_else(|| format!("`{word}` is not name=value")))
        .collect()
}

/// `assigned=3 running=1`: what is not named is 0.
pub fn statistics(words: &[String]) -> Result<Statistics, String> {
    let mut counts = Statistics::default();
    for (name, value) in pairs(words)? {
        let value = number(value)?;
        match name {
            "available" => counts.available = value,
            "acquired" => counts.acquired = value,
            "assigned" => counts.assigned = value,
            "running" => counts.running = value,
            "registered" => counts.registered = value,
            "busy" => counts.busy = value,
            "idle" => counts.idle = value,
            _ => return Err(format!("`{name}` is no count of GitHub's")),
        }
    }
    Ok(counts)
}

/// `unknown`, `no-capacity "the engine's words"`, …
pub fn backend_error(operation: &str, words: &[String]) -> Result<BackendError, String> {
    let kind = words.first().map_or("transient", String::as_str);
    let kind = match kind {
        "no-capacity" => BackendErrorKind::NoCapacity,
        "quota" => BackendErrorKind::Quota,
        "image-missing" => BackendErrorKind::ImageMissing,
        "not-allowed" => BackendErrorKind::NotAllowed,
        "unreachable" => BackendErrorKind::Unreachable,
        "unknown" => BackendErrorKind::Unknown,
        "transient" => BackendErrorKind::Transient,
        _ => return Err(format!("`{kind}` is no failure of a backend")),
    };
    let detail = words.get(1).cloned().unwrap_or_else(|| "the engine said no".into());
    Ok(BackendError { kind, operation: operation.into(), detail })
}

/// `transient`, `rate-limited 10m`, `conflict "GitHub's words"`, …
pub fn forge_error(
    operation: &str,
    words: &[String],
    now: Timestamp,
) -> Result<ForgeError, String> {
    let kind = words.first().map_or("transient", String::as_str);
    let mut rest = words.iter().skip(1);
    let kind = match kind {
        "unauthorized" => ForgeErrorKind::Unauthorized,
        "not-allowed" => ForgeErrorKind::NotAllowed(Permission("administration:write".into())),
        "not-found" => ForgeErrorKind::NotFound,
        "busy" => ForgeErrorKind::Busy,
        "rate-limited" => {
            let wait = rest.next().ok_or("rate-limited for how long?")?;
            ForgeErrorKind::RateLimited(now + duration(wait)?)
        }
        "conflict" => ForgeErrorKind::Conflict,
        "session-gone" => ForgeErrorKind::SessionGone,
        "set-gone" => ForgeErrorKind::ScaleSetGone,
        "refused" => ForgeErrorKind::Refused,
        "transient" => ForgeErrorKind::Transient,
        _ => return Err(format!("`{kind}` is no failure of GitHub's")),
    };
    let detail = rest.next().cloned().unwrap_or_else(|| "GitHub said no".into());
    Ok(ForgeError { kind, operation: operation.into(), detail })
}

/// `0`, `1 "last line"`, `oom`, or nothing.
pub fn exit(words: &[String]) -> Result<Exit, String> {
    let mut exit = Exit::default();
    let mut words = words.iter();
    match words.next().map(String::as_str) {
        None => return Ok(exit),
        Some("oom") => {
            exit.code = Some(137);
            exit.out_of_memory = true;
        }
        Some(code) => exit.code = Some(number(code)?),
    }
    exit.last_output = words.cloned().collect();
    Ok(exit)
}
