//! Limits by control groups, which take root's rights and a kernel that has them mounted.

use std::fs;

use dayfly_core::{
    model::{Exit, InstanceSpec},
    ports::Backend,
};

use super::ground::{Ground, shell};
use crate::suite::{Heard, controller, create, jit, runner, watched};

async fn end_of(spec: InstanceSpec) -> Exit {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let heard = Heard::default();
    let exit = watched(&backend, &heard, async {
        let created = create(&backend, &runner, &spec).await;
        backend.hand_over(&runner, &created.id, jit("any")).await.unwrap();
        heard.end_of(&runner).await.1
    })
    .await;
    backend.destroy(&runner, false).await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for mount in mounts
        .lines()
        .filter(|line| line.contains("cgroup"))
        .filter_map(|line| line.split(' ').nth(1))
    {
        let group = std::path::Path::new(mount).join("dayfly").join(runner.as_str());
        assert!(!group.exists(), "{} is left", group.display());
    }
    exit
}

#[tokio::test]
#[ignore = "needs root and control groups"]
async fn want_of_memory_is_told() {
    let exit =
        end_of(InstanceSpec { memory_bytes: Some(64 << 20), ..shell("tail /dev/zero; exit $?") })
            .await;
    assert_eq!((exit.code, exit.out_of_memory), (Some(137), true), "{exit:?}");
}

#[tokio::test]
#[ignore = "needs root and control groups"]
async fn limits_hold() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5 & done; wait; exit 0";
    let exit = end_of(InstanceSpec { pids: Some(8), ..shell(script) }).await;
    assert_ne!(exit.code, Some(0), "it could not start ten processes: {exit:?}");
    // Half a processor: one second of work takes two.
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
        cat /sys/fs/cgroup/cpu/dayfly/$DAYFLY_RUNNER/cpu.stat /sys/fs/cgroup/dayfly/$DAYFLY_RUNNER/cpu.stat 2>/dev/null \
        | grep -q 'nr_throttled [1-9]'";
    let exit = end_of(InstanceSpec { cpu_millis: Some(50), ..shell(script) }).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
#[ignore = "needs root and control groups"]
async fn a_process_that_hides_from_session_and_environment_is_found_by_its_group() {
    let ground = Ground::new();
    let backend = ground.connect(controller());
    let runner = runner(backend.controller());
    let script = "env -i setsid sleep 600.125 & while ! pgrep -f 600.125 >/dev/null; do :; done; echo here; wait";
    let created = create(&backend, &runner, &shell(script)).await;
    backend.hand_over(&runner, &created.id, jit("any")).await.unwrap();
    while backend.console(&runner).await.unwrap().last().map(String::as_str) != Some("here") {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    backend.destroy(&runner, false).await.unwrap();
    let hidden = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.starts_with(b"sleep\x00600.125"))
    });
    assert_eq!(hidden.count(), 0);
}
