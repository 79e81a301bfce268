//! How a runner's instance goes on.

use jiff::Timestamp;

use super::{InvalidTransition, Runner};
use crate::model::{Exit, Instance, InstanceId};

impl Runner {
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
            let ended = matches!(self.instance, Instance::Ended { .. } | Instance::Removing { .. });
            self.instance = Instance::Gone { since: now, ended };
        }
        self.instance_attempt = None;
        self
    }
}
