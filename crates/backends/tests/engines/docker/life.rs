//! What a container of ours is made with, and how its end is told.

use dayfly_core::{
    model::{Exit, InstanceSpec, Mount},
    ports::Backend,
};

use super::engine::{Sweep, shell};
use crate::suite::{Heard, create, jit, runner, watched};

/// Runs an instance to its end.
async fn end_of(spec: InstanceSpec) -> Exit {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let runner = runner(docker.controller());
    let heard = Heard::default();
    let exit = watched(&docker, &heard, async {
        let created = create(&docker, &runner, &spec).await;
        docker.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        heard.end_of(&runner).await.1
    })
    .await;
    assert_eq!(
        docker.inspect(&runner).await.unwrap().map(|record| record.status),
        Some(dayfly_core::ports::InstanceStatus::Ended(exit.clone()))
    );
    docker.destroy(&runner, false).await.unwrap();
    exit
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn want_of_memory_is_told() {
    let exit =
        end_of(InstanceSpec { memory_bytes: Some(32 << 20), ..shell("exec tail /dev/zero") }).await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), true), "{exit:?}");
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_last_lines_are_kept_and_cut() {
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done
        head -c 100000 /dev/zero | busybox tr '\\0' x; echo
        echo problem; exit 3";
    let exit = end_of(shell(script)).await;
    assert_eq!(exit.code, Some(3));
    assert_eq!(exit.last_output.len(), 20);
    assert_eq!(exit.last_output.last().map(String::as_str), Some("problem"));
    assert!(exit.last_output.contains(&"line 100".to_owned()));
    assert!(exit.last_output.contains(&"x".repeat(500)), "{exit:?}");
    assert!(exit.last_output.iter().all(|line| line.chars().count() <= 500));
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn every_setting_reaches_the_container() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "from the host").unwrap();
    let script = r#"
fail() { echo "wrong: $1"; exit 1; }
[ "$(busybox id -u):$(busybox id -g)" = 1234:4321 ] || fail user
[ "$NAME" = "a value = b" ] || fail environment
[ "$(cat /in/file)" = "from the host" ] || fail mount
echo x 2>/dev/null >/in/file && fail "read-only mount"
echo x 2>/dev/null >/home/x && fail "read-only root"
echo x >/scratch/x || fail tmpfs
[ "$(cat /proc/1/comm)" = docker-init ] || fail init
busybox grep -q '^CapBnd:.*0000000000000400$' /proc/1/status || fail capabilities
[ "$(cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max)" = 99 ] || fail pids
[ -c /dev/inside ] || fail device
[ "$(busybox ls /sys/class/net)" = lo ] || fail network
[ "$ACTIONS_RUNNER_INPUT_JITCONFIG" = any ] || fail registration
exit 42
"#;
    let spec = InstanceSpec {
        cpu_millis: Some(500),
        memory_bytes: Some(64 << 20),
        pids: Some(99),
        network: Some("none".into()),
        mounts: vec![Mount {
            source: host.path().to_str().unwrap().into(),
            target: "/in".into(),
            read_only: true,
        }],
        tmpfs: [("/scratch".into(), "size=1m,mode=1777".into())].into(),
        environment: [("NAME".into(), "a value = b".into())].into(),
        capabilities_add: vec!["NET_BIND_SERVICE".into()],
        capabilities_drop: vec!["ALL".into()],
        devices: vec!["/dev/null:/dev/inside:rw".into()],
        user: Some("1234:4321".into()),
        read_only_root: true,
        init: true,
        ..shell(script)
    };
    let exit = end_of(spec).await;
    assert_eq!(exit.code, Some(42), "{exit:?}");
}
