//! What the world looks like once the faults have stopped.

use std::{collections::BTreeSet, time::Duration};

use dayfly_core::model::RunnerName;

use super::{State, disk::index_of};
use crate::{
    checks::Check,
    scenario::{EnginePlan, PoolPlan, Source, What},
};

impl State {
    /// The faults stop: what was under way ends.
    pub(crate) fn heal(&mut self) {
        self.sim.clear_faults();
        self.foreigners_leave();
        self.disarm_crash();
        self.disk.full = 0;
        for machine in &mut self.engines {
            machine.heal();
        }
        self.last_fault = self.now();
        self.healed_at = self.now();
    }

    /// How long the jobs that are not over take at least, with the runners that their pools may have.
    pub(crate) fn time_for_jobs(&self) -> Duration {
        (0..self.scenario.pools.len()).map(|index| self.time_for_jobs_of(index)).sum()
    }

    /// How long one pool takes for its jobs.
    pub(super) fn time_for_jobs_of(&self, index: usize) -> Duration {
        let Some(pool) = self.scenario.pools.get(index) else { return Duration::ZERO };
        let boots = self.scenario.engines_of(pool).map(|engine| engine.boot);
        // A boot, a registration and an end beside the job itself.
        let beside = boots.max().unwrap_or(Duration::ZERO) + Duration::from_secs(60);
        let of_pool = self.jobs.rows.iter().filter(|row| row.pool == index);
        let work: Duration = of_pool.map(|row| row.takes() + beside).sum();
        // Where no jobs are counted, as many run at once as wait for one.
        let most = if pool.source == Source::Fixed { pool.min_idle } else { pool.max };
        // Of a budget other pools keep what they keep idle.
        let room: u32 = pool.engines.iter().map(|engine| self.room_for(pool, *engine)).sum();
        work / room.min(most).max(1) + self.time_for_registrations_of(index)
    }

    /// How long GitHub's limits let one pool wait for the registrations of its jobs; those of a scale set have none.
    fn time_for_registrations_of(&self, index: usize) -> Duration {
        let alone = |pool: &PoolPlan| pool.source != Source::ScaleSet;
        if !self.scenario.pools.get(index).is_some_and(alone) {
            return Duration::ZERO;
        }
        let jobs = self.jobs.rows.iter().filter(|row| row.pool == index).count() as u64;
        let options = self.sim.options();
        // The daemon keeps a tenth of each hour for what is no registration.
        let hour = (options.core_limit - options.core_limit / 10).max(1);
        let hours = Duration::from_millis(options.rate_window_ms).as_secs() * (jobs / hour);
        let minutes = options.writes_per_minute.map_or(0, |writes| 60 * (jobs / writes.max(1)));
        Duration::from_secs(hours + minutes)
    }

    /// How many instances of a pool an engine has room for beside what the other pools keep there.
    fn room_for(&self, pool: &PoolPlan, engine: usize) -> u32 {
        let Some(plan) = self.scenario.engines.get(engine) else { return 0 };
        let (mut runners, mut cpus) = (0, 0);
        for other in self.scenario.pools_of(engine) {
            runners += other.min_idle + other.warm;
            cpus += (other.min_idle + other.warm) * other.cpus;
        }
        let left = EnginePlan {
            runners: plan.runners.map(|limit| limit.saturating_sub(runners)),
            cpus: plan.cpus.map(|limit| limit.saturating_sub(cpus)),
            ..plan.clone()
        };
        plan.room.min(left.budget_for(pool.cpus))
    }

    fn is_ours(&self, name: &str) -> bool {
        RunnerName::new(name).is_ok_and(|name| name.is_of(self.controller))
    }

    /// What is not as it was configured, if something is not. Where GitHub goes on to remove idle runners, some pool is always
    /// about to replace one: then each pool has to be seen once, for the others' removals are none of its business.
    pub(crate) fn unsettled(&self, seen: &mut BTreeSet<usize>) -> Option<String> {
        let mut found = None;
        for index in 0..self.scenario.pools.len() {
            match self.unsettled_pool(index) {
                Some(_)
                    if self.scenario.is_restless(index)
                        || self.scenario.github.idle_removal.is_some() && seen.contains(&index) => {
                }
                Some(what) => found = found.or(Some(what)),
                None => {
                    seen.insert(index);
                }
            }
        }
        found
    }

    /// The pools that are not as configured right now: one replaces an idle runner that GitHub removed, or waits to make one
    /// again after a failure.
    pub(crate) fn moving(&self) -> Vec<String> {
        (0..self.scenario.pools.len())
            .filter(|index| self.unsettled_pool(*index).is_some())
            .map(|index| format!("p{index}"))
            .collect()
    }

    fn unsettled_pool(&self, index: usize) -> Option<String> {
        let plan = self.scenario.pools.get(index)?;
        let of_pool = |name: &RunnerName| index_of(name.pool_str()) == Some(index);
        let warm = plan.warm.min(plan.max - plan.min_idle.min(plan.max));
        let wanted = (plan.min_idle.min(plan.max) + warm) as usize;
        let instances = self
            .engines
            .iter()
            .flat_map(super::machine::Machine::iter)
            .filter(|made| of_pool(&made.name))
            // An engine's double of an instance goes with it: engines are asked by name.
            .filter(|made| {
                let of_name =
                    self.engines.iter().map(|machine| machine.all_named(&made.name).len());
                !made.beyond || self.disk.row(&made.name).is_none() || of_name.sum::<usize>() == 1
            });
        let instances: Vec<_> = instances.collect();
        let living = instances.iter().filter(|made| made.lives()).count();
        let outdated = |mark: &str| self.newest_mark(index).is_some_and(|newest| newest != mark);
        if let Some(row) = self.disk.rows().find(|row| of_pool(&row.name) && outdated(&row.mark)) {
            return Some(format!("{} was made from what pool p{index} no longer has", row.name));
        }
        let rows = self.disk.rows().filter(|row| of_pool(&row.name)).count();
        let registrations: Vec<_> = self
            .sim
            .every_runner()
            .into_iter()
            .filter(|runner| {
                self.is_ours(&runner.name)
                    && RunnerName::new(&runner.name).is_ok_and(|name| of_pool(&name))
            })
            .collect();
        let idle = registrations.iter().filter(|runner| runner.online).count();
        let least = if self.scenario.is_tight(plan) {
            plan.min_idle.min(plan.max) as usize
        } else {
            wanted
        };
        let as_wanted = (least..=wanted).contains(&living)
            && instances.len() == living
            && rows == living
            && registrations.len() == plan.min_idle.min(plan.max) as usize
            && idle == registrations.len();
        let name = format!("p{index}");
        let set = self.sim.every_set().into_iter().find(|set| set.name == name);
        if set.is_some() && plan.source != Source::ScaleSet {
            return Some(format!("pool p{index} has a scale set"));
        }
        if plan.source == Source::ScaleSet && set.is_none_or(|set| set.session.is_none()) {
            return Some(format!("pool p{index} has no session"));
        }
        if !as_wanted {
            return Some(format!(
                "pool p{index} should have {wanted} instances ({} of them idle runners), and has {living} alive of {}, \
                     {rows} rows, {} registrations, {idle} of them online",
                plan.min_idle,
                instances.len(),
                registrations.len()
            ));
        }
        None
    }

    /// Whether the scenario has no trouble at all: what is promised then holds to the letter.
    pub(crate) fn is_calm(&self) -> bool {
        let room = self.scenario.engines.iter().enumerate().all(|(index, engine)| {
            let (mut runners, mut cpus) = (0, 0);
            for pool in self.scenario.pools_of(index) {
                runners += pool.max;
                cpus += pool.max * pool.cpus;
            }
            runners <= engine.room
                && engine.runners.is_none_or(|limit| runners <= limit)
                && engine.cpus.is_none_or(|limit| cpus <= limit)
        });
        room && self.scenario.sync < Duration::from_secs(1)
            && self.scenario.items.iter().all(|item| matches!(item.what, What::Jobs { .. }))
    }

    /// Without trouble no runner is made that no job needs, and GitHub is asked as often as jobs and time want.
    pub(crate) fn check_thrift(&mut self) {
        let jobs = self.jobs.rows.len() as u64;
        let pools = self.scenario.pools.len() as u64;
        let strikes: u64 = self.faults.values().sum();
        let minutes = self.now().as_secs() / 60;
        let requests = self.github.requests;
        // A poll a minute and pool, with its share of lists and refreshes; for a job a mint, a removal, and its messages
        // with their acknowledgements; and what a fault makes to be asked again, for every pool and runner concerned.
        // While it is away, each pool asks every half minute and each runner every minute, three times each.
        let most: u64 = self.scenario.pools.iter().map(|pool| u64::from(pool.max)).sum();
        let away = self.github.away_minutes * (8 * pools + 3 * most);
        // Where runners register by themselves: a list a minute, and what an idle runner costs that GitHub removes.
        let kept = self.scenario.pools.iter().filter(|pool| pool.source != Source::ScaleSet);
        let idle: u64 = kept.map(|pool| 1 + u64::from(pool.min_idle)).sum();
        let often = if self.scenario.github.idle_removal.is_some() { 4 } else { 1 };
        let kept_full = minutes * idle * often;
        let allowed = 200 + pools * minutes * 4 + jobs * 12 + strikes * 40 + away + kept_full;
        self.look(Check::Budget, requests <= allowed, || {
            format!("{requests} requests for {jobs} jobs in {minutes} minutes with {strikes} faults; {allowed} are allowed")
        });
        if self.is_calm() && self.scenario.github.idle_removal.is_none() {
            let kept: u64 =
                self.scenario.pools.iter().map(|pool| u64::from(pool.min_idle + pool.warm)).sum();
            let made: u64 = self.engines.iter().map(super::machine::Machine::made).sum();
            self.look(Check::NoExcess, made <= jobs + 2 * kept + jobs / 10 + 2, || {
                format!("{made} instances were made for {jobs} jobs and {kept} to be kept")
            });
        }
    }

    /// What of ours is left, if something is.
    pub(crate) fn left(&self) -> Option<String> {
        let mut left = Vec::new();
        for machine in &self.engines {
            left.extend(machine.iter().map(|made| format!("instance {}", made.name)));
            left.extend(machine.pending.iter().map(|name| format!("the create call of {name}")));
        }
        let registrations = self.sim.every_runner();
        left.extend(
            registrations
                .iter()
                .filter(|runner| self.is_ours(&runner.name))
                .map(|runner| format!("registration {}", runner.name)),
        );
        let sets = self.sim.every_set();
        for set in sets.iter().filter(|set| index_of(&set.name).is_some()) {
            left.push(format!("scale set {}", set.name));
            left.extend(set.session.map(|_| format!("the session of {}", set.name)));
        }
        left.extend(self.disk.rows().map(|row| format!("the row of {}", row.name)));
        left.truncate(12);
        (!left.is_empty()).then(|| left.join(", "))
    }
}
