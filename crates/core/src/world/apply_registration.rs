//! Takes in what GitHub says of registrations.

use jiff::{SignedDuration, Timestamp};

use super::{World, apply::Api};
use crate::{
    effect::{Membership, RegistrationCall, RegistrationOutcome},
    model::{Attempt, Instance, Proof, Reason, Registration, Runner, RunnerName},
    planted::{Bug, planted},
    ports::{ForgeError, ForgeErrorKind, RunnerRecord},
};

/// How long GitHub is given to remove a registration itself before we ask for it.
pub(super) const OWN_REMOVAL: SignedDuration = SignedDuration::from_secs(30);

/// The wait before a registration that should be gone is looked up again.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_secs(10);

impl World {
    pub(super) fn apply_registration(
        &mut self,
        name: &RunnerName,
        call: &RegistrationCall,
        result: RegistrationOutcome,
        now: Timestamp,
    ) {
        if !matches!(result, RegistrationOutcome::Failed(_))
            && let Some(scope) = self.scope_of(name.pool_str())
        {
            self.credential_works(&scope, now);
        }
        let Some(runner) = self.runner(name).cloned() else {
            return;
        };
        match result {
            RegistrationOutcome::Minted(id) => match runner.clone().minted(id, now) {
                Ok(runner) => self.put(runner, now),
                // It was given up meanwhile: the new registration is to go.
                Err(error) => {
                    self.odd(&error.to_string(), now);
                    let mut runner = runner;
                    if !matches!(
                        runner.registration,
                        Registration::Busy { .. } | Registration::Online { .. }
                    ) {
                        runner.registration = Registration::Removing {
                            since: now,
                            id: Some(id),
                            proof: Proof::Removal,
                        };
                        self.put(runner, now);
                    }
                }
            },
            RegistrationOutcome::Found(record) => self.apply_found(runner, record, now),
            RegistrationOutcome::Removed { .. } => self.apply_removed(runner, now),
            RegistrationOutcome::Failed(error) => {
                self.apply_registration_failed(runner, call, &error, now);
            }
        }
    }

    /// 204, or 404 for a runner that is not known to be busy.
    fn apply_removed(&mut self, runner: Runner, now: Timestamp) {
        if runner.is_busy() && runner.instance.may_live() && !planted(Bug::NotFoundIsConsent) {
            // It showed itself busy while the call was under way: 404 is no consent (promise: busy is sacred).
            return self.put(runner, now);
        }
        self.put(runner.registration_gone(now), now);
    }

    /// What a look by name tells.
    pub(super) fn apply_found(
        &mut self,
        mut runner: Runner,
        record: Option<RunnerRecord>,
        now: Timestamp,
    ) {
        let was_suspect = self.suspects.remove(&runner.name);
        runner.registration_attempt = None;
        let Some(record) = record else {
            return match runner.registration {
                // A busy runner's absence proves nothing while its process may live.
                Registration::Busy { .. } if runner.instance.may_live() => self.put(runner, now),
                Registration::HandedOver { .. } | Registration::Online { .. } => {
                    let idled = runner.online_since.is_some();
                    let runner = runner.registration_gone(now);
                    if idled {
                        self.retire(runner, Reason::IdleRemoved, false, now);
                    } else {
                        self.fail(runner, Reason::StartTimeout, now);
                    }
                }
                Registration::HandingOver { .. }
                | Registration::Held { .. }
                | Registration::Minting { .. } => {
                    self.put(runner, now);
                }
                _ => self.lost_registration(runner, now),
            };
        };
        // The look gives ids that a row after a crash does not have.
        if let Registration::InDoubt { id, .. } | Registration::Removing { id, .. } =
            &mut runner.registration
        {
            id.get_or_insert(record.id);
        }
        let lives = runner.instance.may_live();
        if record.busy == Some(true) && lives {
            self.put(runner.clone(), now);
            return self.found_busy(runner, None, now);
        }
        match (&runner.registration, record.online) {
            (Registration::InDoubt { .. }, Some(true)) if lives && runner.retiring.is_none() => {
                if let Ok(runner) = runner.online(now) {
                    self.put(runner, now);
                }
            }
            (Registration::HandedOver { .. }, Some(true)) => {
                if let Ok(runner) = runner.online(now) {
                    self.put(runner, now);
                }
            }
            (Registration::InDoubt { .. }, _) => {
                self.put(runner.deregistering(Proof::Removal, now), now);
            }
            // Asked because the time to start is over; a runner that a list missed is there after all.
            (Registration::HandedOver { .. }, _) if !was_suspect => {
                let runner = runner.deregistering(Proof::Removal, now);
                self.fail(runner, Reason::StartTimeout, now);
            }
            // GitHub was to remove it itself: asked again in a while, and then for its removal.
            (Registration::Removing { since, id, proof: Proof::Absence }, _) => {
                if now.duration_since(*since) >= OWN_REMOVAL {
                    let id = id.or(Some(record.id));
                    runner.registration =
                        Registration::Removing { since: now, id, proof: Proof::Removal };
                } else {
                    let next_at = crate::model::later(now, ASKED_AGAIN);
                    let error = "GitHub still knows it".into();
                    runner.registration_attempt = Some(Attempt { failures: 1, next_at, error });
                }
                self.put(runner, now);
            }
            _ => self.put(runner, now),
        }
    }

    /// GitHub does not know a registration that was in doubt or to be removed.
    fn lost_registration(&mut self, runner: Runner, now: Timestamp) {
        let was_in_doubt = matches!(runner.registration, Registration::InDoubt { .. });
        let spent = matches!(runner.instance, Instance::Spent { .. });
        let runner = runner.registration_gone(now);
        // Crash in the hand-over, and GitHub knows nothing: the instance is spent and can serve no more.
        if was_in_doubt && spent && runner.retiring.is_none() {
            let error =
                "the daemon ended in the hand-over, and GitHub does not know the runner".to_owned();
            return self.retire(runner, Reason::HandOverFailed { error }, false, now);
        }
        self.put(runner, now);
    }

    fn apply_registration_failed(
        &mut self,
        mut runner: Runner,
        call: &RegistrationCall,
        error: &ForgeError,
        now: Timestamp,
    ) {
        let pool = runner.pool();
        if let Some(scope) = self.scope_of(pool.as_str()) {
            let asked = match call {
                RegistrationCall::Mint(Membership::Alone { .. }) => Api::Rest,
                _ => Api::Service,
            };
            self.credential_trouble(&scope, error, asked, now);
        }
        let attempt = Attempt::after(runner.registration_attempt.as_ref(), &error.to_string(), now);
        match (call, &error.kind) {
            (RegistrationCall::Remove(_), ForgeErrorKind::Busy)
                if runner.instance.may_live()
                    && !matches!(runner.instance, Instance::Removing { .. }) =>
            {
                self.found_busy(runner, None, now);
            }
            (
                RegistrationCall::Mint(Membership::ScaleSet(set)),
                ForgeErrorKind::ScaleSetGone | ForgeErrorKind::NotFound,
            ) => {
                if self.pools.get(&pool).is_some_and(|pool| pool.state.scale_set.id() == Some(*set))
                {
                    self.set_gone(&pool, now);
                }
                runner.registration = Registration::None;
                runner.registration_attempt = Some(attempt);
                self.put(runner, now);
            }
            // Refused before anything was made: the instance stays warm and the mint is tried again.
            (
                RegistrationCall::Mint(_),
                ForgeErrorKind::RateLimited(_)
                | ForgeErrorKind::Unauthorized
                | ForgeErrorKind::NotAllowed(_)
                | ForgeErrorKind::Refused
                | ForgeErrorKind::NotFound,
            ) => {
                // The group may have been deleted and made anew: it is looked up again before the next attempt.
                if matches!(error.kind, ForgeErrorKind::Refused | ForgeErrorKind::NotFound)
                    && matches!(call, RegistrationCall::Mint(Membership::Alone { .. }))
                    && let Some(pool) = self.pools.get_mut(&pool)
                {
                    pool.group = None;
                }
                if matches!(runner.registration, Registration::Minting { .. }) {
                    runner.registration = Registration::None;
                }
                runner.registration_attempt = Some(attempt);
                self.put(runner, now);
            }
            // Perhaps made: tried again under the same name, which GitHub's own refusal of doubles makes safe (F17).
            _ => {
                runner.registration_attempt = Some(attempt);
                self.put(runner, now);
            }
        }
    }
}
