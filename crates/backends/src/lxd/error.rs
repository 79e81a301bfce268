//! What a server's refusal means to the planner, and its words.

use dayfly_core::ports::{BackendError, BackendErrorKind};

use super::address::Address;
use crate::failure::failure;

/// Words that tell of want of room; lower case.
const NO_CAPACITY: [&str; 6] = [
    "no space left on device",
    "not enough space",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "no available dhcp",
    "no servers available",
];

/// Words that tell of a limit of the project; lower case.
const QUOTA: [&str; 4] =
    ["reached maximum number", "quota", "reached maximum aggregate", "exceeds the maximum"];

/// Words that tell that the image can't be had; lower case. The last ones are about another server that has it: whatever
/// ails that one, it is no trouble of this server's, and concerns only those who want its images.
const IMAGE_MISSING: [&str; 9] = [
    "image alias not found",
    "image not found",
    "image not provided",
    "couldn't find the requested image",
    "requested image couldn't be found",
    "failed getting remote image info",
    "failed remote image download",
    "failed to connect to lxd server",
    // Incus's.
    "failed to connect to the server",
];

/// Words that tell that the server has trouble of its own, or is at it already: trying later may help, whatever it was
/// doing; lower case.
const OWN_TROUBLE: [&str; 6] = [
    "database is locked",
    "is busy running",
    "operation in progress",
    "shutting down",
    "isn't ready yet",
    "still running",
];

/// Words that tell that somebody did not answer the server: trying later may help. Lower case.
const TRY_LATER: [&str; 8] = [
    "connection refused",
    "unable to connect",
    "connection reset",
    "no such host",
    "timeout",
    "timed out",
    "temporarily",
    "deadline exceeded",
];

/// Words that tell that the member of a cluster that has to do it is away: nothing was done; lower case.
const MEMBER_AWAY: [&[&str]; 2] = [
    &["missing event connection with target cluster member"],
    // One member asked another to make an instance.
    &["/1.0/instances?", "unable to connect to"],
];

/// A call that did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server could not be reached: nothing was sent.
    Unsent(String),
    /// It may have taken the call: no answer, or one that can't be read.
    Lost(String),
    /// It refused, with a status and words of its own.
    Refused { status: u16, words: String },
    /// It began, and what it began failed.
    Fell(String),
}

impl Failed {
    /// Whether the server knows nothing of that name.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the name was taken.
    pub(super) fn is_taken(&self) -> bool {
        match self {
            Self::Refused { status: 409, .. } => true,
            Self::Refused { words, .. } | Self::Fell(words) => {
                // The second is said while the first one is being made or started.
                ["entry already exists", "Instance is busy running", "already in use"]
                    .iter()
                    .any(|taken| words.contains(taken))
                    // Incus: 7.0, and 6.0.
                    || (words.contains("Instance \"") && words.contains("\" already exists"))
                    || words.contains("UNIQUE constraint failed: instances.")
            }
            Self::Unsent(_) | Self::Lost(_) => false,
        }
    }

    /// Whether what was asked for is so already.
    pub(super) fn is_so_already(&self) -> bool {
        let words = match self {
            Self::Refused { words, .. } | Self::Fell(words) => words,
            Self::Unsent(_) | Self::Lost(_) => return false,
        };
        ["already running", "already stopped"].iter().any(|so| words.contains(so))
    }

    /// Whether the server knows who asks, and does not let them. Incus 6.0 says so of a list by its words alone.
    fn is_forbidden(&self) -> bool {
        match self {
            Self::Refused { status: 403, .. } => true,
            Self::Refused { words, .. } => words.contains("User does not have permission"),
            Self::Unsent(_) | Self::Lost(_) | Self::Fell(_) => false,
        }
    }

    fn kind(&self) -> BackendErrorKind {
        match self {
            Self::Unsent(_) => BackendErrorKind::Unreachable,
            Self::Lost(_) => BackendErrorKind::Unknown,
            Self::Refused { .. } if self.is_forbidden() => BackendErrorKind::NotAllowed,
            Self::Refused { status: 409 | 429 | 503, words } => {
                by_words(words).unwrap_or(BackendErrorKind::Transient)
            }
            // LXD says no more by its status: a wrong setting is a 500 as often as a 400.
            Self::Refused { words, .. } | Self::Fell(words) => {
                by_words(words).unwrap_or(BackendErrorKind::NotAllowed)
            }
        }
    }

    fn words(&self, address: &Address) -> String {
        match self {
            Self::Unsent(words) if words.contains("Permission denied") => format!(
                "{words}: run dayfly as a user who may use {address} (root, or the group `lxd`, or `incus-admin`)"
            ),
            Self::Unsent(words) if matches!(address, Address::Socket(_)) => {
                format!("{words}: is LXD or Incus running at {address}?")
            }
            Self::Unsent(words) | Self::Lost(words) => format!("{address}: {words}"),
            Self::Refused { status, words } if words.is_empty() => {
                format!("the server answered with status {status} and no word")
            }
            Self::Refused { words, .. } if self.is_forbidden() => format!(
                "{words}: the server must trust dayfly's certificate, and for this project: `lxc config trust add`, or `incus config trust add`"
            ),
            Self::Fell(words) if words.is_empty() => "it failed without a word".to_owned(),
            Self::Refused { words, .. } | Self::Fell(words) => words.clone(),
        }
    }

    /// For a call that changes something: where its answer was lost, it may have had its effect.
    pub(super) fn changing(&self, operation: impl Into<String>, address: &Address) -> BackendError {
        failure(self.kind(), operation, self.words(address))
    }

    /// For a call that only reads: whatever happened, nothing was done.
    pub(super) fn reading(&self, operation: impl Into<String>, address: &Address) -> BackendError {
        let mut failed = self.changing(operation, address);
        if failed.kind == BackendErrorKind::Unknown {
            failed.kind = BackendErrorKind::Unreachable;
        }
        failed
    }
}

fn by_words(words: &str) -> Option<BackendErrorKind> {
    let words = words.to_lowercase();
    let has = |known: &[&str]| known.iter().any(|known| words.contains(known));
    if MEMBER_AWAY.iter().any(|all| all.iter().all(|known| words.contains(known))) {
        Some(BackendErrorKind::Unreachable)
    } else if has(&NO_CAPACITY) {
        Some(BackendErrorKind::NoCapacity)
    } else if has(&QUOTA) {
        Some(BackendErrorKind::Quota)
    } else if has(&OWN_TROUBLE) {
        Some(BackendErrorKind::Transient)
    } else if has(&IMAGE_MISSING) {
        Some(BackendErrorKind::ImageMissing)
    } else if has(&TRY_LATER) {
        Some(BackendErrorKind::Transient)
    } else {
        None
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
    fn a_name_that_is_taken_is_known_by_each_servers_words() {
        let check = |words: &str, expected: bool| {
            let words = words.to_owned();
            assert_eq!(Failed::Fell(words.clone()).is_taken(), expected, "{words}");
            assert_eq!(Failed::Refused { status: 500, words }.is_taken(), expected);
        };
        let record = "Failed creating instance record:";
        let add = "Add instance info to the database:";
        // LXD 5.0.2, Incus 6.0.4, and Incus 7.0 by its source (`cmd/incusd/instances_post.go`).
        check(&format!(r#"{record} {add} This "instances" entry already exists"#), true);
        let unique = "UNIQUE constraint failed: instances.project_id, instances.name";
        check(&format!(r#"{record} {add} Failed to create "instances" entry: {unique}"#), true);
        check(r#"Instance "a" already exists"#, true);
        check(r#"Instance is busy running a "create" operation"#, true);
        check("Image with same fingerprint already exists", false);
        check(r#"Instance "a" not found"#, false);
    }

    #[test]
    fn a_refusal_tells_its_kind_and_keeps_the_servers_words() {
        let socket = Address::Socket("/run/lxd.socket".into());
        let check = |failed: Failed, kind: Kind, words: &str| {
            let error = failed.changing("create instance a", &socket);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.detail.contains(words), "{error}");
        };
        let refused =
            |status: u16, words: &str| Failed::Refused { status, words: words.to_owned() };
        let fell = |words: &str| Failed::Fell(words.to_owned());
        // As LXD 5.0.2 says them.
        check(refused(404, "Image alias not found"), Kind::ImageMissing, "Image alias");
        check(fell("Image not provided for instance creation"), Kind::ImageMissing, "Image not");
        check(
            refused(500, "Requested profile \"none\" doesn't exist"),
            Kind::NotAllowed,
            "Requested profile",
        );
        check(
            fell("Failed creating instance record: Unknown configuration key: bogus"),
            Kind::NotAllowed,
            "bogus",
        );
        let remote = "Failed getting remote image info: Failed getting image: Failed parsing stream: Get \"https://images.test/streams/v1/index.json\": ";
        for why in ["Unable to connect to: 127.0.0.1:1", "lookup images.test: no such host"] {
            check(fell(&format!("{remote}{why}")), Kind::ImageMissing, why);
        }
        let other = "Failed to connect to LXD server \"https://127.0.0.1:1\": Get \"https://127.0.0.1:1/1.0\": Unable to connect to: 127.0.0.1:1";
        check(fell(other), Kind::ImageMissing, "127.0.0.1:1");
        check(fell(&other.replace("LXD server", "the server")), Kind::ImageMissing, "127.0.0.1:1");
        check(fell(&format!("{remote}database is locked")), Kind::Transient, "locked");
        check(fell("dial tcp 10.0.0.3:8443: connection refused"), Kind::Transient, "refused");
        check(
            fell("Failed unpacking image: write /x: no space left on device"),
            Kind::NoCapacity,
            "no space",
        );
        check(
            refused(
                400,
                "Reached maximum number of instances of type \"container\" in project \"ci\"",
            ),
            Kind::Quota,
            "Reached",
        );
        check(refused(403, "not authorized"), Kind::NotAllowed, "trust");
        let words = "User does not have permissions for project \"default\"";
        check(refused(500, words), Kind::NotAllowed, "trust");
        check(refused(503, ""), Kind::Transient, "503");
        check(refused(500, "Server isn't ready yet"), Kind::Transient, "ready");
        let away = "Missing event connection with target cluster member";
        check(refused(500, away), Kind::Unreachable, "cluster member");
        let away = r#"Post "https://10.0.0.3:8443/1.0/instances?project=default&target=c": Unable to connect to: 10.0.0.3:8443 ([dial tcp: connection refused])"#;
        check(refused(500, away), Kind::Unreachable, "10.0.0.3");
        check(Failed::Lost("cut".to_owned()), Kind::Unknown, "cut");
        check(Failed::Unsent("no file".to_owned()), Kind::Unreachable, "is LXD or Incus running");
        let read = Failed::Lost("cut".to_owned()).reading("list", &socket);
        assert_eq!(read.kind, Kind::Unreachable);
    }
}
