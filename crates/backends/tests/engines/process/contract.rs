//! The contract of every backend.

use dayfly_backends::process::{Process, ProcessOptions};

use super::ground::{Ground, shell};
use crate::suite;

#[tokio::test]
async fn processes_keep_the_contract() {
    let ground = Ground::new();
    suite::check(|controller| ground.connect(controller), &shell(suite::RUNNER)).await;
    assert_eq!(std::fs::read_dir(ground.directory()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn whose_instances_there_are_can_be_asked() {
    let ground = Ground::new();
    let options = ProcessOptions { directory: ground.directory() };
    let counts = async || Process::controllers(&options).unwrap();
    assert!(counts().await.is_empty() && !ground.directory().exists(), "asking makes nothing");
    let connect = |controller| ground.connect(controller);
    suite::controllers_are_counted(connect, &shell(suite::RUNNER), counts).await;
}
