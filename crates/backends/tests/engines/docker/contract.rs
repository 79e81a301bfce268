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
