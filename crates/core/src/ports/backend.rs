//! An engine that makes instances.

use jiff::Timestamp;

use super::{BoxFuture, JitConfig};
use crate::model::{
    Capacity, ControllerId, Exit, InstanceId, InstanceSpec, PoolName, RunnerName, Sign,
};

/// How a JIT configuration reaches an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// We send it to a waiter in the instance.
    Push,
}

/// What a backend can do. Constant for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// How a JIT configuration reaches an instance.
    pub hand_over: HandOver,
    /// How many create calls may be under way at once.
    pub creates_max: u32,
    /// How many instances it can be expected to have ready within four minutes, beyond those it has.
    pub ready_in_four_minutes: u32,
    /// Whether an instance is usually ready within 30 seconds, so that the mint may start with the boot.
    pub boots_fast: bool,
    /// Whether names are unique at the engine: a second create under a name finds what the first one made, ends it
    /// where it was half made, and never makes a double. Then a create in doubt is settled by creating again; else by
    /// looking it up.
    pub names_are_unique: bool,
}

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct CreateRequest<'a> {
    /// The runner, whose name the instance bears.
    pub runner: &'a RunnerName,
    /// Its pool, for the tag.
    pub pool: &'a PoolName,
    /// From what.
    pub spec: &'a InstanceSpec,
}

/// An instance just made, or found to exist already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The engine's id.
    pub id: InstanceId,
    /// Whether its waiter can already take a registration.
    pub ready: bool,
}

/// What an engine tells of an instance's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceStatus {
    /// Made, or being made; not ready.
    Booting,
    /// Its waiter can take a registration, or has taken one.
    Running,
    /// Its process has ended.
    Ended(Exit),
    /// It is there by its name, and the part of the engine that has it can't be reached: nothing is known of it but that, not
    /// even whose it is. The record's id and time say nothing.
    Away,
}

/// What an engine tells of an instance that bears this controller's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Its name; by our tag and form a runner's.
    pub runner: RunnerName,
    /// The engine's id.
    pub id: InstanceId,
    /// Its state.
    pub status: InstanceStatus,
    /// When the engine made it, where it tells.
    pub created_at: Option<Timestamp>,
}

/// What a backend's event stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceEvent {
    /// The waiter can take a registration.
    Ready(RunnerName),
    /// The runner said something on its console. All signs of an instance come before its `Ended`.
    Said(RunnerName, Sign),
    /// The process ended. Where an engine takes doubles of a name: the last that lived.
    Ended(RunnerName, Exit),
}

/// Takes a backend's events; must not block.
pub type WatchSink<'a> = &'a (dyn Fn(InstanceEvent) + Send + Sync);

/// What kind of failure: what the planner needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendErrorKind {
    /// No room now.
    NoCapacity,
    /// A quota is used up.
    Quota,
    /// The image, or the program that goes into it, is not there and can't be fetched.
    ImageMissing,
    /// The engine refuses us, or what is asked.
    NotAllowed,
    /// The engine can't be reached: nothing was done.
    Unreachable,
    /// The call may have had its effect: no answer, or a half one.
    Unknown,
    /// Try again later; nothing was done.
    Transient,
}

/// A failed call on an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct BackendError {
    /// What kind.
    pub kind: BackendErrorKind,
    /// What was asked, and of what: "create container linux-small-…".
    pub operation: String,
    /// The engine's own words, and what to do; at most 2,000 characters.
    pub detail: String,
}

/// One line of a `check`: what was tried, what came of it, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub what: String,
    /// What came of it: in order (`Ok`, with a detail), or what is wrong and what to do.
    pub result: Result<String, String>,
    /// The exit code of `check` if this is what fails (DESIGN.md: 4 credentials, 5 backend, …).
    pub exit_code: u8,
}

/// An engine that makes instances. Every instance bears its runner's name, the controller's id and the pool's name as
/// tags; nothing without the controller's tag is ever listed or touched.
pub trait Backend: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Whose tag the instances bear.
    fn controller(&self) -> ControllerId;

    /// Every instance of this controller: whole or an error, never a part.
    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>>;

    /// How much it has for instances, in all: what a budget may be set to by itself.
    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>>;

    /// One instance of this controller, by name.
    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>>;

    /// Makes an instance and starts its waiter. One that exists already by that name and bears our tag is returned.
    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>>;

    /// Delivers a JIT configuration to the instance's waiter. Once at most, by the planner's care.
    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Destroys an instance and all that belongs to it; absent is success.
    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Follows what happens to this controller's instances until the stream breaks, which is the error. Calls `began`
    /// once it follows. May miss anything: a list follows each break.
    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError>;

    /// The last lines of an instance's output, at most 200, each cut to 500 characters.
    fn console<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>>;

    /// Tries the engine and what the instances need (image, runtime, network) for real.
    fn check<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>>;
}
