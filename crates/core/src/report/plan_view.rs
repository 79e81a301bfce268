//! What the controller would do now, and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    condition::{Condition, pool_conditions},
    status::shown,
};
use crate::{
    model::{DemandSource, Spec},
    plan::{Census, demand, target_of},
    world::World,
};

/// What the controller would do now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Pool by pool.
    pub pools: Vec<PoolPlan>,
}

/// What would be done for a pool, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolPlan {
    /// The pool.
    pub pool: String,
    /// How the number of runners comes about, in one sentence.
    pub because: String,
    /// What would be done now; empty in a quiet world.
    pub actions: Vec<String>,
    /// What is waited for.
    pub waits_for: Vec<Condition>,
}

/// What the controller would do now, and why. Nothing is done.
#[must_use]
pub fn plan_view(world: &World, spec: &Spec, now: Timestamp) -> PlanView {
    PlanView { pools: world.pools().map(|pool| pool_plan(world, spec, pool, now)).collect() }
}

fn pool_plan(world: &World, spec: &Spec, pool: &crate::world::Pool, now: Timestamp) -> PoolPlan {
    let census = Census::of(pool);
    let jobs = demand(pool, &census, now);
    let Some(of) = spec.pools.get(&pool.state.name) else {
        return PoolPlan {
            pool: pool.state.name.to_string(),
            because: "it is not in the configuration: its runners go, busy ones after their jobs"
                .into(),
            actions: Vec::new(),
            waits_for: Vec::new(),
        };
    };
    let target = target_of(world, spec, pool, of, &census, now);
    let why = match of.scale_set() {
        Some(_) => format!(
            "{} jobs (GitHub counts {}, its messages and our busy runners {}) and min_idle {} make",
            jobs.jobs, jobs.by_counts, jobs.by_entries, target.limits.min_idle
        ),
        None if pool.routed => format!(
            "{} jobs ({} queued, {} running) and min_idle {} make",
            jobs.jobs,
            jobs.jobs.saturating_sub(census.busy),
            census.busy,
            target.limits.min_idle
        ),
        None => {
            format!("min_idle {} beside {} busy runners make", target.limits.min_idle, census.busy)
        }
    };
    let because = format!(
        "{why} {} runners of max {}, and {} warm beside them; there are {} that serve ({} busy, {} idle), {} warm, \
         {} coming, {} leaving",
        target.desired,
        target.limits.max,
        target.warm,
        census.serving,
        census.busy,
        census.idle.len(),
        census.warm.len(),
        census.coming.len(),
        census.leaving
    );
    let mut actions = Vec::new();
    let live = census.live();
    let wanted = target.desired + target.warm;
    if wanted > live {
        actions.push(format!(
            "make {} runners",
            (wanted - live).min(target.limits.max.saturating_sub(census.occupied))
        ));
    }
    let need = target.desired.saturating_sub(census.serving) as usize;
    if need > 0 && !census.warm.is_empty() {
        actions.push(format!("register {} warm instances", need.min(census.warm.len())));
    }
    if live > wanted {
        actions.push(format!("give up {} runners as soon as they are free", live - wanted));
    }
    let short = match of.demand {
        DemandSource::Fixed => shown(&census) < target.desired,
        DemandSource::ScaleSet(_) | DemandSource::Webhook => jobs.jobs > census.busy,
    };
    PoolPlan {
        pool: pool.state.name.to_string(),
        because,
        actions,
        waits_for: if short { pool_conditions(world, spec, pool, now) } else { Vec::new() },
    }
}
