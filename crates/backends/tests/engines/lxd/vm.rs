//! Virtual machines as far as a machine without their kernel modules goes: LXD looks at a body's settings and devices when
//! it makes the instance, and needs the modules when it starts it. A `modprobe` of the test's own has LXD take them for
//! loaded.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::{
    model::{InstanceSpec, LxdKind, LxdSpec, Mount},
    ports::{Backend, BackendErrorKind, CreateRequest},
};
use tokio::time::timeout;

use super::{private::Private, server::Lxc};
use crate::suite::{controller, pool, record, runner};

const IMAGE: &str = "empty-machine";

const PRESEED: &str = "storage_pools: [{ name: default, driver: dir }]\n\
    profiles: [{ name: default, devices: { root: { type: disk, path: /, pool: default } } }]\n";

/// Longer than LXD takes to refuse a start. A machine that can start one, starts one whose empty disk never boots.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A disk without anything on it, and what it is said to be.
fn import(lxc: &Lxc, home: &tempfile::TempDir) {
    let path = |name: &str| home.path().join(name).display().to_string();
    let metadata = format!(
        "architecture: {}\ncreation_date: 1700000000\nproperties: {{ os: nothing }}\n",
        std::env::consts::ARCH
    );
    fs::write(path("metadata.yaml"), metadata).unwrap();
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(output.status.success(), "{program}: {output:?}");
    };
    run("qemu-img", &["create", "-q", "-f", "qcow2", &path("disk.qcow2"), "16M"]);
    run("tar", &["-C", &path(""), "-czf", &path("metadata.tar.gz"), "metadata.yaml"]);
    let (metadata, disk) = (path("metadata.tar.gz"), path("disk.qcow2"));
    lxc.ask(&["image", "import", &metadata, &disk, "--alias", IMAGE]);
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_right_body_is_made_and_a_wrong_one_is_not() {
    assert!(Path::new("/dev/kvm").exists(), "LXD refuses every virtual machine without it");
    let home = tempfile::tempdir().unwrap();
    let modprobe = home.path().join("modprobe");
    fs::write(&modprobe, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&modprobe, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = format!("PATH={}:{}", home.path().display(), std::env::var("PATH").unwrap());
    let private = Private::start(&["env", &paths], PRESEED);
    let lxc = Lxc { directory: Some(private.directory()), ..Lxc::default() };
    import(&lxc, &home);
    let server = LxdServer::Socket(private.directory().join("unix.socket"));
    let options = LxdOptions { server, ..LxdOptions::default() };
    let lxd = Lxd::connect(&options, controller()).unwrap();

    let plain = || InstanceSpec { image: IMAGE.to_owned(), ..InstanceSpec::default() };
    let vm =
        |lxd: LxdSpec| InstanceSpec { lxd: Some(LxdSpec { kind: LxdKind::Vm, ..lxd }), ..plain() };
    // How far a create came: `Ok` past the making, else the server's words.
    let make = async |spec: InstanceSpec| {
        let (runner, pool) = (runner(lxd.controller()), pool());
        let request = CreateRequest { runner: &runner, pool: &pool, spec: &spec };
        let made = timeout(START_PATIENCE, lxd.create(request)).await;
        let outcome = match made {
            Ok(Err(error)) if error.operation.starts_with("create instance") => {
                assert_eq!(error.kind, BackendErrorKind::NotAllowed, "{error}");
                Err(error.detail)
            }
            Ok(Err(error)) => {
                assert!(error.operation.contains("start"), "{error}");
                Ok(())
            }
            Ok(Ok(_)) | Err(_) => Ok(()),
        };
        lxd.destroy(&runner, true).await.unwrap();
        assert_eq!(record(&lxd, &runner).await, None, "nothing is left of it");
        outcome
    };

    // Everything that dayfly writes of a virtual machine, at once.
    let device = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let mount = Mount { source: "/srv".into(), target: "/in".into(), read_only: true };
    let right = InstanceSpec {
        cpu_millis: Some(2_000),
        memory_bytes: Some(1 << 30),
        network: Some("none".to_owned()),
        mounts: vec![mount],
        ..vm(LxdSpec {
            profiles: Some(vec!["default".to_owned()]),
            storage: Some("default".to_owned()),
            disk_bytes: Some(1 << 30),
            config: device(&[("security.secureboot", "false")]),
            devices: [
                ("gpu".to_owned(), device(&[("type", "gpu")])),
                ("usb".to_owned(), device(&[("type", "usb"), ("vendorid", "1234")])),
            ]
            .into(),
            ..LxdSpec::default()
        })
    };
    assert_eq!(make(right).await, Ok(()));
    assert_eq!(make(vm(LxdSpec::default())).await, Ok(()));

    let check = async |spec: InstanceSpec, words: &str| {
        let told = make(spec).await.unwrap_err();
        assert!(told.contains(words), "{told}");
    };
    let config = |key: &str| vm(LxdSpec { config: device(&[(key, "1")]), ..LxdSpec::default() });
    check(config("dayfly.none"), "Unknown configuration key: dayfly.none").await;
    // What dayfly itself refuses before it asks: only containers have them.
    for key in ["limits.processes", "limits.cpu.allowance", "security.nesting"] {
        check(config(key), &format!("Unknown configuration key: {key}")).await;
    }
    let serial = device(&[("type", "unix-char"), ("source", "/dev/null"), ("path", "/dev/null")]);
    let devices = [("serial".to_owned(), serial)].into();
    check(vm(LxdSpec { devices, ..LxdSpec::default() }), "Unsupported device type").await;
    let mount = Mount { source: "/dayfly/none".into(), target: "/in".into(), read_only: true };
    let mounts = InstanceSpec { mounts: vec![mount], ..vm(LxdSpec::default()) };
    check(mounts, "Missing source path").await;
    check(plain(), "doesn't match instance type").await;
}
