//! The lock of a store in memory, for whoever plays the disk: one holder at a time, as with a file.

use std::sync::{Arc, Weak};

use dayfly_core::{
    planted::{Bug, planted},
    ports::{StoreError, StoreErrorKind},
};

use crate::error::Name;

/// The lock.
#[derive(Debug, Default)]
pub struct MemoryLock(Weak<()>);

/// Whoever has this has the store; its end frees it, however that comes.
#[derive(Debug)]
pub struct MemoryHold {
    _held: Arc<()>,
}

impl MemoryLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// `Locked` while somebody has it.
    pub fn take(&mut self) -> Result<MemoryHold, StoreError> {
        if self.0.strong_count() > 0 && !planted(Bug::StoreLockIgnored) {
            let detail = "another dayfly has it";
            return Err(Name::in_memory().error("lock", StoreErrorKind::Locked, detail));
        }
        let held = Arc::new(());
        self.0 = Arc::downgrade(&held);
        Ok(MemoryHold { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_at_a_time() {
        let mut lock = MemoryLock::default();
        let first = lock.take().unwrap();
        assert_eq!(lock.take().unwrap_err().kind, StoreErrorKind::Locked);
        assert_eq!(lock.take().unwrap_err().kind, StoreErrorKind::Locked);
        drop(first);
        lock.take().unwrap();
    }
}
