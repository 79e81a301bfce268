//! The contract of every backend, over the server's socket.

use super::server::{Sweep, contract};
use crate::suite;

#[tokio::test]
#[ignore = "needs lxd"]
async fn lxd_keeps_the_contract() {
    let sweep = Sweep::default();
    sweep.ready();
    suite::check(|controller| sweep.connect(controller), &contract()).await;
}

#[tokio::test]
#[ignore = "needs lxd"]
async fn whose_instances_there_are_can_be_asked() {
    let sweep = Sweep::default();
    let anyone = sweep.ready();
    let counts = async || anyone.controllers().await.unwrap();
    let connect = |controller| sweep.connect(controller);
    suite::controllers_are_counted(connect, &contract(), counts).await;
}
