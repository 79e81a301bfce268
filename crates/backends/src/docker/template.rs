//! A container in the engine's words, as `docker run` would ask for it.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, Mount as EngineMount,
    MountType,
};
use dayfly_core::{
    model::{ControllerId, InstanceSpec, Mount, PoolName, RunnerName},
    ports::{BackendError, BackendErrorKind},
};

use crate::{
    failure::failure,
    waiter::{DEFAULT_COMMAND, SCRIPT},
};

/// Whose container it is: the tag without which nothing is touched.
pub(super) const LABEL_CONTROLLER: &str = "dev.dayfly.controller";
/// The pool, for people.
pub(super) const LABEL_POOL: &str = "dev.dayfly.pool";
/// The runner, whose name the container bears.
pub(super) const LABEL_RUNNER: &str = "dev.dayfly.runner";

/// How much of a container's output the engine keeps: GitHub's runner writes a few hundred bytes, its jobs write none.
const LOG_SIZE_MAX: &str = "4m";

/// A runner's container.
pub(super) fn runner(
    controller: ControllerId,
    pool: &PoolName,
    runner: &RunnerName,
    spec: &InstanceSpec,
) -> Result<ContainerCreateBody, BackendError> {
    let labels = HashMap::from([
        (LABEL_CONTROLLER.to_owned(), controller.to_string()),
        (LABEL_POOL.to_owned(), pool.to_string()),
        (LABEL_RUNNER.to_owned(), runner.to_string()),
    ]);
    container(spec, SCRIPT, labels)
}

/// A container of a pool that runs `script` with the pool's command as its arguments.
pub(super) fn container(
    spec: &InstanceSpec,
    script: &str,
    labels: HashMap<String, String>,
) -> Result<ContainerCreateBody, BackendError> {
    let command = if spec.command.is_empty() {
        vec![DEFAULT_COMMAND.to_owned()]
    } else {
        spec.command.clone()
    };
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        labels: Some(labels),
        entrypoint: Some(["/bin/sh", "-c", script, "dayfly"].map(str::to_owned).to_vec()),
        cmd: Some(command),
        // Standard input stays open when one writer leaves, so that a restarted daemon can still hand over.
        open_stdin: Some(true),
        attach_stdin: Some(true),
        stdin_once: Some(false),
        tty: Some(false),
        user: spec.user.clone(),
        env: Some(spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        host_config: Some(host_config(spec)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &InstanceSpec) -> Result<HostConfig, BackendError> {
    Ok(HostConfig {
        nano_cpus: number("cpus", spec.cpu_millis.map(|millis| millis.saturating_mul(1_000_000)))?,
        memory: number("memory", spec.memory_bytes)?,
        pids_limit: number("pids", spec.pids)?,
        network_mode: spec.network.clone(),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        tmpfs: Some(spec.tmpfs.clone().into_iter().collect()),
        cap_add: Some(spec.capabilities_add.clone()),
        cap_drop: Some(spec.capabilities_drop.clone()),
        devices: Some(
            spec.devices.iter().map(|device| self::device(device)).collect::<Result<_, _>>()?,
        ),
        readonly_rootfs: Some(spec.read_only_root),
        privileged: Some(spec.privileged),
        runtime: spec.runtime.clone(),
        init: spec.init.then_some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), LOG_SIZE_MAX.to_owned())])),
        }),
        // Kept after its end: its exit is told until it is destroyed.
        auto_remove: Some(false),
        ..HostConfig::default()
    })
}

fn number(what: &str, value: Option<u64>) -> Result<Option<i64>, BackendError> {
    let too_large =
        |_| failure(BackendErrorKind::NotAllowed, format!("set {what}"), "the number is too large");
    value.map(i64::try_from).transpose().map_err(too_large)
}

fn mount(mount: &Mount) -> EngineMount {
    let is_path = mount.source.starts_with('/');
    EngineMount {
        typ: Some(if is_path { MountType::BIND } else { MountType::VOLUME }),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    }
}

/// Reads `host[:container[:permissions]]`, or `host:permissions`.
fn device(words: &str) -> Result<DeviceMapping, BackendError> {
    let is_mode = |word: &str| !word.is_empty() && word.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = words.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (host, inside, mode),
        _ => ("", "", ""),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        let detail =
            "write it as /dev/on-host, /dev/on-host:/dev/inside or /dev/on-host:/dev/inside:rwm";
        return Err(failure(
            BackendErrorKind::NotAllowed,
            format!("read device `{words}`"),
            detail,
        ));
    }
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(mode.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_run_reads_them() {
        let check = |words: &str, expected: Option<(&str, &str, &str)>| {
            let read = device(words).ok();
            let read = read.as_ref().map(|read| {
                let text = |part: &Option<String>| part.clone().unwrap();
                (
                    text(&read.path_on_host),
                    text(&read.path_in_container),
                    text(&read.cgroup_permissions),
                )
            });
            let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
            assert_eq!(read, expected, "{words}");
        };
        check("/dev/fuse", Some(("/dev/fuse", "/dev/fuse", "rwm")));
        check("/dev/fuse:r", Some(("/dev/fuse", "/dev/fuse", "r")));
        check("/dev/a:/dev/b", Some(("/dev/a", "/dev/b", "rwm")));
        check("/dev/a:/dev/b:rw", Some(("/dev/a", "/dev/b", "rw")));
        check("/dev/a:/dev/b:x", None);
        check("/dev/a:/dev/b:rw:m", None);
        check("fuse", None);
        check("/dev/a:b", None);
        check("", None);
    }

    #[test]
    fn every_field_reaches_the_engine() {
        let spec = InstanceSpec {
            image: "a:b".to_owned(),
            cpu_millis: Some(1_500),
            memory_bytes: Some(1 << 30),
            pids: Some(64),
            network: Some("net".to_owned()),
            mounts: vec![
                Mount { source: "/host".to_owned(), target: "/in".to_owned(), read_only: true },
                Mount { source: "volume".to_owned(), target: "/v".to_owned(), read_only: false },
            ],
            tmpfs: [("/tmp".to_owned(), "size=1m".to_owned())].into(),
            environment: [("A".to_owned(), "b=c".to_owned())].into(),
            capabilities_add: vec!["NET_ADMIN".to_owned()],
            capabilities_drop: vec!["ALL".to_owned()],
            devices: vec!["/dev/fuse".to_owned()],
            user: Some("1001:121".to_owned()),
            read_only_root: true,
            privileged: true,
            runtime: Some("sysbox-runc".to_owned()),
            init: true,
            ..InstanceSpec::default()
        };
        let made = container(&spec, "script", HashMap::new()).unwrap();
        let host = made.host_config.unwrap();
        assert_eq!(made.entrypoint.unwrap(), ["/bin/sh", "-c", "script", "dayfly"]);
        assert_eq!(made.cmd.unwrap(), ["./run.sh"]);
        assert_eq!(made.env.unwrap(), ["A=b=c"]);
        assert_eq!(made.user.unwrap(), "1001:121");
        assert_eq!(
            (host.nano_cpus, host.memory, host.pids_limit),
            (Some(1_500_000_000), Some(1 << 30), Some(64))
        );
        assert_eq!(host.network_mode.as_deref(), Some("net"));
        let mounts: Vec<_> =
            host.mounts.unwrap().into_iter().map(|mount| (mount.typ, mount.read_only)).collect();
        assert_eq!(
            mounts,
            [(Some(MountType::BIND), Some(true)), (Some(MountType::VOLUME), Some(false))]
        );
        assert_eq!(host.tmpfs.unwrap()["/tmp"], "size=1m");
        assert_eq!(
            (host.cap_add.unwrap(), host.cap_drop.unwrap()),
            (vec!["NET_ADMIN".into()], vec!["ALL".into()])
        );
        assert_eq!(host.devices.unwrap().len(), 1);
        assert_eq!(
            (host.readonly_rootfs, host.privileged, host.init),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!(host.runtime.as_deref(), Some("sysbox-runc"));
        let huge = InstanceSpec { memory_bytes: Some(u64::MAX), ..InstanceSpec::default() };
        assert!(container(&huge, "script", HashMap::new()).is_err());
    }
}
