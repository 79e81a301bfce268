//! What runners and users do, called directly: without HTTP, tokens and keys, for a simulation that drives the machine in place and
//! looks behind the scenes after every step. Each call has the effect of the routes that it stands for, and costs next to nothing.

use jiff::Timestamp;

use crate::credential::{CreatedCredential, CredentialSpec};
use crate::faults::FaultSpec;
use crate::group::DEFAULT_GROUP;
use crate::hold::{Awaited, Hold};
use crate::ids::{FaultId, HoldId, JobId, RunId, RunnerId, ScopeId, SetId};
use crate::job::{Conclusion, JobState};
use crate::message::Poll;
use crate::moment;
use crate::options::Options;
use crate::run::{QueueSpec, Queued};
use crate::runner::NewRunner;
use crate::scope::ScopeSpec;
use crate::sim::Sim;
use crate::timer::Timer;
use crate::token::Grant;

/// What a runner that waits hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A job is for it to accept.
    Job(JobId),
    /// Its job is cancelled.
    Cancelled(JobId),
    /// Its registration is gone.
    Gone,
}

/// Why a runner can't connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerRefused {
    /// Its registration is gone.
    Gone,
    /// Its just-in-time configuration is too old.
    Stale,
    /// Another program is this runner.
    Conflict,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPlace {
    /// Given to nobody.
    Waiting,
    /// Given to a set, which has no runner for it yet.
    Assigned,
    /// Handed to a runner, which has not accepted it.
    Offered(RunnerId),
    /// A runner runs it.
    Running(RunnerId),
    /// Over.
    Over(Conclusion),
}

/// A job, as an observer sees it.
#[derive(Debug, Clone, Copy)]
pub struct JobFacts {
    /// Where it is.
    pub place: JobPlace,
    /// How often it was assigned without a runner taking it.
    pub rounds: u32,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When it was last assigned.
    pub assigned_at: Option<Timestamp>,
    /// When a runner accepted it.
    pub started_at: Option<Timestamp>,
}

/// A registration, as an observer sees it.
#[derive(Debug, Clone)]
pub struct RunnerFacts {
    /// Its id.
    pub id: RunnerId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is connected.
    pub online: bool,
    /// The job that it was handed or runs.
    pub job: Option<JobId>,
}

/// A scale set, as an observer sees it.
#[derive(Debug, Clone)]
pub struct SetFacts {
    /// Its id.
    pub id: SetId,
    /// Its name.
    pub name: String,
    /// Its live session.
    pub session: Option<uuid::Uuid>,
    /// Who opened the session.
    pub owner: Option<String>,
    /// Jobs given to it that are not over.
    pub assigned: usize,
    /// Its registrations.
    pub runners: usize,
}

/// Of what a direct call's hold is told to be, where a request would be named.
const ROUTE: &str = "direct";

impl Sim {
    /// Creates what is missing of a scope.
    ///
    /// # Errors
    /// Where the path is none that GitHub would take.
    pub fn add_scope(&mut self, spec: &ScopeSpec) -> Result<ScopeId, String> {
        self.create_scope(spec)
    }

    /// Creates a credential.
    ///
    /// # Errors
    /// Where a key can't be read or an owner is missing.
    pub fn add_credential(&mut self, spec: CredentialSpec) -> Result<CreatedCredential, String> {
        self.create_credential(spec)
    }

    /// Registers a runner outside any set, as somebody else would; `None` where the name is taken.
    pub fn add_runner(&mut self, now: Timestamp, scope: ScopeId, name: &str) -> Option<RunnerId> {
        self.tick(now);
        let new = NewRunner {
            name: name.to_owned(),
            scope,
            group: DEFAULT_GROUP,
            set: None,
            labels: vec!["somebody-elses".to_owned()],
            work_folder: String::new(),
        };
        self.register(now, new)
    }

    /// Makes a scale set with a runner in it as somebody else would; `None` where the name is taken.
    pub fn add_set(&mut self, now: Timestamp, scope: ScopeId, name: &str) -> Option<SetId> {
        self.tick(now);
        let setting = serde_json::Value::Object(serde_json::Map::new());
        let set = self.make_set(now, (scope, DEFAULT_GROUP), name, Vec::new(), setting)?;
        let runner = NewRunner {
            name: format!("somebody-elses-{set}"),
            scope,
            group: DEFAULT_GROUP,
            set: Some(set),
            labels: Vec::new(),
            work_folder: String::new(),
        };
        self.register(now, runner);
        Some(set)
    }

    /// Opens a session on a set as somebody else would; `false` where one is live.
    pub fn add_session(&mut self, now: Timestamp, set: SetId, owner: &str) -> bool {
        self.tick(now);
        let free = self.sets.get(set).is_some_and(|set| set.session.is_none());
        if free {
            self.begin_session(self.now, set, owner.to_owned());
        }
        free
    }

    /// Whoever has the set's session takes its messages and acknowledges them, and has capacity for so many jobs; how many.
    pub fn eat_messages(&mut self, now: Timestamp, set: SetId, capacity: usize) -> usize {
        self.tick(now);
        let session = self.sets.get(set).and_then(|set| set.session.as_ref());
        let Some(session) = session.map(|session| session.id) else { return 0 };
        self.session_seen(self.now, set);
        let poll = Poll { set, session, cursor: 0, capacity: Some(capacity) };
        let mut eaten = 0;
        while let Ok(Some(_)) = self.try_message(self.now, poll, true) {
            eaten += 1;
            if let Some(set) = self.sets.get_mut(set) {
                set.log.pop_first();
            }
        }
        eaten
    }

    /// Queues jobs.
    ///
    /// # Errors
    /// Where the repository or the labels are none that GitHub would take.
    pub fn enqueue(&mut self, now: Timestamp, spec: &QueueSpec) -> Result<Queued, String> {
        self.tick(now);
        self.queue_jobs(now, spec, false)
    }

    /// A user cancels a job; `force`: without asking its runner.
    pub fn cancel(&mut self, now: Timestamp, job: JobId, force: bool) {
        self.tick(now);
        self.cancel_job(now, job, force);
    }

    /// A user runs the failed jobs of a run again; the new jobs.
    pub fn rerun_failed(&mut self, now: Timestamp, run: RunId) -> Vec<JobId> {
        self.tick(now);
        self.rerun(now, run, |job| job.conclusion() != Some(Conclusion::Success))
            .unwrap_or_default()
    }

    /// GitHub calls a job over while its runner still works on it (F7).
    pub fn call_over(&mut self, now: Timestamp, job: JobId, conclusion: Conclusion) {
        self.tick(now);
        let runner = self.conclude(now, job, conclusion);
        // One that was left behind before: nobody says any more that it is silent.
        if let Some(id) = runner
            && self.runners.get(id).is_some_and(|runner| !runner.online)
        {
            self.clear_runner_job(id);
            self.remove_runner(now, id);
        }
    }

    /// Sets a fault.
    pub fn set_fault(&mut self, spec: FaultSpec) -> FaultId {
        let id = FaultId(self.ids.faults.next());
        self.faults.set.insert(id, spec);
        id
    }

    /// Ends a fault, if it is still in force.
    pub fn clear_fault(&mut self, id: FaultId) {
        self.faults.set.remove(&id);
    }

    /// Ends all faults.
    pub fn clear_faults(&mut self) {
        self.faults.set.clear();
    }

    /// The faults that were set and have not struck often enough.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.faults.set.len()
    }

    /// Changes durations and limits.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// A set vanishes (F2).
    pub fn lose_set(&mut self, now: Timestamp, set: SetId) {
        self.tick(now);
        self.drop_set(now, set);
    }

    /// A set's session ends; `evicted`: the broker lost it (F3).
    pub fn lose_session(&mut self, now: Timestamp, set: SetId, evicted: bool) {
        self.tick(now);
        self.end_session(now, set, evicted);
    }

    /// The service removes a registration, busy or not (F8, F10).
    pub fn lose_runner(&mut self, now: Timestamp, runner: RunnerId) {
        self.tick(now);
        self.remove_runner(now, runner);
    }

    /// Every token of the Actions service, of the queues and of Apps' installations expires at once; the credentials stay.
    pub fn lose_tokens(&mut self) {
        self.tokens.revoke(|grant| {
            matches!(grant, Grant::Admin { .. } | Grant::Queue { .. } | Grant::Installation { .. })
        });
    }

    /// A job, as an observer sees it.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobFacts> {
        self.jobs.get(&id).map(|job| JobFacts {
            place: match job.state {
                JobState::Held | JobState::Waiting => JobPlace::Waiting,
                JobState::Assigned { .. } => JobPlace::Assigned,
                JobState::Offered { runner, .. } => JobPlace::Offered(runner),
                JobState::Running { runner, .. } => JobPlace::Running(runner),
                JobState::Completed { conclusion } => JobPlace::Over(conclusion),
            },
            rounds: job.round,
            queued_at: job.queued_at,
            assigned_at: job.assigned_at,
            started_at: job.started_at,
        })
    }

    /// A registration by its id, as an observer sees it.
    #[must_use]
    pub fn runner(&self, id: RunnerId) -> Option<RunnerFacts> {
        self.runners.get(id).map(facts)
    }

    /// A registration by name, as an observer sees it.
    #[must_use]
    pub fn runner_named(&self, scope: ScopeId, name: &str) -> Option<RunnerFacts> {
        self.runners.named(scope, name).map(facts)
    }

    /// Every registration, by id.
    #[must_use]
    pub fn every_runner(&self) -> Vec<RunnerFacts> {
        self.runners.iter().map(facts).collect()
    }

    /// Every scale set, by id.
    #[must_use]
    pub fn every_set(&self) -> Vec<SetFacts> {
        self.sets
            .iter()
            .map(|set| SetFacts {
                id: set.id,
                name: set.name.clone(),
                session: set.session.as_ref().map(|session| session.id),
                owner: set.session.as_ref().map(|session| session.owner.clone()),
                assigned: set.total_assigned(),
                runners: set.runners.len(),
            })
            .collect()
    }

    /// A runner connects with its configuration.
    ///
    /// # Errors
    /// Where the real one would be refused a token or a session.
    pub fn runner_connect(&mut self, now: Timestamp, id: RunnerId) -> Result<(), RunnerRefused> {
        self.tick(now);
        let (jit_ttl, idle) = (self.options.jit_ttl_ms, self.options.idle_removal_ms);
        let session = self.ids.sessions.uuid();
        let runner = self.runners.get_mut(id).ok_or(RunnerRefused::Gone)?;
        if runner.connected_at.is_none() && now >= moment::after(runner.created_at, jit_ttl) {
            return Err(RunnerRefused::Stale);
        }
        if runner.session.is_some() && runner.online {
            return Err(RunnerRefused::Conflict);
        }
        runner.session = Some(session);
        runner.connected_at.get_or_insert(now);
        self.timers.cancel(Timer::Unconnected(id));
        if let Some(idle) = idle {
            self.timers.set(Timer::Idle(id), moment::after(now, idle));
        }
        self.set_online(id);
        self.timers.set(Timer::Offline(id), moment::after(now, self.options.runner_offline_ms));
        Ok(())
    }

    /// A connected runner waits, until [`Sim::runner_hears`] or [`Sim::abandon`]; [`Sim::take_woken`] tells when it is worth
    /// listening. `None` where its registration is gone.
    pub fn runner_listens(&mut self, now: Timestamp, id: RunnerId) -> Option<HoldId> {
        self.tick(now);
        let has_job = self.runners.get(id)?.job.is_some();
        let awaited = Awaited::Runner(id);
        // No journal has an entry of this number.
        let hold = Hold { awaited, due: false, faults: Vec::new(), entry: u64::MAX, route: ROUTE };
        let hold = self.hold(hold, Timestamp::MAX);
        if !has_job {
            self.ready(now, id);
        }
        Some(hold)
    }

    /// What a waiting runner hears now. Once it hears something, it no longer waits.
    pub fn runner_hears(&mut self, now: Timestamp, id: RunnerId, hold: HoldId) -> Option<Heard> {
        self.tick(now);
        let heard = match self.runners.get_mut(id) {
            None => Heard::Gone,
            Some(runner) => {
                let job = runner.job.and_then(|job| self.jobs.get(&job))?;
                match job.state {
                    JobState::Offered { .. } => Heard::Job(job.id),
                    JobState::Running { .. } if job.cancel_requested && !runner.cancel_told => {
                        runner.cancel_told = true;
                        Heard::Cancelled(job.id)
                    }
                    _ => return None,
                }
            }
        };
        self.abandon(now, hold);
        Some(heard)
    }

    /// A runner accepts the job that it heard of; `false`: it is too late.
    pub fn runner_accepts(&mut self, now: Timestamp, id: RunnerId, job: JobId) -> bool {
        self.tick(now);
        self.runners.get(id).is_some_and(|runner| runner.job == Some(job))
            && self.accept_job(now, job, id)
    }

    /// A runner renews the lock of its job; `false`: the job is over.
    pub fn runner_renews(&mut self, now: Timestamp, id: RunnerId) -> bool {
        self.tick(now);
        let Some(job) = self.runners.get(id).and_then(|runner| runner.job) else { return false };
        if !self.jobs.get(&job).is_some_and(|job| matches!(job.state, JobState::Running { .. })) {
            return false;
        }
        self.timers.set(Timer::Lock(job), moment::after(now, self.options.lock_ms));
        self.set_online(id);
        self.timers.set(Timer::Offline(id), moment::after(now, self.options.runner_offline_ms));
        true
    }

    /// A runner ends its job: its registration ends with it.
    pub fn runner_completes(&mut self, now: Timestamp, id: RunnerId, conclusion: Conclusion) {
        self.tick(now);
        let Some(job) = self.runners.get(id).and_then(|runner| runner.job) else { return };
        if self.jobs.get(&job).is_some_and(|job| matches!(job.state, JobState::Offered { .. })) {
            return;
        }
        self.conclude(now, job, conclusion);
        self.clear_runner_job(id);
        self.remove_runner(now, id);
    }
}

fn facts(runner: &crate::runner::Runner) -> RunnerFacts {
    RunnerFacts {
        id: runner.id,
        name: runner.name.clone(),
        created_at: runner.created_at,
        online: runner.online,
        job: runner.job,
    }
}
