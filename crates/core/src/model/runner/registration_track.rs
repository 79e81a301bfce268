//! How a runner's registration goes on.

use jiff::Timestamp;

use super::{InvalidTransition, Runner};
use crate::{
    model::{Instance, JobId, Proof, Registration, RegistrationId},
    planted::{Bug, planted},
};

impl Runner {
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
            | Registration::Online { id, .. } => {
                let id = Some(id);
                self.registration = Registration::Busy { since: now, id, job, completed_at: None };
            }
            Registration::InDoubt { id, .. } => {
                self.registration = Registration::Busy { since: now, id, job, completed_at: None };
            }
            // GitHub did not let go of it. One that is being destroyed never had its configuration.
            Registration::Removing { id, .. }
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
}
