//! A runner: one instance and, once a job is near, its one registration.

mod instance_track;
mod registration_track;

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    BackendName, Instance, JobId, PoolName, Proof, Reason, Registration, RunnerName, Share, later,
};
use crate::planted::{Bug, planted};

/// A transition that the state does not allow: late or doubled news. It is reported and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "runner {runner} cannot become {to}: its instance is {instance}, its registration {registration}"
)]
pub struct InvalidTransition {
    /// The runner.
    pub runner: RunnerName,
    /// What it was to become.
    pub to: &'static str,
    /// The state of its instance.
    pub instance: &'static str,
    /// The state of its registration.
    pub registration: &'static str,
}

/// The phase that people see: a function of the two tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The row is stored.
    Planned,
    /// The engine was asked.
    Creating,
    /// The instance boots.
    Booting,
    /// Booted, unregistered, ready to take a registration.
    Warm,
    /// Its registration is under way.
    Starting,
    /// It waits for a job.
    Online,
    /// It runs a job.
    Busy,
    /// It is being removed.
    Removing,
    /// Nothing of it is left.
    Gone,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Creating => "creating",
            Self::Booting => "booting",
            Self::Warm => "warm",
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Removing => "removing",
            Self::Gone => "gone",
        })
    }
}

/// That a runner is to go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retiring {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Whether a user said that even a busy one goes (`--busy`).
    pub even_busy: bool,
}

/// Attempts at a call for one runner that failed, and when the next is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How many failed in a row.
    pub failures: u32,
    /// No attempt before this time.
    pub next_at: Timestamp,
    /// What the other side said.
    pub error: String,
}

impl Attempt {
    /// The next failure: waits of 1, 2, 4 … 60 seconds.
    #[must_use]
    pub fn after(before: Option<&Self>, error: &str, now: Timestamp) -> Self {
        let failures = before.map_or(0, |attempt| attempt.failures).saturating_add(1);
        let wait =
            SignedDuration::from_secs(1 << (failures - 1).min(6)).min(SignedDuration::from_mins(1));
        let wait = if planted(Bug::NoWaitBetweenAttempts) { SignedDuration::ZERO } else { wait };
        Self { failures, next_at: later(now, wait), error: error.chars().take(2_000).collect() }
    }
}

/// A runner, as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The name of the runner, its instance and its registration.
    pub name: RunnerName,
    /// The backend that makes its instance.
    pub backend: BackendName,
    /// Mark of what the instance was made from ([`super::InstanceSpec::mark`]).
    pub mark: Arc<str>,
    /// What it takes of its backend's budget. Nothing for what no row was known of, which counts as a runner alone.
    #[serde(default, skip_serializing_if = "Share::is_nothing")]
    pub share: Share,
    /// Grows by one with every commit of the row; a commit compares it.
    pub generation: u64,
    /// When the row was made.
    pub created_at: Timestamp,
    /// The first track.
    pub instance: Instance,
    /// The second track.
    pub registration: Registration,
    /// Whether it is to go.
    pub retiring: Option<Retiring>,
    /// Whether it ever had a job.
    pub had_job: bool,
    /// Whether it ever waited for a job, and since when.
    pub online_since: Option<Timestamp>,
    /// Failed attempts on the instance.
    pub instance_attempt: Option<Attempt>,
    /// Failed attempts on the registration.
    pub registration_attempt: Option<Attempt>,
}

impl Runner {
    /// A new row: the intent to make an instance.
    #[must_use]
    pub fn planned(name: RunnerName, backend: BackendName, mark: Arc<str>, now: Timestamp) -> Self {
        Self {
            name,
            backend,
            mark,
            share: Share::default(),
            generation: 0,
            created_at: now,
            instance: Instance::Planned { since: now },
            registration: Registration::None,
            retiring: None,
            had_job: false,
            online_since: None,
            instance_attempt: None,
            registration_attempt: None,
        }
    }

    /// The row of an instance or a registration that bears our tag and that the store did not know.
    #[must_use]
    pub fn orphan(
        name: RunnerName,
        backend: BackendName,
        instance: Instance,
        now: Timestamp,
    ) -> Self {
        let mut runner = Self::planned(name, backend, "".into(), now);
        runner.instance = instance;
        if !planted(Bug::OrphanGateSkipped) {
            runner.registration = Registration::InDoubt { since: now, id: None };
        }
        runner.retiring = Some(Retiring { since: now, reason: Reason::Orphan, even_busy: false });
        runner
    }

    /// The pool it belongs to.
    #[must_use]
    pub fn pool(&self) -> PoolName {
        self.name.pool()
    }

    /// The phase that people see.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if !self.instance.may_exist() && !self.registration.may_exist() {
            return Phase::Gone;
        }
        let leaves = matches!(
            self.instance,
            Instance::Ended { .. } | Instance::Removing { .. } | Instance::Gone { .. }
        );
        let usable = matches!(
            self.instance,
            Instance::Planned { .. }
                | Instance::Creating { .. }
                | Instance::Booting { .. }
                | Instance::Ready { .. }
        );
        // A registration that is taken back leaves a usable instance where it is.
        let taken_back = usable && self.retiring.is_none();
        if leaves || !taken_back && matches!(self.registration, Registration::Removing { .. }) {
            return Phase::Removing;
        }
        match (&self.registration, &self.instance) {
            (Registration::Busy { .. }, _) => Phase::Busy,
            _ if self.retiring.is_some() => Phase::Removing,
            (Registration::Online { .. }, _) => Phase::Online,
            (_, Instance::Planned { .. }) => Phase::Planned,
            (_, Instance::Creating { .. }) => Phase::Creating,
            (_, Instance::Booting { .. }) => Phase::Booting,
            (Registration::None | Registration::Gone { .. }, Instance::Ready { .. }) => Phase::Warm,
            _ => Phase::Starting,
        }
    }

    /// The job it runs, where a message told it.
    #[must_use]
    pub fn job(&self) -> Option<&JobId> {
        match &self.registration {
            Registration::Busy { job, .. } => job.as_ref(),
            _ => None,
        }
    }

    /// Whether a job is known to run on it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self.registration, Registration::Busy { .. })
    }

    fn refuse(&self, to: &'static str) -> InvalidTransition {
        InvalidTransition {
            runner: self.name.clone(),
            to,
            instance: self.instance.word(),
            registration: self.registration.word(),
        }
    }

    /// The daemon restarted: what was under way with GitHub is lost, and with it every JIT configuration.
    #[must_use]
    pub fn restarted(mut self, now: Timestamp) -> Self {
        self.registration = match self.registration {
            // Crash between the mint and the hand-over: nobody can ever use that registration.
            Registration::Minting { .. } => {
                Registration::Removing { since: now, id: None, proof: Proof::Removal }
            }
            Registration::Held { id, .. } if !planted(Bug::ConfigurationStored) => {
                Registration::Removing { since: now, id: Some(id), proof: Proof::Removal }
            }
            // Crash in the hand-over: the instance may have the configuration or not.
            Registration::HandingOver { id, .. } => {
                Registration::InDoubt { since: now, id: Some(id) }
            }
            other => other,
        };
        self.instance_attempt = None;
        self.registration_attempt = None;
        self
    }

    /// The clock jumped, or the daemon was away for long: deadlines begin anew, and a job's time counts only as far as
    /// it was seen elapsing.
    #[must_use]
    pub fn rebased(mut self, last_seen: Option<Timestamp>, now: Timestamp) -> Self {
        if let Instance::Planned { since }
        | Instance::Creating { since }
        | Instance::Booting { since, .. }
        | Instance::Ready { since, .. } = &mut self.instance
        {
            *since = now;
        }
        match &mut self.registration {
            Registration::HandedOver { since, .. } | Registration::Online { since, .. } => {
                *since = now;
            }
            Registration::Busy { since, .. } => {
                let seen =
                    last_seen.map_or(SignedDuration::ZERO, |last| last.duration_since(*since));
                *since = later(now, -seen.max(SignedDuration::ZERO));
            }
            _ => {}
        }
        if self.online_since.is_some() {
            self.online_since = Some(now);
        }
        // Set back: nothing is known since later.
        self.created_at = self.created_at.min(now);
        if let Some(retiring) = &mut self.retiring {
            retiring.since = retiring.since.min(now);
        }
        self.instance = self.instance.not_after(now);
        self.registration = self.registration.not_after(now);
        self
    }

    /// The runner is to go. The first reason stays, but for one that goes further.
    #[must_use]
    pub fn retire(mut self, reason: Reason, even_busy: bool, now: Timestamp) -> Self {
        match &mut self.retiring {
            Some(retiring) => {
                retiring.even_busy |= even_busy;
                if reason.overrides_busy() {
                    retiring.reason = reason;
                }
            }
            None => self.retiring = Some(Retiring { since: now, reason, even_busy }),
        }
        self
    }
}
