//! Somebody else at GitHub: runners, scale sets and sessions that are not ours, and must not be touched.

use std::time::Duration;

use dayfly_github_sim::{SetFacts, SetId};

use super::{Happening, State, disk::index_of, github::OWNER};
use crate::{checks::Check, scenario::Source};

/// Runners that are not ours: one of another controller, by a name of the same form, and one of a person.
pub(super) const RUNNERS: [&str; 2] = ["p0-bbbbaaaaaaaaaa", "build-box-1"];

/// How often somebody else polls.
const POLLS_EVERY: Duration = Duration::from_secs(20);

/// Who opens sessions beside us.
const OTHER_OWNER: &str = "another-host";

impl State {
    /// The pool's own scale set, where it has one.
    pub(super) fn set_of(&self, pool: usize) -> Option<SetFacts> {
        let name = format!("p{pool}");
        let mut sets = self.sim.every_set().into_iter();
        sets.find(|set| set.name == name && !self.github.foreign_sets.contains(&set.id))
    }

    /// Somebody deletes the pool's scale set, and makes one of its own by that name.
    pub(super) fn foreign_set(&mut self, pool: usize, lasts: Duration) {
        // A pool without a set has no name that anybody could take.
        if self.scenario.pools[pool].source != Source::ScaleSet {
            return;
        }
        let now = self.github_now();
        if let Some(set) = self.set_of(pool) {
            self.sim.lose_set(now, set.id);
        }
        if let Some(set) = self.sim.add_set(now, self.scope, &format!("p{pool}")) {
            self.count("foreign-set");
            self.sim.add_session(now, set, OTHER_OWNER);
            self.github.foreign_sets.insert(set);
            let at = self.after(lasts);
            self.calendar.put(at, Happening::ForeignSetGoes(set));
        }
    }

    /// Its owner deletes a scale set.
    pub(super) fn foreign_set_goes(&mut self, set: SetId) {
        if self.github.foreign_sets.contains(&set) {
            let there = self.sim.every_set().iter().any(|of| of.id == set);
            self.look(Check::OursOnly, there, || format!("set {set}, which is not ours, is gone"));
            self.github.foreign_sets.remove(&set);
            let now = self.github_now();
            self.sim.lose_set(now, set);
            self.last_fault = self.now();
        }
    }

    /// The pool's session is lost, and somebody else opens one before we do. Where nobody polls there, GitHub ends it after
    /// minutes; whoever polls takes the messages that were for us.
    pub(super) fn foreign_session(&mut self, pool: usize, polls: Duration) {
        let Some(set) = self.set_of(pool) else { return };
        let now = self.github_now();
        self.sim.lose_session(now, set.id, true);
        if !self.sim.add_session(now, set.id, OTHER_OWNER) {
            return;
        }
        self.count("foreign-session");
        if !polls.is_zero() {
            let until = self.now() + polls;
            self.foreign_polls(set.id, until);
        }
    }

    /// Whoever has the session of our set takes and deletes its messages, and lets as many jobs be given to it as we could run.
    pub(super) fn foreign_polls(&mut self, set: SetId, until: Duration) {
        let facts = self.sim.every_set().into_iter().find(|of| of.id == set);
        let Some(facts) = facts.filter(|of| of.owner.as_deref() == Some(OTHER_OWNER)) else {
            return;
        };
        let now = self.github_now();
        if self.now() >= until {
            self.sim.lose_session(now, set, false);
            self.last_fault = self.now();
            return;
        }
        let max = index_of(&facts.name).and_then(|index| self.scenario.pools.get(index));
        let capacity = max.map_or(1, |plan| plan.max as usize);
        let eaten = self.sim.eat_messages(now, set, capacity);
        if eaten > 0 {
            self.count("foreign-eats-messages");
            self.note(format_args!("somebody else takes {eaten} messages of set {set}"));
        }
        let at = self.after(POLLS_EVERY).min(until);
        self.calendar.put(at, Happening::ForeignPolls(set, until));
    }

    /// Whoever is not ours leaves.
    pub(super) fn foreigners_leave(&mut self) {
        for set in self.github.foreign_sets.clone() {
            self.foreign_set_goes(set);
        }
        let now = self.github_now();
        for set in self.sim.every_set() {
            if set.owner.is_some_and(|owner| owner != OWNER) {
                self.sim.lose_session(now, set.id, false);
            }
        }
    }

    /// A scale set is changed, a session opened on it, or a runner registered in it: it is ours.
    pub(super) fn check_own_set(&mut self, set: SetId, what: &str) {
        let ours = !self.github.foreign_sets.contains(&set);
        self.look(Check::OursOnly, ours, || format!("set {set}, which is not ours, is {what}"));
    }

    /// A scale set is deleted: it is ours, and nobody else listens there.
    pub(super) fn check_set_deleted(&mut self, set: SetId) {
        self.check_own_set(set, "deleted");
        let facts = self.sim.every_set().into_iter().find(|of| of.id == set);
        let owner = facts.and_then(|facts| facts.owner);
        // A user who deletes a pool deletes its set, whoever found the way to it.
        let by_user = self.disk.was_deleted(set.0);
        let alone = owner.as_deref().is_none_or(|owner| owner == OWNER);
        self.look(Check::OursOnly, alone || by_user, || {
            format!("set {set} is deleted, with the session of {owner:?}")
        });
    }

    /// What is somebody else's is still there. GitHub itself removes what has never connected for a day.
    pub(crate) fn check_foreign(&mut self) {
        if self.now() >= Duration::from_millis(self.sim.options().unconnected_sweep_ms) {
            return;
        }
        for name in RUNNERS {
            let there = self.sim.runner_named(self.scope, name).is_some();
            self.look(Check::OursOnly, there, || format!("{name}, which is not ours, is gone"));
        }
    }
}
