//! A pool's runners, counted once for everything that the plan needs to know of them.

use jiff::Timestamp;

use crate::{
    model::{Instance, JobId, JobState, Registration, Runner},
    planted::{Bug, planted},
    world::Pool,
};

/// A pool's runners, counted. Names are in the order in which they are to be used or given up.
#[derive(Debug, Clone, Default)]
pub struct Census<'a> {
    /// Instances whose process may live: what `max` bounds.
    pub occupied: u32,
    /// Runners that hold a job or can take one, now or soon.
    pub serving: u32,
    /// Of these, those known to have a job that is not complete.
    pub busy: u32,
    /// Of these, those whose job no message has told.
    pub busy_unknown: u32,
    /// Since when each of these has it.
    pub untold: Vec<Timestamp>,
    /// Instances ready and unregistered: oldest first.
    pub warm: Vec<&'a Runner>,
    /// Instances on their way to ready, unregistered: the nearest to ready first.
    pub coming: Vec<&'a Runner>,
    /// Instances whose creation stalls: others are made elsewhere in their place.
    pub stalled: Vec<&'a Runner>,
    /// Instances whose registration is taken back after a restart; free again in a moment.
    pub returned: Vec<&'a Runner>,
    /// Runners online without a job: oldest first.
    pub idle: Vec<&'a Runner>,
    /// Runners whose registration exists and was not handed over, on an instance that is not ready: the nearest to ready first.
    pub unready: Vec<&'a Runner>,
    /// Runners between the hand-over and online, or in doubt after a restart.
    pub starting: Vec<&'a Runner>,
    /// Runners whose registration is under way on an instance that is ready.
    pub minting: Vec<&'a Runner>,
    /// Instances retired and not proved to have ended: they lower what can be promised.
    pub leaving: u32,
    /// Planned rows without a create call.
    pub planned: u32,
    /// Jobs that were given to the pool and have not started, and since when.
    pub waiting: Vec<(Timestamp, &'a JobId)>,
}

impl<'a> Census<'a> {
    /// Counts.
    #[must_use]
    pub fn of(pool: &'a Pool) -> Self {
        let mut census = Self::default();
        for runner in pool.runners.values() {
            census.count(runner, pool);
        }
        let since = |id| match pool.jobs.get(id).map(|job| &job.state) {
            Some(JobState::Assigned { since }) => Some((*since, id)),
            _ => None,
        };
        census.waiting = pool.waiting.iter().filter_map(since).collect();
        census.warm.sort_by_key(|runner| runner.instance.since());
        census.coming.sort_by_key(|runner| (order(&runner.instance), runner.created_at));
        census.unready.sort_by_key(|runner| (order(&runner.instance), runner.created_at));
        census.idle.sort_by_key(|runner| runner.online_since);
        census
    }

    fn count(&mut self, runner: &'a Runner, pool: &Pool) {
        let lives = runner.instance.may_live();
        self.occupied += u32::from(lives);
        self.planned += u32::from(matches!(runner.instance, Instance::Planned { .. }));
        if !lives {
            return;
        }
        if let Registration::Busy { since, completed_at, job, .. } = &runner.registration {
            if completed_at.is_none() {
                self.serving += 1;
                self.busy += 1;
                self.busy_unknown += u32::from(job.is_none());
                self.untold.extend(job.is_none().then_some(*since));
            }
            return;
        }
        if runner.retiring.is_some() || matches!(runner.instance, Instance::Removing { .. }) {
            self.leaving += 1;
            return;
        }
        if pool.stalled.contains(&runner.name) {
            self.stalled.push(runner);
            return;
        }
        match (&runner.registration, &runner.instance) {
            (Registration::None, Instance::Ready { .. }) if planted(Bug::WarmCountedAsIdle) => {
                self.serving += 1;
                self.idle.push(runner);
            }
            (Registration::None | Registration::Gone { .. }, Instance::Ready { .. }) => {
                self.warm.push(runner);
            }
            (
                Registration::None | Registration::Gone { .. },
                Instance::Planned { .. } | Instance::Creating { .. } | Instance::Booting { .. },
            ) => self.coming.push(runner),
            // Spent, and GitHub does not know it or is to forget it: it leaves as soon as its own step says so.
            (Registration::None | Registration::Gone { .. }, _)
            | (Registration::Removing { .. }, Instance::Spent { .. }) => self.leaving += 1,
            (Registration::Removing { .. }, _) => self.returned.push(runner),
            (Registration::Online { .. }, _) => {
                self.serving += 1;
                self.idle.push(runner);
            }
            (Registration::Minting { .. } | Registration::Held { .. }, instance) => {
                self.serving += 1;
                if matches!(instance, Instance::Ready { .. }) {
                    self.minting.push(runner);
                } else {
                    self.unready.push(runner);
                }
            }
            _ => {
                self.serving += 1;
                self.starting.push(runner);
            }
        }
    }

    /// Every runner that is not known to be busy and not already to go.
    pub fn every_idle(&self) -> impl Iterator<Item = &'a Runner> {
        self.warm
            .iter()
            .chain(&self.coming)
            .chain(&self.stalled)
            .chain(&self.unready)
            .chain(&self.minting)
            .chain(&self.starting)
            .chain(&self.idle)
            .chain(&self.returned)
            .copied()
    }

    /// Every runner that counts towards the pool's target.
    #[must_use]
    pub fn live(&self) -> u32 {
        let free = self.warm.len() + self.coming.len() + self.returned.len();
        self.serving.saturating_add(u32::try_from(free).unwrap_or(u32::MAX))
    }
}

/// How far an instance is from ready: the nearest first.
fn order(instance: &Instance) -> u8 {
    match instance {
        Instance::Booting { .. } => 0,
        Instance::Creating { .. } => 1,
        _ => 2,
    }
}

/// Whether `at` has passed; a time that is not there has.
pub(super) fn passed(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_none_or(|at| at <= now)
}
