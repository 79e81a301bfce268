//! The contract of every backend.

use super::engine;
use crate::suite;

#[tokio::test]
#[ignore = "needs dockerd"]
async fn docker_keeps_the_contract() {
    let sweep = engine::Sweep::default();
    sweep.ready().await;
    suite::check(|controller| sweep.connect(controller), &engine::contract()).await;
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn whose_containers_there_are_can_be_asked() {
    let sweep = engine::Sweep::default();
    let anyone = sweep.ready().await;
    let counts = async || anyone.controllers().await.unwrap();
    let connect = |controller| sweep.connect(controller);
    suite::controllers_are_counted(connect, &engine::contract(), counts).await;
}
