//! What people and programs are shown: what there is, what is waited for, and until when.
//!
//! Every view is made anew from the world and the spec, by the same functions that the planner decides with; nothing
//! here is kept, and nothing decides.

mod condition;
mod explain;
mod job_address;
mod jobs;
mod listed;
mod places;
mod plan_view;
mod runners;
mod status;
mod workflow_job;

pub use condition::{Condition, ConditionKind, pool_conditions};
pub use explain::{Explanation, NotKnown, explain};
pub use job_address::JobAddress;
pub use jobs::{JobView, jobs};
pub use listed::explain_listed;
pub use plan_view::{PlanView, PoolPlan, plan_view};
pub use runners::{RunnerView, runners};
pub use status::{BackendStatus, PoolStatus, ScopeStatus, Status, status};
