//! An engine that is killed and comes back.

use std::time::Duration;

use dayfly_core::{
    model::Sign,
    ports::{Backend, BackendErrorKind, InstanceStatus},
};
use tokio::time::timeout;

use super::{
    engine::{contract, image},
    private::{Private, alone},
};
use crate::suite::{Heard, controller, create, ended, jit, record, runner, watched};

#[tokio::test]
#[ignore = "needs dockerd"]
async fn a_killed_engine_is_noticed_and_its_containers_are_found_again() {
    let mut engine = Private::start();
    let docker = engine.connect(controller());
    image(&docker).await;
    let (warm, slow) = (runner(docker.controller()), runner(docker.controller()));
    let spec = alone(contract());
    let warm_id = create(&docker, &warm, &spec).await.id;
    let slow_id = create(&docker, &slow, &spec).await.id;
    docker.hand_over(&slow, &slow_id, jit("slow")).await.unwrap();

    let broke = {
        let (began, sink) = (tokio::sync::Notify::new(), |_| {});
        let began_now = || began.notify_one();
        let watch = docker.watch(&began_now, &sink);
        let kill = async {
            began.notified().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            engine.kill();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            broke = timeout(Duration::from_secs(30), watch) => broke.unwrap(),
            () = kill => unreachable!(),
        }
    };
    assert_eq!(broke.kind, BackendErrorKind::Unreachable, "{broke}");
    assert_eq!(docker.list().await.unwrap_err().kind, BackendErrorKind::Unreachable);
    let refused = docker.destroy(&warm, true).await.unwrap_err();
    assert_eq!(refused.kind, BackendErrorKind::Unreachable);

    engine.begin();
    ended(&docker, &slow).await;
    let heard = Heard::default();
    watched(&docker, &heard, async {
        let (signs, exit) = heard.end_of(&slow).await;
        assert!(
            signs.contains(&Sign::Listening),
            "{signs:?}: what was said before the crash is known"
        );
        assert!(exit.code.is_some());
        assert_eq!(record(&docker, &warm).await.unwrap().status, InstanceStatus::Running);
        docker.hand_over(&warm, &warm_id, jit("quick")).await.unwrap();
        let (signs, exit) = heard.end_of(&warm).await;
        assert_eq!((signs.len(), exit.code), (3, Some(7)));
    })
    .await;
    for runner in [warm, slow] {
        docker.destroy(&runner, false).await.unwrap();
    }
    assert_eq!(docker.list().await.unwrap(), []);
}
