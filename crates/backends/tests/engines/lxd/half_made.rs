//! What a crash leaves, and what is not ours.

use dayfly_core::ports::{Backend, BackendErrorKind, CreateRequest, InstanceStatus};

use super::server::{IMAGE, Sweep, cli, contract};
use crate::suite::{Heard, create, jit, pool, record, runner, watched};

#[tokio::test]
#[ignore = "needs lxd"]
async fn an_instance_that_is_not_ours_is_left_alone() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let (runner, pool) = (runner(lxd.controller()), pool());
    let spec = contract();
    cli(&["init", IMAGE, runner.as_str()]);
    let made = lxd.create(CreateRequest { runner: &runner, pool: &pool, spec: &spec }).await;
    let destroyed = lxd.destroy(&runner, true).await;
    let seen = record(&lxd, &runner).await;
    let still = cli(&["list", "--format", "csv", "--columns", "n", runner.as_str()]);
    cli(&["delete", "--force", runner.as_str()]);
    assert_eq!(made.unwrap_err().kind, BackendErrorKind::NotAllowed);
    assert_eq!(destroyed.unwrap_err().kind, BackendErrorKind::NotAllowed);
    assert_eq!(seen, None);
    assert_eq!(still.trim(), runner.as_str());
}

/// A crash between any two calls of a create: the next create ends what was begun, under the same name and id.
#[tokio::test]
#[ignore = "needs lxd"]
async fn what_was_half_made_is_ended_by_the_next_create() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    for started in [false, true] {
        let runner = runner(lxd.controller());
        let tags = [
            format!("user.dayfly.controller={}", lxd.controller()),
            format!("user.dayfly.runner={runner}"),
            "user.dayfly.pool=contract".to_owned(),
        ];
        let mut arguments = vec![if started { "launch" } else { "init" }, IMAGE, runner.as_str()];
        for tag in &tags {
            arguments.extend(["-c", tag]);
        }
        // Without a network, as the suite's own.
        let network = runner.to_string();
        cli(&arguments);
        let before = record(&lxd, &runner).await.unwrap();
        assert_eq!(before.status, InstanceStatus::Booting);
        if !started {
            cli(&["config", "device", "add", &network, "eth0", "none"]);
        }
        let created = create(&lxd, &runner, &contract()).await;
        assert_eq!((&created.id, created.ready), (&before.id, true));
        let heard = Heard::default();
        watched(&lxd, &heard, async {
            lxd.hand_over(&runner, &created.id, jit("quick")).await.unwrap();
            let (signs, exit) = heard.end_of(&runner).await;
            assert_eq!((signs.len(), exit.code), (3, Some(7)));
        })
        .await;
        lxd.destroy(&runner, false).await.unwrap();
    }
}

/// A create whose answer is lost goes on in the server: the next one waits for it, and makes no double.
#[tokio::test]
#[ignore = "needs lxd"]
async fn a_create_that_goes_on_is_waited_for() {
    let sweep = Sweep::default();
    let lxd = sweep.ready();
    let (runner, pool) = (runner(lxd.controller()), pool());
    let spec = contract();
    let request = || CreateRequest { runner: &runner, pool: &pool, spec: &spec };
    // Dropped at whatever it was about, many times over.
    for milliseconds in [1, 5, 20, 60, 120, 200] {
        let patience = std::time::Duration::from_millis(milliseconds);
        if tokio::time::timeout(patience, lxd.create(request())).await.is_ok() {
            break;
        }
    }
    let created = lxd.create(request()).await.unwrap();
    assert!(created.ready);
    assert_eq!(lxd.list().await.unwrap().len(), 1);
    // One that is being made is destroyed too.
    lxd.destroy(&runner, false).await.unwrap();
    let begun = tokio::time::timeout(std::time::Duration::from_millis(30), lxd.create(request()));
    assert!(begun.await.is_err());
    lxd.destroy(&runner, false).await.unwrap();
    assert_eq!(lxd.list().await.unwrap(), []);
}
