//! Runs one job: hooks, steps, heartbeat, cancellation.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError, wall};
use crate::message::{JobBody, Message, StepResult};

/// Renewals of the lock, which lasts 10 minutes; the real runner renews every minute.
const RENEW_S: u64 = 60;
/// Between asking a cancelled step to end and killing it.
const KILL_AFTER_S: u64 = 3;
/// Waits between attempts to tell a job's end: the service may be away for a moment, and the real runner does not give up at once
/// either.
const REPORT_AGAIN_S: [u64; 5] = [1, 2, 4, 8, 15];
/// Bytes of a step's output that are sent: its end is what matters.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Environment that carries the registration: no job may see it.
const SECRET_PREFIX: &str = "ACTIONS_RUNNER_INPUT_";

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Canceled,
}

impl Outcome {
    /// In the runner's output.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    fn result(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Where a job runs.
struct Place {
    workspace: PathBuf,
    environment: Vec<(String, String)>,
}

/// Runs an accepted job to its end and reports it.
pub(crate) async fn run(
    broker: &mut Broker,
    job: &JobBody,
    root: &Path,
    work_folder: &str,
    runner: &str,
    cancel: &watch::Sender<bool>,
) -> Result<Outcome, BrokerError> {
    let (begun, begin) = watch::channel(false);
    let watching = watch_over(broker.another(), job.job_id, begin, cancel);
    let mut log = String::new();
    let mut steps = Vec::new();
    let working = work(
        broker,
        job,
        root,
        work_folder,
        runner,
        cancel.subscribe(),
        &begun,
        &mut log,
        &mut steps,
    );
    let outcome = tokio::select! {
        outcome = working => outcome,
        never = watching => match never {},
    };
    if !log.is_empty() {
        // It is a service to people; the job's end must be told without it too.
        drop(broker.log(job.job_id, &log).await);
    }
    let mut waits = REPORT_AGAIN_S.into_iter();
    while let Err(error) = broker.complete(job.job_id, outcome.result(), &steps).await {
        match waits.next().filter(|_| error.may_pass()) {
            Some(wait) => tokio::time::sleep(Duration::from_secs(wait)).await,
            None => return Err(error),
        }
    }
    Ok(outcome)
}

/// Acknowledges, renews the lock, and listens for a cancellation, from the first step on: before it, nothing may compete with it.
async fn watch_over(
    mut polls: Broker,
    job: Uuid,
    mut begin: watch::Receiver<bool>,
    cancel: &watch::Sender<bool>,
) -> std::convert::Infallible {
    // The sender lives as long as the job.
    drop(begin.wait_for(|begun| *begun).await);
    let mut renewals = polls.another();
    let renewing = async {
        loop {
            // A failed acknowledgement or renewal is repeated by the next one; a job that the service ended must stop.
            if renewals
                .renew(job)
                .await
                .is_err_and(|error| error.is("JobNotFound") || error.is("RunnerNotFound"))
            {
                cancel.send_replace(true);
            }
            tokio::time::sleep(Duration::from_secs(RENEW_S)).await;
        }
    };
    let polling = async {
        drop(polls.acknowledge(job).await);
        loop {
            match polls.message(true).await {
                Ok(Some(Message::Cancel { id })) if id == job => {
                    cancel.send_replace(true);
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    };
    let (never, _): (std::convert::Infallible, std::convert::Infallible) =
        tokio::join!(renewing, polling);
    never
}

#[expect(clippy::too_many_arguments, reason = "the parts of one job, used once")]
async fn work(
    broker: &mut Broker,
    job: &JobBody,
    root: &Path,
    work_folder: &str,
    runner: &str,
    mut cancel: watch::Receiver<bool>,
    begun: &watch::Sender<bool>,
    log: &mut String,
    steps: &mut Vec<StepResult>,
) -> Outcome {
    let place = match prepare(job, root, work_folder, runner) {
        Ok(place) => place,
        Err(error) => {
            log.push_str(&format!("failed to make the job's work folder: {error}\n"));
            return Outcome::Failed;
        }
    };
    let mut outcome = Outcome::Succeeded;
    if let Some(hook) = hook("ACTIONS_RUNNER_HOOK_JOB_STARTED") {
        outcome =
            step("Set up runner", shell(&place, &hook, true), None, &mut cancel, log, steps).await;
    }
    let mut first = true;
    for wanted in &job.steps {
        if outcome != Outcome::Succeeded || *cancel.borrow() {
            steps.push(StepResult {
                name: wanted.name.clone(),
                conclusion: "skipped",
                started_at: None,
                completed_at: None,
            });
            continue;
        }
        let report = std::mem::take(&mut first).then_some((&mut *broker, job.job_id, begun));
        outcome =
            step(&wanted.name, shell(&place, &wanted.run, false), report, &mut cancel, log, steps)
                .await;
    }
    if let Some(hook) = hook("ACTIONS_RUNNER_HOOK_JOB_COMPLETED") {
        // It runs after a cancelled job too, and then must not be cancelled itself.
        let (_keep, mut never) = watch::channel(false);
        let ended =
            step("Complete runner", shell(&place, &hook, true), None, &mut never, log, steps).await;
        if outcome == Outcome::Succeeded {
            outcome = ended;
        }
    }
    if *cancel.borrow() { Outcome::Canceled } else { outcome }
}

fn hook(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|path| !path.is_empty())
}

fn prepare(job: &JobBody, root: &Path, work_folder: &str, runner: &str) -> std::io::Result<Place> {
    let repository = job.environment.get("GITHUB_REPOSITORY").map_or("", String::as_str);
    // The name comes from outside: only its last part is used, and only if it is a plain name.
    let name = repository
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty() && !name.starts_with('.'))
        .unwrap_or("job");
    let work = root.join(work_folder);
    let workspace = work.join(name).join(name);
    let temp = work.join("_temp");
    std::fs::create_dir_all(&workspace)?;
    std::fs::create_dir_all(&temp)?;
    let mut environment: Vec<(String, String)> =
        job.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    for (name, value) in [
        ("GITHUB_WORKSPACE", path(&workspace)),
        ("RUNNER_NAME", runner.to_owned()),
        ("RUNNER_OS", "Linux".to_owned()),
        ("RUNNER_ARCH", if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" }.to_owned()),
        ("RUNNER_TEMP", path(&temp)),
        ("RUNNER_WORKSPACE", path(&work.join(name))),
        ("RUNNER_ENVIRONMENT", "self-hosted".to_owned()),
    ] {
        environment.push((name.to_owned(), value));
    }
    Ok(Place { workspace, environment })
}

fn shell(place: &Place, line: &str, is_file: bool) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-e");
    if !is_file {
        command.arg("-c");
    }
    command
        .arg(line)
        .current_dir(&place.workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_uppercase().starts_with(SECRET_PREFIX) {
            command.env_remove(name);
        }
    }
    // A group of its own, so that a cancellation reaches all that the step started; and it dies with the runner's future.
    command.envs(place.environment.iter().cloned()).process_group(0).kill_on_drop(true);
    command
}

/// Runs one step and notes how it ended. `report`: this is the job's first step.
async fn step(
    name: &str,
    mut command: Command,
    report: Option<(&mut Broker, Uuid, &watch::Sender<bool>)>,
    cancel: &mut watch::Receiver<bool>,
    log: &mut String,
    steps: &mut Vec<StepResult>,
) -> Outcome {
    let started = wall();
    let outcome = match command.spawn() {
        Err(error) => {
            log.push_str(&format!("failed to start /bin/sh: {error}\n"));
            Outcome::Failed
        }
        Ok(mut child) => {
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let reporting = async {
                if let Some((broker, job, begun)) = report {
                    // The measurement is a service to the tests; a job does not fail for it.
                    drop(broker.first_step(job, started).await);
                    begun.send_replace(true);
                }
            };
            let (outcome, out, err, ()) =
                tokio::join!(wait(&mut child, cancel), tail(out), tail(err), reporting);
            log.push_str(&out);
            log.push_str(&err);
            outcome
        }
    };
    steps.push(StepResult {
        name: name.to_owned(),
        conclusion: outcome.result(),
        started_at: Some(started.to_string()),
        completed_at: Some(wall().to_string()),
    });
    outcome
}

async fn wait(child: &mut Child, cancel: &mut watch::Receiver<bool>) -> Outcome {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        // An error means that nobody can cancel any more.
        Ok(_) = cancel.wait_for(|cancelled| *cancelled) => None,
    };
    match ended {
        Some(Ok(status)) if status.success() => Outcome::Succeeded,
        Some(_) => Outcome::Failed,
        None => {
            let signal = |signal| {
                if let Some(Err(error)) = group.map(|group| kill_process_group(group, signal)) {
                    // Gone by itself in between: that is what is wanted.
                    debug_assert_eq!(error, rustix::io::Errno::SRCH);
                }
            };
            signal(Signal::TERM);
            if tokio::time::timeout(Duration::from_secs(KILL_AFTER_S), child.wait()).await.is_err()
            {
                signal(Signal::KILL);
                drop(child.wait().await);
            }
            // What the step left running in its group keeps its pipes open.
            signal(Signal::KILL);
            Outcome::Canceled
        }
    }
}

/// The last part of what a pipe gives.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..count]);
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    let from = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(&kept[from..]).into_owned()
}
