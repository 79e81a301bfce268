//! What the engine is given to work with.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dayfly_core::{
    model::{BackendName, ScopeName},
    ports::{Backend, Clock, EventSink, Forge, Ids, Store},
};

/// The outside world, as traits.
pub struct Ports {
    /// GitHub, one for each scope of the configuration.
    pub forges: BTreeMap<ScopeName, Arc<dyn Forge>>,
    /// The engines, one for each backend of the configuration.
    pub backends: BTreeMap<BackendName, Arc<dyn Backend>>,
    /// The disk, already loaded once.
    pub store: Box<dyn Store>,
    /// Where the store is called.
    pub store_driver: StoreDriver,
    /// Steady time.
    pub clock: Arc<dyn Clock>,
    /// Where new names come from.
    pub ids: Box<dyn Ids>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
}

/// Where the store's blocking calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreDriver {
    /// In the controller's own task: for a store that never blocks, where one thread must do everything in a fixed
    /// order.
    Inline,
    /// As [`Self::Inline`], and each commit takes this long: half of it before the disk has the batch, half before anybody
    /// hears of it. A slow disk, where time is simulated.
    Paced(Duration),
    /// On a thread for blocking calls, one commit at a time, so that the controller takes in what happens while the
    /// disk syncs: what gathers meanwhile is the next commit.
    Thread,
}
