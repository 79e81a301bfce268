//! A runner: one instance and, once a job is near, its one registration.

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    BackendName, Exit, Instance, InstanceId, JobId, PoolName, Proof, Reason, Registration,
    RegistrationId, RunnerName, Share, later,
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

    /// The create call is made.
    ///
    /// # Errors
    /// Where the instance is neither planned nor in doubt.
    pub fn creating(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.instance {
            Instance::Planned { .. } => {
                self.instance = Instance::Creating { since: now };
                Ok(self)
            }
            // Again, under the same name: its deadline counts from the first call.
            Instance::Creating { .. } => Ok(self),
            _ => Err(self.refuse("creating")),
        }
    }

    /// The engine has the instance.
    ///
    /// # Errors
    /// Where it was already known, or is on its way out.
    pub fn created(
        mut self,
        id: InstanceId,
        ready: bool,
        now: Timestamp,
    ) -> Result<Self, InvalidTransition> {
        match self.instance {
            Instance::Planned { .. } | Instance::Creating { .. } => {
                self.instance = if ready {
                    Instance::Ready { since: now, id }
                } else {
                    Instance::Booting { since: now, id }
                };
                self.instance_attempt = None;
                Ok(self)
            }
            _ => Err(self.refuse("booting")),
        }
    }

    /// The waiter can take a registration.
    ///
    /// # Errors
    /// Where the instance does not boot.
    pub fn ready(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.instance {
            Instance::Booting { id, .. } => {
                self.instance = Instance::Ready { since: now, id };
                Ok(self)
            }
            _ => Err(self.refuse("ready")),
        }
    }

    /// The engine proved that the instance's process has ended.
    ///
    /// # Errors
    /// Where that was known already.
    pub fn ended(mut self, exit: Exit, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.instance {
            Instance::Ended { .. }
            | Instance::Gone { .. }
            | Instance::Removing { exit: Some(_), .. } => Err(self.refuse("ended")),
            Instance::Removing { since, exit: None } => {
                self.instance = Instance::Removing { since, exit: Some(exit) };
                Ok(self)
            }
            _ => {
                self.instance = Instance::Ended { since: now, exit };
                Ok(self)
            }
        }
    }

    /// The only create call was refused: no process of it lives. What is half made is to be destroyed all the same.
    #[must_use]
    pub fn never_lived(self, now: Timestamp) -> Self {
        self.clone().ended(Exit::default(), now).unwrap_or(self)
    }

    /// The instance is to be destroyed.
    ///
    /// # Errors
    /// Where it is being destroyed, or is gone.
    pub fn destroying(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        let exit = match self.instance {
            Instance::Removing { .. } | Instance::Gone { .. } => {
                return Err(self.refuse("removing"));
            }
            Instance::Ended { exit, .. } => Some(exit),
            _ => None,
        };
        self.instance = Instance::Removing { since: now, exit };
        self.instance_attempt = None;
        Ok(self)
    }

    /// The engine has nothing of the instance.
    #[must_use]
    pub fn instance_gone(mut self, now: Timestamp) -> Self {
        if self.instance.may_exist() {
            self.instance = Instance::Gone { since: now };
        }
        self.instance_attempt = None;
        self
    }

    /// A mint is begun.
    ///
    /// # Errors
    /// Where there is a registration already, or the instance can take none any more.
    pub fn minting(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        let fresh = matches!(self.registration, Registration::None | Registration::Gone { .. });
        let usable = matches!(
            self.instance,
            Instance::Planned { .. }
                | Instance::Creating { .. }
                | Instance::Booting { .. }
                | Instance::Ready { .. }
        );
        if !fresh || !usable || self.retiring.is_some() {
            return Err(self.refuse("minting"));
        }
        self.registration = Registration::Minting { since: now };
        Ok(self)
    }

    /// GitHub made the registration; its JIT configuration is in memory.
    ///
    /// # Errors
    /// Where no mint was begun.
    pub fn minted(mut self, id: RegistrationId, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.registration {
            Registration::Minting { .. } => {
                self.registration = Registration::Held { since: now, id };
                self.registration_attempt = None;
                Ok(self)
            }
            _ => Err(self.refuse("held")),
        }
    }

    /// The hand-over begins: the instance is spent.
    ///
    /// # Errors
    /// Where the instance is not ready, or no registration is held.
    pub fn handing_over(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match (&self.instance, &self.registration) {
            (Instance::Ready { id: instance, .. }, Registration::Held { id, .. })
                if self.retiring.is_none() =>
            {
                let (instance, id) = (instance.clone(), *id);
                if !planted(Bug::SpentInstanceReused) {
                    self.instance = Instance::Spent { since: now, id: instance };
                }
                self.registration = Registration::HandingOver { since: now, id };
                Ok(self)
            }
            _ => Err(self.refuse("handing over")),
        }
    }

    /// The instance has the JIT configuration.
    ///
    /// # Errors
    /// Where no hand-over is under way; the runner may have shown itself before the call returned.
    pub fn handed_over(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.registration {
            Registration::HandingOver { id, .. } => {
                self.registration = Registration::HandedOver { since: now, id };
                Ok(self)
            }
            _ => Err(self.refuse("handed over")),
        }
    }

    /// The runner waits for a job.
    ///
    /// # Errors
    /// Where it was never handed over, or is known to be online or busy.
    pub fn online(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.registration {
            Registration::HandingOver { id, .. } | Registration::HandedOver { id, .. } => {
                self.registration = Registration::Online { since: now, id };
            }
            Registration::InDoubt { id: Some(id), .. } => {
                self.registration = Registration::Online { since: now, id }
            }
            _ => return Err(self.refuse("online")),
        }
        self.online_since.get_or_insert(now);
        Ok(self.spent(now))
    }

    /// The runner has a job. A second word of the same job adds what was not known.
    ///
    /// # Errors
    /// Where it can have none, or all this was known.
    pub fn busy(mut self, job: Option<JobId>, now: Timestamp) -> Result<Self, InvalidTransition> {
        // Its process ended before the news of its job came: it works, and its registration is still to go.
        if !self.instance.may_live() {
            if self.had_job || !self.registration.may_exist() {
                return Err(self.refuse("busy"));
            }
            self.had_job = true;
            return Ok(self);
        }
        match self.registration {
            Registration::HandingOver { id, .. }
            | Registration::HandedOver { id, .. }
            | Registration::Online { id, .. }
            | Registration::InDoubt { id: Some(id), .. } => {
                self.registration = Registration::Busy { since: now, id, job, completed_at: None };
            }
            // GitHub did not let go of it. One that is being destroyed never had its configuration.
            Registration::Removing { id: Some(id), proof: Proof::Removal, .. }
                if !matches!(self.instance, Instance::Removing { .. }) =>
            {
                self.registration = Registration::Busy { since: now, id, job, completed_at: None };
            }
            Registration::Busy { since, id, job: None, completed_at } if job.is_some() => {
                self.registration = Registration::Busy { since, id, job, completed_at };
            }
            // GitHub called the first job off and the runner took another one (F7).
            Registration::Busy { id, job: Some(before), completed_at: Some(_), .. }
                if job.as_ref().is_some_and(|job| *job != before) =>
            {
                self.registration = Registration::Busy { since: now, id, job, completed_at: None };
            }
            _ => return Err(self.refuse("busy")),
        }
        self.had_job = true;
        Ok(self.spent(now))
    }

    /// Whoever shows itself has the configuration, whatever we know of its hand-over.
    fn spent(mut self, now: Timestamp) -> Self {
        if let Instance::Booting { id, .. } | Instance::Ready { id, .. } = self.instance {
            self.instance = Instance::Spent { since: now, id };
        }
        self
    }

    /// A message, or the runner itself, says that the job is complete. The runner's own exit ends the instance (F7).
    ///
    /// # Errors
    /// Where it has no job, or that was known.
    pub fn job_completed(mut self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self.registration {
            Registration::Busy { since, id, job, completed_at: None } => {
                self.registration = Registration::Busy { since, id, job, completed_at: Some(now) };
                Ok(self)
            }
            _ => Err(self.refuse("complete")),
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

    /// The registration is to be proved gone.
    #[must_use]
    pub fn deregistering(mut self, proof: Proof, now: Timestamp) -> Self {
        self.registration = match self.registration {
            Registration::None => Registration::None,
            Registration::Gone { since } => Registration::Gone { since },
            other => Registration::Removing { since: now, id: other.id(), proof },
        };
        self
    }

    /// GitHub does not know the registration.
    #[must_use]
    pub fn registration_gone(mut self, now: Timestamp) -> Self {
        if self.registration.may_exist() {
            self.registration = Registration::Gone { since: now };
        }
        self.registration_attempt = None;
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
