//! Faults per route: what goes wrong, how often, and how it changes an answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{FaultId, Ids};
use crate::refusal::{Reply, code, json_reply, set_header};

/// What goes wrong. Set by `POST /control/faults`; the JSON form is `{"do": "status", "status": 500}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answers without executing.
    Status {
        /// The status to answer.
        status: u16,
        /// Seconds in `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
        /// The body: a JSON value, or a string sent as plain text.
        #[serde(default)]
        body: Option<Value>,
        /// More headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Drops the connection; nothing is executed.
    ResetBefore,
    /// Executes, then drops the connection.
    ResetAfter,
    /// Executes, then sends only the first bytes of the body and drops the connection.
    Truncate {
        /// Bytes of the body that get through.
        bytes: usize,
    },
    /// Executes after this long.
    DelayBefore {
        /// Milliseconds.
        ms: u64,
    },
    /// Executes at once, answers after this long.
    DelayAfter {
        /// Milliseconds.
        ms: u64,
    },
    /// Executes twice and answers with the second result, as when a lost answer made the caller's stack repeat it.
    Twice,
    /// Executes, answers 200 with an empty body.
    Empty200,
    /// Refuses by the primary rate limit, with `x-ratelimit-remaining: 0`.
    PrimaryLimit {
        /// Seconds until the reset that the headers promise.
        reset_s: u64,
    },
    /// Refuses by the secondary rate limit.
    SecondaryLimit {
        /// Seconds in `Retry-After`; none: only the message tells.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Refuses a session as if another were live.
    SessionConflict,
    /// Writes zeros into the statistics of the answer (a known glitch beside job entries).
    ZeroStatistics,
    /// Sends a message with the statistics from before its own entries.
    StaleStatistics,
    /// Sends the entries of a message the last one first.
    ReverseEntries,
    /// A poll that hears of nothing for this long, whatever happens, and then ends with 202.
    StuckPoll {
        /// Milliseconds.
        ms: u64,
    },
    /// Puts a UTF-8 byte order mark before the body.
    Bom,
    /// Leaves the entries of these types (`JobCompleted`, …) out of a message, for ever.
    LoseEntries {
        /// Entry types.
        kinds: Vec<String>,
    },
    /// Puts an entry that is no job entry into a message.
    PoisonEntry,
    /// A webhook's delivery that is never sent, and that GitHub's own list does not know of.
    Lose,
    /// A webhook's delivery that comes late by a random time, so that the order is lost.
    Shuffle {
        /// Milliseconds, at most.
        ms: u64,
    },
}

impl Action {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Truncate { .. } => "truncate",
            Self::DelayBefore { .. } => "delay_before",
            Self::DelayAfter { .. } => "delay_after",
            Self::Twice => "twice",
            Self::Empty200 => "empty200",
            Self::PrimaryLimit { .. } => "primary_limit",
            Self::SecondaryLimit { .. } => "secondary_limit",
            Self::SessionConflict => "session_conflict",
            Self::ZeroStatistics => "zero_statistics",
            Self::StaleStatistics => "stale_statistics",
            Self::ReverseEntries => "reverse_entries",
            Self::StuckPoll { .. } => "stuck_poll",
            Self::Bom => "bom",
            Self::LoseEntries { .. } => "lose_entries",
            Self::PoisonEntry => "poison_entry",
            Self::Lose => "lose",
            Self::Shuffle { .. } => "shuffle",
        }
    }
}

/// A fault to set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// The route's name (`messages.get`), a family (`sessions.*`), or `*`. `hooks.deliver` and `hooks.redeliver` are the deliveries of
    /// webhooks: `reset_before` and `status` make GitHub list them as failed without sending them, `reset_after` loses the answer.
    pub route: String,
    /// What goes wrong.
    pub action: Action,
    /// How many calls it strikes; none: until it is cleared.
    #[serde(default)]
    pub count: Option<u64>,
    /// How many matching calls pass first.
    #[serde(default)]
    pub skip: u64,
    /// Chance to strike a matching call; none: always.
    #[serde(default)]
    pub probability: Option<f64>,
}

impl FaultSpec {
    fn matches(&self, route: &str) -> bool {
        match self.route.strip_suffix('*') {
            Some(prefix) => route.starts_with(prefix),
            None => self.route == route,
        }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub set: BTreeMap<FaultId, FaultSpec>,
}

impl Faults {
    /// The faults that strike this call, in the order in which they were set.
    pub fn draw(&mut self, route: &str, ids: &mut Ids) -> Vec<Action> {
        let mut drawn = Vec::new();
        self.set.retain(|_, fault| {
            if !fault.matches(route) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            if fault.probability.is_some_and(|chance| ids.faults.fraction() >= chance) {
                return true;
            }
            drawn.push(fault.action.clone());
            match &mut fault.count {
                Some(left) => {
                    *left = left.saturating_sub(1);
                    *left > 0
                }
                None => true,
            }
        });
        drawn
    }
}

/// The answer that an action gives in place of executing; `None` for actions that execute.
pub(crate) fn instead(action: &Action, now: jiff::Timestamp) -> Option<Reply> {
    match action {
        Action::Status { status, retry_after, body, headers } => {
            let mut reply = match body {
                Some(Value::String(text)) => {
                    crate::refusal::text_reply(code(*status), text.clone())
                }
                Some(body) => json_reply(code(*status), body),
                None => {
                    json_reply(code(*status), &serde_json::json!({ "message": "simulated fault" }))
                }
            };
            if let Some(seconds) = retry_after {
                set_header(&mut reply, "retry-after", &seconds.to_string());
            }
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (
                    http::HeaderName::from_bytes(name.as_bytes()),
                    http::HeaderValue::from_str(value),
                ) {
                    reply.headers_mut().insert(name, value);
                }
            }
            Some(reply)
        }
        Action::PrimaryLimit { reset_s } => {
            let reset = now.as_second().saturating_add(i64::try_from(*reset_s).unwrap_or(i64::MAX));
            Some(crate::rate_limit::primary_refusal("core", 5_000, reset).into_reply())
        }
        Action::SecondaryLimit { retry_after } => {
            Some(crate::rate_limit::secondary_refusal(*retry_after).into_reply())
        }
        Action::SessionConflict => Some(crate::session::conflict("another-host").into_reply()),
        _ => None,
    }
}

/// Changes an answer as the actions say.
pub(crate) fn distort(mut reply: Reply, faults: &[Action]) -> Reply {
    for fault in faults {
        match fault {
            Action::Empty200 => {
                reply = Reply::new(Bytes::new());
                *reply.status_mut() = StatusCode::OK;
            }
            Action::Bom if !reply.body().is_empty() => {
                *reply.body_mut() = Bytes::from([b"\xEF\xBB\xBF", &reply.body()[..]].concat());
            }
            Action::ZeroStatistics => {
                rewrite(&mut reply, |body| {
                    if let Some(Value::Object(statistics)) = body.get_mut("statistics") {
                        for value in statistics.values_mut() {
                            *value = 0.into();
                        }
                    }
                });
            }
            Action::StaleStatistics => rewrite(&mut reply, take_back_counts),
            Action::ReverseEntries => {
                rewrite(&mut reply, |body| edit_entries(body, |entries| entries.reverse()));
            }
            Action::LoseEntries { kinds } => rewrite(&mut reply, |body| {
                edit_entries(body, |entries| {
                    entries.retain(|entry| {
                        !kinds.iter().any(|kind| {
                            entry.get("messageType").is_some_and(|of| of == kind.as_str())
                        })
                    });
                });
            }),
            Action::PoisonEntry => rewrite(&mut reply, |body| {
                edit_entries(body, |entries| {
                    entries.insert(
                        0,
                        serde_json::json!({ "messageType": 7, "jobId": ["not", "a", "job"] }),
                    );
                });
            }),
            _ => {}
        }
    }
    reply
}

fn rewrite(reply: &mut Reply, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice::<Value>(reply.body()) {
        change(&mut body);
        *reply.body_mut() = Bytes::from(body.to_string());
    }
}

/// Makes the statistics of a message what they were before its entries.
fn take_back_counts(body: &mut Value) {
    let mut kinds = Vec::new();
    edit_entries(body, |entries| {
        kinds = entries
            .iter()
            .filter_map(|entry| entry["messageType"].as_str().map(str::to_owned))
            .collect();
    });
    let count = |kind: &str| kinds.iter().filter(|of| *of == kind).count() as i64;
    let (assigned, started, completed) =
        (count("JobAssigned"), count("JobStarted"), count("JobCompleted"));
    for (name, since) in
        [("totalAssignedJobs", assigned - completed), ("totalRunningJobs", started - completed)]
    {
        if let Some(now) = body["statistics"][name].as_i64() {
            body["statistics"][name] = (now - since).max(0).into();
        }
    }
}

fn edit_entries(body: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    if let Some(Value::String(text)) = body.get_mut("body")
        && let Ok(mut entries) = serde_json::from_str::<Vec<Value>>(text)
    {
        change(&mut entries);
        *text = Value::Array(entries).to_string();
    }
}
