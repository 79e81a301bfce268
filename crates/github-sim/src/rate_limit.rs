//! Rate limits of the public REST: a primary bucket per credential and resource, a secondary limit per minute.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ids::CredentialId;
use crate::moment;
use crate::options::Options;
use crate::refusal::{Refusal, Reply, set_header};

/// A bucket of the primary limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Core,
    Registration,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Registration => "actions_runner_registration",
        }
    }

    fn limit(self, options: &Options) -> u64 {
        match self {
            Self::Core => options.core_limit,
            Self::Registration => options.registration_limit,
        }
    }
}

/// Who is counted. An App counts per installation; the registration endpoint counts per scope, which is a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counted {
    pub credential: CredentialId,
    /// Installation or scope id; 0 for a user's token.
    pub part: i64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    used: u64,
    reset: Timestamp,
}

/// All windows.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    primary: BTreeMap<(Counted, Resource), Window>,
    secondary: BTreeMap<Counted, Window>,
    writes: BTreeMap<Counted, Window>,
}

/// What the headers of an answer say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    resource: Resource,
    limit: u64,
    used: u64,
    reset: i64,
}

impl Standing {
    pub fn write(&self, reply: &mut Reply) {
        set_header(reply, "x-ratelimit-limit", &self.limit.to_string());
        set_header(
            reply,
            "x-ratelimit-remaining",
            &self.limit.saturating_sub(self.used).to_string(),
        );
        set_header(reply, "x-ratelimit-used", &self.used.to_string());
        set_header(reply, "x-ratelimit-reset", &self.reset.to_string());
        set_header(reply, "x-ratelimit-resource", self.resource.name());
    }
}

impl Rates {
    /// Counts one call, or refuses it.
    pub fn take(
        &mut self,
        who: Counted,
        resource: Resource,
        now: Timestamp,
        options: &Options,
    ) -> Result<Standing, Refusal> {
        take_of_minute(&mut self.secondary, options.secondary_per_minute, who, now)?;
        let limit = resource.limit(options);
        let entry = self.primary.entry((who, resource)).or_insert(Window { used: 0, reset: now });
        let window = window(entry, now, options.rate_window_ms);
        if window.used >= limit {
            return Err(primary_refusal(resource.name(), limit, window.reset.as_second()));
        }
        window.used += 1;
        Ok(Standing { resource, limit, used: window.used, reset: window.reset.as_second() })
    }

    /// Counts one call that changes something, or refuses it.
    pub fn take_write(
        &mut self,
        who: Counted,
        now: Timestamp,
        options: &Options,
    ) -> Result<(), Refusal> {
        take_of_minute(&mut self.writes, options.writes_per_minute, who, now)
    }

    /// Takes one call back: a 304 is free.
    pub fn give_back(&mut self, who: Counted, standing: &mut Standing) {
        if let Some(window) = self.primary.get_mut(&(who, standing.resource)) {
            window.used = window.used.saturating_sub(1);
            standing.used = window.used;
        }
    }

    /// The body of `GET /rate_limit`, which is free itself.
    pub fn overview(&self, who: Counted, now: Timestamp, options: &Options) -> Value {
        let bucket = |resource: Resource| {
            let limit = resource.limit(options);
            let (used, reset) = match self.primary.get(&(who, resource)) {
                Some(window) if window.reset > now => (window.used, window.reset),
                _ => (0, moment::after(now, options.rate_window_ms)),
            };
            json!({ "limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset": reset.as_second() })
        };
        json!({
            "resources": {
                "core": bucket(Resource::Core),
                "search": { "limit": 30, "used": 0, "remaining": 30, "reset": moment::after(now, 60_000).as_second() },
                "actions_runner_registration": bucket(Resource::Registration),
            },
            "rate": bucket(Resource::Core),
        })
    }
}

/// Counts one call within a minute's limit, where there is one, or refuses it.
fn take_of_minute(
    windows: &mut BTreeMap<Counted, Window>,
    limit: Option<u64>,
    who: Counted,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(limit) = limit else { return Ok(()) };
    let window = window(windows.entry(who).or_insert(Window { used: 0, reset: now }), now, 60_000);
    if window.used >= limit {
        return Err(secondary_refusal(Some(seconds_until(window.reset, now))));
    }
    window.used += 1;
    Ok(())
}

fn window(window: &mut Window, now: Timestamp, length_ms: u64) -> &mut Window {
    if window.reset <= now {
        *window = Window { used: 0, reset: moment::after(now, length_ms) };
    }
    window
}

fn seconds_until(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(at.as_second() - now.as_second()).unwrap_or(0).max(1)
}

pub(crate) fn primary_refusal(resource: &'static str, limit: u64, reset: i64) -> Refusal {
    Refusal::Rest {
        status: http::StatusCode::FORBIDDEN,
        message: "API rate limit exceeded.".to_owned(),
        headers: vec![
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", "0".to_owned()),
            ("x-ratelimit-used", limit.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-resource", resource.to_owned()),
        ],
    }
}

pub(crate) fn secondary_refusal(retry_after: Option<u64>) -> Refusal {
    Refusal::Rest {
        status: http::StatusCode::FORBIDDEN,
        message: "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.".to_owned(),
        headers: retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect(),
    }
}
