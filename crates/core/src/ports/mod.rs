//! The traits through which dayfly reaches GitHub, the engines, the disk and the clock. Declarations only.

mod backend;
mod clock;
mod forge;
mod store;
mod transport;

use std::{future::Future, pin::Pin};

pub use backend::{
    Backend, BackendError, BackendErrorKind, Capabilities, CreateRequest, Created, Finding,
    HandOver, InstanceEvent, InstanceRecord, InstanceStatus, WatchSink,
};
pub use clock::{Clock, EventSink, Ids};
pub use forge::{
    CaughtUp, Forge, ForgeError, ForgeErrorKind, JitConfig, JobRecord, LeftOut, Minted, Permission,
    RateLimit, RunnerRecord, ScaleSetRecord, Session,
};
pub use store::{Batch, JobKey, Store, StoreError, StoreErrorKind, Stored};
pub use transport::{Transport, TransportError};

/// A future that can cross threads, boxed so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
