//! What is true at GitHub and in the engine.

use std::collections::{BTreeMap, BTreeSet};

use dayfly_core::{
    effect::Outcome,
    model::{
        BackendName, Exit, InstanceId, JobEntry, JobEntryKind, JobId, Message, MessageId,
        RegistrationId, RunnerName, ScaleSetId, SessionId, Sign, Statistics, WorkflowJob,
        WorkflowJobId, WorkflowJobStatus,
    },
    ports::{InstanceRecord, InstanceStatus, RunnerRecord},
};
use jiff::{SignedDuration, Timestamp};

/// How long GitHub keeps a session whose owner does not poll.
const SESSION_LINGERS: SignedDuration = SignedDuration::from_mins(5);

/// A job, as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobTruth {
    /// Waits, given to nobody.
    Queued,
    /// Given to the set.
    Assigned,
    /// Runs on a runner.
    Running(RunnerName),
    /// Over.
    Done,
}

/// An instance's process, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    Booting,
    Waiting,
    /// It was handed the configuration of this registration, and is starting.
    Starting(RegistrationId),
    Online(RegistrationId),
    Busy(JobId),
    Ended,
}

/// GitHub and the engines.
#[derive(Debug, Default)]
pub struct Outside {
    pub max: usize,
    /// Runners register by themselves: GitHub gives each a queued job.
    pub alone: bool,
    /// It tells of that by webhooks, else nobody.
    pub webhooks: bool,
    /// Deliveries on their way.
    pub deliveries: Vec<WorkflowJob>,
    pub jobs: BTreeMap<JobId, JobTruth>,
    pub set: Option<ScaleSetId>,
    pub session: Option<SessionId>,
    /// When its owner was last heard.
    heard_at: Timestamp,
    now: Timestamp,
    pub registrations: BTreeMap<RunnerName, RegistrationId>,
    pub instances: BTreeMap<RunnerName, Process>,
    /// The engine of each instance that ever was.
    pub on: BTreeMap<RunnerName, BackendName>,
    /// How many processes may live on each engine.
    pub most_on: BTreeMap<BackendName, usize>,
    /// Configurations that the daemon holds in memory.
    pub held: BTreeMap<RunnerName, RegistrationId>,
    /// Messages that are not deleted.
    pub queue: BTreeMap<MessageId, Message>,
    /// What the next message tells.
    pub entries: Vec<JobEntry>,
    /// Whom the user said may go in the middle of a job.
    pub allowed: BTreeSet<RunnerName>,
    pub ids: i64,
    handed: BTreeSet<RunnerName>,
}

impl Outside {
    pub fn new(max: usize, alone: bool, webhooks: bool) -> Self {
        Self { max, alone, webhooks, ..Self::default() }
    }

    /// Time passes. A session whose owner is not heard any more lingers for some minutes.
    pub fn tick(&mut self, now: Timestamp) {
        if now.duration_since(self.heard_at) > SESSION_LINGERS {
            self.session = None;
        }
        self.now = now;
    }

    /// The session's owner speaks.
    pub fn heard(&mut self) {
        self.heard_at = self.now;
    }

    pub fn id(&mut self) -> i64 {
        self.ids += 1;
        self.ids
    }

    /// Jobs that GitHub counts as given to the set.
    pub fn counts(&self) -> Statistics {
        let count = |wanted: fn(&JobTruth) -> bool| {
            u32::try_from(self.jobs.values().filter(|job| wanted(job)).count()).unwrap_or(u32::MAX)
        };
        let acquired = count(|job| *job == JobTruth::Assigned);
        let running = count(|job| matches!(job, JobTruth::Running(_)));
        Statistics {
            available: count(|job| *job == JobTruth::Queued),
            acquired,
            assigned: acquired + running,
            running,
            registered: u32::try_from(self.registrations.len()).unwrap_or(u32::MAX),
            busy: running,
            idle: 0,
        }
    }

    /// GitHub gives queued jobs to the set, up to the capacity that it advertises.
    pub fn assign(&mut self, capacity: u32) {
        let queued: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| **job == JobTruth::Queued)
            .map(|(id, _)| id.clone())
            .collect();
        for id in queued {
            if self.counts().assigned < capacity {
                self.jobs.insert(id.clone(), JobTruth::Assigned);
                self.tell(JobEntryKind::Assigned, &id);
            }
        }
    }

    /// What GitHub's REST API and its webhooks tell of a job.
    pub fn workflow_job(&self, id: i64) -> Option<WorkflowJob> {
        let (status, runner) = match self.jobs.get(&JobId(format!("j{id}").into()))? {
            JobTruth::Queued | JobTruth::Assigned => (WorkflowJobStatus::Queued, None),
            JobTruth::Running(runner) => (WorkflowJobStatus::InProgress, Some(runner.to_string())),
            JobTruth::Done => (WorkflowJobStatus::Completed, None),
        };
        Some(WorkflowJob {
            id: WorkflowJobId { id, attempt: 1 },
            run_id: 1,
            repository: "acme/app".into(),
            name: "build".into(),
            status,
            conclusion: (status == WorkflowJobStatus::Completed).then(|| "success".into()),
            labels: vec!["self-hosted".into()],
            runner,
            created_at: None,
        })
    }

    /// Every job of a run that is not over.
    pub fn open_jobs(&self) -> Vec<WorkflowJob> {
        let ids = self.jobs.keys().filter_map(number);
        let open = |job: &WorkflowJob| job.status != WorkflowJobStatus::Completed;
        ids.filter_map(|id| self.workflow_job(id)).filter(open).collect()
    }

    pub fn tell(&mut self, kind: JobEntryKind, job: &JobId) {
        if self.webhooks {
            let runner = match &kind {
                JobEntryKind::Completed { runner, .. } if !runner.is_empty() => {
                    Some(runner.clone())
                }
                _ => None,
            };
            let told = number(job).and_then(|id| self.workflow_job(id));
            self.deliveries.extend(told.map(|told| {
                let runner = runner.or(told.runner.clone());
                WorkflowJob { runner, ..told }
            }));
        }
        if self.alone {
            return;
        }
        self.entries.push(JobEntry {
            kind,
            id: job.clone(),
            request_id: 0,
            repository: "acme/app".into(),
            display_name: "build".into(),
            run_id: 1,
            labels: Vec::new(),
            queued_at: None,
        });
    }

    /// The next message after the cursor; what there is to tell makes a new one.
    pub fn message(&mut self, cursor: MessageId, zero_counts: bool) -> Option<Message> {
        if !self.entries.is_empty() {
            let id = MessageId(self.id());
            let told = self.entries.len().min(5);
            let statistics = if zero_counts { Statistics::default() } else { self.counts() };
            let entries = self.entries.drain(..told).collect();
            let message =
                Message { id, statistics: Some(statistics), entries, unreadable: Vec::new() };
            self.queue.insert(id, message);
        }
        self.queue.values().find(|message| message.id > cursor).cloned()
    }

    /// What a process does next by itself, and what is said of it.
    pub fn step(&mut self, name: &RunnerName) -> Option<Outcome> {
        let runner = name.clone();
        let process = self.instances.get(name)?.clone();
        let (next, said) = match process {
            Process::Booting => (Process::Waiting, Outcome::InstanceReady { runner }),
            Process::Starting(id) if self.registrations.get(name) == Some(&id) => {
                (Process::Online(id), Outcome::Said { runner, sign: Sign::Listening })
            }
            Process::Online(id) if self.registrations.get(name) == Some(&id) => {
                let given = if self.alone { JobTruth::Queued } else { JobTruth::Assigned };
                let waiting = self.jobs.iter().find(|(_, job)| **job == given);
                let job = waiting.map(|(job, _)| job.clone())?;
                self.jobs.insert(job.clone(), JobTruth::Running(name.clone()));
                self.tell(JobEntryKind::Started { runner: name.to_string() }, &job);
                (Process::Busy(job), Outcome::Said { runner, sign: Sign::JobStarted })
            }
            Process::Busy(job) => {
                self.end_job(name, &job, "succeeded");
                (Process::Ended, Outcome::InstanceEnded { runner, exit: exit(true) })
            }
            // Its registration is gone: GitHub's runner ends with 0.
            Process::Starting(_) | Process::Online(_) => {
                (Process::Ended, Outcome::InstanceEnded { runner, exit: exit(false) })
            }
            Process::Waiting | Process::Ended => return None,
        };
        self.instances.insert(name.clone(), next);
        Some(said)
    }

    /// A job is over, and with it the registration of its runner.
    pub fn end_job(&mut self, name: &RunnerName, job: &JobId, result: &str) {
        self.jobs.insert(job.clone(), JobTruth::Done);
        self.registrations.remove(name);
        let kind = JobEntryKind::Completed { result: result.into(), runner: name.to_string() };
        self.tell(kind, job);
    }

    /// A process dies, whatever it does. GitHub fails its job.
    pub fn die(&mut self, name: &RunnerName) {
        if let Some(Process::Busy(job)) = self.instances.get(name).cloned() {
            self.end_job(name, &job, "failed");
        }
        self.instances.remove(name);
    }

    pub fn record(&self, name: &RunnerName) -> Option<InstanceRecord> {
        let process = self.instances.get(name)?;
        let status = match process {
            Process::Booting => InstanceStatus::Booting,
            Process::Ended => InstanceStatus::Ended(exit(false)),
            _ => InstanceStatus::Running,
        };
        let id = InstanceId(format!("i-{name}").into());
        Some(InstanceRecord { runner: name.clone(), id, status, created_at: None })
    }

    pub fn runner_record(&self, name: &RunnerName) -> Option<RunnerRecord> {
        let id = *self.registrations.get(name)?;
        let process = self.instances.get(name);
        let busy = self.is_busy(name);
        let online = busy || process == Some(&Process::Online(id));
        Some(RunnerRecord { id, name: name.to_string(), online: Some(online), busy: Some(busy) })
    }

    pub fn is_busy(&self, name: &RunnerName) -> bool {
        matches!(self.instances.get(name), Some(Process::Busy(_)))
    }

    /// # Errors
    /// Where there are more living processes than `max`, or on an engine than its budget.
    pub fn check(&self) -> Result<(), String> {
        let alive = self.instances.values().filter(|process| **process != Process::Ended).count();
        if alive > self.max {
            return Err(format!("{alive} instances live, over max {}: {self:?}", self.max));
        }
        for (engine, most) in &self.most_on {
            let lives = |(name, process): &(&RunnerName, &Process)| {
                self.on.get(*name) == Some(engine) && **process != Process::Ended
            };
            let alive = self.instances.iter().filter(lives).count();
            if alive > *most {
                return Err(format!("{alive} instances live on {engine}, over {most}: {self:?}"));
            }
        }
        Ok(())
    }

    /// The instance gets a configuration.
    ///
    /// # Errors
    /// Where it had one before.
    pub fn hand_over(&mut self, name: &RunnerName, id: RegistrationId) -> Result<(), String> {
        if !self.handed.insert(name.clone()) {
            return Err(format!("{name} gets a second configuration"));
        }
        self.instances.insert(name.clone(), Process::Starting(id));
        Ok(())
    }

    /// # Errors
    /// Where it runs a job and nobody allowed it.
    pub fn destroy(&mut self, name: &RunnerName) -> Result<(), String> {
        if self.is_busy(name) && !self.allowed.contains(name) {
            return Err(format!("{name} is destroyed in the middle of its job"));
        }
        self.die(name);
        Ok(())
    }
}

fn number(job: &JobId) -> Option<i64> {
    job.0.strip_prefix('j')?.parse().ok()
}

fn exit(had_job: bool) -> Exit {
    let line = "2026-01-05 12:00:00Z: Job build completed with result: Succeeded";
    let last_output = if had_job { vec![line.to_owned()] } else { Vec::new() };
    Exit { code: Some(0), last_output, ..Exit::default() }
}
