//! Following the server's events and the output of our instances.
//!
//! The server does not stream a runner's output. So its instance is asked from time to time what it said, more seldom the
//! longer it says nothing, until it says that it has its job; the rest is read at its end. Each instance is
//! attended by one future, which lives in the one that follows the events: they begin and end with it, and the next one
//! reads the output anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use dayfly_core::{
    model::{ControllerId, RunnerName, Sign},
    ports::{BackendError, BackendErrorKind, InstanceEvent, WatchSink},
};
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered, Stream},
};
use tokio::{
    sync::{Notify, broadcast},
    time::{sleep, timeout},
};

use super::{
    client::{Client, instance_of},
    cluster, events, fence, files,
    guest::{self, CONSOLE, SIGNS},
    records::{self, ByName, Standing, by_name, find},
    wire::Event,
};
use crate::{
    console::{Lines, Signs},
    failure::failure,
};

/// The first look at an instance's output after its hand-over; each later one waits half as long again.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How seldom the output of a runner that waits for its job is looked at.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(20);

/// How much of the output is read for signs: the runner tells that it has its job within its first hundreds of bytes.
const SIGNS_BYTES_MAX: usize = 64 << 10;

/// What the exit code of [`SIGNS`] stands for, as the runner says it.
const SIGN_WORDS: [(i64, &str); 4] = [
    (1, "Listening for Jobs"),
    (2, ": Running job: "),
    (4, ": Job  completed with result: "),
    (8, "is deprecated and cannot receive messages"),
];

/// How long an instance may take to tell its signs.
const SIGNS_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the output of an ended one may take, before its end is told without it.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(15);

/// From one look for ends that no event told to the next.
const BETWEEN_LISTS: Duration = Duration::from_secs(10);

/// From one look after the networks of ours that nobody uses to the next.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(300);

/// How long a list may take, before the watch is begun anew.
const LIST_TIME_MAX: Duration = Duration::from_secs(60);

/// Follows until the stream breaks.
pub(super) async fn watch(
    client: &Client,
    controller: ControllerId,
    handed_over: broadcast::Receiver<RunnerName>,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> BackendError {
    match follow(client, controller, handed_over, began, sink).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn follow(
    client: &Client,
    controller: ControllerId,
    handed_over: broadcast::Receiver<RunnerName>,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> Result<Infallible, BackendError> {
    let mut events = events::lifecycle(client).await?;
    began();
    let mut attendance = Attendance { client, controller, sink, attended: BTreeMap::new() };
    let mut attending = FuturesUnordered::new();
    let found = list(client, controller).await?;
    attending.extend(found.into_iter().filter_map(|(runner, _)| attendance.look_at(runner)));
    // Of a group of members: as it was when the watch began. What another one of it has is found by the lists.
    let members = cluster::members(client).await?;
    let mut lists = std::pin::pin!(lists(client, controller));
    let mut sweeps = std::pin::pin!(sweeps(client, controller));
    let mut handed_over = std::pin::pin!(names(handed_over));
    loop {
        // Every arm is a stream, which loses nothing when another arm is taken.
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else {
                    let detail = "the stream ended: the server stops or restarts";
                    return Err(failure(BackendErrorKind::Unreachable, "follow the server's events", detail));
                };
                let event = event?;
                let runner = concerned(&event, members.as_ref(), controller);
                attending.extend(runner.and_then(|runner| attendance.look_at(runner)));
            }
            Some(runner) = attending.next() => attendance.done(runner),
            Some(listed) = lists.next() => {
                let due = attendance.due(listed?);
                attending.extend(due.into_iter().filter_map(|runner| attendance.look_at(runner)));
            }
            Some(()) = sweeps.next() => {}
            Some(runner) = handed_over.next() => attending.extend(attendance.look_at(runner)),
        }
    }
}

/// The runner that an event concerns, where it may be one of ours, on a member of a cluster that is this backend's, and
/// something that we heed happened to it.
fn concerned(
    event: &Event,
    members: Option<&BTreeSet<String>>,
    controller: ControllerId,
) -> Option<RunnerName> {
    let heeded = ["instance-started", "instance-updated", "instance-stopped", "instance-shutdown"];
    let is_elsewhere = members.is_some_and(|members| !members.contains(&event.location));
    if is_elsewhere || !heeded.contains(&event.metadata.action.as_str()) {
        return None;
    }
    let runner = RunnerName::new(instance_of(&event.metadata.source)?).ok()?;
    runner.is_of(controller).then_some(runner)
}

/// Looks after the networks of ours that nobody uses, from time to time.
fn sweeps(client: &Client, controller: ControllerId) -> impl Stream<Item = ()> {
    stream::unfold(BETWEEN_LISTS, move |pause| async move {
        sleep(pause).await;
        if let Err(error) = fence::sweep(client, controller, &client.fences).await {
            tracing::debug!(%error, "networks of ours are not looked after");
        }
        Some(((), BETWEEN_SWEEPS))
    })
}

/// Our instances, from time to time.
fn lists(
    client: &Client,
    controller: ControllerId,
) -> impl Stream<Item = Result<Vec<(RunnerName, Standing)>, BackendError>> {
    stream::unfold((), move |()| async move {
        sleep(BETWEEN_LISTS).await;
        Some((list(client, controller).await, ()))
    })
}

async fn list(
    client: &Client,
    controller: ControllerId,
) -> Result<Vec<(RunnerName, Standing)>, BackendError> {
    let found = timeout(LIST_TIME_MAX, find(client, controller)).await.unwrap_or_else(|_| {
        let detail = format!("no whole answer within {} s", LIST_TIME_MAX.as_secs());
        Err(failure(BackendErrorKind::Unreachable, "list instances", detail))
    });
    // What is away can't be looked at.
    let found = found?.found.into_iter();
    Ok(found.map(|found| (found.runner.clone(), found.standing())).collect())
}

/// Names as they come; some may be lost where many come at once, which costs a later look.
fn names(receiver: broadcast::Receiver<RunnerName>) -> impl Stream<Item = RunnerName> {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(runner) => return Some((runner, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// Which instances are attended, and how each one's future is woken. One whose end was told is kept for as long as it is
/// listed, so that its end is told once.
struct Attendance<'a> {
    client: &'a Client,
    controller: ControllerId,
    sink: WatchSink<'a>,
    attended: BTreeMap<RunnerName, Option<Arc<Notify>>>,
}

impl<'a> Attendance<'a> {
    /// Wakes the future that attends an instance, or gives the one that is to.
    fn look_at(&mut self, runner: RunnerName) -> Option<impl Future<Output = Done> + use<'a>> {
        match self.attended.get(&runner) {
            Some(Some(wake)) => {
                wake.notify_one();
                None
            }
            Some(None) => None,
            None => {
                let wake = Arc::new(Notify::new());
                self.attended.insert(runner.clone(), Some(Arc::clone(&wake)));
                Some(attend(self.client, self.controller, runner, wake, self.sink))
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Told(runner) => self.attended.insert(runner, None),
            Done::Gone(runner) => self.attended.remove(&runner),
        };
    }

    /// Those of a list that are worth a look: who has ended, and whom nobody attends yet. Any other is looked at in its own
    /// time. Forgets the ends of instances that are gone.
    fn due(&mut self, listed: Vec<(RunnerName, Standing)>) -> Vec<RunnerName> {
        let is_listed = |runner: &RunnerName| listed.iter().any(|(listed, _)| listed == runner);
        self.attended.retain(|runner, wake| wake.is_some() || is_listed(runner));
        let due = listed.into_iter().filter(|(runner, standing)| {
            *standing == Standing::Ended || !self.attended.contains_key(runner)
        });
        due.map(|(runner, _)| runner).collect()
    }
}

/// Why an instance is attended no more.
enum Done {
    /// Its end was told.
    Told(RunnerName),
    /// It is not there, or not ours.
    Gone(RunnerName),
}

/// Tells when an instance is ready, what its runner says, and at last its end.
async fn attend(
    client: &Client,
    controller: ControllerId,
    runner: RunnerName,
    wake: Arc<Notify>,
    sink: WatchSink<'_>,
) -> Done {
    let mut said = Said { signs: Signs::default(), runner: runner.clone(), sink };
    let (mut is_ready, mut pause) = (false, FIRST_LOOK);
    // One that ran before this watch may have said something already.
    let mut is_due = true;
    loop {
        match by_name(client, controller, &runner).await {
            Ok(ByName::Absent | ByName::Foreign) => return Done::Gone(runner),
            Ok(ByName::Ours(found)) => match found.standing() {
                Standing::Booting => is_due = false,
                Standing::Running => {
                    if !is_ready {
                        is_ready = true;
                        sink(InstanceEvent::Ready(runner.clone()));
                    }
                    if is_due {
                        // It may end under the question, which the server may then leave unanswered.
                        tokio::select! {
                            () = said.ask(client) => {}
                            () = wake.notified() => {
                                (is_due, pause) = (false, FIRST_LOOK);
                                continue;
                            }
                        }
                    }
                }
                Standing::Ended => {
                    let ending = records::ending(client, &found).await;
                    match &ending {
                        Some(ending) => ending.lines().for_each(|line| said.line(line)),
                        None => said.read(client).await,
                    }
                    match records::exit(client, &found, ending).await {
                        Ok(None) => return Done::Gone(runner),
                        Ok(Some(exit)) => {
                            // Incus takes one that has ended for running once more while it clears up after it.
                            if let Ok(ByName::Ours(found)) =
                                by_name(client, controller, &runner).await
                                && found.standing() != Standing::Ended
                            {
                                let _ = timeout(FIRST_LOOK, wake.notified()).await;
                                is_due = false;
                                continue;
                            }
                            exit.last_output.iter().for_each(|line| said.line(line));
                            sink(InstanceEvent::Ended(runner.clone(), exit));
                            return Done::Told(runner);
                        }
                        // How it ended can be read once the server is there again: told now, it would never be known.
                        Err(error) => {
                            tracing::debug!(%runner, %error, "how it ended could not be read");
                            is_due = false;
                        }
                    }
                }
            },
            // The stream of events tells of a server that is gone.
            Err(error) => tracing::debug!(%runner, %error, "an instance could not be looked at"),
        }
        if said.signs.has(Sign::JobStarted) {
            // There is nothing to learn before its end.
            wake.notified().await;
        } else if timeout(pause, wake.notified()).await.is_ok() {
            // Just made, or given its registration: asking it now would only hold it up.
            (is_due, pause) = (false, FIRST_LOOK);
        } else {
            (is_due, pause) = (true, (pause * 3 / 2).min(LOOK_PAUSE_MAX));
        }
    }
}

/// What a runner said so far.
struct Said<'a> {
    signs: Signs,
    runner: RunnerName,
    sink: WatchSink<'a>,
}

impl Said<'_> {
    /// Asks a running instance, unless nothing is left to learn of it before its end.
    async fn ask(&mut self, client: &Client) {
        if self.signs.has(Sign::JobStarted) {
            return;
        }
        let nothing = BTreeMap::new();
        let asked = guest::run(client, self.runner.as_str(), &[SIGNS], &nothing);
        // Signs are hints: their want is told by nobody.
        let Ok(Ok(told)) = timeout(SIGNS_TIME_MAX, asked).await else { return };
        // Another exit code is a signal's, or a shell's that could not run it.
        if !(0..16).contains(&told) {
            return;
        }
        for (bit, words) in SIGN_WORDS {
            if told & bit != 0 {
                self.line(words);
            }
        }
    }

    /// Reads the output of a stopped instance whose console tells nothing of it.
    async fn read(&mut self, client: &Client) {
        let read = files::read(client, self.runner.as_str(), CONSOLE, SIGNS_BYTES_MAX);
        let Ok(Ok(Some(text))) = timeout(OUTPUT_TIME_MAX, read).await else { return };
        let mut lines = Lines::default();
        lines.push(&text, |line| self.line(&line));
    }

    fn line(&mut self, line: &str) {
        if let Some(sign) = self.signs.read(line) {
            (self.sink)(InstanceEvent::Said(self.runner.clone(), sign));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxd::wire::Lifecycle;

    #[test]
    fn an_event_concerns_a_runner_of_ours_or_nobody() {
        let controller = ControllerId(uuid::Uuid::nil());
        let ours = format!("linux-{}aaaaaaaaaa", controller.tag());
        let other = format!("linux-{}aaaaaaaaaa", ControllerId(uuid::Uuid::max()).tag());
        let two = BTreeSet::from(["two".to_owned()]);
        let on =
            |members: Option<&BTreeSet<String>>, location: &str, action: &str, source: &str| {
                let metadata = Lifecycle { action: action.to_owned(), source: source.to_owned() };
                let event = Event { metadata, location: location.to_owned() };
                concerned(&event, members, controller).is_some()
            };
        let check = |action: &str, source: &str, expected: bool| {
            for (members, location) in [(None, "none"), (None, "two"), (Some(&two), "two")] {
                assert_eq!(on(members, location, action, source), expected, "{action} {source}");
            }
            assert!(!on(Some(&two), "three", action, source), "another backend's");
        };
        check("instance-shutdown", &format!("/1.0/instances/{ours}"), true);
        check("instance-stopped", &format!("/1.0/instances/{ours}?project=ci"), true);
        check("instance-exec", &format!("/1.0/instances/{ours}"), false);
        check("instance-stopped", &format!("/1.0/instances/{other}"), false);
        check("instance-stopped", "/1.0/instances/db", false);
        check("instance-stopped", &format!("/1.0/images/{ours}"), false);
        check("instance-stopped", "", false);
    }
}
