//! A stateful GitHub, as far as runners see it, with an HTTP face: for the demo, the tests and the measurements.
//!
//! [`Sim`] is a pure state machine: requests and the time go in, answers come out; the same seed and the same calls give the same
//! bytes. [`serve`] puts it behind HTTP, on the wall clock. Its wire types are its own and must never be those of the client that is
//! tested against it: shared types would hide a shared mistake. Where GitHub is not documented and the behaviour is a guess, the code
//! says so beside it. The control API is described at [`control`].

mod agent;
mod answer;
mod broker;
mod call;
pub mod control;
#[cfg(feature = "client")]
mod control_client;
mod courier;
mod credential;
mod delivery;
mod direct;
mod downloads;
mod faults;
mod group;
mod hold;
mod hook;
mod http_face;
mod ids;
mod jit;
mod job;
mod journal;
mod message;
mod moment;
mod options;
mod payload;
mod program;
mod rate_limit;
mod refusal;
mod rest;
mod rest_hooks;
mod rest_repos;
mod rest_runners;
mod rest_runs;
mod route;
mod run;
mod runner;
mod scale_set;
mod scope;
mod session;
mod sim;
mod state;
mod timer;
mod token;
mod waiting;
mod workflow_job;

pub use answer::Answer;
#[cfg(feature = "client")]
pub use control_client::{ControlClient, ControlError};
pub use credential::{CreatedCredential, CredentialSpec};
pub use delivery::Outgoing;
pub use direct::{Heard, JobFacts, JobPlace, RunnerFacts, RunnerRefused, SetFacts};
pub use faults::{Action, FaultSpec};
pub use http_face::{Server, serve};
pub use ids::{
    CredentialId, DeliveryId, FaultId, GroupId, HoldId, HookId, JobId, RunId, RunnerId, ScopeId,
    SetId,
};
pub use job::Conclusion;
pub use journal::{Counter, Entry};
pub use options::{Options, SimConfig};
pub use program::{ServeError, SimArgs, run};
pub use route::Kind;
pub use run::{QueueSpec, Queued};
pub use scope::{Assignment, ScopeKind, ScopeSpec};
pub use sim::Sim;
pub use workflow_job::{WorkflowJob, WorkflowStep};
