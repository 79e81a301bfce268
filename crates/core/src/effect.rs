//! Effects: the calls that a plan begins; and outcomes: what came of them. Data only.
//!
//! Every effect has one [`Flight`]: while an effect is under way, no second one with the same flight begins.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    model::{
        BackendName, Capacity, Exit, InstanceId, InstanceSpec, Message, MessageId, PoolName,
        RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, ScopeName, SessionId, Sign,
        Statistics, WorkflowJob, WorkflowJobId,
    },
    ports::{BackendError, CaughtUp, ForgeError, InstanceRecord, RunnerRecord, ScaleSetRecord},
};

/// A call on a backend, for one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceCall {
    /// Make the instance.
    Create(Arc<InstanceSpec>),
    /// Look it up by name.
    Inspect,
    /// Deliver the JIT configuration that the engine holds for the runner.
    HandOver(InstanceId),
    /// Destroy it; absent is success.
    Destroy {
        /// After the removal's deadline: whatever it takes.
        force: bool,
    },
}

/// As what a runner registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// As one of a scale set.
    ScaleSet(ScaleSetId),
    /// By itself: GitHub gives it any job that asks for labels of its own.
    Alone {
        /// Its runner group.
        group: RunnerGroupId,
        /// Its labels.
        labels: Arc<[String]>,
    },
}

/// A call on GitHub for one runner's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationCall {
    /// Make it.
    Mint(Membership),
    /// Look it up by name.
    Find,
    /// Remove it.
    Remove(RegistrationId),
}

/// A call on GitHub for a pool's scale set or session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaleSetCall {
    /// The id of the pool's runner group.
    FindGroup(String),
    /// The set of that name in the group.
    Find {
        /// The group.
        group: RunnerGroupId,
        /// The set's name.
        name: String,
    },
    /// Make it.
    Create {
        /// The group.
        group: RunnerGroupId,
        /// The set's name.
        name: String,
        /// Its labels.
        labels: Vec<String>,
    },
    /// Change its labels.
    Update {
        /// Which.
        id: ScaleSetId,
        /// Its group.
        group: RunnerGroupId,
        /// Its name.
        name: String,
        /// Its labels.
        labels: Vec<String>,
    },
    /// Delete it.
    Delete(ScaleSetId),
    /// Open a session.
    OpenSession(ScaleSetId),
    /// Refresh a session: new token, fresh statistics.
    RefreshSession(ScaleSetId, SessionId),
    /// Close a session.
    CloseSession(ScaleSetId, SessionId),
    /// Acquire jobs by their request ids (acquire mode).
    Acquire(ScaleSetId, Vec<i64>),
}

/// A call that a plan begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// On a runner's instance.
    Instance {
        /// The runner.
        runner: RunnerName,
        /// Its backend.
        backend: BackendName,
        /// The call.
        call: InstanceCall,
    },
    /// On a runner's registration.
    Registration {
        /// The runner.
        runner: RunnerName,
        /// Its scope.
        scope: ScopeName,
        /// The call.
        call: RegistrationCall,
    },
    /// On a pool's scale set or session.
    ScaleSet {
        /// The pool.
        pool: PoolName,
        /// Its scope.
        scope: ScopeName,
        /// The call.
        call: ScaleSetCall,
    },
    /// Long poll for a message.
    Poll {
        /// The pool.
        pool: PoolName,
        /// Its scope.
        scope: ScopeName,
        /// The set.
        set: ScaleSetId,
        /// The newest message already seen in this session.
        cursor: MessageId,
        /// The capacity to advertise: a total, running ones included.
        capacity: u32,
    },
    /// Abandon the poll that is under way, because it advertises too little.
    StopPoll {
        /// The pool.
        pool: PoolName,
    },
    /// Delete a message.
    Acknowledge {
        /// The pool.
        pool: PoolName,
        /// Its scope.
        scope: ScopeName,
        /// The set.
        set: ScaleSetId,
        /// The message.
        message: MessageId,
    },
    /// List a backend's instances of this controller.
    ListInstances {
        /// The backend.
        backend: BackendName,
        /// Whether it is asked too how much it has.
        measures: bool,
    },
    /// List a scope's registrations, all of them.
    ListRegistrations {
        /// The scope.
        scope: ScopeName,
    },
    /// List what waits and runs in a scope's repositories, and have failed deliveries of its hooks made again.
    CatchUp {
        /// The scope.
        scope: ScopeName,
        /// The repositories; none: those that were active of late.
        repositories: Vec<String>,
        /// The newest delivery that was looked at.
        cursor: Option<i64>,
    },
    /// Read a workflow job.
    ReadJob {
        /// Its scope.
        scope: ScopeName,
        /// Its repository, `OWNER/REPO`.
        repository: String,
        /// Which.
        job: WorkflowJobId,
    },
}

/// What an effect occupies while it is under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flight {
    /// A runner's instance.
    Instance(RunnerName),
    /// A runner's registration.
    Registration(RunnerName),
    /// A pool's scale set and session.
    ScaleSet(PoolName),
    /// A pool's long poll.
    Poll(PoolName),
    /// The deletion of a message.
    Acknowledge(PoolName, MessageId),
    /// A backend's list.
    ListInstances(BackendName),
    /// A scope's list.
    ListRegistrations(ScopeName),
    /// What waits and runs in a scope.
    CatchUp(ScopeName),
    /// A look at a workflow job.
    ReadJob(ScopeName, WorkflowJobId),
}

impl Effect {
    /// What it occupies; `None` for an effect that has no outcome of its own.
    #[must_use]
    pub fn flight(&self) -> Option<Flight> {
        Some(match self {
            Self::Instance { runner, .. } => Flight::Instance(runner.clone()),
            Self::Registration { runner, .. } => Flight::Registration(runner.clone()),
            Self::ScaleSet { pool, .. } => Flight::ScaleSet(pool.clone()),
            Self::Poll { pool, .. } => Flight::Poll(pool.clone()),
            Self::Acknowledge { pool, message, .. } => Flight::Acknowledge(pool.clone(), *message),
            Self::ListInstances { backend, .. } => Flight::ListInstances(backend.clone()),
            Self::ListRegistrations { scope } => Flight::ListRegistrations(scope.clone()),
            Self::CatchUp { scope, .. } => Flight::CatchUp(scope.clone()),
            Self::ReadJob { scope, job, .. } => Flight::ReadJob(scope.clone(), *job),
            Self::StopPoll { .. } => return None,
        })
    }
}

/// What came of a call on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceOutcome {
    /// The engine made it, or had it already.
    Created {
        /// The engine's id.
        id: InstanceId,
        /// Whether its waiter can already take a registration.
        ready: bool,
    },
    /// What the engine says of the name; `None`: nothing.
    Inspected(Option<InstanceRecord>),
    /// The JIT configuration is in the instance.
    HandedOver,
    /// It is gone.
    Destroyed,
    /// The call failed. A `create` that failed with [`crate::ports::BackendErrorKind::Unknown`] may have happened.
    Failed(BackendError),
}

/// What came of a call on a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationOutcome {
    /// GitHub made it; the engine holds the JIT configuration.
    Minted(RegistrationId),
    /// What GitHub knows of the name.
    Found(Option<RunnerRecord>),
    /// It is removed (204), or GitHub did not know it (404).
    Removed {
        /// Whether GitHub still knew it.
        existed: bool,
    },
    /// The call failed; [`crate::ports::ForgeErrorKind::Busy`] is proof of a job.
    Failed(ForgeError),
}

/// What came of a call on a scale set or session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScaleSetOutcome {
    /// The group's id.
    Group(RunnerGroupId),
    /// The set found, made or changed; `None`: there is none.
    Set(Option<ScaleSetRecord>),
    /// It is deleted, or was unknown.
    Deleted,
    /// The session stands, with fresh statistics.
    Session {
        /// Its id.
        id: SessionId,
        /// The counts.
        statistics: Statistics,
    },
    /// The session is closed, or was unknown.
    SessionClosed,
    /// The request ids that were won.
    Acquired(Vec<i64>),
    /// The call failed.
    Failed(ForgeError),
}

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A call on an instance returned.
    Instance {
        /// The runner.
        runner: RunnerName,
        /// The call it answers.
        call: InstanceCall,
        /// What came of it.
        result: InstanceOutcome,
    },
    /// A call on a registration returned.
    Registration {
        /// The runner.
        runner: RunnerName,
        /// The call it answers.
        call: RegistrationCall,
        /// What came of it.
        result: RegistrationOutcome,
    },
    /// A call on a scale set or session returned.
    ScaleSet {
        /// The pool.
        pool: PoolName,
        /// The call it answers.
        call: ScaleSetCall,
        /// What came of it.
        result: ScaleSetOutcome,
    },
    /// A long poll returned: a message, nothing (202), or an error.
    Polled {
        /// The pool.
        pool: PoolName,
        /// The capacity that it advertised.
        capacity: u32,
        /// What came.
        result: Result<Option<Message>, ForgeError>,
    },
    /// A long poll was abandoned.
    PollStopped {
        /// The pool.
        pool: PoolName,
    },
    /// A message was deleted.
    Acknowledged {
        /// The pool.
        pool: PoolName,
        /// The message.
        message: MessageId,
        /// Whether it worked.
        result: Result<(), ForgeError>,
    },
    /// A backend listed its instances of this controller.
    ListedInstances {
        /// The backend.
        backend: BackendName,
        /// When the list was begun.
        began_at: Timestamp,
        /// The list, complete, or why there is none.
        result: Result<Vec<InstanceRecord>, BackendError>,
        /// How much the backend has, where it was asked.
        capacity: Option<Capacity>,
    },
    /// A scope listed its registrations.
    ListedRegistrations {
        /// The scope.
        scope: ScopeName,
        /// When the list was begun.
        began_at: Timestamp,
        /// The list, complete, or why there is none.
        result: Result<Vec<RunnerRecord>, ForgeError>,
    },
    /// A scope's jobs were caught up on.
    CaughtUp {
        /// The scope.
        scope: ScopeName,
        /// When that was begun.
        began_at: Timestamp,
        /// What waits and runs, or why that is not known.
        result: Result<CaughtUp, ForgeError>,
    },
    /// A workflow job was read.
    JobRead {
        /// Its scope.
        scope: ScopeName,
        /// Which.
        job: WorkflowJobId,
        /// When the look was begun.
        began_at: Timestamp,
        /// What GitHub says; `None`: it does not know it.
        result: Result<Option<Box<WorkflowJob>>, ForgeError>,
    },
    /// A webhook's delivery told of a workflow job.
    Evidence(Box<WorkflowJob>),
    /// A backend's event stream told of an instance.
    InstanceReady {
        /// Whose.
        runner: RunnerName,
    },
    /// A backend's event stream told that an instance's process ended.
    InstanceEnded {
        /// Whose.
        runner: RunnerName,
        /// How.
        exit: Exit,
    },
    /// A runner said something on its console.
    Said {
        /// Who.
        runner: RunnerName,
        /// What.
        sign: Sign,
    },
    /// A backend's event stream broke, or began: what happened meanwhile is unknown, so a list is due.
    WatchBroke {
        /// The backend.
        backend: BackendName,
        /// Why; `None` where it began.
        error: Option<BackendError>,
    },
    /// A user asked for something.
    Command(Command),
}

/// What a user can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Remove a runner.
    Remove {
        /// Which.
        runner: RunnerName,
        /// Even if it is busy.
        even_busy: bool,
    },
    /// Replace a pool's warm and idle runners.
    Flush {
        /// Which pool.
        pool: PoolName,
        /// Its busy runners too.
        even_busy: bool,
    },
    /// Take no more jobs for a pool; busy runners finish.
    Drain(PoolName),
    /// Take jobs again.
    Undrain(PoolName),
    /// Remove a pool's runners, session and scale set.
    DeletePool(PoolName),
    /// The daemon ends: take no more jobs, close the sessions, leave the rest as it is.
    Stop,
}
