//! The nouns of dayfly: scopes, pools, jobs, runners with their two tracks, and what is remembered of GitHub's side.

mod event;
mod ids;
mod image;
mod job;
mod lxd;
mod place;
mod program;
mod reason;
mod registration;
mod runner;
mod scale_set;
mod scope;
mod sign;
mod spec;
mod trouble;
mod workflow_job;

mod instance;

pub use event::{Event, EventKind};
pub use ids::{
    BackendName, ControllerId, InstanceId, InvalidName, JobId, MessageId, PoolName, RegistrationId,
    RunnerGroupId, RunnerName, ScaleSetId, ScopeName, SessionId, Suffix,
};
pub use image::{InstanceSpec, Mount, PullPolicy};
pub use instance::{Exit, Instance};
pub use job::{Job, JobEntry, JobEntryKind, JobState};
pub use lxd::{Fence, LxdKind, LxdSpec};
pub use place::{Budget, Capacity, Detected, LOAD_WHOLE, Place, Placement, Share, Used};
pub use program::{Program, ProgramState};
pub use reason::Reason;
pub use registration::{Proof, Registration};
pub use runner::{Attempt, InvalidTransition, Phase, Retiring, Runner};
pub use scale_set::{Message, PoolState, ScaleSetTrack, SessionTrack, Statistics};
pub use scope::ScopeState;
pub use sign::Sign;
pub use spec::{
    Deadlines, DemandSource, Limits, PoolSpec, ScaleSetSpec, Schedule, ScopeKind, ScopeSpec, Spec,
};
pub use trouble::{FAILURES_TO_PAUSE, Trouble, TroubleKey, later};
pub use workflow_job::{TrackedJob, WorkflowJob, WorkflowJobId, WorkflowJobStatus};
