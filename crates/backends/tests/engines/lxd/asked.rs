//! How often an instance is asked what its runner says: each time costs the server three calls and a process.

use dayfly_core::{
    model::Sign,
    ports::{Backend, InstanceEvent},
};

use super::fake::{Fake, File, Instance};
use crate::suite::{Heard, runner, watched};

#[tokio::test]
async fn an_instance_is_asked_in_its_own_time_and_no_more_once_it_has_its_job() {
    let fake = Fake::start();
    let lxd = fake.connect();
    let [idle, busy, late, odd] = [(); 4].map(|()| runner(lxd.controller()));
    let running = |exit_code| Instance { is_running: true, exit_code, ..Instance::default() };
    fake.add(&idle, running(1));
    fake.add(&busy, running(3));
    // As of a shell that a signal ended, where the server says so.
    fake.add(&odd, running(-1));
    let heard = Heard::default();
    watched(&lxd, &heard, async {
        fake.until(|state| state.lists >= 1).await;
        // No event tells of it, only the next list.
        fake.add(&late, running(3));
        fake.until(|state| state.instances[late.as_str()].commands >= 1).await;
        let asked = fake.of(&busy);
        assert_eq!((asked.looks, asked.commands), (1, 1), "it has its job");
        // Nor of its end.
        let files = [("exit", File::Text("7")), ("tail", File::Text("done"))].into();
        fake.add(&busy, Instance { files, ..Instance::default() });
        let (signs, exit) = heard.end_of(&busy).await;
        assert_eq!((&signs[..], exit.code), (&[Sign::Listening, Sign::JobStarted][..], Some(7)));
    })
    .await;
    // Twenty seconds and more, in which each question comes half as soon again: 7. Each list anew: 10 and more.
    let asked = fake.of(&idle).commands;
    assert!((2..9).contains(&asked), "{asked}");
    let says = |event: &InstanceEvent| matches!(event, InstanceEvent::Said(of, _) if *of == odd);
    assert!(!heard.events().iter().any(says), "{:?}", heard.events());
    assert!(heard.events().contains(&InstanceEvent::Ready(late)));
}
