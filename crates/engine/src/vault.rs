//! JIT configurations between mint and hand-over: in memory, and nowhere else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[cfg(feature = "mutants")]
use dayfly_core::planted::{Bug, planted};
use dayfly_core::{model::RunnerName, ports::JitConfig};

/// JIT configurations by runner. Whoever takes one out is the last to have it. Must never print or store one.
#[derive(Clone, Default)]
pub(crate) struct Vault(Arc<Mutex<BTreeMap<RunnerName, JitConfig>>>);

/// The vault of all lives of the daemon: a planted bug, which keeps configurations as a store would.
#[cfg(feature = "mutants")]
static STORED: std::sync::LazyLock<Vault> = std::sync::LazyLock::new(Vault::default);

impl Vault {
    /// An empty one.
    pub(crate) fn new() -> Self {
        #[cfg(feature = "mutants")]
        if planted(Bug::ConfigurationStored) {
            return STORED.clone();
        }
        Self::default()
    }

    /// Keeps a runner's configuration until its hand-over.
    pub(crate) fn keep(&self, runner: RunnerName, jit: JitConfig) {
        self.held().insert(runner, jit);
    }

    /// Takes a runner's configuration out, for its hand-over or for good.
    pub(crate) fn take(&self, runner: &RunnerName) -> Option<JitConfig> {
        self.held().remove(runner)
    }

    // Only map operations happen under the lock, and none can panic halfway: a poisoned map is whole.
    fn held(&self) -> MutexGuard<'_, BTreeMap<RunnerName, JitConfig>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
