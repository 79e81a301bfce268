//! A runner's own next step: what its two tracks ask for, whatever its pool wants.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    alone::OFFLINE_MAX,
    census::passed,
    earlier,
    lists::{GATHER, by_name},
    places::{Breaker, Room, breaker},
    pool::{credential_until, credential_waits, membership},
};
use crate::{
    effect::{Flight, RegistrationCall},
    model::{
        BackendName, Deadlines, Instance, Place, PoolSpec, Proof, Reason, Registration, Runner,
        ScopeName, Spec, TroubleKey, later,
    },
    planted::{Bug, planted},
    world::{Action, BackendView, Pool, World},
};

/// A JIT configuration that was not handed over in this time is deleted and minted anew: it goes stale (F11).
const HELD_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How long a runner may live on after its job was told complete, before GitHub is asked (F7).
const FINISHING_MAX: SignedDuration = SignedDuration::from_mins(2);

/// What every runner of a pool is planned by.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) world: &'a World,
    pub(super) pool: &'a Pool,
    pub(super) of: Option<&'a PoolSpec>,
    pub(super) scope: Option<&'a ScopeName>,
    /// Where what is only planned is better planned anew.
    pub(super) left: &'a BTreeSet<&'a BackendName>,
}

struct Step<'a> {
    world: &'a World,
    pool: &'a Pool,
    of: Option<&'a PoolSpec>,
    scope: Option<&'a ScopeName>,
    left: &'a BTreeSet<&'a BackendName>,
    row: &'a Runner,
    deadlines: Deadlines,
    now: Timestamp,
    due: Option<Timestamp>,
    actions: &'a mut Vec<Action>,
}

/// Through which scope the registrations of a pool's runners are asked for.
pub(super) fn scope_of(spec: &Spec, pool: &Pool, of: Option<&PoolSpec>) -> Option<ScopeName> {
    pool.made_in()
        .cloned()
        .or_else(|| of.map(|of| of.scope.clone()))
        // An orphan of a pool that nobody remembers is asked for where all are asked for.
        .or_else(|| spec.scopes.keys().next().filter(|_| spec.scopes.len() == 1).cloned())
        .filter(|scope| spec.scopes.contains_key(scope))
}

/// Plans one runner. Returns when that is out of date though nothing happens.
pub(super) fn plan(
    known: Known<'_>,
    row: &Runner,
    now: Timestamp,
    room: &mut Room,
    actions: &mut Vec<Action>,
) -> Option<Timestamp> {
    let Known { world, pool, of, scope, left } = known;
    let deadlines = of.map_or_else(Deadlines::default, |of| of.deadlines);
    let missing = world.misses_instance(&row.name) || world.misses_registration(&row.name);
    // The states in which thousands of runners stand, for hours or in a burst, cost next to nothing.
    if row.retiring.is_none() && matches!(row.instance, Instance::Spent { .. }) {
        let since = match row.registration {
            Registration::Busy { since, completed_at: None, .. } => {
                Some((since, deadlines.job_timeout))
            }
            Registration::HandedOver { since, .. } => Some((since, deadlines.starting)),
            _ => None,
        };
        let until = since.map(|(since, time)| later(since, time));
        if let Some(until) = until.filter(|_| !missing) {
            if until > now {
                return Some(until);
            }
            if row.is_busy() {
                let runner = row.name.clone();
                actions.push(Action::Retire { runner, reason: Reason::JobTimeout });
                return None;
            }
        }
    }
    let mut step = Step { world, pool, of, scope, left, row, deadlines, now, due: None, actions };
    let instance_flies = world.is_flying(&Flight::Instance(row.name.clone()));
    if row.registration.may_exist() && !world.is_flying(&Flight::Registration(row.name.clone())) {
        step.registration(instance_flies);
    }
    if !instance_flies {
        step.instance(room);
    }
    step.due
}

impl Step<'_> {
    fn wait(&mut self, until: Timestamp) {
        self.due = earlier(self.due, Some(until));
    }

    /// Whether `wait` has passed since `since`; else the plan holds until then.
    fn over(&mut self, since: Timestamp, wait: SignedDuration) -> bool {
        let until = later(since, wait);
        if until <= self.now {
            return true;
        }
        self.wait(until);
        false
    }

    fn retires(&self) -> bool {
        self.row.retiring.is_some()
    }

    fn deregister(&mut self, proof: Proof) {
        self.actions.push(Action::Deregister { runner: self.row.name.clone(), proof });
    }

    fn registration(&mut self, instance_flies: bool) {
        let usable = matches!(
            self.row.instance,
            Instance::Planned { .. }
                | Instance::Creating { .. }
                | Instance::Booting { .. }
                | Instance::Ready { .. }
        );
        match self.row.registration {
            // The outcome of a hand-over is on its way. Without one the instance's end, or a restart, resolves it.
            Registration::None | Registration::Gone { .. } | Registration::HandingOver { .. } => {}
            Registration::Minting { since } => {
                if self.retires() || !usable || self.over(since, self.deadlines.minting) {
                    self.deregister(Proof::Removal);
                } else {
                    self.mint_again();
                }
            }
            Registration::Held { since, .. } => {
                if self.retires() || !usable || self.over(since, HELD_MAX) {
                    self.deregister(Proof::Removal);
                } else if matches!(self.row.instance, Instance::Ready { .. })
                    && !instance_flies
                    && !self.world.is_stopping()
                {
                    self.actions.push(Action::HandOver(self.row.name.clone()));
                }
            }
            Registration::HandedOver { since, .. } => {
                if self.retires() {
                    self.deregister(Proof::Removal);
                } else if self.world.misses_registration(&self.row.name)
                    || self.over(since, self.deadlines.starting)
                {
                    self.ask(RegistrationCall::Find);
                }
            }
            Registration::Online { .. } => {
                if self.retires() {
                    self.deregister(Proof::Removal);
                } else if self.is_outdated() {
                    self.retire(Reason::ImageReplaced);
                } else if let Some(since) = self.pool.offline.get(&self.row.name)
                    && self.over(*since, OFFLINE_MAX)
                {
                    self.retire(Reason::WentOffline);
                } else if self.world.misses_registration(&self.row.name) {
                    self.ask(RegistrationCall::Find);
                }
            }
            Registration::Busy { since, completed_at, .. } => {
                if let Some(completed_at) = completed_at
                    && self.over(completed_at, FINISHING_MAX)
                {
                    self.deregister(Proof::Removal);
                }
                // Also one that is to go for another reason, and that GitHub does not let go of.
                if !self.ends_busy() && self.over(since, self.deadlines.job_timeout) {
                    self.retire(Reason::JobTimeout);
                }
            }
            Registration::InDoubt { .. } => self.ask(RegistrationCall::Find),
            Registration::Removing { id, proof: Proof::Removal, .. } => {
                self.ask(id.map_or(RegistrationCall::Find, RegistrationCall::Remove));
            }
            Registration::Removing { since, proof: Proof::Absence, .. } => {
                let alone = self.scope.is_some_and(|scope| by_name(self.world, scope));
                if alone && self.over(since, GATHER) {
                    self.ask(RegistrationCall::Find);
                }
            }
        }
    }

    fn mint_again(&mut self) {
        let attempt_at = self.row.registration_attempt.as_ref().map(|attempt| attempt.next_at);
        if !passed(attempt_at, self.now) {
            self.due = earlier(self.due, attempt_at);
            return;
        }
        if let Some((scope, membership)) = membership(self.pool, self.of)
            && !self.world.is_stopping()
        {
            self.actions.push(Action::Mint { runner: self.row.name.clone(), scope, membership });
        }
    }

    /// Asks GitHub, as soon as its refusals and this runner's failed attempts let.
    fn ask(&mut self, call: RegistrationCall) {
        let Some(scope) = self.scope else {
            return;
        };
        if credential_waits(self.world, scope, self.now) {
            self.due = earlier(self.due, credential_until(self.world, scope));
            return;
        }
        let attempt_at = self.row.registration_attempt.as_ref().map(|attempt| attempt.next_at);
        if passed(attempt_at, self.now) {
            let (runner, scope) = (self.row.name.clone(), scope.clone());
            self.actions.push(Action::AskForge { runner, scope, call });
        } else {
            self.due = earlier(self.due, attempt_at);
        }
    }

    fn retire(&mut self, reason: Reason) {
        self.actions.push(Action::Retire { runner: self.row.name.clone(), reason });
    }

    fn fail(&mut self, reason: Reason) {
        self.actions.push(Action::Fail { runner: self.row.name.clone(), reason });
    }

    fn is_outdated(&self) -> bool {
        let is_outdated = self.of.is_some_and(|of| {
            of.place(&self.row.backend).is_none_or(|place| place.mark != self.row.mark)
        });
        is_outdated && !planted(Bug::OutdatedKept)
    }

    fn instance(&mut self, room: &mut Room) {
        match self.row.instance {
            Instance::Planned { .. } => self.planned(room),
            Instance::Creating { since } => {
                if self.over(since, self.deadlines.creating) {
                    if self.retires() {
                        self.destroy(false);
                    } else {
                        self.fail(Reason::CreateTimeout);
                    }
                } else {
                    self.settle_create(room);
                }
            }
            Instance::Booting { since, .. } => {
                if self.retires() {
                    self.destroy(false);
                } else if self.over(since, self.deadlines.booting) {
                    self.fail(Reason::BootTimeout);
                } else if self.is_free() && self.is_outdated() {
                    self.retire(Reason::ImageReplaced);
                } else if self.world.misses_instance(&self.row.name) {
                    self.inspect();
                }
            }
            Instance::Ready { since, .. } => {
                if self.retires() {
                    self.destroy(false);
                } else if self.is_free() && self.is_outdated() {
                    self.retire(Reason::ImageReplaced);
                } else if self.is_free() && self.over(since, self.deadlines.warm) {
                    self.retire(Reason::WarmExpired);
                } else if self.world.misses_instance(&self.row.name) {
                    self.inspect();
                }
            }
            Instance::Spent { .. } => {
                if self.retires() && self.may_destroy() {
                    self.destroy(false);
                } else if !self.row.registration.may_exist() && !self.retires() {
                    // GitHub let go of it, and it can never get a second registration.
                    let reason =
                        if self.row.had_job { Reason::JobDone } else { Reason::IdleRemoved };
                    self.retire(reason);
                } else if self.world.misses_instance(&self.row.name) {
                    self.inspect();
                }
            }
            Instance::Ended { .. } => self.destroy(false),
            Instance::Removing { since, .. } => {
                let force = self.over(since, self.deadlines.removing);
                self.destroy(force);
            }
            Instance::Gone { .. } => {}
        }
    }

    /// The create call was not answered, or by another life of the daemon. Where names are unique it is made again,
    /// which also ends what a crash left half made; else a look by name settles it, never a second create.
    fn settle_create(&mut self, room: &mut Room) {
        let Some(backend) = self.world.backend(&self.row.backend) else { return };
        match self.of.and_then(|of| of.place(&self.row.backend)) {
            Some(place)
                if backend.capabilities.names_are_unique
                    && !self.retires()
                    && !self.is_outdated() =>
            {
                let may = backend.is_known() && !self.world.is_stopping();
                if may && self.attempt_passed() {
                    self.create(place, room);
                }
            }
            _ => self.inspect(),
        }
    }

    fn planned(&mut self, room: &mut Room) {
        if self.retires() {
            return self.actions.push(Action::Abandon(self.row.name.clone()));
        }
        let Some(of) = self.of else {
            return self.retire(Reason::PoolRemoved);
        };
        let Some(place) = of.place(&self.row.backend).filter(|_| !self.is_outdated()) else {
            return self.retire(Reason::ImageReplaced);
        };
        // It waits like any other that is not made yet, and is planned anew: what it would prove depends on when it
        // was begun.
        let waits = self
            .world
            .trouble(&place.creation_key(&of.name))
            .is_some_and(|known| known.next_attempt_at > self.now);
        if waits || self.left.contains(&self.row.backend) {
            return self.actions.push(Action::Abandon(self.row.name.clone()));
        }
        let key = TroubleKey::Backend { backend: place.backend.clone() };
        let answers = self.world.trouble(&key).is_none()
            && self.world.backend(&place.backend).is_some_and(BackendView::is_known);
        if answers && !self.world.is_stopping() {
            self.create(place, room);
        }
    }

    /// The create call, as soon as its backend takes one more.
    fn create(&mut self, place: &Place, room: &mut Room) {
        if room.take(&place.backend) {
            let (runner, spec) = (self.row.name.clone(), place.instance.clone());
            self.actions.push(Action::Create { runner, spec });
        } else if let Breaker::Open(trouble) = breaker(self.world, &place.backend, self.now) {
            self.wait(trouble.next_attempt_at);
        }
    }

    /// Whether no registration is bound to the instance.
    fn is_free(&self) -> bool {
        !self.row.registration.may_exist()
    }

    /// Busy is sacred: an instance that may have its configuration goes only once GitHub let go of its registration.
    /// The exceptions are the user's own.
    fn may_destroy(&self) -> bool {
        let surplus =
            self.row.retiring.as_ref().is_some_and(|why| why.reason == Reason::IdleTimeout);
        self.ends_busy()
            || !self.row.registration.may_exist()
            || surplus && planted(Bug::SurplusDestroyedUnasked)
    }

    fn ends_busy(&self) -> bool {
        let retiring = self.row.retiring.as_ref();
        retiring.is_some_and(|retiring| retiring.even_busy || retiring.reason.overrides_busy())
    }

    fn attempt_passed(&mut self) -> bool {
        let attempt_at = self.row.instance_attempt.as_ref().map(|attempt| attempt.next_at);
        if passed(attempt_at, self.now) {
            return true;
        }
        self.due = earlier(self.due, attempt_at);
        false
    }

    fn inspect(&mut self) {
        if self.world.backend(&self.row.backend).is_some() && self.attempt_passed() {
            self.actions.push(Action::Inspect(self.row.name.clone()));
        }
    }

    fn destroy(&mut self, force: bool) {
        if self.world.backend(&self.row.backend).is_none() {
            // Nobody can reach it. Its row waits for the backend to come back, unless a user said that it goes
            // whatever it does.
            if self.row.retiring.as_ref().is_some_and(|why| why.even_busy) {
                self.actions.push(Action::Abandon(self.row.name.clone()));
            }
        } else if self.attempt_passed() {
            self.actions.push(Action::Destroy { runner: self.row.name.clone(), force });
        }
    }
}
