//! Following the engine's events and the output of our containers.
//!
//! Each container is attended by one future, which reads its output for signs and tells its end after them. All of
//! them live in the one that follows the events: they begin and end with it, and the next one reads the output anew.
//!
//! Events alone do not tell every end. dockerd announces the end of a process first, then takes its network and file
//! system down, and only then shows it in its lists: a watch that begins in between has missed the event, and finds the
//! container listed as running. So the engine is also asked from time to time which containers have ended, and no
//! answer of the engine is waited for without end.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use bollard::{
    Docker as Client,
    models::EventMessage,
    query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder},
};
use dayfly_core::{
    model::{ControllerId, Exit, RunnerName},
    ports::{BackendError, BackendErrorKind, InstanceEvent, WatchSink},
};
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered, Stream},
};
use jiff::Timestamp;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    connection::Connection,
    error::unread,
    output::Output,
    records::{self, Found, Which, find, label},
    template::{LABEL_CONTROLLER, LABEL_RUNNER},
};
use crate::{console::Signs, failure::failure};

/// How long the rest of the output is waited for once the engine said that the process ended. The engine closes both
/// within milliseconds; a stream that broke unseen must not hold the news back.
const LAST_OUTPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// How long the engine may take to tell how a container ended; after that the end is told without its details.
const EXIT_TIME_MAX: Duration = Duration::from_secs(10);

/// From the beginning of a watch to the first look for ends that no event told: an idle dockerd lists an end 0.2 s after
/// its event.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// From one such look to the next. The answer holds ended containers alone, of which there are few.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// How long a list may take, before the watch is begun anew.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

/// Follows until the stream breaks.
pub(super) async fn watch(
    connection: &Connection,
    controller: ControllerId,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> BackendError {
    match follow(connection, controller, began, sink).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn follow(
    connection: &Connection,
    controller: ControllerId,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> Result<Infallible, BackendError> {
    // An engine that was upgraded meanwhile has restarted, which broke the last watch.
    let (client, patient) = (connection.renew().await?, connection.patient().await?);
    let mut events = Box::pin(events(connection, controller).await?);
    began();
    let mut attendance =
        Attendance { client: &client, patient: &patient, sink, ends: HashMap::new() };
    let mut attended = FuturesUnordered::new();
    for container in look(&client, controller, Which::All).await? {
        // The crash that leads here: between the engine's create and its start. The output of such a container ends at
        // once; its `start` event, which is still to come, has it attended.
        if container.is_yet_to_start() {
            continue;
        }
        if let Some(attend) = attendance.begin(&container.id, &container.runner) {
            attended.push(attend);
        }
        if container.has_ended() {
            attendance.end(&container.id, None);
        }
    }
    let mut looks = std::pin::pin!(looks(&client, controller));
    loop {
        // Every arm is a stream, which loses nothing when another arm is taken.
        let event = tokio::select! {
            event = events.next() => event,
            Some(id) = attended.next() => {
                attendance.ends.remove(&id);
                continue;
            }
            Some(ended) = looks.next() => {
                for container in ended? {
                    attendance.end(&container.id, None);
                }
                continue;
            }
        };
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(unread("follow the engine's events", &error)),
            None => {
                let detail = "the stream ended: the engine stops or restarts";
                return Err(failure(
                    BackendErrorKind::Unreachable,
                    "follow the engine's events",
                    detail,
                ));
            }
        };
        let Some(Told { id, runner, action, exit_code }) = Told::read(event, controller) else {
            continue;
        };
        if !matches!(action.as_str(), "start" | "die") {
            continue;
        }
        if let Some(attend) = attendance.begin(&id, &runner) {
            attended.push(attend);
        }
        if action == "die" {
            attendance.end(&id, exit_code);
        }
    }
}

/// Our containers that have ended, from time to time.
fn looks(
    client: &Client,
    controller: ControllerId,
) -> impl Stream<Item = Result<Vec<Found>, BackendError>> {
    stream::unfold(FIRST_LOOK, move |wait| async move {
        sleep(wait).await;
        Some((look(client, controller, Which::Ended).await, BETWEEN_LOOKS))
    })
}

async fn look(
    client: &Client,
    controller: ControllerId,
    which: Which,
) -> Result<Vec<Found>, BackendError> {
    timeout(LOOK_TIME_MAX, find(client, controller, which)).await.unwrap_or_else(|_| {
        let detail = format!("no whole answer within {} s", LOOK_TIME_MAX.as_secs());
        Err(failure(BackendErrorKind::Unreachable, "list containers", detail))
    })
}

/// The engine's events about our containers, from this moment of the engine's own clock on: what happens between here
/// and the subscription is replayed by the engine, so that nothing falls in between.
async fn events(
    connection: &Connection,
    controller: ControllerId,
) -> Result<impl Stream<Item = Result<EventMessage, bollard::errors::Error>>, BackendError> {
    let info = connection
        .client()
        .await?
        .info()
        .await
        .map_err(|error| unread("ask the engine for its time", &error))?;
    let since: Option<Timestamp> = info.system_time.and_then(|text| text.parse().ok());
    // Not by kind of event: Podman 4 asks for other words in a filter than it uses in its events.
    let filters =
        HashMap::from([("type", vec!["container".to_owned()]), ("label", vec![label(controller)])]);
    let mut options = EventsOptionsBuilder::new().filters(&filters);
    if let Some(since) = since {
        options = options.since(&format!("{}.{:09}", since.as_second(), since.subsec_nanosecond()));
    }
    Ok(connection.patient().await?.events(Some(options.build())))
}

/// What an event tells, where it is about a container of ours.
struct Told {
    id: String,
    runner: RunnerName,
    action: String,
    exit_code: Option<i64>,
}

impl Told {
    fn read(event: EventMessage, controller: ControllerId) -> Option<Self> {
        let actor = event.actor?;
        let attributes = actor.attributes?;
        if attributes.get(LABEL_CONTROLLER) != Some(&controller.to_string()) {
            return None;
        }
        Some(Self {
            id: actor.id?,
            runner: RunnerName::new(attributes.get(LABEL_RUNNER)?).ok()?,
            action: event.action?,
            exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()),
        })
    }
}

/// Which containers are attended, and how each one's future hears of its end.
struct Attendance<'a> {
    client: &'a Client,
    /// For output that may be silent for long.
    patient: &'a Client,
    sink: WatchSink<'a>,
    ends: HashMap<String, Option<oneshot::Sender<Option<i64>>>>,
}

impl<'a> Attendance<'a> {
    /// The future that attends a container, unless one does; it gives the container's id when it is done.
    fn begin(
        &mut self,
        id: &str,
        runner: &RunnerName,
    ) -> Option<impl Future<Output = String> + use<'a>> {
        if self.ends.contains_key(id) {
            return None;
        }
        let (tell, told) = oneshot::channel();
        self.ends.insert(id.to_owned(), Some(tell));
        let (client, patient) = (self.client, self.patient);
        Some(attend(client, patient, id.to_owned(), runner.clone(), told, self.sink))
    }

    /// Tells a container's future that the process ended.
    fn end(&mut self, id: &str, code: Option<i64>) {
        if let Some(tell) = self.ends.get_mut(id).and_then(Option::take) {
            // It is held until it has heard; one that is done is no longer in the map.
            let _ = tell.send(code);
        }
    }
}

/// Reads a container's output from its beginning for signs, and tells its end after them.
async fn attend(
    client: &Client,
    patient: &Client,
    id: String,
    runner: RunnerName,
    ended: oneshot::Receiver<Option<i64>>,
    sink: WatchSink<'_>,
) -> String {
    let mut signs = Signs::default();
    let mut read = |line: &str| {
        if let Some(sign) = signs.read(line) {
            sink(InstanceEvent::Said(runner.clone(), sign));
        }
    };
    let mut told = None;
    {
        let mut output = std::pin::pin!(read_output(patient, &id, &mut read));
        let mut ended = ended;
        tokio::select! {
            code = &mut ended => told = Some(code),
            () = &mut output => {}
        }
        match told {
            // The end of the output comes first; the end of the process is the engine's to tell.
            None => told = Some(ended.await),
            Some(_) => {
                let _ = timeout(LAST_OUTPUT_TIME_MAX, output).await;
            }
        }
    }
    let Some(Ok(code)) = told else { return id };
    let exit = match timeout(EXIT_TIME_MAX, records::exit(client, &id)).await {
        Ok(Ok(Some(exit))) => exit,
        // It was removed meanwhile, or the engine does not answer: the event's own word is enough.
        Ok(Ok(None) | Err(_)) | Err(_) => Exit { code, ..Exit::default() },
    };
    exit.last_output.iter().for_each(|line| read(line));
    sink(InstanceEvent::Ended(runner, exit));
    id
}

async fn read_output(client: &Client, id: &str, read: &mut (dyn FnMut(&str) + Send)) {
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
    let mut output = client.logs(id, Some(options));
    let mut lines = Output::default();
    while let Some(Ok(chunk)) = output.next().await {
        lines.push(chunk, |line| read(&line));
    }
}
