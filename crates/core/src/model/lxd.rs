//! What of an instance only LXD and Incus know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What sort of instance is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LxdKind {
    /// A system container: it shares the host's kernel.
    #[default]
    Container,
    /// A virtual machine.
    Vm,
}

/// The part of an instance that is said in LXD's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LxdSpec {
    /// What sort of instance.
    pub kind: LxdKind,
    /// Its profiles, in order; `None`: the project's default profile.
    pub profiles: Option<Vec<String>>,
    /// The storage pool of its root disk; `None`: the profiles'.
    pub storage: Option<String>,
    /// Bytes of its root disk; only beside `storage`.
    pub disk_bytes: Option<u64>,
    /// Whether containers may be run in it.
    pub nesting: bool,
    /// Further configuration, as `lxc config set` takes it.
    pub config: BTreeMap<String, String>,
    /// Further devices by name, as `lxc config device add` takes them.
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// A shell script that its root runs before it can take a registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstanceSpec;

    #[test]
    fn other_backends_instances_keep_their_mark() {
        let plain = InstanceSpec { image: "runner".to_owned(), ..InstanceSpec::default() };
        assert!(!serde_json::to_string(&plain).unwrap().contains("lxd"));
        let lxd = InstanceSpec { lxd: Some(LxdSpec::default()), ..plain.clone() };
        let nested = LxdSpec { nesting: true, ..LxdSpec::default() };
        let nested = InstanceSpec { lxd: Some(nested), ..plain.clone() };
        assert_ne!(plain.mark(), lxd.mark());
        assert_ne!(lxd.mark(), nested.mark());
        let set_up = LxdSpec { setup: Some("true".to_owned()), ..LxdSpec::default() };
        let set_up = InstanceSpec { lxd: Some(set_up), ..plain.clone() };
        assert_ne!(lxd.mark(), set_up.mark());
    }
}
