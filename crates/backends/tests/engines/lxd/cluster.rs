//! A cluster, of one member: instances are made on the member that the backend names.

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use dayfly_core::{
    model::ControllerId,
    ports::{Backend, BackendErrorKind, CreateRequest},
};
use serde_json::Value;

use super::{
    private::Private,
    server::{Lxc, contract, image},
};
use crate::suite::{self, controller, create, pool, record, runner};

const PRESEED: &str = "config: { core.https_address: \"127.0.0.1:18444\" }\n\
    cluster: { server_name: node1, enabled: true }\n\
    storage_pools: [{ name: default, driver: dir }]\n\
    profiles: [{ name: default, devices: { root: { type: disk, path: /, pool: default } } }]\n";

#[tokio::test]
#[ignore = "needs lxd"]
async fn a_member_of_a_cluster_keeps_the_contract() {
    let private = Private::start(&[], PRESEED);
    let lxc = Lxc { directory: Some(private.directory()) };
    image(&lxc);
    let on = |target: &str, controller: ControllerId| {
        let server = LxdServer::Socket(private.directory().join("unix.socket"));
        let options =
            LxdOptions { server, target: Some(target.to_owned()), ..LxdOptions::default() };
        Lxd::connect(&options, controller).unwrap()
    };
    suite::check(|controller| on("node1", controller), &contract()).await;

    let member = on("node1", controller());
    let runner = runner(member.controller());
    create(&member, &runner, &contract()).await;
    let shown = lxc.ask(&["query", &format!("/1.0/instances/{runner}")]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["location"], "node1");
    member.destroy(&runner, false).await.unwrap();

    let nowhere = on("node2", controller());
    let (runner, pool, spec) = (crate::suite::runner(nowhere.controller()), pool(), contract());
    let request = CreateRequest { runner: &runner, pool: &pool, spec: &spec };
    let error = nowhere.create(request).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotAllowed, "{error}");
    assert!(error.detail.to_lowercase().contains("not found"), "{error}");
    assert_eq!(record(&nowhere, &runner).await, None);
    assert_eq!(lxc.ask(&["list", "--format", "csv", "--columns", "n"]), "", "nothing is left");
}
