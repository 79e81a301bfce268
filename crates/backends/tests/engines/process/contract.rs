//! The contract of every backend.

use super::ground::{Ground, shell};
use crate::suite;

#[tokio::test]
async fn processes_keep_the_contract() {
    let ground = Ground::new();
    suite::check(|controller| ground.connect(controller), &shell(suite::RUNNER)).await;
    assert_eq!(std::fs::read_dir(ground.directory()).unwrap().count(), 0, "nothing is left");
}
