//! Registered runners: mint, connect, take a job, vanish.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::ids::{GroupId, HoldId, JobId, RunnerId, ScopeId, SetId};
use crate::job::JobState;
use crate::moment;
use crate::sim::Sim;
use crate::timer::Timer;
use crate::waiting::{BucketId, normal};

#[derive(Debug)]
pub(crate) struct Runner {
    pub id: RunnerId,
    pub name: String,
    pub scope: ScopeId,
    pub group: GroupId,
    pub set: Option<SetId>,
    pub labels: Vec<String>,
    pub work_folder: String,
    pub client_id: Uuid,
    pub created_at: Timestamp,
    /// When it first connected.
    pub connected_at: Option<Timestamp>,
    pub version: Option<String>,
    pub os: String,
    pub session: Option<Uuid>,
    pub online: bool,
    pub poll: Option<HoldId>,
    pub job: Option<JobId>,
    pub cancel_told: bool,
}

/// Runners outside sets that take the same jobs.
type ClassKey = (ScopeId, GroupId, BTreeSet<String>);

/// All runners.
#[derive(Debug, Default)]
pub(crate) struct Runners {
    by_id: BTreeMap<RunnerId, Runner>,
    by_name: BTreeMap<(ScopeId, String), RunnerId>,
    by_client: BTreeMap<Uuid, RunnerId>,
    /// Connected, polling runners without job and set.
    plain_ready: BTreeMap<ClassKey, BTreeSet<RunnerId>>,
    pub online: usize,
    pub busy: usize,
}

impl Runners {
    pub fn get(&self, id: RunnerId) -> Option<&Runner> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: RunnerId) -> Option<&mut Runner> {
        self.by_id.get_mut(&id)
    }

    pub fn by_client(&self, client: Uuid) -> Option<&Runner> {
        self.by_client.get(&client).and_then(|id| self.by_id.get(id))
    }

    pub fn named(&self, scope: ScopeId, name: &str) -> Option<&Runner> {
        self.by_name.get(&(scope, name.to_lowercase())).and_then(|id| self.by_id.get(id))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Runner> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Runner {
    fn class(&self) -> ClassKey {
        (self.scope, self.group, normal(&self.labels))
    }
}

/// A runner to register.
pub(crate) struct NewRunner {
    pub name: String,
    pub scope: ScopeId,
    pub group: GroupId,
    pub set: Option<SetId>,
    pub labels: Vec<String>,
    pub work_folder: String,
}

impl Sim {
    /// Registers a runner; `None` when the name is taken in the scope.
    pub(crate) fn register(&mut self, at: Timestamp, new: NewRunner) -> Option<RunnerId> {
        let key = (new.scope, new.name.to_lowercase());
        if self.runners.by_name.contains_key(&key) {
            return None;
        }
        let id = RunnerId(self.ids.runners.next());
        let client_id = self.ids.runners.uuid();
        let runner = Runner {
            id,
            name: new.name,
            scope: new.scope,
            group: new.group,
            set: new.set,
            labels: new.labels,
            work_folder: if new.work_folder.is_empty() {
                "_work".to_owned()
            } else {
                new.work_folder
            },
            client_id,
            created_at: at,
            connected_at: None,
            version: None,
            os: "unknown".to_owned(),
            session: None,
            online: false,
            poll: None,
            job: None,
            cancel_told: false,
        };
        if let Some(scope) = self.scopes.get_mut(runner.scope) {
            scope.runners.insert(id);
        }
        if let Some(set) = runner.set.and_then(|set| self.sets.get_mut(set)) {
            set.runners.insert(id);
        }
        self.runners.by_name.insert(key, id);
        self.runners.by_client.insert(client_id, id);
        self.runners.by_id.insert(id, runner);
        self.timers
            .set(Timer::Unconnected(id), moment::after(at, self.options.unconnected_sweep_ms));
        Some(id)
    }

    /// Ends a registration. Its poll, if any, hears that the runner no longer exists; a job it was offered goes back.
    pub(crate) fn remove_runner(&mut self, at: Timestamp, id: RunnerId) {
        let Some(job) = self.runners.get(id).map(|runner| runner.job) else { return };
        if let Some(job) = job {
            self.clear_runner_job(id);
            self.take_back(at, job);
        }
        self.set_offline(id);
        let Some(runner) = self.runners.by_id.remove(&id) else { return };
        self.runners.by_name.remove(&(runner.scope, runner.name.to_lowercase()));
        self.runners.by_client.remove(&runner.client_id);
        if let Some(scope) = self.scopes.get_mut(runner.scope) {
            scope.runners.remove(&id);
        }
        if let Some(set) = runner.set.and_then(|set| self.sets.get_mut(set)) {
            set.runners.remove(&id);
        }
        for timer in [Timer::Unconnected(id), Timer::Offline(id), Timer::Idle(id)] {
            self.timers.cancel(timer);
        }
        if let Some(poll) = runner.poll {
            self.wake(poll);
        }
    }

    /// Takes a runner out of its set, which is going; returns the job that it has.
    pub(crate) fn orphan_runner(&mut self, id: RunnerId) -> Option<JobId> {
        let runner = self.runners.get_mut(id)?;
        runner.job?;
        runner.set = None;
        runner.job
    }

    /// Makes a job forget the set that is going.
    pub(crate) fn detach_job(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            match &mut job.state {
                JobState::Offered { set, .. } | JobState::Running { set, .. } => *set = None,
                _ => {}
            }
        }
    }

    /// Hands a job to a runner.
    pub(crate) fn offer(&mut self, at: Timestamp, job_id: JobId, runner_id: RunnerId) {
        self.unready(runner_id);
        let Some(runner) = self.runners.get_mut(runner_id) else { return };
        runner.job = Some(job_id);
        let set_id = runner.set;
        self.runners.busy += 1;
        self.timers.cancel(Timer::Idle(runner_id));
        if let Some(job) = self.jobs.get_mut(&job_id) {
            job.state = JobState::Offered { set: set_id, runner: runner_id };
        }
        self.timers.cancel(Timer::Assigned(job_id));
        self.timers.set(Timer::Offered(job_id), moment::after(at, self.options.offer_ms));
        if let Some(set) = set_id.and_then(|set| self.sets.get_mut(set)) {
            set.assigned.remove(&job_id);
            set.offered += 1;
            set.busy += 1;
        }
        self.wake_runner(runner_id);
    }

    /// A runner has its job no longer.
    pub(crate) fn clear_runner_job(&mut self, id: RunnerId) {
        let Some(runner) = self.runners.get_mut(id) else { return };
        let Some(job) = runner.job.take() else { return };
        let set = runner.set;
        self.runners.busy -= 1;
        let offered =
            self.jobs.get(&job).is_some_and(|job| matches!(job.state, JobState::Offered { .. }));
        if let Some(set) = set.and_then(|set| self.sets.get_mut(set)) {
            set.busy -= 1;
            if offered {
                set.offered -= 1;
            }
        }
    }

    /// Hands a set's assigned jobs to its waiting runners, oldest job first. Any idle runner of a set can take any of its jobs.
    pub(crate) fn dispatch(&mut self, at: Timestamp, set: SetId) {
        while let Some(set) = self.sets.get(set) {
            let (Some(job), Some(runner)) = (set.assigned.first(), set.ready.first()) else {
                return;
            };
            self.offer(at, *job, *runner);
        }
    }

    /// Hands a bucket's jobs to runners outside sets that wait for such.
    pub(crate) fn offer_plain(&mut self, at: Timestamp, bucket_id: BucketId) {
        while let Some(bucket) = self.waiting.buckets.get(bucket_id) {
            let Some(job) = bucket.jobs.first().copied() else { return };
            let chain = self.scopes.chain(bucket.repo);
            let taker =
                self.runners.plain_ready.iter().find_map(|((scope, group, labels), ready)| {
                    let fits = chain.contains(scope)
                        && bucket.labels.is_subset(labels)
                        && self.reaches(*scope, *group, bucket.repo);
                    if fits { ready.first().copied() } else { None }
                });
            let Some(runner) = taker else { return };
            self.leave_bucket(job);
            self.offer(at, job, runner);
        }
    }

    /// A runner polls and has no job: it may get one.
    pub(crate) fn ready(&mut self, at: Timestamp, id: RunnerId) {
        let Some(runner) = self.runners.get(id) else { return };
        if let Some(set_id) = runner.set {
            if let Some(set) = self.sets.get_mut(set_id) {
                set.ready.insert(id);
            }
            self.dispatch(at, set_id);
            return;
        }
        let class = runner.class();
        let fitting: Vec<BucketId> = (0..self.waiting.buckets.len())
            .filter(|bucket| {
                let bucket = &self.waiting.buckets[*bucket];
                !bucket.jobs.is_empty()
                    && bucket.labels.is_subset(&class.2)
                    && self.reaches(class.0, class.1, bucket.repo)
            })
            .collect();
        match self.oldest(&fitting) {
            Some(job) => {
                self.leave_bucket(job);
                self.offer(at, job, id);
            }
            None => {
                self.runners.plain_ready.entry(class).or_default().insert(id);
            }
        }
    }

    /// A runner lost its job before it accepted it; if its poll is still held, it waits for another.
    pub(crate) fn ready_again(&mut self, at: Timestamp, id: RunnerId) {
        if self.runners.get(id).is_some_and(|runner| runner.poll.is_some() && runner.job.is_none())
        {
            self.ready(at, id);
        }
    }

    /// A runner no longer waits for a job.
    pub(crate) fn unready(&mut self, id: RunnerId) {
        let Some(runner) = self.runners.by_id.get(&id) else { return };
        match runner.set {
            Some(set) => {
                if let Some(set) = self.sets.get_mut(set) {
                    set.ready.remove(&id);
                }
            }
            None => {
                let class = runner.class();
                if let Some(ready) = self.runners.plain_ready.get_mut(&class) {
                    ready.remove(&id);
                    if ready.is_empty() {
                        self.runners.plain_ready.remove(&class);
                    }
                }
            }
        }
    }

    pub(crate) fn set_online(&mut self, id: RunnerId) {
        let Some(runner) = self.runners.get_mut(id).filter(|runner| !runner.online) else { return };
        runner.online = true;
        let set = runner.set;
        self.runners.online += 1;
        if let Some(set) = set.and_then(|set| self.sets.get_mut(set)) {
            set.online += 1;
        }
    }

    pub(crate) fn set_offline(&mut self, id: RunnerId) {
        self.unready(id);
        let Some(runner) = self.runners.get_mut(id).filter(|runner| runner.online) else { return };
        runner.online = false;
        let set = runner.set;
        self.runners.online -= 1;
        if let Some(set) = set.and_then(|set| self.sets.get_mut(set)) {
            set.online -= 1;
        }
    }

    /// A runner has not polled for long. One that still holds a job which is over was left behind: it goes.
    pub(crate) fn runner_silent(&mut self, at: Timestamp, id: RunnerId) {
        let Some(runner) = self.runners.get(id) else { return };
        if runner.poll.is_some() {
            self.timers.set(Timer::Offline(id), moment::after(at, self.options.runner_offline_ms));
            return;
        }
        let over = runner
            .job
            .and_then(|job| self.jobs.get(&job))
            .is_some_and(|job| job.conclusion().is_some());
        self.set_offline(id);
        if over {
            self.clear_runner_job(id);
            self.remove_runner(at, id);
        }
    }

    /// A connected runner had no job for long: the service removes it.
    pub(crate) fn runner_idle(&mut self, at: Timestamp, id: RunnerId) {
        if self.runners.get(id).is_some_and(|runner| runner.job.is_none()) {
            self.remove_runner(at, id);
        }
    }
}
