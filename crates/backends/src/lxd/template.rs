//! An instance in the server's words, as `lxc init` would ask for it.

use std::collections::BTreeMap;

use dayfly_core::{
    model::{ControllerId, InstanceSpec, LxdKind, LxdSpec, Mount, PoolName, RunnerName},
    ports::{BackendError, BackendErrorKind},
};

use super::{address::Product, fence, image, wire::NewInstance};
use crate::failure::failure;

/// Whose instance it is: the tag without which nothing is touched.
pub(super) const KEY_CONTROLLER: &str = "user.dayfly.controller";
/// The pool, for people.
pub(super) const KEY_POOL: &str = "user.dayfly.pool";
/// The runner, whose name the instance bears.
pub(super) const KEY_RUNNER: &str = "user.dayfly.runner";
/// Set once the waiter can take a registration.
pub(super) const KEY_READY: &str = "user.dayfly.ready";

type Device = BTreeMap<String, String>;

/// A runner's instance.
pub(super) fn runner(
    product: Product,
    controller: ControllerId,
    pool: &PoolName,
    runner: &RunnerName,
    spec: &InstanceSpec,
) -> Result<NewInstance, BackendError> {
    let tags = [
        (KEY_CONTROLLER, controller.to_string()),
        (KEY_POOL, pool.to_string()),
        (KEY_RUNNER, runner.to_string()),
    ];
    let mut made = instance(product, runner.as_str(), spec, tags)?;
    if let Some(fence) = spec.lxd.as_ref().and_then(|lxd| lxd.fence.as_ref()) {
        made.devices.insert("eth0".to_owned(), fenced(&fence::name_of(controller, fence)));
    }
    Ok(made)
}

/// Takes away what profiles have of interfaces beside the first one.
pub(super) fn keep_only_the_first_interface(body: &mut NewInstance, others: Vec<String>) {
    let none = || Device::from([("type".to_owned(), "none".to_owned())]);
    body.devices.extend(others.into_iter().map(|name| (name, none())));
}

/// An interface on a network of ours: it speaks in no other's name, and with no other on that network.
fn fenced(network: &str) -> Device {
    let on = [
        "security.port_isolation",
        "security.mac_filtering",
        "security.ipv4_filtering",
        // Its network has no IPv6: nothing of it passes, not to the host's end either.
        "security.ipv6_filtering",
    ];
    let pairs = [("type", "nic"), ("name", "eth0"), ("network", network)];
    let pairs = pairs.into_iter().chain(on.map(|key| (key, "true")));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An instance of a pool.
pub(super) fn instance<const N: usize>(
    product: Product,
    name: &str,
    spec: &InstanceSpec,
    tags: [(&str, String); N],
) -> Result<NewInstance, BackendError> {
    refuse_what_is_not_there(spec)?;
    let nothing = LxdSpec::default();
    let lxd = spec.lxd.as_ref().unwrap_or(&nothing);
    let mut config = lxd.config.clone();
    config.extend(limits(spec, lxd)?);
    // A server that was killed begins whatever ran when it is started again, also what has ended meanwhile.
    config.insert("boot.autostart".to_owned(), "false".to_owned());
    config.extend(tags.map(|(key, value)| (key.to_owned(), value)));
    Ok(NewInstance {
        name: name.to_owned(),
        kind: match lxd.kind {
            LxdKind::Container => "container",
            LxdKind::Vm => "virtual-machine",
        },
        // Its exit code and last output are read after its end.
        ephemeral: false,
        profiles: lxd.profiles.clone(),
        config,
        devices: devices(spec, lxd)?,
        source: image::source(product, &spec.image)?,
    })
}

fn wrong(what: &str, detail: &str) -> BackendError {
    failure(BackendErrorKind::NotAllowed, format!("set `{what}` of an instance"), detail)
}

/// What LXD has no word for, or another one.
fn refuse_what_is_not_there(spec: &InstanceSpec) -> Result<(), BackendError> {
    let asked = [
        ("tmpfs", !spec.tmpfs.is_empty()),
        ("capabilities", !spec.capabilities_add.is_empty() || !spec.capabilities_drop.is_empty()),
        ("devices", !spec.devices.is_empty()),
        ("read_only", spec.read_only_root),
        ("runtime", spec.runtime.is_some()),
        ("init", spec.init),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((what, _)) => Err(wrong(what, "LXD has no such setting: use `config` and `devices`")),
    }
}

fn limits(spec: &InstanceSpec, lxd: &LxdSpec) -> Result<BTreeMap<String, String>, BackendError> {
    let mut limits = BTreeMap::new();
    let mut set = |key: &str, value: String| limits.insert(key.to_owned(), value);
    let is_vm = lxd.kind == LxdKind::Vm;
    match spec.cpu_millis {
        Some(millis) if millis % 1000 == 0 => {
            set("limits.cpu", (millis / 1000).to_string());
        }
        Some(_) if is_vm => return Err(wrong("cpus", "a virtual machine has whole processors")),
        // So many milliseconds of each tenth of a second.
        Some(millis) => {
            set("limits.cpu.allowance", format!("{}ms/100ms", millis.div_ceil(10)));
        }
        None => {}
    }
    if let Some(bytes) = spec.memory_bytes {
        set("limits.memory", format!("{bytes}B"));
    }
    if let Some(pids) = spec.pids {
        if is_vm {
            return Err(wrong("pids", "a virtual machine has no such limit"));
        }
        set("limits.processes", pids.to_string());
    }
    for (on, key) in [(spec.privileged, "security.privileged"), (lxd.nesting, "security.nesting")] {
        if on {
            if is_vm {
                return Err(wrong(key, "a virtual machine has a kernel of its own: leave it out"));
            }
            set(key, "true".to_owned());
        }
    }
    Ok(limits)
}

fn devices(spec: &InstanceSpec, lxd: &LxdSpec) -> Result<BTreeMap<String, Device>, BackendError> {
    let mut devices = lxd.devices.clone();
    let device = |pairs: &[(&str, &str)]| -> Device {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    if let Some(storage) = &lxd.storage {
        let mut root = device(&[("type", "disk"), ("path", "/"), ("pool", storage)]);
        if let Some(bytes) = lxd.disk_bytes {
            root.insert("size".to_owned(), format!("{bytes}B"));
        }
        devices.insert("root".to_owned(), root);
    } else if lxd.disk_bytes.is_some() {
        return Err(wrong("disk", "say which storage pool it lies in: add `storage`"));
    }
    match spec.network.as_deref() {
        // In place of the profile's.
        Some("none") => {
            devices.insert("eth0".to_owned(), device(&[("type", "none")]));
        }
        Some(network) => {
            let nic = device(&[("type", "nic"), ("name", "eth0"), ("network", network)]);
            devices.insert("eth0".to_owned(), nic);
        }
        None => {}
    }
    for (number, mount) in spec.mounts.iter().enumerate() {
        devices.insert(format!("mount{number}"), disk(mount, lxd)?);
    }
    Ok(devices)
}

/// A path of the host, or a volume of the pool's storage.
fn disk(mount: &Mount, lxd: &LxdSpec) -> Result<Device, BackendError> {
    let mut disk = Device::new();
    let mut set = |key: &str, value: &str| disk.insert(key.to_owned(), value.to_owned());
    set("type", "disk");
    set("source", &mount.source);
    set("path", &mount.target);
    if mount.read_only {
        set("readonly", "true");
    }
    if !mount.source.starts_with('/') {
        let storage = lxd.storage.as_ref();
        let storage = storage.ok_or_else(|| {
            wrong("mounts", "say which storage pool the volume lies in: add `storage`")
        })?;
        set("pool", storage);
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(spec: &InstanceSpec) -> Result<serde_json::Value, String> {
        let made = instance(Product::Lxd, "a", spec, [(KEY_RUNNER, "a".to_owned())]);
        made.map(|made| serde_json::to_value(made).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_has_its_word() {
        let lxd = LxdSpec {
            profiles: Some(vec!["default".to_owned(), "ci".to_owned()]),
            storage: Some("fast".to_owned()),
            disk_bytes: Some(1 << 30),
            nesting: true,
            config: [
                ("security.idmap.isolated".to_owned(), "true".to_owned()),
                (KEY_RUNNER.to_owned(), "stolen".to_owned()),
            ]
            .into(),
            devices: [("gpu".to_owned(), [("type".to_owned(), "gpu".to_owned())].into())].into(),
            ..LxdSpec::default()
        };
        let mount = |source: &str, target: &str, read_only| Mount {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only,
        };
        let spec = InstanceSpec {
            image: "runner".to_owned(),
            cpu_millis: Some(2_500),
            memory_bytes: Some(4 << 30),
            pids: Some(99),
            privileged: true,
            network: Some("lxdbr1".to_owned()),
            mounts: vec![mount("/srv", "/in", true), mount("cache", "/cache", false)],
            lxd: Some(lxd),
            ..InstanceSpec::default()
        };
        let expected = serde_json::json!({
            "name": "a", "type": "container", "ephemeral": false, "profiles": ["default", "ci"],
            "config": {
                "boot.autostart": "false", "limits.cpu.allowance": "250ms/100ms", "limits.memory": "4294967296B",
                "limits.processes": "99", "security.idmap.isolated": "true", "security.nesting": "true",
                "security.privileged": "true", "user.dayfly.runner": "a",
            },
            "devices": {
                "eth0": { "type": "nic", "name": "eth0", "network": "lxdbr1" },
                "gpu": { "type": "gpu" },
                "mount0": { "type": "disk", "source": "/srv", "path": "/in", "readonly": "true" },
                "mount1": { "type": "disk", "source": "cache", "path": "/cache", "pool": "fast" },
                "root": { "type": "disk", "path": "/", "pool": "fast", "size": "1073741824B" },
            },
            "source": { "type": "image", "alias": "runner" },
        });
        assert_eq!(body(&spec).unwrap(), expected);
    }

    #[test]
    fn a_plain_instance_is_left_to_its_profiles() {
        let spec = InstanceSpec { image: "runner".to_owned(), ..InstanceSpec::default() };
        let expected = serde_json::json!({
            "name": "a", "type": "container", "ephemeral": false,
            "config": { "boot.autostart": "false", "user.dayfly.runner": "a" }, "devices": {}, "source": { "type": "image", "alias": "runner" },
        });
        assert_eq!(body(&spec).unwrap(), expected);
        let vm = LxdSpec { kind: LxdKind::Vm, ..LxdSpec::default() };
        let vm = InstanceSpec { cpu_millis: Some(2_000), lxd: Some(vm), ..spec };
        let body = body(&vm).unwrap();
        assert_eq!(
            (&body["type"], &body["config"]["limits.cpu"]),
            (&"virtual-machine".into(), &"2".into())
        );
    }

    #[test]
    fn what_lxd_can_not_do_is_refused() {
        let check = |spec: InstanceSpec, words: &str| {
            let error = body(&spec).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        let plain = || InstanceSpec { image: "runner".to_owned(), ..InstanceSpec::default() };
        let lxd = |lxd: LxdSpec| InstanceSpec { lxd: Some(lxd), ..plain() };
        check(InstanceSpec { init: true, ..plain() }, "`init`");
        check(InstanceSpec { runtime: Some("kata".to_owned()), ..plain() }, "`runtime`");
        check(lxd(LxdSpec { disk_bytes: Some(1), ..LxdSpec::default() }), "`storage`");
        let vm = || LxdSpec { kind: LxdKind::Vm, ..LxdSpec::default() };
        check(InstanceSpec { cpu_millis: Some(500), ..lxd(vm()) }, "whole processors");
        check(InstanceSpec { pids: Some(1), ..lxd(vm()) }, "`pids`");
        check(InstanceSpec { privileged: true, ..lxd(vm()) }, "kernel of its own");
        let volume = Mount { source: "cache".into(), target: "/c".into(), read_only: false };
        check(InstanceSpec { mounts: vec![volume], ..plain() }, "`storage`");
    }
}
