//! A server that is killed: what runs in its instances runs on, and what ended meanwhile is told by the one that follows.

use std::{sync::Mutex, time::Duration};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::ports::{Backend, BackendErrorKind, InstanceStatus};

use super::{
    private::Private,
    server::{Lxc, contract, image},
};
use crate::suite::{Heard, controller, create, jit, record, runner, watched};

const PRESEED: &str = "storage_pools: [{ name: default, driver: dir }]\n\
    profiles: [{ name: default, devices: { root: { type: disk, path: /, pool: default } } }]\n";

#[tokio::test]
#[ignore = "needs lxd"]
async fn what_ends_while_the_server_is_away_is_told_later() {
    let private = Private::start(&[""; 0], PRESEED);
    let lxc = Lxc { directory: Some(private.directory()), ..Lxc::default() };
    image(&lxc);
    let server = LxdServer::Socket(private.directory().join("unix.socket"));
    let options = LxdOptions { server, ..LxdOptions::default() };
    let lxd = Lxd::connect(&options, controller()).unwrap();
    let (waiting, busy) = (runner(lxd.controller()), runner(lxd.controller()));
    let waiting_id = create(&lxd, &waiting, &contract()).await.id;
    let busy_id = create(&lxd, &busy, &contract()).await.id;
    lxd.hand_over(&busy, &busy_id, jit("slow")).await.unwrap();

    let private = Mutex::new(private);
    let (crash, nothing) = (|| private.lock().unwrap().crash(), |_| {});
    assert_eq!(lxd.watch(&crash, &nothing).await.kind, BackendErrorKind::Unreachable);
    assert_eq!(lxd.list().await.unwrap_err().kind, BackendErrorKind::Unreachable);
    // Twice as long as its job takes.
    tokio::time::sleep(Duration::from_secs(4)).await;
    private.lock().unwrap().start_again();

    let heard = Heard::default();
    watched(&lxd, &heard, async {
        let (signs, exit) = heard.end_of(&busy).await;
        assert_eq!((signs.len(), exit.code), (3, Some(7)), "{exit:?}");
        // The server does not begin it anew.
        let found = record(&lxd, &busy).await.unwrap();
        assert_eq!((found.id, found.status), (busy_id, InstanceStatus::Ended(exit)));
        let found = record(&lxd, &waiting).await.unwrap();
        assert_eq!((&found.id, found.status), (&waiting_id, InstanceStatus::Running));
        lxd.hand_over(&waiting, &waiting_id, jit("quick")).await.unwrap();
        assert_eq!(heard.end_of(&waiting).await.1.code, Some(7));
    })
    .await;
    for runner in [&busy, &waiting] {
        lxd.destroy(runner, false).await.unwrap();
    }
    assert_eq!(lxc.ask(&["list", "--format", "csv", "--columns", "n"]), "", "nothing is left");
}
