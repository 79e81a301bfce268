//! What an instance of ours is made with, and how its end is told.

use std::time::Duration;

use dayfly_core::{
    model::{Exit, InstanceSpec, LxdSpec, Mount},
    ports::{Backend, CreateRequest, InstanceStatus},
};

use super::server::{Sweep, cli, shell};
use crate::suite::{Heard, create, ended, jit, runner, watched};

/// Runs an instance to its end.
async fn end_of(spec: InstanceSpec) -> Exit {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let runner = runner(lxd.controller());
    let heard = Heard::default();
    let exit = watched(&lxd, &heard, async {
        let created = create(&lxd, &runner, &spec).await;
        lxd.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        heard.end_of(&runner).await.1
    })
    .await;
    let told = lxd.inspect(&runner).await.unwrap().map(|record| record.status);
    assert_eq!(told, Some(InstanceStatus::Ended(exit.clone())));
    lxd.destroy(&runner, false).await.unwrap();
    exit
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn the_last_lines_are_kept_and_cut() {
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done
        head -c 6000000 /dev/zero | tr '\\0' y; echo
        head -c 100000 /dev/zero | tr '\\0' x; echo
        echo problem; exit 3";
    let exit = end_of(shell(script)).await;
    assert_eq!(exit.code, Some(3));
    assert!(exit.last_output.len() <= 20);
    assert_eq!(exit.last_output.last().map(String::as_str), Some("problem"));
    assert!(exit.last_output.contains(&"x".repeat(500)), "{exit:?}");
    assert!(exit.last_output.iter().all(|line| line.chars().count() <= 500));
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn every_setting_reaches_the_instance() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "from the host").unwrap();
    let script = r#"
fail() { echo "wrong: $1"; exit 1; }
[ "$(id -u):$(id -g)" = 1001:1001 ] || fail user
[ "$HOME" = /home/runner ] || fail home
[ "$NAME" = "a value = b" ] || fail environment
[ "$(cat /in/file)" = "from the host" ] || fail mount
echo x 2>/dev/null >/in/file && fail "read-only mount"
[ "$(ls /sys/class/net)" = lo ] || fail network
[ "$(cat /etc/docker/daemon.json)" = '{"registry-mirrors":["https://mirror.lan"]}' ] || fail mirror
[ "$ACTIONS_RUNNER_INPUT_JITCONFIG" = any ] || fail registration
[ -z "${RUNNER_ALLOW_RUNASROOT:-}" ] || fail root
[ ! -e /run/dayfly/registration ] || fail "the registration's file"
cat /var/lib/dayfly/console 2>/dev/null && fail "the console is root's"
grep -q '^SigIgn:.*0$' /proc/self/status || fail signals
[ "$1" = "two words" ] || fail arguments
exit 42
"#;
    let mut spec = shell(script);
    spec.command.extend(["-".to_owned(), "two words".to_owned()]);
    std::fs::set_permissions(host.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let spec = InstanceSpec {
        cpu_millis: Some(500),
        memory_bytes: Some(64 << 20),
        pids: Some(99),
        mounts: vec![Mount {
            source: host.path().to_str().unwrap().into(),
            target: "/in".into(),
            read_only: true,
        }],
        environment: [("NAME".into(), "a value = b".into())].into(),
        user: Some("1001".into()),
        lxd: Some(LxdSpec {
            storage: Some("default".into()),
            dockerhub_mirror: Some("https://mirror.lan".into()),
            config: [("user.team".into(), "build".into())].into(),
            ..LxdSpec::default()
        }),
        ..spec
    };
    let exit = end_of(spec).await;
    assert_eq!(exit.code, Some(42), "{exit:?}");
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn limits_and_tags_are_the_instances_own() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let runner = runner(lxd.controller());
    let spec = InstanceSpec {
        cpu_millis: Some(1_000),
        memory_bytes: Some(64 << 20),
        ..shell("exec sleep 100")
    };
    create(&lxd, &runner, &spec).await;
    let value = |key: &str| cli(&["config", "get", runner.as_str(), key]).trim().to_owned();
    assert_eq!(value("limits.cpu"), "1");
    assert_eq!(value("limits.memory"), (64 << 20).to_string() + "B");
    assert_eq!(value("user.dayfly.pool"), "contract");
    assert_eq!(value("user.dayfly.runner"), runner.as_str());
    lxd.destroy(&runner, false).await.unwrap();
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_setup_is_run_once_as_root_before_the_instance_is_ready() {
    let setup = "set -e
        [ \"$(id -u):$PWD:$NAME:$#\" = 0:/:'a value':0 ]
        echo Listening for Jobs
        mkdir /tools; echo x >>/tools/made; sleep 1; echo y >>/tools/made";
    let spec = InstanceSpec {
        environment: [("NAME".into(), "a value".into())].into(),
        user: Some("runner".into()),
        lxd: Some(LxdSpec { setup: Some(setup.into()), ..LxdSpec::default() }),
        // What it made is everybody's to read, and what it said is no sign of the runner's.
        ..shell("[ \"$(cat /tools/made)\" = \"$(printf 'x\\ny')\" ] && exit 42")
    };
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let runner = runner(lxd.controller());
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        let (pool, request) = (runner.pool(), &spec);
        // A daemon that dies meanwhile: the next one waits for the same setup.
        let request = || CreateRequest { runner: &runner, pool: &pool, spec: request };
        let begun = tokio::time::timeout(Duration::from_millis(900), lxd.create(request())).await;
        assert!(begun.is_err(), "{begun:?}");
        let created = lxd.create(request()).await.unwrap();
        lxd.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        let (signs, exit) = heard.end_of(&runner).await;
        assert_eq!((signs, exit.code), (vec![], Some(42)));
    })
    .await;
    lxd.destroy(&runner, false).await.unwrap();
}

/// The runner program lies on the host once, and no instance downloads it.
#[tokio::test]
#[ignore = "needs lxd"]
async fn a_setup_puts_the_runner_program_into_its_place() {
    let host = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    let program = host.path().join("run.sh");
    std::fs::write(&program, "#!/bin/sh\n[ $PWD = /opt/actions-runner ] && exit 42\n").unwrap();
    open(host.path());
    open(&program);
    let mount = Mount {
        source: host.path().to_str().unwrap().into(),
        target: "/mnt/actions-runner".into(),
        read_only: true,
    };
    let setup = "mkdir -p /opt && cp -R /mnt/actions-runner /opt/actions-runner";
    let spec = InstanceSpec {
        command: vec![],
        mounts: vec![mount],
        lxd: Some(LxdSpec { setup: Some(setup.into()), ..LxdSpec::default() }),
        ..shell("")
    };
    let exit = end_of(spec).await;
    assert_eq!(exit.code, Some(42), "{exit:?}");
}

/// Somebody stops the instance under its runner: that is an end, and no exit code is made up for it.
#[tokio::test]
#[ignore = "needs lxd"]
async fn one_that_is_stopped_from_outside_has_ended() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let runner = runner(lxd.controller());
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        let created = create(&lxd, &runner, &shell("echo here; exec sleep 100")).await;
        lxd.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        cli(&["stop", "--force", runner.as_str()]);
        let (_, exit) = heard.end_of(&runner).await;
        assert_eq!(exit.code, None);
        assert!(exit.error.as_ref().unwrap().contains("before its runner had ended"), "{exit:?}");
        assert_eq!(ended(&lxd, &runner).await, exit);
    })
    .await;
    lxd.destroy(&runner, false).await.unwrap();
}
