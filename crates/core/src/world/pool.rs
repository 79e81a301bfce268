//! A pool as the world knows it: its row, its runners, its jobs, and what only this life of the daemon knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::{
        Attempt, Job, JobId, JobState, MessageId, PoolState, Proof, Registration, Runner,
        RunnerGroupId, RunnerName, ScaleSetTrack, ScopeName, Statistics, WorkflowJobId, later,
    },
    plan::Claim,
    planted::{Bug, planted},
    ports::ScaleSetRecord,
};

/// How long an assignment is believed without a word of GitHub's counts: its own reassignment clock has three rounds
/// of five minutes (F15).
pub const ASSIGNMENT_BELIEVED: SignedDuration = SignedDuration::from_mins(15);

/// The result of a job whose completion GitHub never told.
pub(super) const UNTOLD: &str = "GitHub never told its result";

/// A runner whose process ended after it had a job, and whose job's completion no message has told yet. Until one
/// does, the newest counts still contain the job: without this a second runner would be made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// When its process ended.
    pub at: Timestamp,
    /// Its job, where a message told it.
    pub job: Option<JobId>,
}

/// A pool as the world knows it.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The stored row.
    pub state: PoolState,
    /// Its runners that are not gone.
    pub runners: BTreeMap<RunnerName, Runner>,
    /// Its jobs: open ones, and those completed of late.
    pub jobs: BTreeMap<JobId, Job>,
    /// The jobs that are assigned and not started.
    pub waiting: BTreeSet<JobId>,
    /// The jobs that can be acquired.
    pub available: BTreeSet<JobId>,
    /// Whether workflow jobs go to it, as webhooks tell of them.
    pub routed: bool,
    /// The workflow jobs that wait for it, and since when each is believed to: the oldest belief first.
    pub queue: BTreeSet<(Timestamp, WorkflowJobId)>,
    /// What was heard of its workflow jobs before is not believed any more, until GitHub says it again.
    pub doubted: Option<Timestamp>,
    /// Ends that the counts, or the news of jobs, do not know yet.
    pub finished: BTreeMap<RunnerName, Finished>,
    /// The runner group, as looked up in this life.
    pub group: Option<RunnerGroupId>,
    /// The name that it was looked up by.
    pub group_name: Option<String>,
    /// The scope through which its set was last asked for.
    pub scope: Option<ScopeName>,
    /// A set of the wanted name that a look found, and whether we were making it.
    pub found: Option<(ScaleSetRecord, bool)>,
    /// The group was searched in this life and no set of the wanted name was there.
    pub set_absent: bool,
    /// Labels that GitHub did not take (GHES before 3.21 keeps only the set's name).
    pub labels_refused: Option<Vec<String>>,
    /// The capacity that the poll under way advertises.
    pub polled_capacity: Option<u32>,
    /// The newest message, refresh or opening: from then on, ten minutes without a word make a refresh due.
    pub heard_at: Option<Timestamp>,
    /// The newest refresh.
    pub refreshed_at: Option<Timestamp>,
    /// When the refresh or opening under way was begun.
    pub refresh_began_at: Option<Timestamp>,
    /// Since when the counts and the entries differ.
    pub differs_since: Option<Timestamp>,
    /// Since when GitHub counts more jobs to acquire than it has offered, though there is room for them.
    pub unheard_since: Option<Timestamp>,
    /// Waiting jobs whose deadline passed, and that this life has told so.
    pub overdue: BTreeSet<JobId>,
    /// Runners whose creation takes so long that others are made elsewhere in their place.
    pub stalled: BTreeSet<RunnerName>,
    /// Runners that register by themselves, wait for a job, and that GitHub sees offline: since which list.
    pub offline: BTreeMap<RunnerName, Timestamp>,
    /// Failed deletions of messages.
    pub acknowledge_attempt: Option<Attempt>,
    /// Registrations to be proved gone by their absence from a list: the oldest first.
    pub absences: BTreeSet<(Timestamp, RunnerName)>,
    /// Completed jobs by the time of their end, oldest first, for pruning.
    pub(super) completed: VecDeque<(Timestamp, JobId)>,
    /// Whether its plan is out of date.
    pub(crate) touched: bool,
    /// Room that its runners to be want of a budget that is used up.
    pub(crate) claim: Option<Claim>,
    /// When its plan is out of date though nothing happens.
    pub(crate) due: Option<Timestamp>,
}

impl Pool {
    pub(super) fn new(state: PoolState) -> Self {
        Self {
            state,
            runners: BTreeMap::new(),
            jobs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            available: BTreeSet::new(),
            routed: false,
            queue: BTreeSet::new(),
            doubted: None,
            finished: BTreeMap::new(),
            group: None,
            group_name: None,
            scope: None,
            found: None,
            set_absent: false,
            labels_refused: None,
            polled_capacity: None,
            heard_at: None,
            refreshed_at: None,
            refresh_began_at: None,
            differs_since: None,
            unheard_since: None,
            overdue: BTreeSet::new(),
            stalled: BTreeSet::new(),
            offline: BTreeMap::new(),
            acknowledge_attempt: None,
            absences: BTreeSet::new(),
            completed: VecDeque::new(),
            touched: true,
            claim: None,
            due: None,
        }
    }

    /// The scope that its scale set belongs to, in which its runners register by themselves, or where the set was last asked for.
    pub(crate) fn made_in(&self) -> Option<&ScopeName> {
        match &self.state.scale_set {
            ScaleSetTrack::Present { scope, .. }
            | ScaleSetTrack::Deleting { scope: Some(scope), .. } => Some(scope),
            _ => self.state.registers_in.as_ref().or(self.scope.as_ref()),
        }
    }

    /// Whether workflow jobs of this scope go to it.
    pub(super) fn is_routed_in(&self, scope: &ScopeName) -> bool {
        self.routed && self.state.registers_in.as_ref() == Some(scope)
    }

    /// Keeps the index of absences true, before `next` takes its row's place.
    pub(super) fn note_absence(&mut self, next: &Runner) {
        let since = |row: &Runner| match &row.registration {
            Registration::Removing { since, proof: Proof::Absence, .. } => Some(*since),
            _ => None,
        };
        if let Some(since) = self.runners.get(&next.name).and_then(since) {
            self.absences.remove(&(since, next.name.clone()));
        }
        if let Some(since) = since(next) {
            self.absences.insert((since, next.name.clone()));
        }
    }

    /// Stores a job and keeps the indexes true.
    pub(super) fn put_job(&mut self, job: Job) {
        let id = job.id.clone();
        self.waiting.remove(&id);
        self.available.remove(&id);
        self.overdue.remove(&id);
        match &job.state {
            JobState::Available { .. } => {
                self.available.insert(id.clone());
            }
            JobState::Assigned { .. } => {
                self.waiting.insert(id.clone());
            }
            JobState::Started { .. } => {}
            JobState::Completed { since, .. } => self.completed.push_back((*since, id.clone())),
        }
        self.jobs.insert(id, job);
        self.touched = true;
    }

    /// Takes away the oldest completed job, if it completed before `before` or there are more than `max`.
    pub(super) fn prune_job(&mut self, before: Timestamp, max: usize) -> Option<JobId> {
        let (since, _) = self.completed.front()?;
        if *since >= before && self.completed.len() <= max {
            return None;
        }
        let (since, id) = self.completed.pop_front()?;
        // It may have been assigned again since (GitHub gives a job up to three times).
        let same = self.jobs.get(&id).is_some_and(
            |job| matches!(&job.state, JobState::Completed { since: at, .. } if *at == since),
        );
        if same {
            self.jobs.remove(&id);
        }
        Some(id)
    }

    /// Ends the jobs whose completion no message told, by counts that were asked for at `began`: those whose runner is
    /// no more, where GitHub runs no more jobs than our runners do; and assignments past belief, where it holds none
    /// back for us. Hands them out.
    pub(super) fn settle_jobs(
        &mut self,
        counts: Statistics,
        began: Timestamp,
        now: Timestamp,
    ) -> Vec<JobId> {
        let lives = |row: &Runner| row.is_busy() && row.instance.may_live();
        let ours = self.runners.values().filter(|row| lives(row)).count();
        let none_lost = usize::try_from(counts.running).is_ok_and(|running| running <= ours);
        let none_waits = counts.assigned <= counts.running;
        let over = |job: &Job| match &job.state {
            JobState::Started { since, runner } => {
                let row = RunnerName::new(runner).ok();
                let kept = row.is_some_and(|row| {
                    self.finished.contains_key(&row) || self.runners.get(&row).is_some_and(lives)
                });
                none_lost && *since < began && !kept
            }
            JobState::Assigned { since } => {
                none_waits
                    && later(*since, ASSIGNMENT_BELIEVED) <= began
                    && !planted(Bug::ReassignmentDeadlineIgnored)
            }
            JobState::Available { .. } | JobState::Completed { .. } => false,
        };
        let over: Vec<Job> = self.jobs.values().filter(|job| over(job)).cloned().collect();
        for job in &over {
            let runner = match &job.state {
                JobState::Started { runner, .. } => Some(runner.clone()),
                _ => None,
            };
            let state = JobState::Completed { since: now, result: UNTOLD.into(), runner };
            self.put_job(Job { state, ..job.clone() });
        }
        over.into_iter().map(|job| job.id).collect()
    }

    /// Forgets the scale set and what came through it: GitHub queues its waiting jobs anew, and the messages of the
    /// next set count from the beginning. Hands out the jobs that changed.
    pub(super) fn forget_set(&mut self) -> Vec<JobId> {
        self.state.scale_set = ScaleSetTrack::Unknown;
        self.state.newest = MessageId(0);
        self.state.unacknowledged.clear();
        self.state.statistics = None;
        self.found = None;
        self.set_absent = false;
        self.heard_at = None;
        self.forget_session();
        let changed = self.jobs.keys().cloned().collect();
        let queued = std::mem::take(&mut self.waiting).into_iter();
        for id in queued.chain(std::mem::take(&mut self.available)) {
            self.jobs.remove(&id);
        }
        for job in self.jobs.values_mut() {
            job.message = MessageId(0);
        }
        changed
    }

    /// Forgets the session and with it the cursor, which counts within a session only.
    pub(super) fn forget_session(&mut self) {
        self.state.session = crate::model::SessionTrack::None;
        self.unheard_since = None;
        if !planted(Bug::CursorNotReset) {
            self.state.cursor = MessageId(0);
        }
        self.touched = true;
    }
}
