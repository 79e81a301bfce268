//! Containers that were made and not started: what a crash between the two calls leaves.

use std::time::Duration;

use dayfly_backends::docker::Docker;
use dayfly_core::{
    model::{RunnerName, Sign},
    ports::{Backend, InstanceEvent, InstanceStatus},
};
use tokio::time::{sleep, timeout};

use super::engine::{IMAGE, Sweep, cli, contract};
use crate::suite::{Heard, create, jit, record, runner, watched};

/// Makes a runner's container that runs a shell script, and gives its id.
fn made(docker: &Docker, runner: &RunnerName, script: &str) -> String {
    let labels = [
        format!("dev.dayfly.controller={}", docker.controller()),
        format!("dev.dayfly.runner={runner}"),
        "dev.dayfly.pool=contract".to_owned(),
    ];
    let mut arguments = vec!["create", "-i", "--name", runner.as_str()];
    for label in &labels {
        arguments.extend(["--label", label]);
    }
    arguments.extend([IMAGE, "sh", "-c", script]);
    cli(&arguments).trim().to_owned()
}

#[tokio::test]
#[ignore = "needs dockerd"]
async fn the_next_create_starts_it() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let runner = runner(docker.controller());
    let id = made(&docker, &runner, "cat");
    let before = record(&docker, &runner).await.unwrap();
    assert_eq!(before.status, InstanceStatus::Booting);
    let created = create(&docker, &runner, &contract()).await;
    assert_eq!((&*created.id.0, created.ready), (id.as_str(), true));
    let after = record(&docker, &runner).await.unwrap();
    assert_eq!(after.status, InstanceStatus::Running);
    docker.destroy(&runner, false).await.unwrap();
}

/// Its output is followed from its start on, not from the beginning of a watch that found it unstarted.
#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_watch_that_began_before_its_start_hears_what_it_says() {
    let sweep = Sweep::default();
    let docker = sweep.ready().await;
    let runner = runner(docker.controller());
    made(&docker, &runner, "echo '2026-11-21 08:00:00Z: Listening for Jobs'; exec cat");
    let heard = Heard::default();
    watched(&docker, &heard, async {
        // The watch has found it once it tells the end of another.
        let other = self::runner(docker.controller());
        let created = create(&docker, &other, &contract()).await;
        docker.hand_over(&other, &created.id, jit("quick")).await.unwrap();
        heard.end_of(&other).await;
        docker.destroy(&other, false).await.unwrap();

        create(&docker, &runner, &contract()).await;
        let listens = InstanceEvent::Said(runner.clone(), Sign::Listening);
        let said = async {
            while !heard.events().contains(&listens) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), said).await.expect("it is heard while it runs");
    })
    .await;
    docker.destroy(&runner, false).await.unwrap();
}
