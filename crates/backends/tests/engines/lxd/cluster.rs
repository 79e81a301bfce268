//! A cluster: instances are made on the member that the backend names, and one that is away loses nothing.

use std::time::Duration;

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::{
    model::{ControllerId, RunnerName},
    ports::{
        Backend, BackendError, BackendErrorKind, CreateRequest, InstanceRecord, InstanceStatus,
    },
};
use tokio::time::{sleep, timeout};

use super::{
    members::Cluster,
    server::{Lxc, contract, image},
};
use crate::suite::{self, controller, create, pool, runner};

/// Longer than the cluster takes to see that a member is away, or back.
const PATIENCE: Duration = Duration::from_secs(60);

fn status(listed: &[InstanceRecord], runner: &RunnerName) -> Option<InstanceStatus> {
    listed.iter().find(|record| record.runner == *runner).map(|record| record.status.clone())
}

/// Lists until `wanted` holds.
async fn until(lxd: &Lxd, wanted: impl Fn(&Result<Vec<InstanceRecord>, BackendError>) -> bool) {
    let seen = async {
        while !wanted(&lxd.list().await) {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the list never became so");
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn members_keep_the_contract_and_one_that_is_away_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let lxc = Lxc { directory: Some(cluster.directory()), ..Lxc::default() };
    image(&lxc);
    let socket = cluster.directory().join("unix.socket");
    let on = |target: Option<&str>, controller: ControllerId| {
        let server = LxdServer::Socket(socket.clone());
        let target = target.map(str::to_owned);
        Lxd::connect(&LxdOptions { server, target, ..LxdOptions::default() }, controller).unwrap()
    };
    // Another one than is asked.
    suite::check(|controller| on(Some("node2"), controller), &contract()).await;

    let controller = controller();
    let [whole, group, two, three] =
        [None, Some("@default"), Some("node2"), Some("node3")].map(|target| on(target, controller));
    let [here, there] = [&two, &three].map(|_| runner(controller));
    create(&two, &here, &contract()).await;
    let made = create(&three, &there, &contract()).await;
    let running = Some(InstanceStatus::Running);
    // Each member's are its backend's.
    for (lxd, seen) in [
        (&whole, [true, true]),
        (&group, [true, true]),
        (&two, [true, false]),
        (&three, [false, true]),
    ] {
        let listed = lxd.list().await.unwrap();
        let seen = seen.map(|seen| running.clone().filter(|_| seen));
        assert_eq!([status(&listed, &here), status(&listed, &there)], seen);
    }
    let nowhere = on(Some("node4"), controller);
    let (pool, spec) = (pool(), contract());
    let other = runner(controller);
    let request = CreateRequest { runner: &other, pool: &pool, spec: &spec };
    assert_eq!(nowhere.create(request).await.unwrap_err().kind, BackendErrorKind::NotAllowed);
    assert_eq!(nowhere.list().await.unwrap_err().kind, BackendErrorKind::NotAllowed);

    cluster.crash(3);
    let listed = whole.list().await.unwrap();
    assert_eq!(status(&listed, &here), running, "the others are not concerned");
    assert_eq!(status(&listed, &there), Some(InstanceStatus::Away), "and it is not gone");
    let request = CreateRequest { runner: &other, pool: &pool, spec: &spec };
    for error in [
        three.create(request).await.map(drop).unwrap_err(),
        three.destroy(&there, true).await.unwrap_err(),
        three.inspect(&there).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind, BackendErrorKind::Unreachable, "{error}");
    }
    until(&three, |listed| {
        listed.as_ref().is_err_and(|error| error.kind == BackendErrorKind::Unreachable)
    })
    .await;

    cluster.start_again(3);
    until(&three, |listed| listed.as_ref().is_ok_and(|listed| status(listed, &there) == running))
        .await;
    let found = three.inspect(&there).await.unwrap().unwrap();
    assert_eq!((found.id, found.status), (made.id, InstanceStatus::Running));
    for (lxd, runner) in [(&two, &here), (&three, &there)] {
        lxd.destroy(runner, false).await.unwrap();
    }
    assert_eq!(lxc.ask(&["list", "--format", "csv", "--columns", "n"]), "", "nothing is left");
}
