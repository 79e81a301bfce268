//! JIT configurations between mint and hand-over: in memory, and nowhere else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dayfly_core::{model::RunnerName, ports::JitConfig};

/// JIT configurations by runner. Whoever takes one out is the last to have it. Must never print or store one.
#[derive(Clone, Default)]
pub(crate) struct Vault(Arc<Mutex<BTreeMap<RunnerName, JitConfig>>>);

impl Vault {
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
