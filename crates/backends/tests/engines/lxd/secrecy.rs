//! A registration is seen by the runner's own processes and by nobody else.

use std::{fs, process::Stdio, time::Duration};

use dayfly_core::ports::{Backend, JitConfig};

use super::{
    lxd_private::{Programs, tried},
    server::{Sweep, cli, shell},
};
use crate::suite::{Heard, create, runner, watched};

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_registration_shows_nowhere() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let runner = runner(lxd.controller());
    let secret = format!("c2VjcmV0{}", runner.as_str().replace('-', ""));
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("events");
    let mut monitor = std::process::Command::new(Programs::of(tried()).client)
        .args(["monitor", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        let created = create(&lxd, &runner, &shell("echo here; exec sleep 600")).await;
        lxd.hand_over(&runner, &created.id, JitConfig::new(secret.clone())).await.unwrap();
        while lxd.console(&runner).await.unwrap().last().map(String::as_str) != Some("here") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let name = runner.as_str();
        for words in [
            cli(&["config", "show", "--expanded", name]),
            cli(&["info", "--show-log", name]),
            cli(&["operation", "list", "--format", "json"]),
            cli(&["query", &format!("/1.0/instances/{name}?recursion=1")]),
            cli(&["exec", name, "--", "ls", "/run/dayfly"]),
            cli(&["exec", name, "--", "/bin/sh", "-c", "cat /var/lib/dayfly/*"]),
        ] {
            assert!(!words.contains(&secret), "{words}");
        }
        let mut knowing = 0;
        for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
            let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
            assert!(!holds(&read("cmdline"), &secret), "{}", process.display());
            if holds(&read("environ"), &secret) {
                assert!(holds(&read("cgroup"), name), "{} is not the runner's", process.display());
                knowing += 1;
            }
        }
        assert_eq!(knowing, 1, "the runner has it, and is found by this search");
        assert!(!format!("{:?}", heard.events()).contains(&secret));
    })
    .await;
    lxd.destroy(&runner, false).await.unwrap();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let events = fs::read(&log).unwrap();
    assert!(holds(&events, runner.as_str()), "the events were listened to");
    assert!(!holds(&events, &secret));
}
