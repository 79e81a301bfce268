//! The rules that every pass keeps, whatever happened before it.

use std::collections::BTreeMap;

use dayfly_core::{
    effect::{Command, Effect, Flight, InstanceCall, Outcome, RegistrationCall, ScaleSetCall},
    model::{
        BackendName, Instance, PoolName, Registration, Runner, RunnerName, ScaleSetTrack,
        SessionTrack, Spec, Used,
    },
    plan::{limits_at, pass},
    ports::Batch,
    world::World,
};
use jiff::Timestamp;

use super::CountingIds;

/// What a pass is compared with.
pub(super) struct Before {
    occupied: BTreeMap<PoolName, u32>,
    used: BTreeMap<BackendName, Used>,
}

impl Before {
    pub(super) fn of(world: &World) -> Self {
        let occupied =
            world.pools().map(|pool| (pool.state.name.clone(), occupied(world, &pool.state.name)));
        let used = world.backends().map(|(name, view)| (name.clone(), view.used)).collect();
        Self { occupied: occupied.collect(), used }
    }
}

fn occupied(world: &World, pool: &PoolName) -> u32 {
    let rows = world.runners().filter(|row| row.name.pool() == *pool);
    u32::try_from(rows.filter(|row| row.instance.may_live()).count()).unwrap_or(u32::MAX)
}

/// The flight that an outcome ends.
pub(super) fn flight_of(outcome: &Outcome) -> Option<Flight> {
    Some(match outcome {
        Outcome::Instance { runner, .. } => Flight::Instance(runner.clone()),
        Outcome::Registration { runner, .. } => Flight::Registration(runner.clone()),
        Outcome::ScaleSet { pool, .. } => Flight::ScaleSet(pool.clone()),
        Outcome::Polled { pool, .. } | Outcome::PollStopped { pool } => Flight::Poll(pool.clone()),
        Outcome::Acknowledged { pool, message, .. } => Flight::Acknowledge(pool.clone(), *message),
        Outcome::ListedInstances { backend, .. } => Flight::ListInstances(backend.clone()),
        Outcome::ListedRegistrations { scope, .. } => Flight::ListRegistrations(scope.clone()),
        Outcome::CaughtUp { scope, .. } => Flight::CatchUp(scope.clone()),
        Outcome::JobRead { scope, job, .. } => Flight::ReadJob(scope.clone(), *job),
        Outcome::Evidence(_)
        | Outcome::InstanceReady { .. }
        | Outcome::InstanceEnded { .. }
        | Outcome::Said { .. }
        | Outcome::WatchBroke { .. }
        | Outcome::Command(_) => return None,
    })
}

/// How much of each backend its rows take is counted rightly, and no pass takes more than a budget has.
pub(super) fn budgets(world: &World, before: &Before) -> Result<(), String> {
    for (name, view) in world.backends() {
        let rows = world.runners().filter(|row| row.backend == *name && row.instance.may_live());
        let used = rows.fold(Used::default(), |used, row| used.plus(row.share));
        if used != view.used {
            return Err(format!("backend {name}: {used:?} is used, and {:?} counted", view.used));
        }
        let had = before.used.get(name).copied().unwrap_or_default();
        let grew = used.runners > had.runners;
        if grew && !view.budget.holds(used) {
            return Err(format!("backend {name} has {used:?}, over its budget: {:?}", view.budget));
        }
    }
    Ok(())
}

/// No pass makes a row beyond `max`.
pub(super) fn batch(
    world: &World,
    spec: &Spec,
    before: &Before,
    batch: &Batch,
    now: Timestamp,
) -> Result<(), String> {
    for (name, of) in &spec.pools {
        let is_new = |row: &&Runner| row.generation == 1 && row.retiring.is_none();
        let made = batch.runners.iter().filter(|(runner, _)| runner.pool_str() == name.as_str());
        let made = made.filter_map(|(_, row)| row.as_ref()).filter(is_new).count();
        let max = limits_at(of, now).0.max;
        let held = occupied(world, name);
        let had = before.occupied.get(name).copied().unwrap_or(0);
        if made > 0 && held > max && held > had {
            return Err(format!("pool {name} has {held} instances and makes more, over max {max}"));
        }
    }
    Ok(())
}

/// Every effect fits the rows: the intent is in them before the call begins.
pub(super) fn effect(world: &World, effect: &Effect) -> Result<(), String> {
    let fits = match effect {
        Effect::Instance { runner, backend, call } => {
            let row = row(world, runner)?;
            row.backend == *backend && instance_fits(row, call)
        }
        Effect::Registration { runner, call, .. } => {
            let registration = &row(world, runner)?.registration;
            match call {
                RegistrationCall::Mint(_) => matches!(registration, Registration::Minting { .. }),
                RegistrationCall::Find => registration.may_exist(),
                RegistrationCall::Remove(id) => matches!(
                    registration,
                    Registration::Removing { id: Some(known), .. } if known == id
                ),
            }
        }
        Effect::ScaleSet { pool, call, .. } => set_fits(world, pool, call),
        Effect::Poll { pool, set, .. } => world.pool(pool.as_str()).is_some_and(|pool| {
            pool.state.scale_set.id() == Some(*set)
                && matches!(pool.state.session, SessionTrack::Open { .. })
        }),
        Effect::Acknowledge { pool, message, .. } => world
            .pool(pool.as_str())
            .is_some_and(|pool| pool.state.unacknowledged.contains(message)),
        Effect::StopPoll { pool } => world.is_flying(&Flight::Poll(pool.clone())),
        Effect::ReadJob { repository, job, .. } => {
            world.workflow_job(*job).is_some_and(|known| known.row.job.repository == *repository)
        }
        Effect::ListInstances { .. }
        | Effect::ListRegistrations { .. }
        | Effect::CatchUp { .. } => true,
    };
    if fits { Ok(()) } else { Err(format!("{effect:?} does not fit the rows")) }
}

fn row<'a>(world: &'a World, name: &RunnerName) -> Result<&'a Runner, String> {
    world.runner(name).ok_or_else(|| format!("an effect for {name}, which has no row"))
}

fn instance_fits(row: &Runner, call: &InstanceCall) -> bool {
    match call {
        InstanceCall::Create(_) => matches!(row.instance, Instance::Creating { .. }),
        InstanceCall::Inspect => row.instance.may_exist(),
        InstanceCall::HandOver(id) => {
            matches!(&row.instance, Instance::Spent { id: known, .. } if known == id)
                && matches!(row.registration, Registration::HandingOver { .. })
        }
        InstanceCall::Destroy { .. } => match &row.instance {
            Instance::Removing { exit: Some(_), .. } => true,
            // Busy is sacred while the process may live, but for what the user allowed.
            Instance::Removing { exit: None, .. } => {
                let allowed = row
                    .retiring
                    .as_ref()
                    .is_some_and(|retiring| retiring.even_busy || retiring.reason.overrides_busy());
                let busy =
                    matches!(row.registration, Registration::Busy { completed_at: None, .. });
                allowed || !busy
            }
            _ => false,
        },
    }
}

fn set_fits(world: &World, pool: &PoolName, call: &ScaleSetCall) -> bool {
    let Some(pool) = world.pool(pool.as_str()) else { return false };
    let set = &pool.state.scale_set;
    let session = &pool.state.session;
    match call {
        // A set that is there may be on its way to another group.
        ScaleSetCall::FindGroup(name) => match set {
            ScaleSetTrack::Present { group_name: Some(known), .. } => known != name,
            _ => set.id().is_none(),
        },
        ScaleSetCall::Find { .. } => set.id().is_none(),
        ScaleSetCall::Create { .. } => matches!(set, ScaleSetTrack::Creating { .. }),
        ScaleSetCall::Delete(id) => {
            matches!(set, ScaleSetTrack::Deleting { id: known, .. } if known == id)
                && pool.runners.values().all(|row| row.retiring.is_some())
        }
        ScaleSetCall::OpenSession(id) => set.id() == Some(*id) && *session == SessionTrack::None,
        ScaleSetCall::RefreshSession(id, known) => {
            set.id() == Some(*id) && session.id() == Some(known)
        }
        ScaleSetCall::CloseSession(id, known) => {
            set.id() == Some(*id)
                && matches!(session, SessionTrack::Closing { id, .. } if id == known)
        }
        ScaleSetCall::Update { id, .. } | ScaleSetCall::Acquire(id, _) => set.id() == Some(*id),
    }
}

/// A second pass adds nothing; nor does one that plans every pool anew: whatever changed had woken its pool.
pub(super) fn settled(world: &World, spec: &Spec, now: Timestamp) -> Result<(), String> {
    let mut ids = CountingIds(1 << 40);
    let mut twin = world.clone();
    let again = pass(&mut twin, spec, now, &mut ids);
    if !again.effects.is_empty() || !again.batch.is_empty() {
        return Err(format!("a second pass adds {:?} and {:?}", again.effects, again.batch));
    }
    let mut twin = world.clone();
    for pool in world.pools() {
        let name = pool.state.name.clone();
        // Says what holds already, so that it only touches the pool.
        let said = if pool.state.deleting.is_some() {
            Command::DeletePool(name)
        } else if pool.state.drained.is_some() {
            Command::Drain(name)
        } else {
            Command::Undrain(name)
        };
        twin.apply(Outcome::Command(said), now);
    }
    let fresh = pass(&mut twin, spec, now, &mut ids);
    if !fresh.effects.is_empty() || !fresh.batch.runners.is_empty() {
        return Err(format!(
            "planning every pool anew adds {:?} and {:?}: something changed and woke nobody",
            fresh.effects, fresh.batch.runners
        ));
    }
    let never = Timestamp::MAX;
    if fresh.next_due.unwrap_or(never) < again.next_due.unwrap_or(never) {
        return Err(format!(
            "planning every pool anew is due at {:?}, but nobody wakes before {:?}",
            fresh.next_due, again.next_due
        ));
    }
    Ok(())
}
