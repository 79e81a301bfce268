//! The listener: connects, waits for one job, runs it, ends.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError, VERSION, wall};
use crate::exit::Exit;
use crate::jit::JitConfig;
use crate::message::Message;

/// Waits between attempts to reach the service, growing.
const BACK_OFF_S: [u64; 5] = [1, 2, 4, 8, 15];
/// Attempts to get a session that another runner holds, and the wait between them: the real runner gives up after about 4 minutes.
const CONFLICT_ATTEMPTS: usize = 8;
const CONFLICT_WAIT_S: u64 = 30;

/// Writes the runner's lines to standard output and to its log below `_diag`.
pub(crate) struct Console {
    log: Option<std::fs::File>,
}

impl Console {
    /// Opens the log; without a writable root there is none.
    pub fn open(root: &Path) -> Self {
        let folder = root.join("_diag");
        let name = format!("Runner_{}-utc.log", wall().strftime("%Y%m%d-%H%M%S"));
        let log = std::fs::create_dir_all(&folder)
            .ok()
            .and_then(|()| std::fs::File::create(folder.join(name)).ok());
        Self { log }
    }

    /// A line for people.
    pub fn line(&mut self, text: &str) {
        // Nobody may listen any more; that ends no job.
        drop(writeln!(std::io::stdout(), "{text}"));
        self.diagnose("INFO", text);
    }

    /// A line with the time in front, as the real runner writes some.
    fn timed(&mut self, text: &str) {
        let now = wall().strftime("%Y-%m-%d %H:%M:%SZ");
        self.line(&format!("{now}: {text}"));
    }

    fn error(&mut self, text: &str) {
        drop(writeln!(std::io::stderr(), "{text}"));
        self.diagnose("ERR ", text);
    }

    fn diagnose(&mut self, level: &str, text: &str) {
        if let Some(log) = &mut self.log {
            drop(writeln!(
                log,
                "[{} {level} Listener] {text}",
                wall().strftime("%Y-%m-%d %H:%M:%SZ")
            ));
        }
    }
}

/// Runs the listener to its end.
pub(crate) async fn run(config: Arc<JitConfig>, root: &Path, console: &mut Console) -> Exit {
    let mut broker = match Broker::new(config.clone()) {
        Ok(broker) => broker,
        Err(error) => return fail(console, &error),
    };
    let mut interrupt = match signal(SignalKind::interrupt()) {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(console, &error),
    };
    tokio::select! {
        connected = connect(&mut broker, console) => if let Err(exit) = connected { return exit },
        _ = interrupt.recv() => return Exit::Success,
    }
    console.line("\n√ Connected to GitHub\n");
    console.line(&format!("Current runner version: '{VERSION}'"));
    console.timed("Listening for Jobs");
    let job = tokio::select! {
        job = next_job(&mut broker, root, console) => job,
        _ = interrupt.recv() => Err(Exit::Success),
    };
    match job {
        Ok(job) => take(&mut broker, job, &config, root, console, &mut interrupt).await,
        Err(exit) => {
            console.line("Exiting...");
            // The registration may be gone, and the session with it. An interrupted poll left its connection waiting: use another.
            drop(broker.another().close_session().await);
            exit
        }
    }
}

fn fail(console: &mut Console, error: &dyn std::error::Error) -> Exit {
    console.error(&with_sources(error));
    Exit::Terminated
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Signs in and opens the session, again and again while the service cannot be reached.
async fn connect(broker: &mut Broker, console: &mut Console) -> Result<(), Exit> {
    let mut failures = 0;
    let mut conflicts = 0;
    loop {
        let opened = match broker.authenticate().await {
            Ok(()) => broker.open_session().await,
            Err(error) => Err(error),
        };
        let error = match opened {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = match &error {
            _ if error.is("invalid_client") || error.is("RunnerNotFound") => {
                console.error(
                    "Failed to create a session. The runner registration has been deleted from the server, please re-configure. \
                     Runner registrations are automatically deleted for runners that have not connected to the service recently.",
                );
                return Err(Exit::Terminated);
            }
            _ if error.is("RunnerVersionTooOld") => return Err(deprecated(console)),
            // What the real runner does not expect ends it with 2, and its wrapper starts it again.
            BrokerError::Answer(..) => {
                fail(console, &error);
                return Err(Exit::Retryable);
            }
            BrokerError::Refused { status, .. } if status.as_u16() == 409 => {
                console.error("A session for this runner already exists.");
                conflicts += 1;
                if conflicts > CONFLICT_ATTEMPTS {
                    return Err(Exit::SessionConflict);
                }
                CONFLICT_WAIT_S
            }
            BrokerError::Refused { status, .. } if status.is_client_error() => {
                return Err(fail(console, &error));
            }
            BrokerError::Url(_) | BrokerError::Sign(_) => return Err(fail(console, &error)),
            _ => {
                console.error(&format!(
                    "Runner connect error: {}. Retrying until reconnected.",
                    with_sources(&error)
                ));
                back_off(&mut failures)
            }
        };
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
}

fn deprecated(console: &mut Console) -> Exit {
    console.error(&format!("Runner version v{VERSION} is deprecated and cannot receive messages."));
    Exit::deprecated()
}

fn back_off(failures: &mut usize) -> u64 {
    let wait = BACK_OFF_S[(*failures).min(BACK_OFF_S.len() - 1)];
    *failures += 1;
    wait
}

/// Polls until there is a job.
async fn next_job(broker: &mut Broker, root: &Path, console: &mut Console) -> Result<Uuid, Exit> {
    let mut failures = 0;
    loop {
        let error = match broker.message(false).await {
            Ok(Some(Message::Job { id })) => return Ok(id),
            Ok(_) => {
                failures = 0;
                continue;
            }
            Err(error) => error,
        };
        if error.is("RunnerNotFound") {
            console.line(
                "The runner no longer exists on the server. Cleaning up local configuration.",
            );
            JitConfig::forget(root);
            return Err(Exit::Success);
        }
        if error.is("RunnerVersionTooOld") {
            return Err(deprecated(console));
        }
        if matches!(error, BrokerError::Answer(..)) {
            fail(console, &error);
            return Err(Exit::Retryable);
        }
        if error.is("RunnerSessionInvalid") || error.is_unauthorized() {
            connect(broker, console).await?;
            continue;
        }
        console.error(&format!(
            "Runner connect error: {}. Retrying until reconnected.",
            with_sources(&error)
        ));
        tokio::time::sleep(Duration::from_secs(back_off(&mut failures))).await;
    }
}

/// Accepts a job and runs it.
async fn take(
    broker: &mut Broker,
    id: Uuid,
    config: &JitConfig,
    root: &Path,
    console: &mut Console,
    interrupt: &mut Signal,
) -> Exit {
    let job = match broker.acquire(id).await {
        Ok(job) => job,
        Err(error) => {
            console.error(&format!("The job is gone: {}", with_sources(&error)));
            drop(broker.close_session().await);
            return Exit::Success;
        }
    };
    console.timed(&format!("Running job: {}", job.job_display_name));
    let (cancel, _) = watch::channel(false);
    let running =
        crate::job::run(broker, &job, root, &config.work_folder, &config.agent_name, &cancel);
    let mut running = std::pin::pin!(running);
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            // Politely: the job is cancelled and reported.
            _ = interrupt.recv() => { cancel.send_replace(true); }
        }
    };
    match ended {
        Ok(outcome) => console.timed(&format!(
            "Job {} completed with result: {}",
            job.job_display_name,
            outcome.shown()
        )),
        Err(error) => console.error(&format!("Failed to report the job: {}", with_sources(&error))),
    }
    JitConfig::forget(root);
    Exit::Success
}
