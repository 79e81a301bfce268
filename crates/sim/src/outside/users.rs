//! What the scenario makes happen outside the daemon, and what happens there by itself.

use std::time::Duration;

use dayfly_core::{
    model::{Exit, Reason, RunnerName},
    ports::InstanceEvent,
};
use dayfly_github_sim::RunnerRefused;

use super::{Happening, State, disk::index_of, machine::MadeState};
use crate::{checks::Check, scenario::What};

/// How long a job may run where the user says nothing.
const JOB_LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// The longest jump of the clock that a new life takes for time that passed.
const JUMP_UNSEEN_MAX: Duration = Duration::from_secs(10 * 60);

/// Over which refused creates are counted.
const BACK_OFF_WINDOW: Duration = Duration::from_secs(30 * 60);

impl State {
    /// Lets everything happen that is due.
    pub(crate) fn advance(&mut self) {
        self.settle_github();
        while let Some(what) = self.calendar.take_due(self.now()) {
            self.happens(what);
            self.settle_github();
        }
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Booted(engine, serial) => {
                let Some(made) = self.engines[engine].get_mut(serial) else { return };
                if made.state == MadeState::Booting {
                    made.state = MadeState::Running;
                    let name = made.name.clone();
                    self.engines[engine].tell(InstanceEvent::Ready(name));
                }
            }
            Happening::Connects(engine, serial) => self.runner_connects(engine, serial),
            Happening::Renews(engine, serial, job) => self.job_renews(engine, serial, job),
            Happening::JobEnds(engine, serial, job, end) => self.job_ends(engine, serial, job, end),
            Happening::Exits(engine, serial, words) => {
                self.process_ends(engine, serial, words, true);
            }
            Happening::CreatedLate(engine, name) => {
                self.engines[engine].pending.remove(&name);
                if self.engines[engine].named(&name).is_none() {
                    self.make(engine, &name, None, true);
                }
            }
            Happening::EngineBack(engine) => {
                let machine = &mut self.engines[engine];
                machine.away = machine.away.saturating_sub(1);
                if machine.away == 0 {
                    machine.away_since = None;
                }
                self.note(format_args!("engine e{engine} is back"));
                self.last_fault = self.now();
            }
            Happening::DiskHasRoom => {
                self.disk.full = self.disk.full.saturating_sub(1);
                self.last_fault = self.now();
            }
            Happening::Delivery(id, request) => self.delivery_arrives(id, &request),
            Happening::ForeignSetGoes(set) => self.foreign_set_goes(set),
            Happening::ForeignPolls(set, until) => self.foreign_polls(set, until),
            Happening::FaultEnds(ids) => {
                for id in ids {
                    self.sim.clear_fault(id);
                }
                self.note(format_args!("GitHub is back"));
                self.last_fault = self.now();
            }
        }
    }

    fn runner_connects(&mut self, engine: usize, serial: u64) {
        let Some(made) = self.engines[engine].get(serial).filter(|made| made.lives()) else {
            return;
        };
        let (Some(id), name) = (made.registration, made.name.clone()) else { return };
        let now = self.github_now();
        match self.sim.runner_connect(now, id) {
            Ok(()) => {
                self.note(format_args!("{name} ({serial}) connects"));
                self.engines[engine].say(&name, dayfly_core::model::Sign::Listening);
                self.runner_listens(engine, serial, id);
            }
            Err(refused) => {
                let words = match refused {
                    RunnerRefused::Gone => "The runner no longer exists on the server.",
                    RunnerRefused::Stale => "Failed to get a token: the configuration has expired.",
                    RunnerRefused::Conflict => "A session for this runner already exists.",
                };
                self.note(format_args!("{name} ({serial}) is refused: {refused:?}"));
                let at = self.after(Duration::from_secs(1));
                self.calendar.put(at, Happening::Exits(engine, serial, words));
            }
        }
    }

    /// An instance's process ends: nobody renews its job's lock any more.
    pub(super) fn process_ends(&mut self, engine: usize, serial: u64, words: &str, tell: bool) {
        let Some(made) = self.engines[engine].get_mut(serial).filter(|made| made.lives()) else {
            return;
        };
        let mut last_output = Vec::new();
        if made.jobs > 0 {
            last_output.push("2026-01-01 00:00:00Z: Running job: build".to_owned());
        }
        last_output.push(words.to_owned());
        let exit = Exit { code: Some(0), out_of_memory: false, error: None, last_output };
        made.state = MadeState::Ended(exit.clone());
        let (name, hold) = (made.name.clone(), made.hold.take());
        if let Some(hold) = hold {
            self.abandon(hold);
        }
        // Told by name: while a double of it lives, the name's instance has not ended.
        let machine = &self.engines[engine];
        let double = machine.iter().any(|made| made.name == name && made.lives());
        if tell && !double {
            self.engines[engine].tell(InstanceEvent::Ended(name, exit));
        }
    }

    /// Something of the scenario happens. Returns whether it is one that the driver itself has to do.
    pub(crate) fn strike(&mut self, what: &What) -> bool {
        self.note(format_args!("{what:?}"));
        match what {
            What::Jobs { pool, count, takes } => self.queue(*pool, *count, *takes),
            What::Cancel { job, force } => self.cancel(*job, *force),
            What::Rerun { job } => self.rerun(*job),
            What::CallOver { job } => self.call_over(*job),
            What::Github { route, count, fault } => self.set_github_fault(route, *count, fault),
            What::Outage { lasts, answers } => self.github_outage(*lasts, *answers),
            What::LoseSet { pool } => {
                if let Some(set) = self.set_of(*pool) {
                    self.count("github-set-lost");
                    let now = self.github_now();
                    self.sim.lose_set(now, set.id);
                }
            }
            What::LoseSession { pool, evicted } => {
                if let Some(set) = self.set_of(*pool) {
                    self.count("github-session-lost");
                    let now = self.github_now();
                    self.sim.lose_session(now, set.id, *evicted);
                }
            }
            What::ForeignSet { pool, lasts } => self.foreign_set(*pool, *lasts),
            What::ForeignSession { pool, polls } => self.foreign_session(*pool, *polls),
            What::LoseRunner { nth, busy } => self.lose_runner(*nth, *busy),
            What::LoseTokens => {
                self.count("github-tokens-revoked");
                self.sim.lose_tokens();
            }
            What::Engine { engine, call, count, fault } => {
                self.engines[*engine].fault(*call, *fault, *count);
            }
            What::EngineAway { engine, lasts } => {
                self.count("engine-away");
                let now = self.now();
                self.engines[*engine].away += 1;
                self.engines[*engine].away_since.get_or_insert(now);
                self.engines[*engine].break_watch();
                let at = self.after(*lasts);
                self.calendar.put(at, Happening::EngineBack(*engine));
            }
            What::Wipe { engine } => self.wipe(*engine),
            What::Kill { nth } => self.kill(*nth),
            What::WatchBreaks { engine } => {
                self.count("engine-watch-breaks");
                self.engines[*engine].break_watch();
            }
            What::EventsLost { engine, count } => {
                self.count("engine-events-lost");
                self.engines[*engine].events_lost += count;
            }
            What::DiskFull { lasts } => {
                self.disk.full += 1;
                let at = self.after(*lasts);
                self.calendar.put(at, Happening::DiskHasRoom);
            }
            What::Crash { .. }
            | What::LoseRows
            | What::Restart { .. }
            | What::Second
            | What::Drain { .. }
            | What::Undrain { .. }
            | What::Remove { .. }
            | What::Flush { .. }
            | What::DeletePool { .. }
            | What::Renew { .. } => return true,
        }
        self.settle_github();
        false
    }

    fn wipe(&mut self, engine: usize) {
        self.count("engine-wiped");
        for serial in self.engines[engine].serials() {
            if let Some(job) = self.engines[engine].get(serial).and_then(|made| made.job) {
                self.jobs.excuse(job, "its instance died");
            }
            self.process_ends(engine, serial, "the host restarts", false);
            self.engines[engine].remove(serial);
        }
        self.engines[engine].break_watch();
    }

    fn kill(&mut self, nth: usize) {
        let living: Vec<(usize, u64)> = self
            .engines
            .iter()
            .flat_map(|machine| {
                machine
                    .serials()
                    .into_iter()
                    .filter(|serial| machine.get(*serial).is_some_and(super::machine::Made::lives))
                    .map(|serial| (machine.index, serial))
            })
            .collect();
        let Some((engine, serial)) = living.get(nth % living.len().max(1)).copied() else { return };
        self.count("engine-instance-dies");
        if let Some(job) = self.engines[engine].get(serial).and_then(|made| made.job) {
            self.jobs.excuse(job, "its instance died");
        }
        self.process_ends(engine, serial, "Killed", true);
    }

    /// Before an instance is made: `max` is not passed by it.
    pub(super) fn check_max(&mut self, runner: &RunnerName) {
        let Some(index) = index_of(runner.pool_str()) else { return };
        let Some(max) = self.scenario.pools.get(index).map(|pool| pool.max) else { return };
        let living = self
            .engines
            .iter()
            .flat_map(super::machine::Machine::iter)
            .filter(|made| {
                made.lives() && !made.beyond && made.name.pool_str() == runner.pool_str()
            })
            .count();
        self.look(Check::Max, living < max as usize, || {
            format!("pool p{index} has {living} instances of max {max}, and {runner} is made")
        });
    }

    /// Before an instance is made: the budget that the user gives its backend is not passed by it.
    pub(super) fn check_backend_budget(&mut self, engine: usize, runner: &RunnerName) {
        let cpus_of = |name: &RunnerName| {
            let plan = index_of(name.pool_str()).and_then(|index| self.scenario.pools.get(index));
            plan.map_or(0, |plan| plan.cpus)
        };
        let Some(plan) = self.scenario.engines.get(engine) else { return };
        if plan.runners.is_none() && plan.cpus.is_none() {
            return;
        }
        let (limits, mine) = ((plan.runners, plan.cpus), cpus_of(runner));
        let living = self.engines[engine].iter().filter(|made| made.lives() && !made.beyond);
        let (mut runners, mut cpus) = (1, mine);
        for made in living {
            runners += 1;
            cpus += cpus_of(&made.name);
        }
        let kept = limits.0.is_none_or(|limit| runners <= limit)
            && limits.1.is_none_or(|limit| cpus <= limit);
        // With it the budget may be used up: what other jobs miss from then on is explained by it.
        let full = limits.0.is_some_and(|limit| runners >= limit)
            || limits.1.is_some_and(|limit| cpus + self.largest_of(engine) > limit);
        if full {
            let now = self.now();
            self.troubles.push(super::Trouble {
                from: now,
                until: now,
                why: super::missed_by("budget"),
            });
        }
        self.look(Check::BackendBudget, kept, || {
            format!("engine e{engine} has {runners} instances with {cpus} processors with {runner}, over {limits:?}")
        });
    }

    /// The most processors that an instance takes of an engine.
    fn largest_of(&self, engine: usize) -> u32 {
        self.scenario.pools_of(engine).map(|pool| pool.cpus).max().unwrap_or(0)
    }

    /// Before an instance is destroyed: its runner has no job, or somebody who may said that it goes all the same.
    pub(super) fn check_destroy(&mut self, engine: usize, serial: u64) {
        let Some(made) = self.engines[engine].get(serial) else { return };
        let name = made.name.clone();
        let row = self.disk.row(&name);
        let why = row.and_then(|row| row.retiring.as_ref());
        let by_user = why.is_some_and(|why| why.even_busy);
        let by_limit = why.is_some_and(|why| why.reason == Reason::JobTimeout);
        let Some(job) = made.job.filter(|_| made.lives()) else {
            // One that waits may get a job at any moment, as long as GitHub knows it.
            let known = made.registration.is_some_and(|id| self.sim.runner(id).is_some());
            let asked = by_user || by_limit || !made.lives() || !known;
            return self.look(Check::Busy, asked, || {
                format!("{name} ({serial}) is destroyed, and GitHub may still give it a job")
            });
        };
        let ran = self.now().saturating_sub(made.job_since);
        let at_limit = by_limit && self.job_limit(name.pool_str()) <= ran + self.jumped();
        let at_github = self.sim.job(job).map(|facts| facts.place);
        let known = row.is_some_and(|row| row.had_job);
        let gone = self.sim.runner_named(self.scope, name.as_str()).is_none();
        let excuse = if by_user {
            Some("a user removed the busy runner")
        } else if at_limit {
            Some("the job reached its pool's job_timeout")
        } else if gone && matches!(at_github, Some(dayfly_github_sim::JobPlace::Over(_))) {
            Some("its job was over at GitHub")
        } else if gone && !known {
            Some("GitHub had removed it, and nobody had told that it was busy")
        } else {
            None
        };
        if let Some(why) = excuse {
            self.checks.excuse(why);
            self.jobs.excuse(job, why);
        }
        self.look(Check::Busy, excuse.is_some(), || {
            format!("{name} ({serial}) is destroyed while it runs job {job}: {at_github:?}")
        });
    }

    /// How long a job of a pool may run.
    pub(super) fn job_limit(&self, pool: &str) -> Duration {
        let plan = index_of(pool).and_then(|index| self.scenario.pools.get(index));
        plan.and_then(|plan| plan.job_timeout).unwrap_or(JOB_LIMIT)
    }

    /// How much of the time that the daemon takes for elapsed may be jumps of the host's clock: it tells them from time that it
    /// was away only where they are long.
    fn jumped(&self) -> Duration {
        let jumps = self.faults.get("clock-jump").copied().unwrap_or(0);
        JUMP_UNSEEN_MAX.saturating_mul(u32::try_from(jumps).unwrap_or(u32::MAX))
    }

    /// A create call was refused: a pool whose creation fails asks seldom.
    pub(super) fn create_failed(&mut self, runner: &RunnerName) {
        let Some(index) = index_of(runner.pool_str()) else { return };
        let Some(max) = self.scenario.pools.get(index).map(|pool| pool.max as usize) else {
            return;
        };
        let now = self.now();
        let failed = self.failed_creates.entry(index).or_default();
        failed.push_back(now);
        while failed.front().is_some_and(|at| *at + BACK_OFF_WINDOW < now) {
            failed.pop_front();
        }
        let count = failed.len();
        // Three rounds of as many as are wanted, then one in five minutes; twice over, for the daemon hears late of a job that
        // began, and takes the next failures for the first again.
        self.look(Check::BackOff, count <= 6 * max + 12, || {
            format!("pool p{index} had {count} creates refused in half an hour, with max {max}")
        });
    }
}
