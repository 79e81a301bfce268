//! The jobs: what each is, what became of it, and whose fault it was.

use std::{collections::BTreeMap, time::Duration};

use dayfly_core::model::{RunnerName, Sign};
use dayfly_github_sim::{Conclusion, JobId, JobPlace, QueueSpec, RunId, RunnerId};

use super::{Happening, State, Trouble, disk::index_of};
use crate::{checks::Check, scenario::What};

/// A runner's lock lasts ten minutes: it is renewed well before.
const RENEWAL: Duration = Duration::from_secs(240);

/// How long a job may wait for its runner where nothing goes wrong, beside the time for all jobs.
const CALM_BOUND: Duration = Duration::from_secs(180);

/// How long a job may take to start after it was queued and the last fault before its start struck or ended, beside the
/// time for the jobs before it: five minutes' pause of creation twice over, GitHub's reassignment, a session that lingers, a boot.
pub(crate) const START_BOUND: Duration = Duration::from_secs(45 * 60);

/// How long the daemon may take to see that a job runs, and to end it at its limit.
const LIMIT_GRACE: Duration = Duration::from_secs(10 * 60);

/// GitHub takes a job back so long after it gave it.
const ROUND: Duration = Duration::from_secs(5 * 60);

/// How long a fault can still cost a job an assignment once it is over: creation pauses for five minutes, a session lingers
/// as long, and an instance boots.
const AFTERMATH: Duration = Duration::from_secs(15 * 60);

/// A job.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) run: RunId,
    pub(crate) pool: usize,
    takes: Duration,
    starts: u32,
    pub(crate) excuse: Option<&'static str>,
}

impl JobRow {
    /// How long it takes.
    pub(crate) fn takes(&self) -> Duration {
        self.takes
    }
}

/// All jobs, in the order in which they were queued.
#[derive(Default)]
pub(crate) struct Jobs {
    pub(crate) rows: Vec<JobRow>,
    by_id: BTreeMap<JobId, usize>,
    /// All jobs before this one are over.
    over: usize,
}

impl Jobs {
    fn put(&mut self, row: JobRow) {
        self.by_id.insert(row.id, self.rows.len());
        self.rows.push(row);
    }

    /// Notes why a job may end badly, or late.
    pub(crate) fn excuse(&mut self, id: JobId, why: &'static str) {
        if let Some(row) = self.by_id.get(&id).and_then(|at| self.rows.get_mut(*at)) {
            row.excuse.get_or_insert(why);
        }
    }
}

impl State {
    /// Jobs for a pool are queued.
    pub(crate) fn queue(&mut self, pool: usize, count: usize, takes: Duration) {
        let now = self.github_now();
        let spec = QueueSpec {
            scope: "acme/app".to_owned(),
            repo: None,
            labels: vec!["self-hosted".to_owned(), format!("p{pool}")],
            steps: Vec::new(),
            count,
            display_name: None,
            event: None,
            run_each: false,
        };
        match self.sim.enqueue(now, &spec) {
            Ok(queued) => {
                let Some(run) = queued.run_ids.first().copied() else { return };
                for id in queued.job_ids {
                    self.jobs.put(JobRow { id, run, pool, takes, starts: 0, excuse: None });
                }
            }
            Err(what) => self.note(format_args!("jobs are refused: {what}")),
        }
        self.note(format_args!("{count} jobs of pool p{pool} are queued"));
        self.settle_github();
    }

    /// A user runs the failed jobs of a job's run again.
    pub(crate) fn rerun(&mut self, job: usize) {
        let Some(row) = self.jobs.rows.get(job).cloned() else { return };
        let now = self.github_now();
        let again = self.sim.rerun_failed(now, row.run);
        if !again.is_empty() {
            self.count("user-rerun");
        }
        for id in again {
            self.jobs.put(JobRow { id, starts: 0, excuse: None, ..row.clone() });
        }
        self.settle_github();
    }

    /// A user cancels a job.
    pub(crate) fn cancel(&mut self, job: usize, force: bool) {
        let Some(id) = self.jobs.rows.get(job).map(|row| row.id) else { return };
        self.count("user-cancel");
        self.jobs.excuse(id, "a user cancelled it");
        let now = self.github_now();
        self.sim.cancel(now, id, force);
        self.settle_github();
    }

    /// GitHub calls a job over while its runner still works.
    pub(crate) fn call_over(&mut self, job: usize) {
        let Some(id) = self.jobs.rows.get(job).map(|row| row.id) else { return };
        let running =
            self.sim.job(id).is_some_and(|facts| matches!(facts.place, JobPlace::Running(_)));
        if running {
            self.count("github-called-over");
            self.jobs.excuse(id, "GitHub called it over");
            let now = self.github_now();
            self.sim.call_over(now, id, Conclusion::Cancelled);
            self.settle_github();
        }
    }

    /// A runner begins a job.
    pub(super) fn job_starts(&mut self, engine: usize, serial: u64, id: RunnerId, job: JobId) {
        let now = self.now();
        let Some(made) = self.engines[engine].get_mut(serial) else { return };
        made.job = Some(job);
        made.job_since = now;
        made.jobs += 1;
        let (jobs, name) = (made.jobs, made.name.clone());
        let starts =
            self.jobs.by_id.get(&job).and_then(|at| self.jobs.rows.get_mut(*at)).map(|row| {
                row.starts += 1;
                (row.starts, row.takes, row.pool)
            });
        let (starts, takes, pool) = starts.unwrap_or((1, Duration::from_secs(1), 0));
        self.failed_creates.remove(&pool);
        self.note(format_args!("{name} ({serial}) begins job {job}"));
        self.check_start(job);
        self.look(Check::StartsOnce, starts == 1, || format!("job {job} starts {starts} times"));
        self.look(Check::OneJob, jobs == 1, || {
            format!("instance {name} ({serial}) begins its job number {jobs}")
        });
        self.look(Check::OursOnly, index_of(name.pool_str()) == Some(pool), || {
            format!("job {job} of pool p{pool} runs on {name}")
        });
        self.engines[engine].say(&name, Sign::JobStarted);
        let ends = self.after(takes);
        self.calendar.put(ends, Happening::JobEnds(engine, serial, job, Conclusion::Success));
        if takes > RENEWAL {
            let renews = self.after(RENEWAL);
            self.calendar.put(renews, Happening::Renews(engine, serial, job));
        }
        self.runner_listens(engine, serial, id);
    }

    /// A job starts: not too long after it was queued, as far as nothing went wrong.
    fn check_start(&mut self, job: JobId) {
        let Some(facts) = self.sim.job(job) else { return };
        let queued = super::since_start(facts.queued_at);
        let since = queued.max(self.last_fault).max(self.github.longest_wait.min(self.now()));
        let waited = self.now().saturating_sub(since);
        let bound = START_BOUND + self.time_for_jobs();
        self.look(Check::StartsInTime, waited <= bound, || {
            format!(
                "job {job} starts {:.0} s after it was queued and the last fault was over; {:.0} s are allowed",
                waited.as_secs_f64(),
                bound.as_secs_f64()
            )
        });
    }

    /// What explains that a job missed three assignments, the last of them given at `assigned`: each of the three rounds
    /// needs a trouble in it, or one that was over shortly before. The first round's is told.
    fn missed_for(&self, pool: usize, assigned: Duration) -> Option<&'static str> {
        let closed = self.closed_times(pool);
        let mut told = None;
        for round in 0..3 {
            let began = assigned.saturating_sub(ROUND * round);
            let (from, until) = (began.saturating_sub(AFTERMATH), began + ROUND);
            let trouble = self
                .troubles
                .iter()
                .chain(&closed)
                .rev()
                .find(|trouble| trouble.from <= until && trouble.until >= from)?;
            told = Some(trouble.why);
        }
        told
    }

    /// What lasts in a pool: while users keep it closed, its engine is away, or GitHub, or the disk is full.
    fn closed_times(&self, pool: usize) -> Vec<Trouble> {
        let engines = &self.scenario.pools[pool].engines;
        let healed = self.healed_at;
        let mut found = Vec::new();
        let mut closed_at = None;
        for item in &self.scenario.items {
            let lasting = match &item.what {
                What::Outage { lasts, .. } => Some((*lasts, "github")),
                What::EngineAway { engine: of, lasts } if engines.contains(of) => {
                    Some((*lasts, "engine"))
                }
                What::DiskFull { lasts } => Some((*lasts, "disk")),
                What::ForeignSet { pool: of, lasts }
                | What::ForeignSession { pool: of, polls: lasts }
                    if *of == pool =>
                {
                    Some((*lasts, "github"))
                }
                What::Drain { pool: of } | What::DeletePool { pool: of } if *of == pool => {
                    closed_at = closed_at.or(Some(item.at));
                    None
                }
                What::Undrain { pool: of } if *of == pool => {
                    closed_at.take().map(|at| (item.at - at, "user"))
                }
                _ => None,
            };
            if let Some((lasts, of)) = lasting {
                let from = if of == "user" { item.at - lasts } else { item.at };
                let until = (item.at.max(from + lasts)).min(healed);
                found.push(Trouble { from, until, why: super::missed_by(of) });
            }
        }
        if let Some(from) = closed_at {
            found.push(Trouble { from, until: healed, why: super::missed_by("user") });
        }
        found
    }

    pub(super) fn job_renews(&mut self, engine: usize, serial: u64, job: JobId) {
        let Some(made) = self.engines[engine].get(serial) else { return };
        let (Some(id), true) = (made.registration, made.job == Some(job) && made.lives()) else {
            return;
        };
        let now = self.github_now();
        self.sim.runner_renews(now, id);
        let at = self.after(RENEWAL);
        self.calendar.put(at, Happening::Renews(engine, serial, job));
    }

    pub(super) fn job_ends(&mut self, engine: usize, serial: u64, job: JobId, end: Conclusion) {
        let Some(made) = self.engines[engine].get_mut(serial) else { return };
        let (Some(id), true) = (made.registration, made.job == Some(job) && made.lives()) else {
            return;
        };
        made.job = None;
        let (name, hold, since) = (made.name.clone(), made.hold.take(), made.job_since);
        self.check_limit(&name, since);
        if let Some(hold) = hold {
            self.abandon(hold);
        }
        let now = self.github_now();
        self.sim.runner_completes(now, id, end);
        self.note(format_args!("{name} ({serial}) ends job {job}: {}", end.result()));
        self.engines[engine].say(&name, Sign::JobCompleted);
        let at = self.after(Duration::from_millis(400));
        self.calendar.put(at, Happening::Exits(engine, serial, "its job is done"));
        self.settle_github();
    }

    /// A job that ends by itself: it did not run on beyond its pool's `job_timeout` while nothing kept the daemon from ending it.
    fn check_limit(&mut self, name: &RunnerName, since: Duration) {
        let alone = self.now().saturating_sub(since.max(self.last_fault));
        let limit = self.job_limit(name.pool_str());
        self.look(Check::JobLimit, alone <= limit + LIMIT_GRACE, || {
            format!(
                "{name} ran its job for {:.0} s without trouble, and job_timeout is {:.0} s",
                alone.as_secs_f64(),
                limit.as_secs_f64()
            )
        });
    }

    /// Whether every job is over. What is over stays so.
    pub(crate) fn all_over(&mut self) -> bool {
        while let Some(row) = self.jobs.rows.get(self.jobs.over) {
            if self.sim.job(row.id).is_some_and(|job| !matches!(job.place, JobPlace::Over(_))) {
                return false;
            }
            self.jobs.over += 1;
        }
        true
    }

    /// Why a job of a pool had no runner within GitHub's day, where all jobs of the pool take about as long.
    fn too_much_for(&self, pool: usize) -> Option<&'static str> {
        let day = Duration::from_millis(self.sim.options().queued_limit_ms);
        (self.time_for_jobs_of(pool) >= day / 2)
            .then_some("a day in the queue of a pool with more work than that")
    }

    /// How every job ended, at the end of the simulation.
    pub(crate) fn check_jobs(&mut self) {
        let calm = self.is_calm();
        let calm_bound = CALM_BOUND + self.time_for_jobs();
        let too_much: Vec<_> =
            (0..self.scenario.pools.len()).map(|pool| self.too_much_for(pool)).collect();
        let rows = std::mem::take(&mut self.jobs.rows);
        for (number, row) in rows.iter().enumerate() {
            let Some(facts) = self.sim.job(row.id) else { continue };
            let missed =
                facts.rounds >= self.sim.options().reassign_rounds && facts.started_at.is_none();
            match facts.place {
                JobPlace::Over(Conclusion::Success) => {
                    self.look(Check::EndsForCause, true, String::new);
                    if let Some(started) = facts.started_at.filter(|_| calm) {
                        let waited = started.duration_since(facts.queued_at).unsigned_abs();
                        self.look(Check::StartsInTime, waited <= calm_bound, || {
                            format!(
                                "job {number} ({}) waited {:.0} s",
                                row.id,
                                waited.as_secs_f64()
                            )
                        });
                    }
                }
                JobPlace::Over(end) => {
                    let assigned = facts.assigned_at.filter(|_| missed).map(super::since_start);
                    // GitHub cancels what was queued for a day; a pool with more work than that can't help it.
                    let never_had = end == Conclusion::Cancelled && facts.started_at.is_none();
                    let excuse = row
                        .excuse
                        .or_else(|| assigned.and_then(|at| self.missed_for(row.pool, at)))
                        .or_else(|| {
                            too_much.get(row.pool).copied().flatten().filter(|_| never_had)
                        });
                    if let Some(why) = excuse {
                        self.checks.excuse(why);
                    }
                    self.look(Check::EndsForCause, excuse.is_some(), || {
                        format!("job {number} ({}) ended as {}: {facts:?}", row.id, end.result())
                    });
                }
                _ => self.look(Check::StartsInTime, false, || {
                    format!(
                        "job {number} ({}) of pool p{} is not over: {facts:?}",
                        row.id, row.pool
                    )
                }),
            }
        }
        self.jobs.rows = rows;
    }
}
