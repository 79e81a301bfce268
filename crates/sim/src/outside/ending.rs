//! What the world looks like once the faults have stopped.

use std::time::Duration;

use dayfly_core::model::RunnerName;

use super::{State, disk::index_of};

impl State {
    /// The faults stop: what was under way ends.
    pub(crate) fn heal(&mut self) {
        self.sim.clear_faults();
        self.disarm_crash();
        self.disk.full = 0;
        for machine in &mut self.engines {
            machine.heal();
            machine.away = 0;
        }
        self.last_fault = self.now();
    }

    /// How long the jobs that are not over take at least, with the runners that their pools may have.
    pub(crate) fn time_for_jobs(&self) -> Duration {
        let mut longest = Duration::ZERO;
        for (index, pool) in self.scenario.pools.iter().enumerate() {
            let mut work = Duration::ZERO;
            for row in self.jobs.rows.iter().filter(|row| row.pool == index) {
                // A boot, a registration and an end beside the job itself.
                work +=
                    row.takes() + self.scenario.engines[pool.engine].boot + Duration::from_secs(60);
            }
            let room = self.scenario.engines[pool.engine].room.min(pool.max).max(1);
            longest += work / room;
        }
        longest
    }

    fn is_ours(&self, name: &str) -> bool {
        RunnerName::new(name).is_ok_and(|name| name.is_of(self.controller))
    }

    /// What is not as it was configured, if something is not.
    pub(crate) fn unsettled(&self) -> Option<String> {
        for (index, plan) in self.scenario.pools.iter().enumerate() {
            let of_pool = |name: &RunnerName| index_of(name.pool_str()) == Some(index);
            let warm = plan.warm.min(plan.max - plan.min_idle.min(plan.max));
            let wanted = (plan.min_idle.min(plan.max) + warm) as usize;
            let instances = self
                .engines
                .iter()
                .flat_map(|machine| machine.iter())
                .filter(|made| of_pool(&made.name));
            let instances: Vec<_> = instances.collect();
            let living = instances.iter().filter(|made| made.lives()).count();
            let rows = self.disk.rows().filter(|row| of_pool(&row.name)).count();
            let registrations: Vec<_> = self
                .sim
                .every_runner()
                .into_iter()
                .filter(|runner| RunnerName::new(&runner.name).is_ok_and(|name| of_pool(&name)))
                .collect();
            let idle = registrations.iter().filter(|runner| runner.online).count();
            let as_wanted = living == wanted
                && instances.len() == wanted
                && rows == wanted
                && registrations.len() == plan.min_idle.min(plan.max) as usize
                && idle == registrations.len();
            if !as_wanted {
                return Some(format!(
                    "pool p{index} should have {wanted} instances ({} of them idle runners), and has {living} alive of {}, \
                     {rows} rows, {} registrations, {idle} of them online",
                    plan.min_idle,
                    instances.len(),
                    registrations.len()
                ));
            }
        }
        None
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
