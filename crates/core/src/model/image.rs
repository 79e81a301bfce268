//! What an instance is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LxdSpec;

/// When an image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Fetch it where the engine does not have it.
    #[default]
    Missing,
    /// Ask the registry before every instance.
    Always,
    /// Never: an image that the engine does not have is an error.
    Never,
}

/// A directory, volume or file of the host that an instance sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A path of the host, or a volume's name.
    pub source: String,
    /// The path inside the instance.
    pub target: String,
    /// Whether the instance may only read it.
    pub read_only: bool,
}

/// Everything a backend needs to make one instance of a pool. Holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The image in the backend's own words: an image reference (Docker), the directory of GitHub's runner
    /// program (process).
    pub image: String,
    /// When the image is fetched.
    pub pull: PullPolicy,
    /// How the runner program is started inside the instance, as words; empty: the backend's default (`./run.sh`).
    pub command: Vec<String>,
    /// Thousandths of a processor; `None`: no limit.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// How many processes and threads; `None`: the engine's default.
    pub pids: Option<u64>,
    /// The engine's network by name; `None`: the engine's default.
    pub network: Option<String>,
    /// Directories and volumes of the host.
    pub mounts: Vec<Mount>,
    /// In-memory file systems: path to mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// Environment of the waiter and of the runner. Not for secrets.
    pub environment: BTreeMap<String, String>,
    /// Capabilities added.
    pub capabilities_add: Vec<String>,
    /// Capabilities dropped.
    pub capabilities_drop: Vec<String>,
    /// Devices of the host, in the words of `docker run --device`.
    pub devices: Vec<String>,
    /// User, or user:group, in the instance.
    pub user: Option<String>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Whether the instance has every capability and device of the host (`docker run --privileged`).
    pub privileged: bool,
    /// The engine's runtime (such as `sysbox-runc`); `None`: its default.
    pub runtime: Option<String>,
    /// Whether the engine's own init process is PID 1.
    pub init: bool,
    /// What only LXD and Incus know; `None` for every other backend, and then no part of the mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lxd: Option<LxdSpec>,
}

impl InstanceSpec {
    /// A short mark of everything in here: two specs with the same mark make equal instances.
    #[must_use]
    pub fn mark(&self) -> String {
        short_mark(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// FNV-1a over a text: stable across versions of Rust, which `std`'s hasher is not.
pub(super) fn short_mark(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
