//! Ended instances whose files can't be read: they are told as ended, and hold up nobody else.

use std::time::Duration;

use dayfly_core::{
    model::{Exit, RunnerName},
    ports::{Backend, InstanceStatus},
};
use tokio::time::timeout;

use super::fake::{Fake, File, Instance};
use crate::suite::{Heard, runner, watched};

/// What the engine gives a list.
const LIST_TIME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_list_is_not_held_up_by_what_an_instance_made_of_its_files() {
    let fake = Fake::start();
    let lxd = fake.connect();
    let [good, broken] = [(); 2].map(|()| runner(lxd.controller()));
    // More of them than are asked after at once, in turn.
    let pipes = [(); 9].map(|()| runner(lxd.controller()));
    let ended = |exit| Instance { files: [("exit", exit)].into(), ..Instance::default() };
    fake.add(&good, ended(File::Text("7\n")));
    fake.add(&broken, ended(File::Broken));
    let exits = async || {
        let listed = timeout(LIST_TIME, lxd.list()).await.expect("the list is held up").unwrap();
        let exits = listed.into_iter().map(|record| match record.status {
            InstanceStatus::Ended(exit) => (record.runner, exit),
            status => panic!("{status:?}"),
        });
        exits.collect::<Vec<_>>()
    };
    let of = |exits: &[(RunnerName, Exit)], runner: &RunnerName| {
        exits.iter().find(|(of, _)| *of == *runner).map(|(_, exit)| exit.clone()).unwrap()
    };
    let told = exits().await;
    assert_eq!(of(&told, &good).code, Some(7));
    assert!(of(&told, &broken).error.unwrap().contains("read its exit code"), "{told:?}");
    for runner in &pipes {
        fake.add(runner, ended(File::Pipe));
    }
    let told = exits().await;
    assert_eq!(told.len(), 11);
    for runner in &pipes {
        let exit = of(&told, runner);
        assert_eq!(exit.code, None);
        assert!(exit.error.unwrap().contains("no answer about its exit code"));
    }
}

#[tokio::test]
async fn an_end_that_is_told_on_the_console_needs_no_file() {
    let fake = Fake::start();
    let lxd = fake.connect();
    let [soon, late] = [(); 2].map(|()| runner(lxd.controller()));
    let ended =
        |console| Instance { console, files: [("exit", File::Pipe)].into(), ..Instance::default() };
    let console = "dayfly: ready\r\ndayfly: the runner said\r\ndone\r\n\r\ndayfly: exit 7\r\n";
    fake.add(&soon, ended(Some(console)));
    // The server tells of the end before the console is written down.
    fake.add(&late, ended(Some("")));
    let list = async || timeout(LIST_TIME, lxd.list()).await.expect("the list is held up").unwrap();
    let written = async {
        fake.until(|state| state.instances[late.as_str()].readings >= 2).await;
        fake.state().instances.get_mut(late.as_str()).unwrap().console = Some(console);
    };
    let (listed, ()) = tokio::join!(list(), written);
    assert_eq!(listed.len(), 2);
    for record in listed {
        let InstanceStatus::Ended(exit) = record.status else { panic!("{:?}", record.status) };
        assert_eq!((exit.code, exit.error), (Some(7), None));
        assert_eq!(exit.last_output, ["done"]);
    }
}

#[tokio::test]
async fn an_end_is_told_while_networks_are_looked_after() {
    let fake = Fake::start();
    fake.state().hides_networks = true;
    let lxd = fake.connect();
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        // The first look after networks comes with the first list; what ends after it is told by the next one.
        fake.until(|state| state.lists >= 2).await;
        let late = runner(lxd.controller());
        let files = [("exit", File::Text("7"))].into();
        fake.add(&late, Instance { files, ..Instance::default() });
        assert_eq!(heard.end_of(&late).await.1.code, Some(7));
    })
    .await;
}
