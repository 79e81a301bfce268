//! What the server's answers hold, of which only this much is read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Every answer but a file's.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) error_code: u16,
    #[serde(default)]
    pub(super) metadata: Value,
}

/// A call that goes on after its answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Operation {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) status_code: u16,
    #[serde(default)]
    pub(super) resources: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(super) metadata: Value,
    #[serde(default)]
    pub(super) err: String,
}

impl Operation {
    /// Whether it concerns an instance.
    pub(super) fn is_of(&self, instance: &str) -> bool {
        let lists = self.resources.iter().flatten().filter(|(kind, _)| *kind == "instances");
        let mut paths = lists.filter_map(|(_, paths)| paths.as_array()).flatten();
        paths.any(|path| path.as_str().and_then(last_segment) == Some(instance))
    }
}

/// The last word of a path, without what follows a question mark.
pub(super) fn last_segment(path: &str) -> Option<&str> {
    path.split('?').next()?.rsplit('/').next().filter(|segment| !segment.is_empty())
}

/// An instance.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Instance {
    pub(super) name: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "null_is_none")]
    pub(super) config: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) last_used_at: String,
    /// The member of a cluster that has it.
    #[serde(default)]
    pub(super) location: String,
}

/// LXD writes `null` for what it can't know of an instance whose member of a cluster is away.
fn null_is_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Instance {
    /// When it was made.
    pub(super) fn created(&self) -> Option<Timestamp> {
        self.created_at.parse().ok()
    }

    /// Whether it was ever started. LXD writes the beginning of its calendar for "never".
    pub(super) fn was_started(&self) -> bool {
        self.last_used_at.parse::<Timestamp>().is_ok_and(|at| at > Timestamp::UNIX_EPOCH)
    }

    /// Whether it is on a member of a cluster that can't be reached: no more than its name is told of it.
    pub(super) fn is_away(&self) -> bool {
        self.status == "Error" && self.config.is_empty()
    }

    /// Whether it stands still.
    pub(super) fn is_stopped(&self) -> bool {
        self.status == "Stopped"
    }
}

/// What a new instance is made of.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct NewInstance {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) ephemeral: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profiles: Option<Vec<String>>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) devices: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) source: Source,
}

/// The image.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Source {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<&'static str>,
}

/// A command in an instance.
#[derive(Debug, Serialize)]
pub(super) struct Exec<'a> {
    pub(super) command: Vec<&'a str>,
    pub(super) environment: &'a BTreeMap<String, String>,
    #[serde(rename = "wait-for-websocket")]
    pub(super) wait_for_websocket: bool,
    #[serde(rename = "record-output")]
    pub(super) record_output: bool,
    pub(super) interactive: bool,
}

/// A change of an instance's state.
#[derive(Debug, Serialize)]
pub(super) struct StateChange {
    pub(super) action: &'static str,
    /// Seconds.
    pub(super) timeout: i64,
    pub(super) force: bool,
}

/// One event of the stream.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default)]
    pub(super) metadata: Lifecycle,
    /// The member of a cluster that it happened on.
    #[serde(default)]
    pub(super) location: String,
}

/// What happened, and to what.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Lifecycle {
    #[serde(default)]
    pub(super) action: String,
    #[serde(default)]
    pub(super) source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_knows_its_instances() {
        let text = r#"{"id":"x","resources":{"containers":["/1.0/containers/a"],"instances":["/1.0/instances/a?project=ci"]}}"#;
        let operation: Operation = serde_json::from_str(text).unwrap();
        assert!(operation.is_of("a"));
        assert!(!operation.is_of("b"));
        let nothing: Operation = serde_json::from_str(r#"{"id":"x","resources":null}"#).unwrap();
        assert!(!nothing.is_of("a"));
    }

    /// As LXD 5.0.2 tells of one whose member was killed.
    #[test]
    fn one_that_is_away_is_known_by_what_is_not_told() {
        let check = |text: &str, expected: bool| {
            let instance: Instance = serde_json::from_str(text).unwrap();
            assert_eq!(instance.is_away(), expected, "{text}");
        };
        check(r#"{"name":"a","status":"Error","config":null,"location":"c"}"#, true);
        check(r#"{"name":"a","status":"Error","config":{"user.a":"b"},"location":"c"}"#, false);
        check(r#"{"name":"a","status":"Running","config":{},"location":"c"}"#, false);
    }

    #[test]
    fn one_that_never_started_is_known_by_its_date() {
        let check = |at: &str, expected: bool| {
            let text = format!(r#"{{"name":"a","status":"Stopped","last_used_at":"{at}"}}"#);
            let instance: Instance = serde_json::from_str(&text).unwrap();
            assert_eq!(instance.was_started(), expected, "{at}");
        };
        check("1970-01-01T00:00:00Z", false);
        check("0001-01-01T00:00:00Z", false);
        check("", false);
        check("2026-11-21T15:54:41.032891377Z", true);
    }
}
