//! What of an instance only LXD and Incus know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Program;

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

/// What instances may reach of networks. The host is out of their reach, and so is every other instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// IPv4 networks that they may not reach, as `10.0.0.0/8`.
    pub deny: Vec<String>,
    /// IPv4 networks that they may reach though `deny` holds them. Where `deny` is empty: the only ones that they may reach.
    pub allow: Vec<String>,
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
    /// What keeps its instances from networks; `None`: nothing but the network's own settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// A mirror of Docker Hub that the Docker in it asks first: `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerhub_mirror: Option<String>,
    /// GitHub's runner program, which is put into each instance; `None`: the image has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InstanceSpec, ProgramState};

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

    #[test]
    fn an_instance_has_another_mark_with_each_version_of_the_runner_program() {
        let mark = |state: ProgramState| {
            let program = Program { state, ..Program::wanted(None, None) };
            let lxd = LxdSpec { program: Some(program), ..LxdSpec::default() };
            InstanceSpec { lxd: Some(lxd), ..InstanceSpec::default() }.mark()
        };
        let missing = |why: &str| mark(ProgramState::Missing { why: why.to_owned() });
        let ready = |version: &str, file: &str, refused_from| {
            let (version, sha256) = (version.to_owned(), "0".repeat(64));
            mark(ProgramState::Ready { version, sha256, file: file.into(), refused_from })
        };
        let (one, other) = (ready("2.330.0", "/a", None), ready("2.331.0", "/a", None));
        assert_ne!(one, other);
        assert_ne!(one, missing("no answer"));
        // What changes nothing about the instances that there are.
        assert_eq!(one, ready("2.330.0", "/b", Some(jiff::Timestamp::UNIX_EPOCH)));
        assert_eq!(missing("no answer"), missing("a wrong sum"));
    }
}
