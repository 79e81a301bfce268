//! What the server tells of our instances.

use std::time::Duration;

use dayfly_core::{
    model::{ControllerId, Exit, InstanceId, RunnerName},
    ports::{BackendError, InstanceRecord, InstanceStatus},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    client::Client,
    cluster,
    console::{self, Ending},
    error::Failed,
    files,
    guest::EXIT,
    template::{KEY_CONTROLLER, KEY_READY, KEY_RUNNER},
    wire::Instance,
};
use crate::console::LAST_OUTPUT_LINES;

/// How long the server may take to tell how all those of a list ended, or one that is asked for by its name: the list itself
/// has a minute. The files that it reads are the instance's own to make, and of a pipe among them LXD 5.0.2 awaits a writer
/// for ever.
const EXIT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long it may take to tell how an instance ended that is attended: that holds up nothing else, and an exit code that was
/// not read in time is never known.
const ATTENDED_EXIT_TIME_MAX: Duration = Duration::from_secs(90);

/// How long the consoles of ended instances may take to be written down, all those of a list together.
const CONSOLE_TIME_MAX: Duration = Duration::from_secs(10);

/// Until when it is read how instances ended.
#[derive(Debug, Clone, Copy)]
struct Until {
    console: Instant,
    files: Instant,
}

impl Until {
    fn within(time: Duration) -> Self {
        let now = Instant::now();
        Self { console: now + CONSOLE_TIME_MAX, files: now + time }
    }
}

/// How many ended instances are asked after at once: the server mounts each one's disk for it.
const QUESTIONS_MAX: usize = 4;

/// An exit code is three digits; the file is the instance's own to write.
const EXIT_BYTES_MAX: usize = 16;

/// An instance of this controller.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) runner: RunnerName,
    pub(super) id: InstanceId,
    pub(super) instance: Instance,
}

/// What is known of it without asking further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Made, or being made, or started and not ready, or ended before it was.
    Booting,
    /// Its waiter can take a registration, or has taken one.
    Running,
    /// It ran, and runs no more.
    Ended,
}

impl Found {
    pub(super) fn standing(&self) -> Standing {
        match &self.instance {
            // Incus shows one that is being started as stopped, though it was started by then. Where it did end before it was
            // ready, whoever makes it learns that.
            instance if instance.is_stopped() => {
                let ran = instance.was_started() && instance.config.contains_key(KEY_READY);
                if ran { Standing::Ended } else { Standing::Booting }
            }
            // Frozen, on a member of a cluster that can't be reached, …: whatever it is, nothing proves its end.
            instance if instance.config.contains_key(KEY_READY) => Standing::Running,
            _ => Standing::Booting,
        }
    }

    fn record(self, status: InstanceStatus) -> InstanceRecord {
        let created_at = self.instance.created();
        InstanceRecord { runner: self.runner, id: self.id, status, created_at }
    }
}

/// What a list shows.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Our instances.
    pub(super) found: Vec<Found>,
    /// Those whose names are of our form, and of which no more is known: the members of a cluster that have them are away.
    pub(super) away: Vec<RunnerName>,
}

/// Our instances. One whose name is no runner's is shown in the log and left alone.
pub(super) async fn find(
    client: &Client,
    controller: ControllerId,
) -> Result<Listed, BackendError> {
    let members = cluster::members(client).await?;
    // An instance that is away shows no tag.
    let filter = format!("config.{KEY_CONTROLLER} eq {controller} or status eq Error");
    let query = [("recursion", "1"), ("filter", filter.as_str())];
    let instances: Vec<Instance> = client
        .get("/1.0/instances", &query)
        .await
        .map_err(|failed| failed.reading("list instances", &client.address))?;
    let mut listed = Listed::default();
    for instance in instances {
        // Another backend's.
        if members.as_ref().is_some_and(|members| !members.contains(&instance.location)) {
            continue;
        }
        if instance.is_away() {
            let name = RunnerName::new(&instance.name).ok();
            listed.away.extend(name.filter(|name| name.is_of(controller)));
        } else {
            listed.found.extend(ours(instance, controller));
        }
    }
    Ok(listed)
}

/// An instance that bears our tag, if its name is a runner's.
fn ours(instance: Instance, controller: ControllerId) -> Option<Found> {
    if instance.config.get(KEY_CONTROLLER) != Some(&controller.to_string()) {
        return None;
    }
    match RunnerName::new(&instance.name) {
        Ok(runner) if instance.config.get(KEY_RUNNER) == Some(&instance.name) => {
            // Incus and LXD give each instance an id; before that there is the moment when it was made.
            let id = instance.config.get("volatile.uuid").unwrap_or(&instance.created_at);
            let id = InstanceId(id.as_str().into());
            Some(Found { runner, id, instance })
        }
        _ => {
            tracing::warn!(
                instance = instance.name,
                "an instance with this controller's tag has no runner's name: left"
            );
            None
        }
    }
}

/// Every instance of this controller.
pub(super) async fn list(
    client: &Client,
    controller: ControllerId,
) -> Result<Vec<InstanceRecord>, BackendError> {
    cluster::reach(client).await?;
    let Listed { found, away } = find(client, controller).await?;
    let until = Until::within(EXIT_TIME_MAX);
    let asked = stream::iter(found).map(|found| async move { record(client, found, until).await });
    let records = asked.buffered(QUESTIONS_MAX).try_filter_map(|record| async { Ok(record) });
    let mut records: Vec<_> = records.try_collect().await?;
    records.extend(away.into_iter().map(|runner| InstanceRecord {
        runner,
        id: InstanceId("".into()),
        status: InstanceStatus::Away,
        created_at: None,
    }));
    Ok(records)
}

/// `None` where it is gone by now.
async fn record(
    client: &Client,
    found: Found,
    until: Until,
) -> Result<Option<InstanceRecord>, BackendError> {
    let status = match found.standing() {
        Standing::Booting => InstanceStatus::Booting,
        Standing::Running => InstanceStatus::Running,
        Standing::Ended => {
            let ending = ending_until(client, &found, until.console).await;
            match exit_until(client, &found, ending, until.files).await? {
                Some(exit) => InstanceStatus::Ended(exit),
                None => return Ok(None),
            }
        }
    };
    Ok(Some(found.record(status)))
}

/// An instance by name.
pub(super) enum ByName {
    /// There is none.
    Absent,
    /// There is one, without our tag.
    Foreign,
    /// Ours.
    Ours(Box<Found>),
}

/// Looks an instance up by its runner's name.
pub(super) async fn by_name(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<ByName, BackendError> {
    let instance: Instance = match client.get(&format!("/1.0/instances/{runner}"), &[]).await {
        Ok(instance) => instance,
        Err(failed) if failed.is_absent() => return Ok(ByName::Absent),
        Err(failed) => {
            return Err(failed.reading(format!("look up instance {runner}"), &client.address));
        }
    };
    Ok(match ours(instance, controller) {
        Some(found) if found.runner == *runner => ByName::Ours(Box::new(found)),
        _ => ByName::Foreign,
    })
}

/// One instance by name.
pub(super) async fn inspect(
    client: &Client,
    controller: ControllerId,
    runner: &RunnerName,
) -> Result<Option<InstanceRecord>, BackendError> {
    match by_name(client, controller, runner).await? {
        ByName::Ours(found) => record(client, *found, Until::within(EXIT_TIME_MAX)).await,
        ByName::Absent | ByName::Foreign => Ok(None),
    }
}

/// What the keeper of an ended instance said at its end; `None` where it did not come to it, or the server does not show it.
pub(super) async fn ending(client: &Client, found: &Found) -> Option<Ending> {
    ending_until(client, found, Instant::now() + CONSOLE_TIME_MAX).await
}

async fn ending_until(client: &Client, found: &Found, until: Instant) -> Option<Ending> {
    let name = found.runner.as_str();
    // One that has ended was ready: its keeper said so.
    let read = timeout_at(until, console::ending(client, name)).await;
    match read {
        Ok(Ok(ending)) => ending,
        Ok(Err(failed)) => {
            tracing::debug!(runner = name, ?failed, "the console can't be read");
            None
        }
        Err(_) => None,
    }
}

/// How an attended instance ended; `None` where it is gone.
pub(super) async fn exit(
    client: &Client,
    found: &Found,
    ending: Option<Ending>,
) -> Result<Option<Exit>, BackendError> {
    exit_until(client, found, ending, Instant::now() + ATTENDED_EXIT_TIME_MAX).await
}

/// What the server does not tell in time is not known: an instance's odd files hold up nobody else.
async fn exit_until(
    client: &Client,
    found: &Found,
    ending: Option<Ending>,
    until: Instant,
) -> Result<Option<Exit>, BackendError> {
    if let Some(ending) = ending {
        let code = Some(ending.code);
        let last_output = ending.last(LAST_OUTPUT_LINES);
        return Ok(Some(Exit { code, out_of_memory: false, error: None, last_output }));
    }
    let name = found.runner.as_str();
    if found.instance.kind == "virtual-machine" {
        // A virtual machine's files are told by an agent in it, which has ended with it.
        let error = Some("a virtual machine's exit code is not kept by LXD".to_owned());
        return Ok(Some(Exit { error, ..Exit::default() }));
    }
    let read = async || files::read(client, name, EXIT, EXIT_BYTES_MAX).await;
    let read = async {
        match read().await {
            // A connection that broke says nothing of the file.
            Err(Failed::Lost(_)) => read().await,
            read => read,
        }
    };
    let began = Instant::now();
    let Ok(read) = timeout_at(until, read).await else {
        let waited = began.elapsed().as_secs();
        let error = format!("no answer about its exit code within {waited} s");
        return Ok(Some(Exit { error: Some(error), ..Exit::default() }));
    };
    let code = match read {
        Ok(text) => text.and_then(|text| String::from_utf8_lossy(&text).trim().parse().ok()),
        Err(failed) => return gone_or(client, found, &failed).await,
    };
    // The output is a help to people: its want is no reason to withhold the rest.
    let output = console::last(client, name, true, LAST_OUTPUT_LINES);
    let last_output = match timeout_at(until, output).await {
        Ok(Ok(lines)) => lines,
        Ok(Err(failed)) => {
            tracing::debug!(runner = name, ?failed, "the last output can't be read");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let error =
        code.is_none().then(|| "the instance stopped before its runner had ended".to_owned());
    // An absent file is told like an absent instance.
    if code.is_none() && last_output.is_empty() {
        let path = format!("/1.0/instances/{name}");
        if let Err(failed) = client.get::<Instance>(&path, &[]).await
            && failed.is_absent()
        {
            return Ok(None);
        }
    }
    Ok(Some(Exit { code, out_of_memory: false, error, last_output }))
}

/// An instance whose files can't be read: it may be going.
async fn gone_or(
    client: &Client,
    found: &Found,
    failed: &Failed,
) -> Result<Option<Exit>, BackendError> {
    let path = format!("/1.0/instances/{}", found.runner);
    match client.get::<Instance>(&path, &[]).await {
        Err(failed) if failed.is_absent() => Ok(None),
        Ok(_) if !matches!(failed, Failed::Unsent(_)) => {
            let failed = failed.reading("read its exit code", &client.address);
            Ok(Some(Exit { error: Some(failed.to_string()), ..Exit::default() }))
        }
        _ => {
            Err(failed
                .reading(format!("read the end of instance {}", found.runner), &client.address))
        }
    }
}
