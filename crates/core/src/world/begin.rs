//! Takes in what a plan decided: the intent goes into the rows, and the effect comes out.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::World;
use crate::{
    effect::{Effect, InstanceCall, Membership, RegistrationCall, ScaleSetCall},
    model::{
        BackendName, EventKind, Instance, InstanceSpec, JobId, MessageId, PoolName, Proof, Reason,
        Registration, Runner, RunnerGroupId, RunnerName, ScaleSetId, ScaleSetTrack, ScopeName,
        SessionId, SessionTrack, Share, Trouble, TroubleKey, WorkflowJobId,
    },
    ports::ScaleSetRecord,
};

/// How long somebody else's scale set is left alone before it is looked at again.
const REFUSED_WAIT: SignedDuration = SignedDuration::from_mins(1);

/// What a plan decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A new row.
    Spawn {
        /// Its name.
        runner: RunnerName,
        /// On which backend.
        backend: BackendName,
        /// Mark of what it is made from.
        mark: Arc<str>,
        /// What it takes of the backend's budget.
        share: Share,
    },
    /// The create call of a planned row.
    Create {
        /// Which.
        runner: RunnerName,
        /// From what.
        spec: Arc<InstanceSpec>,
    },
    /// A look at an instance by name.
    Inspect(RunnerName),
    /// A planned row is given up before its create call.
    Abandon(RunnerName),
    /// A mint, first or repeated.
    Mint {
        /// Which.
        runner: RunnerName,
        /// Through which scope.
        scope: ScopeName,
        /// As what.
        membership: Membership,
    },
    /// The hand-over.
    HandOver(RunnerName),
    /// A runner is to go.
    Retire {
        /// Which.
        runner: RunnerName,
        /// Why.
        reason: Reason,
    },
    /// A runner fails: it goes, and counts against its pool on its backend.
    Fail {
        /// Which.
        runner: RunnerName,
        /// Why.
        reason: Reason,
    },
    /// A registration is to be proved gone.
    Deregister {
        /// Whose.
        runner: RunnerName,
        /// How.
        proof: Proof,
    },
    /// A call on GitHub for a registration: a look, or a removal.
    AskForge {
        /// Whose.
        runner: RunnerName,
        /// Through which scope.
        scope: ScopeName,
        /// The call.
        call: RegistrationCall,
    },
    /// The instance is destroyed.
    Destroy {
        /// Whose.
        runner: RunnerName,
        /// Whatever it takes.
        force: bool,
    },
    /// A scale set is taken for the pool's own.
    Take {
        /// The pool.
        pool: PoolName,
        /// Its scope.
        scope: ScopeName,
        /// The set.
        record: ScaleSetRecord,
        /// Whether we made it.
        made: bool,
    },
    /// A set of the wanted name is somebody else's: it is left, and told.
    RefuseSet {
        /// The pool.
        pool: PoolName,
        /// Why it is not taken, and what to do.
        why: String,
    },
    /// A call for a scale set.
    CallSet {
        /// The pool.
        pool: PoolName,
        /// Through which scope.
        scope: ScopeName,
        /// The call.
        call: ScaleSetCall,
    },
    /// The intent to make a scale set, then the call.
    CreateSet {
        /// The pool.
        pool: PoolName,
        /// Through which scope.
        scope: ScopeName,
        /// In which group.
        group: RunnerGroupId,
        /// Its name.
        name: String,
        /// Its labels.
        labels: Vec<String>,
    },
    /// The session is closed.
    CloseSession {
        /// The pool.
        pool: PoolName,
        /// Through which scope.
        scope: ScopeName,
        /// Of which set.
        set: ScaleSetId,
        /// Which.
        session: SessionId,
    },
    /// The pool's scale set belongs to another scope or name by now: it is left at GitHub, and told.
    LeaveSet(PoolName),
    /// A long poll.
    Poll {
        /// The pool.
        pool: PoolName,
        /// Through which scope.
        scope: ScopeName,
        /// Of which set.
        set: ScaleSetId,
        /// The capacity to advertise.
        capacity: u32,
    },
    /// The poll under way is abandoned.
    StopPoll(PoolName),
    /// A message is deleted.
    Acknowledge {
        /// The pool.
        pool: PoolName,
        /// Through which scope.
        scope: ScopeName,
        /// Of which set.
        set: ScaleSetId,
        /// Which.
        message: MessageId,
    },
    /// A job waits too long for a runner.
    NoteOverdue {
        /// The pool it was given to.
        pool: PoolName,
        /// Which.
        job: JobId,
        /// Since when.
        since: Timestamp,
    },
    /// The counts and the entries began or ceased to differ.
    NoteDifference {
        /// The pool.
        pool: PoolName,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// Jobs are known to wait of which no message tells, or no longer.
    NoteUnheard {
        /// The pool.
        pool: PoolName,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// A runner's creation takes so long that another is made elsewhere.
    NoteStalled(RunnerName),
    /// A backend is listed.
    ListInstances(BackendName),
    /// A scope's registrations are listed.
    ListRegistrations(ScopeName),
    /// A scope's jobs are caught up on.
    CatchUp {
        /// The scope.
        scope: ScopeName,
        /// The repositories; none: those that were active of late.
        repositories: Vec<String>,
    },
    /// A workflow job is read.
    ReadJob {
        /// Through which scope.
        scope: ScopeName,
        /// Which.
        job: WorkflowJobId,
    },
    /// A deleted pool of which nothing is left is forgotten.
    ForgetPool(PoolName),
    /// A pool's runners register by themselves from now on, in this scope; `None`: in its scale set.
    RegisterIn {
        /// The pool.
        pool: PoolName,
        /// The scope.
        scope: Option<ScopeName>,
    },
    /// Runners of a pool show that its creation works, though none of them had a job.
    NoteWorks(TroubleKey),
}

impl World {
    /// Takes in one decision. Returns the effect that may begin once the changes are committed.
    pub fn begin(&mut self, action: Action, now: Timestamp) -> Option<Effect> {
        let effect = match action {
            Action::Spawn { runner, backend, mark, share } => {
                let planned = Runner::planned(runner, backend, mark, now);
                self.put(Runner { share, ..planned }, now);
                None
            }
            // The same plan gave it up.
            Action::Create { runner, .. }
            | Action::Mint { runner, .. }
            | Action::HandOver(runner)
                if self.runner(&runner).is_some_and(|row| row.retiring.is_some()) =>
            {
                None
            }
            Action::Create { runner, spec } => {
                let planned = |row: &Runner| matches!(row.instance, Instance::Planned { .. });
                let first = self.runner(&runner).is_some_and(planned);
                let row = self.advance(&runner, now, |row| row.creating(now).ok())?;
                if first {
                    self.first_creates.insert(runner.clone());
                }
                if let Some(view) = self.backends.get_mut(&row.backend) {
                    view.creates += 1;
                }
                Some(Effect::Instance {
                    runner,
                    backend: row.backend,
                    call: InstanceCall::Create(spec),
                })
            }
            Action::Inspect(runner) => {
                let backend = self.runner(&runner)?.backend.clone();
                Some(Effect::Instance { runner, backend, call: InstanceCall::Inspect })
            }
            Action::Abandon(runner) => {
                self.advance(&runner, now, |row| {
                    Some(row.instance_gone(now).deregistering(Proof::Removal, now))
                })?;
                None
            }
            Action::Mint { runner, scope, membership } => {
                self.advance(&runner, now, |row| match row.registration {
                    Registration::Minting { .. } => Some(row),
                    _ => row.minting(now).ok(),
                })?;
                let call = RegistrationCall::Mint(membership);
                Some(Effect::Registration { runner, scope, call })
            }
            Action::HandOver(runner) => {
                let row = self.advance(&runner, now, |row| row.handing_over(now).ok())?;
                let id = row.instance.id()?.clone();
                Some(Effect::Instance {
                    runner,
                    backend: row.backend,
                    call: InstanceCall::HandOver(id),
                })
            }
            Action::Retire { runner, reason } => {
                let row = self.runner(&runner)?.clone();
                self.retire(row, reason, false, now);
                None
            }
            Action::Fail { runner, reason } => {
                let row = self.runner(&runner)?.clone();
                self.fail(row, reason, now);
                None
            }
            Action::Deregister { runner, proof } => {
                self.advance(&runner, now, |row| Some(row.deregistering(proof, now)))?;
                None
            }
            Action::AskForge { runner, scope, call } => {
                Some(Effect::Registration { runner, scope, call })
            }
            Action::Destroy { runner, force } => {
                let row = self.advance(&runner, now, |row| {
                    Some(row.clone().destroying(now).unwrap_or(row))
                })?;
                Some(Effect::Instance {
                    runner,
                    backend: row.backend,
                    call: InstanceCall::Destroy { force },
                })
            }
            Action::NoteStalled(runner) => {
                let row = self.runner(&runner)?;
                let what = format!(
                    "backend {} does not answer the create call of {runner}: another runner is made elsewhere, where \
                     one is needed",
                    row.backend
                );
                let pool = row.pool();
                self.pools.get_mut(&pool)?.stalled.insert(runner);
                // No other pool goes there either, as long as it can go elsewhere.
                self.touch_all();
                self.tell(EventKind::Alarm { pool: Some(pool), what }, now);
                None
            }
            Action::ListInstances(backend) => {
                let view = self.backends.get_mut(&backend)?;
                view.list_due = false;
                Some(Effect::ListInstances { backend, measures: view.detects.is_any() })
            }
            Action::ListRegistrations(scope) => Some(Effect::ListRegistrations { scope }),
            Action::CatchUp { scope, repositories } => {
                let cursor = self.scope(&scope)?.catch_up.state.cursor;
                Some(Effect::CatchUp { scope, repositories, cursor })
            }
            Action::ReadJob { scope, job } => {
                let repository = self.workflow_job(job)?.row.job.repository.clone();
                Some(Effect::ReadJob { scope, repository, job })
            }
            other => self.begin_for_pool(other, now),
        };
        if let Some(flight) = effect.as_ref().and_then(Effect::flight) {
            self.flights.insert(flight, now);
        }
        effect
    }

    fn begin_for_pool(&mut self, action: Action, now: Timestamp) -> Option<Effect> {
        match action {
            Action::Take { pool, scope, record, made } => {
                let row = self.change_pool(&pool)?;
                row.state.scale_set = ScaleSetTrack::Present {
                    id: record.id,
                    group: record.group,
                    group_name: row.group_name.clone(),
                    scope,
                    name: record.name,
                    labels: record.labels,
                    made,
                };
                row.found = None;
                row.set_absent = false;
                let what = if made { "scale set made" } else { "scale set adopted" };
                self.tell(EventKind::ScaleSet { pool, what: what.into() }, now);
                None
            }
            Action::RefuseSet { pool, why } => {
                self.change_pool(&pool)?.found = None;
                let key = TroubleKey::ScaleSet { pool };
                let trouble = Trouble::after(self.troubles.get(&key), REFUSED_WAIT, &why, now);
                self.set_trouble(key, Some(trouble), now);
                None
            }
            Action::CreateSet { pool, scope, group, name, labels } => {
                let row = self.change_pool(&pool)?;
                row.state.scale_set = ScaleSetTrack::Creating { since: now, group };
                row.scope = Some(scope.clone());
                Some(Effect::ScaleSet {
                    pool,
                    scope,
                    call: ScaleSetCall::Create { group, name, labels },
                })
            }
            Action::CallSet { pool, scope, call } => {
                let row = self.pools.get_mut(&pool)?;
                row.scope = Some(scope.clone());
                match &call {
                    ScaleSetCall::RefreshSession(..) | ScaleSetCall::OpenSession(_) => {
                        row.refresh_began_at = Some(now);
                    }
                    ScaleSetCall::Delete(id) => {
                        let (id, scope) = (*id, Some(scope.clone()));
                        self.change_pool(&pool)?.state.scale_set =
                            ScaleSetTrack::Deleting { since: now, id, scope };
                    }
                    _ => {}
                }
                Some(Effect::ScaleSet { pool, scope, call })
            }
            Action::CloseSession { pool, scope, set, session } => {
                let row = self.change_pool(&pool)?;
                if !matches!(row.state.session, SessionTrack::Closing { .. }) {
                    row.state.session = SessionTrack::Closing { id: session.clone(), since: now };
                }
                Some(Effect::ScaleSet {
                    pool,
                    scope,
                    call: ScaleSetCall::CloseSession(set, session),
                })
            }
            Action::LeaveSet(pool) => {
                let id = self.change_pool(&pool)?.state.scale_set.id();
                self.forget_set(&pool);
                let what = format!(
                    "scale set {} is left at GitHub: the pool has another scope, group or set name by now",
                    id.map_or_else(|| "?".to_owned(), |id| id.to_string())
                );
                self.tell(EventKind::ScaleSet { pool, what }, now);
                None
            }
            Action::Poll { pool, scope, set, capacity } => {
                let row = self.pools.get_mut(&pool)?;
                row.polled_capacity = Some(capacity);
                let cursor = row.state.cursor;
                Some(Effect::Poll { pool, scope, set, cursor, capacity })
            }
            Action::StopPoll(pool) => {
                // So that it is not asked for twice; the poll's own outcome ends the flight.
                self.pools.get_mut(&pool)?.polled_capacity = None;
                Some(Effect::StopPoll { pool })
            }
            Action::Acknowledge { pool, scope, set, message } => {
                Some(Effect::Acknowledge { pool, scope, set, message })
            }
            Action::NoteOverdue { pool, job, since } => {
                self.pools.get_mut(&pool)?.overdue.insert(job.clone());
                let what = format!(
                    "job {job} was given to pool {pool} at {since:.0} and has no runner after four minutes: GitHub takes it \
                     back after five, and gives up after three times; `dayfly explain {job}` says what it waits for"
                );
                self.tell(EventKind::Alarm { pool: Some(pool), what }, now);
                None
            }
            Action::NoteDifference { pool, since } => {
                let row = self.pools.get_mut(&pool)?;
                row.differs_since = since;
                row.touched = true;
                None
            }
            Action::NoteUnheard { pool, since } => {
                let row = self.pools.get_mut(&pool)?;
                row.unheard_since = since;
                row.touched = true;
                None
            }
            Action::ForgetPool(pool) => {
                let gone = self.pools.remove(&pool)?;
                self.forgotten.pools.insert(pool.clone(), gone.state.generation);
                self.changes.pools.insert(pool.clone());
                self.changes.jobs.extend(gone.jobs.keys().map(|job| Self::job_key(&pool, job)));
                self.troubles.retain(|key, _| {
                    let gone = matches!(key, TroubleKey::ScaleSet { pool: of }
                        | TroubleKey::Creation { pool: of, .. } if *of == pool);
                    if gone {
                        self.changes.troubles.insert(key.clone());
                    }
                    !gone
                });
                self.tell(EventKind::ScaleSet { pool, what: "pool forgotten".into() }, now);
                None
            }
            Action::RegisterIn { pool, scope } => {
                self.change_pool(&pool)?.state.registers_in = scope;
                None
            }
            Action::NoteWorks(key) => {
                self.set_trouble(key, None, now);
                None
            }
            _ => None,
        }
    }

    fn advance(
        &mut self,
        name: &RunnerName,
        now: Timestamp,
        step: impl FnOnce(Runner) -> Option<Runner>,
    ) -> Option<Runner> {
        let before = self.runner(name)?.clone();
        match step(before) {
            Some(next) => {
                self.put(next.clone(), now);
                Some(next)
            }
            None => {
                self.odd(&format!("a plan for {name} does not fit its state"), now);
                None
            }
        }
    }
}
