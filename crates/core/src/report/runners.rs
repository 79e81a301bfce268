//! Runners, as people see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::condition::coming;
use crate::{
    model::{Phase, Runner, Spec, TroubleKey, later},
    world::World,
};

/// A runner, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerView {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Its backend.
    pub backend: String,
    /// Its phase.
    pub phase: Phase,
    /// Its instance's state.
    pub instance: String,
    /// Its registration's state.
    pub registration: String,
    /// When its row was made.
    pub created_at: Timestamp,
    /// Its job, where a message told it.
    pub job: Option<String>,
    /// Why it is removed, where it is.
    pub reason: Option<String>,
    /// What it waits for, and until when.
    pub waits_for: Option<String>,
}

/// Every runner that is not gone, by pool and name.
#[must_use]
pub fn runners(world: &World, spec: &Spec, now: Timestamp) -> Vec<RunnerView> {
    world.runners().map(|runner| view(world, spec, runner, now)).collect()
}

fn view(world: &World, spec: &Spec, runner: &Runner, now: Timestamp) -> RunnerView {
    RunnerView {
        name: runner.name.to_string(),
        pool: runner.name.pool_str().to_owned(),
        backend: runner.backend.to_string(),
        phase: runner.phase(),
        instance: runner.instance.word().to_owned(),
        registration: runner.registration.word().to_owned(),
        created_at: runner.created_at,
        job: runner.job().map(ToString::to_string),
        reason: runner.retiring.as_ref().map(|retiring| retiring.reason.to_string()),
        waits_for: waits_for(world, spec, runner, now),
    }
}

/// What a runner waits for, in words that read after "waits for".
pub(super) fn waits_for(
    world: &World,
    spec: &Spec,
    runner: &Runner,
    now: Timestamp,
) -> Option<String> {
    let of = spec.pools.get(runner.name.pool_str());
    let attempt = |attempt: &crate::model::Attempt| {
        format!(
            "the next attempt at {:.0}, for the last failed: {}",
            attempt.next_at, attempt.error
        )
    };
    let asks = runner.registration.may_exist();
    match runner.phase() {
        Phase::Busy => {
            let since = runner.registration.since()?;
            let until = of.map(|of| later(since, of.deadlines.job_timeout))?;
            Some(format!("the end of its job, until {until:.0} at the latest"))
        }
        Phase::Online => Some("a job".into()),
        Phase::Removing => runner
            .instance_attempt
            .as_ref()
            .or_else(|| runner.registration_attempt.as_ref().filter(|_| asks))
            .filter(|attempt| attempt.next_at > now)
            .map(attempt)
            .or_else(|| removal(world, runner, now)),
        Phase::Gone => None,
        _ => of.map(|of| match coming(world, of, runner, now) {
            (what, Some(until)) => format!("{what}, until {until:.0} at the latest"),
            (what, None) => what,
        }),
    }
}

fn removal(world: &World, runner: &Runner, now: Timestamp) -> Option<String> {
    use crate::model::{Proof, Registration};
    match &runner.registration {
        Registration::Removing { proof: Proof::Absence, .. } => {
            Some("GitHub's next list, to prove that its registration is gone".into())
        }
        registration if registration.may_exist() => {
            let refused = world
                .scope_of(runner.name.pool_str())
                .and_then(|scope| world.trouble(&TroubleKey::Credential { scope }))
                .filter(|known| known.next_attempt_at > now)
                .map(|known| {
                    format!(", asked for at {:.0}: {}", known.next_attempt_at, known.error)
                });
            Some(format!("GitHub's consent to its removal{}", refused.unwrap_or_default()))
        }
        _ if runner.instance.may_exist() && world.backend(&runner.backend).is_none() => {
            Some(format!(
                "backend {}, which is not in the configuration: bring it back, or give the instance up by `dayfly \
                 remove {} --busy`",
                runner.backend, runner.name
            ))
        }
        _ if runner.instance.may_exist() => Some("its backend to destroy the instance".into()),
        _ => None,
    }
}
