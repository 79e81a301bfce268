//! What readers see: the controller's knowledge between two passes, and how the engine itself is.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    model::{ScopeName, Spec},
    ports::{Clock, Forge, RateLimit, StoreError},
    world::World,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    tasks::{TaskStatus, Tasks},
    timings::{Recorder, Timings},
};

/// What a scope's credential has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeUse {
    /// What it may still ask, as of GitHub's newest answer; `None` before the first.
    pub rate_limit: Option<RateLimit>,
    /// Requests sent.
    pub requests: u64,
    /// Polls among them that came back empty.
    pub empty_polls: u64,
}

/// The controller's knowledge, as it is between two passes.
pub struct View<'a> {
    /// What the user wants.
    pub spec: &'a Spec,
    /// What is known.
    pub world: &'a World,
    /// The controller's clock.
    pub now: Timestamp,
    /// Why the newest commit failed; `None` while the store works. Until it works again no effect begins.
    pub store_error: Option<&'a StoreError>,
    engine: &'a Instruments,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        spec: &'a Spec,
        world: &'a World,
        store_error: Option<&'a StoreError>,
        engine: &'a Instruments,
    ) -> Self {
        Self { spec, world, now: engine.clock.now(), store_error, engine }
    }

    /// How fast the loop is.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.engine.recorder.timings()
    }

    /// What each scope's credential has used.
    #[must_use]
    pub fn scopes(&self) -> BTreeMap<ScopeName, ScopeUse> {
        let uses = self.engine.forges.iter().map(|(name, forge)| {
            let (requests, empty_polls) = forge.requests();
            (name.clone(), ScopeUse { rate_limit: forge.rate_limit(), requests, empty_polls })
        });
        uses.collect()
    }

    /// How each named task is.
    #[must_use]
    pub fn tasks(&self) -> BTreeMap<String, TaskStatus> {
        self.engine.tasks.status()
    }
}

/// What the engine knows of itself.
pub(crate) struct Instruments {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) forges: BTreeMap<ScopeName, Arc<dyn Forge>>,
    pub(crate) recorder: Recorder,
    pub(crate) tasks: Tasks,
}
