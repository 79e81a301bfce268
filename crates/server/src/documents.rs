//! The documents of the API that are not the report's: `core::report` has the rest. All of them can be read back.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{BackendName, ScopeName},
    report::Status,
};
use dayfly_engine::{ScopeUse, TaskStatus, Timings, View};
use serde::{Deserialize, Serialize};

use crate::LxdInstances;

/// `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// dayfly's version.
    pub version: String,
}

impl Version {
    pub(crate) fn ours() -> Self {
        // One version for the whole workspace.
        Self { version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// `GET /v1/status`: the report, and how the daemon itself is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// The report.
    #[serde(flatten)]
    pub status: Status,
    /// Containers and virtual machines, of each backend that is an LXD or Incus.
    #[serde(default)]
    pub lxd: BTreeMap<BackendName, LxdInstances>,
    /// The daemon.
    pub daemon: Daemon,
}

/// How the daemon itself is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// dayfly's version.
    pub version: String,
    /// Why the store can't be written; `None` while it can. Until then no runner is made or removed.
    pub store_error: Option<String>,
    /// How fast its loop is.
    pub timings: Timings,
    /// What each scope's credential has used.
    pub credentials: BTreeMap<ScopeName, ScopeUse>,
    /// Its tasks.
    pub tasks: BTreeMap<String, TaskStatus>,
}

impl StatusDocument {
    pub(crate) fn of(view: &View<'_>) -> Self {
        Self {
            status: dayfly_core::report::status(view.world, view.spec, view.now),
            lxd: LxdInstances::by_backend(view.spec, view.world.runners()),
            daemon: Daemon {
                version: Version::ours().version,
                store_error: view.store_error.map(ToString::to_string),
                timings: view.timings(),
                credentials: view.scopes(),
                tasks: view.tasks(),
            },
        }
    }
}

/// The body of `POST /v1/runners/{name}/remove`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRunner {
    /// Remove it even if it is busy: its job fails.
    #[serde(default)]
    pub even_busy: bool,
}

/// The body of `POST /v1/pools/{name}/flush`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushPool {
    /// Replace busy runners too: their jobs fail.
    #[serde(default)]
    pub even_busy: bool,
}

/// A command is committed; what it asks for happens now, or as soon as it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What will happen, in a sentence.
    pub message: String,
}
