//! Workflow runs: queue, cancel, run again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, RunId, ScopeId};
use crate::job::{Conclusion, Job, JobState};
use crate::scope::{Assignment, ScopeKind, ScopeSpec};
use crate::sim::Sim;

/// Jobs that one simulation holds at most: they are kept for its life, and this bounds its memory.
const JOBS_MAX: usize = 1_000_000;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunStatus {
    /// All that is left of it waits for an approval.
    Waiting,
    Queued,
    InProgress,
    Completed,
}

impl RunStatus {
    pub fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    waiting: usize,
    queued: usize,
    running: usize,
    failed: usize,
    cancelled: usize,
    done: usize,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub id: RunId,
    pub number: i64,
    pub attempt: u32,
    pub repo: ScopeId,
    pub event: String,
    pub workflow: String,
    pub created_at: Timestamp,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// The jobs that each attempt made.
    pub attempts: BTreeMap<u32, Vec<JobId>>,
    /// The jobs that count now: of the latest attempt, and those of earlier ones that it did not repeat.
    pub latest: Vec<JobId>,
    counts: Counts,
}

impl Run {
    pub fn status(&self) -> RunStatus {
        match self.counts {
            Counts { waiting: 0, queued: 0, running: 0, .. } => RunStatus::Completed,
            Counts { queued: 0, running: 0, .. } => RunStatus::Waiting,
            Counts { running: 0, done: 0, .. } => RunStatus::Queued,
            _ => RunStatus::InProgress,
        }
    }

    pub fn conclusion(&self) -> Option<Conclusion> {
        (self.status() == RunStatus::Completed).then_some(match self.counts {
            Counts { cancelled: 1.., .. } => Conclusion::Cancelled,
            Counts { failed: 1.., .. } => Conclusion::Failure,
            _ => Conclusion::Success,
        })
    }
}

/// Jobs to queue, as the control API takes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// `owner/repo`, or an owner: then `repo` names the repository, or it is `sandbox`. Created when missing.
    pub scope: String,
    /// The repository's name where `scope` is an owner.
    #[serde(default)]
    pub repo: Option<String>,
    /// `runs-on`.
    pub labels: Vec<String>,
    /// Shell lines, one for each step; none: a job of 0 s.
    #[serde(default)]
    pub steps: Vec<String>,
    /// How many equal jobs; they are one run.
    #[serde(default = "one")]
    pub count: usize,
    /// Name of the jobs; of several, ` (N)` is added.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Event of the run.
    #[serde(default)]
    pub event: Option<String>,
    /// A run for each job in place of one for all.
    #[serde(default)]
    pub run_each: bool,
}

fn one() -> usize {
    1
}

/// What was queued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queued {
    /// The runs made.
    pub run_ids: Vec<RunId>,
    /// The jobs, in order.
    pub job_ids: Vec<JobId>,
}

impl Sim {
    /// Queues jobs; `held`: each waits for an approval first.
    pub(crate) fn queue_jobs(
        &mut self,
        at: Timestamp,
        spec: &QueueSpec,
        held: bool,
    ) -> Result<Queued, String> {
        if self.jobs.len().saturating_add(spec.count) > JOBS_MAX {
            return Err(format!("more than {JOBS_MAX} jobs in one simulation"));
        }
        if spec.labels.is_empty() || spec.labels.len() > 100 {
            return Err("a job has 1 to 100 labels".to_owned());
        }
        let repo = self.repository(spec)?;
        let name = spec.display_name.clone().unwrap_or_else(|| "build".to_owned());
        let steps: std::sync::Arc<[String]> = spec.steps.clone().into();
        let mut queued = Queued { run_ids: Vec::new(), job_ids: Vec::new() };
        let mut run = None;
        for index in 1..=spec.count {
            let run = match run {
                Some(run) if !spec.run_each => run,
                _ => {
                    let id = self.new_run(at, repo, spec.event.as_deref().unwrap_or("push"));
                    queued.run_ids.push(id);
                    *run.insert(id)
                }
            };
            let name = if spec.count == 1 { name.clone() } else { format!("{name} ({index})") };
            queued.job_ids.push(self.new_job(
                at,
                run,
                name,
                spec.labels.clone(),
                steps.clone(),
                held,
            ));
        }
        Ok(queued)
    }

    fn repository(&mut self, spec: &QueueSpec) -> Result<ScopeId, String> {
        let path = if spec.scope.contains('/') {
            spec.scope.clone()
        } else {
            format!("{}/{}", spec.scope, spec.repo.as_deref().unwrap_or("sandbox"))
        };
        let id = match self.scopes.find(&path) {
            Some(id) => id,
            None => self.create_scope(&ScopeSpec {
                path: path.clone(),
                kind: None,
                enterprise: None,
                public: false,
                assignment: Assignment::Auto,
            })?,
        };
        match self.scopes.get(id) {
            Some(scope) if scope.kind == ScopeKind::Repo => Ok(id),
            _ => Err(format!("`{path}` is not a repository")),
        }
    }

    fn new_run(&mut self, at: Timestamp, repo: ScopeId, event: &str) -> RunId {
        let id = RunId(self.ids.runs.next());
        let mut number = 1;
        if let Some(scope) = self.scopes.get_mut(repo) {
            scope.runs_count += 1;
            number = scope.runs_count;
            scope.runs.insert(id);
            scope.runs_by_status.entry(RunStatus::Completed).or_default().insert(id);
        }
        let run = Run {
            id,
            number,
            attempt: 1,
            repo,
            event: event.to_owned(),
            workflow: "CI".to_owned(),
            created_at: at,
            started_at: at,
            updated_at: at,
            attempts: BTreeMap::new(),
            latest: Vec::new(),
            counts: Counts::default(),
        };
        self.runs.insert(id, run);
        id
    }

    fn new_job(
        &mut self,
        at: Timestamp,
        run_id: RunId,
        name: String,
        labels: Vec<String>,
        steps: std::sync::Arc<[String]>,
        held: bool,
    ) -> JobId {
        let id = JobId(self.ids.jobs.next());
        let uuid = self.ids.jobs.uuid();
        let Some(run) = self.runs.get_mut(&run_id) else { return id };
        let (repo, attempt, before) = (run.repo, run.attempt, run.status());
        run.attempts.entry(attempt).or_default().push(id);
        run.latest.push(id);
        if held {
            run.counts.waiting += 1;
        } else {
            run.counts.queued += 1;
        }
        let after = run.status();
        self.index_run(run_id, repo, before, after);
        let bucket = self.bucket(repo, &labels);
        let job = Job {
            id,
            uuid,
            run: run_id,
            attempt,
            repo,
            name,
            labels,
            steps,
            bucket,
            state: if held { JobState::Held } else { JobState::Waiting },
            round: 0,
            cancel_requested: false,
            queued_at: at,
            assigned_at: None,
            told_at: None,
            started_at: None,
            first_step_at: None,
            completed_at: None,
            runner: None,
            step_results: serde_json::Value::Array(Vec::new()),
            log: String::new(),
        };
        self.jobs.insert(id, job);
        if held {
            self.held += 1;
            self.tell_hooks(at, id, "waiting");
        } else {
            self.begin_waiting(at, id);
        }
        id
    }

    fn index_run(&mut self, run: RunId, repo: ScopeId, before: RunStatus, after: RunStatus) {
        if before == after {
            return;
        }
        if let Some(scope) = self.scopes.get_mut(repo) {
            scope.runs_by_status.entry(before).or_default().remove(&run);
            scope.runs_by_status.entry(after).or_default().insert(run);
        }
    }

    /// Follows a job of a run from the status `before` to its present one.
    pub(crate) fn run_moved(
        &mut self,
        at: Timestamp,
        run_id: RunId,
        before: &'static str,
        job: JobId,
    ) {
        let Some(job) = self.jobs.get(&job) else { return };
        let (now, conclusion) = (job.status(), job.conclusion());
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        let old = run.status();
        match before {
            "waiting" => run.counts.waiting = run.counts.waiting.saturating_sub(1),
            "queued" => run.counts.queued = run.counts.queued.saturating_sub(1),
            _ => run.counts.running = run.counts.running.saturating_sub(1),
        }
        match now {
            "waiting" => run.counts.waiting += 1,
            "queued" => run.counts.queued += 1,
            "in_progress" => run.counts.running += 1,
            _ => {
                run.counts.done += 1;
                run.counts.failed += usize::from(conclusion == Some(Conclusion::Failure));
                run.counts.cancelled += usize::from(conclusion == Some(Conclusion::Cancelled));
            }
        }
        run.updated_at = at;
        let (repo, new) = (run.repo, run.status());
        self.index_run(run_id, repo, old, new);
    }

    /// Cancels all jobs of a run; `false` when it is over already.
    pub(crate) fn cancel_run(&mut self, at: Timestamp, id: RunId, force: bool) -> bool {
        let Some(run) = self.runs.get(&id).filter(|run| run.status() != RunStatus::Completed)
        else {
            return false;
        };
        for job in run.latest.clone() {
            self.cancel_job(at, job, force);
        }
        true
    }

    /// Runs the chosen jobs of a completed run again, with new job ids; `None` when it is not over or nothing was chosen.
    pub(crate) fn rerun(
        &mut self,
        at: Timestamp,
        id: RunId,
        choose: impl Fn(&Job) -> bool,
    ) -> Option<Vec<JobId>> {
        let run = self.runs.get(&id).filter(|run| run.status() == RunStatus::Completed)?;
        let (again, kept): (Vec<&Job>, Vec<&Job>) =
            run.latest.iter().filter_map(|job| self.jobs.get(job)).partition(|job| choose(job));
        let again: Vec<_> = again
            .iter()
            .map(|job| (job.name.clone(), job.labels.clone(), job.steps.clone()))
            .collect();
        if again.is_empty() {
            return None;
        }
        let failed =
            kept.iter().filter(|job| job.conclusion() == Some(Conclusion::Failure)).count();
        let cancelled =
            kept.iter().filter(|job| job.conclusion() == Some(Conclusion::Cancelled)).count();
        let kept: Vec<JobId> = kept.iter().map(|job| job.id).collect();
        let run = self.runs.get_mut(&id)?;
        run.attempt += 1;
        run.started_at = at;
        run.updated_at = at;
        run.counts = Counts { done: kept.len(), failed, cancelled, ..Counts::default() };
        run.latest.clone_from(&kept);
        let made = again
            .into_iter()
            .map(|(name, labels, steps)| self.new_job(at, id, name, labels, steps, false))
            .collect();
        // GitHub tells once more of what was over already (ARC #4315).
        for job in kept {
            self.tell_hooks(at, job, "completed");
        }
        Some(made)
    }
}
