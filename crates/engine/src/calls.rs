//! From an effect to the port's call, and from its answer to the outcome. Every function here ends, whatever the
//! adapter does, and answers with one result.

use std::{future::Future, time::Duration};

use dayfly_core::{
    effect::{
        InstanceCall, InstanceOutcome, Membership, RegistrationCall, RegistrationOutcome,
        ScaleSetCall, ScaleSetOutcome,
    },
    model::{
        Capacity, Message, MessageId, PoolName, RunnerName, ScaleSetId, ScopeName, WorkflowJob,
        WorkflowJobId,
    },
    ports::{
        Backend, BackendError, BackendErrorKind, CaughtUp, CreateRequest, Forge, ForgeError,
        ForgeErrorKind, InstanceRecord, RunnerRecord,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    bounded::{Lapse, bounded},
    vault::Vault,
};

/// For a create call: an image may have to be fetched first, and `creating` is 5 minutes by default too.
const CREATE_MAX: Duration = Duration::from_mins(5);

/// For any other call: what GitHub and the engines answer takes seconds at worst, and a call that hangs occupies its
/// runner until then.
const CALL_MAX: Duration = Duration::from_mins(1);

/// For a list of what waits and runs in a scope's repositories: some requests for each of hundreds of them.
const CATCH_UP_MAX: Duration = Duration::from_mins(5);

/// For a long poll: GitHub holds one for about 50 seconds; twice that, and a renewal of the token within the call.
const POLL_MAX: Duration = Duration::from_mins(2);

/// A call on an instance.
pub(crate) async fn instance(
    backend: &dyn Backend,
    vault: &Vault,
    ending: &CancellationToken,
    runner: &RunnerName,
    call: &InstanceCall,
) -> InstanceOutcome {
    // What a lapse leaves open: a create or a hand-over may have had its effect, the others may be repeated.
    let lapsed = |kind, what: &str, lapse: Lapse| {
        let operation = format!("{what} instance {runner}");
        InstanceOutcome::Failed(BackendError { kind, operation, detail: lapse.to_string() })
    };
    match call {
        InstanceCall::Create(spec) => {
            let pool = runner.pool();
            let request = CreateRequest { runner, pool: &pool, spec };
            match bounded(ending, CREATE_MAX, async { backend.create(request).await }).await {
                Ok(Ok(created)) => {
                    InstanceOutcome::Created { id: created.id, ready: created.ready }
                }
                Ok(Err(error)) => InstanceOutcome::Failed(error),
                Err(lapse) => lapsed(BackendErrorKind::Unknown, "create", lapse),
            }
        }
        InstanceCall::Inspect => {
            match bounded(ending, CALL_MAX, async { backend.inspect(runner).await }).await {
                Ok(Ok(record)) => InstanceOutcome::Inspected(record),
                Ok(Err(error)) => InstanceOutcome::Failed(error),
                Err(lapse) => lapsed(BackendErrorKind::Transient, "inspect", lapse),
            }
        }
        InstanceCall::HandOver(id) => {
            let Some(jit) = vault.take(runner) else {
                return InstanceOutcome::Failed(BackendError {
                    kind: BackendErrorKind::NotAllowed,
                    operation: format!("hand over to instance {runner}"),
                    detail: "no JIT configuration is held for it; another one is minted for another runner".to_owned(),
                });
            };
            match bounded(ending, CALL_MAX, async { backend.hand_over(runner, id, jit).await })
                .await
            {
                Ok(Ok(())) => InstanceOutcome::HandedOver,
                Ok(Err(error)) => InstanceOutcome::Failed(error),
                Err(lapse) => lapsed(BackendErrorKind::Unknown, "hand over to", lapse),
            }
        }
        InstanceCall::Destroy { force } => {
            match bounded(ending, CALL_MAX, async { backend.destroy(runner, *force).await }).await {
                Ok(Ok(())) => InstanceOutcome::Destroyed,
                Ok(Err(error)) => InstanceOutcome::Failed(error),
                Err(lapse) => lapsed(BackendErrorKind::Transient, "destroy", lapse),
            }
        }
    }
}

/// A call on a registration. A minted JIT configuration goes into the vault and nowhere else.
pub(crate) async fn registration(
    forge: &dyn Forge,
    vault: &Vault,
    ending: &CancellationToken,
    runner: &RunnerName,
    call: &RegistrationCall,
) -> RegistrationOutcome {
    let result = match call {
        RegistrationCall::Mint(membership) => {
            let mint = async {
                match membership {
                    Membership::ScaleSet(set) => forge.mint(*set, runner).await,
                    Membership::Alone { group, labels } => {
                        forge.register(*group, labels, runner).await
                    }
                }
            };
            ask(ending, CALL_MAX, format!("mint a registration for {runner}"), mint).await.map(
                |minted| {
                    vault.keep(runner.clone(), minted.jit);
                    RegistrationOutcome::Minted(minted.id)
                },
            )
        }
        RegistrationCall::Find => {
            let find = async { forge.find_runner(runner).await };
            ask(ending, CALL_MAX, format!("look up runner {runner}"), find)
                .await
                .map(RegistrationOutcome::Found)
        }
        RegistrationCall::Remove(id) => {
            let remove = async { forge.remove_runner(*id).await };
            let removed =
                ask(ending, CALL_MAX, format!("remove the registration of {runner}"), remove).await;
            removed.map(|existed| RegistrationOutcome::Removed { existed })
        }
    };
    result.unwrap_or_else(RegistrationOutcome::Failed)
}

/// A call on a pool's scale set or session.
pub(crate) async fn scale_set(
    forge: &dyn Forge,
    ending: &CancellationToken,
    pool: &PoolName,
    call: &ScaleSetCall,
) -> ScaleSetOutcome {
    let operation = |what: &str| format!("{what} of pool {pool}");
    let result = match call {
        ScaleSetCall::FindGroup(name) => {
            let find = async { forge.find_group(name).await };
            ask(ending, CALL_MAX, operation("find the runner group"), find)
                .await
                .map(ScaleSetOutcome::Group)
        }
        ScaleSetCall::Find { group, name } => {
            let find = async { forge.find_scale_set(*group, name).await };
            ask(ending, CALL_MAX, operation("find the scale set"), find)
                .await
                .map(ScaleSetOutcome::Set)
        }
        ScaleSetCall::Create { group, name, labels } => {
            let create = async { forge.create_scale_set(*group, name, labels).await };
            let made = ask(ending, CALL_MAX, operation("create the scale set"), create).await;
            made.map(|set| ScaleSetOutcome::Set(Some(set)))
        }
        ScaleSetCall::Update { id, group, name, labels } => {
            let update = async { forge.update_scale_set(*id, *group, name, labels).await };
            let changed = ask(ending, CALL_MAX, operation("update the scale set"), update).await;
            changed.map(|set| ScaleSetOutcome::Set(Some(set)))
        }
        ScaleSetCall::Delete(id) => {
            let delete = async { forge.delete_scale_set(*id).await };
            let deleted = ask(ending, CALL_MAX, operation("delete the scale set"), delete).await;
            deleted.map(|()| ScaleSetOutcome::Deleted)
        }
        ScaleSetCall::OpenSession(id) => {
            let open = async { forge.open_session(*id).await };
            let opened = ask(ending, CALL_MAX, operation("open the session"), open).await;
            opened.map(|session| ScaleSetOutcome::Session {
                id: session.id,
                statistics: session.statistics,
            })
        }
        ScaleSetCall::RefreshSession(id, session) => {
            let refresh = async { forge.refresh_session(*id, session).await };
            let refreshed = ask(ending, CALL_MAX, operation("refresh the session"), refresh).await;
            refreshed.map(|session| ScaleSetOutcome::Session {
                id: session.id,
                statistics: session.statistics,
            })
        }
        ScaleSetCall::CloseSession(id, session) => {
            let close = async { forge.close_session(*id, session).await };
            let closed = ask(ending, CALL_MAX, operation("close the session"), close).await;
            closed.map(|()| ScaleSetOutcome::SessionClosed)
        }
        ScaleSetCall::Acquire(id, requests) => {
            let acquire = async { forge.acquire(*id, requests).await };
            ask(ending, CALL_MAX, operation("acquire jobs"), acquire)
                .await
                .map(ScaleSetOutcome::Acquired)
        }
    };
    result.unwrap_or_else(ScaleSetOutcome::Failed)
}

/// A long poll; `None` where it was stopped before an answer came. One that was stopped while it waited for its commit is not
/// sent: nobody stands by the capacity that it would advertise.
pub(crate) async fn poll(
    forge: &dyn Forge,
    ending: &CancellationToken,
    stop: &CancellationToken,
    pool: &PoolName,
    (set, cursor, capacity): (ScaleSetId, MessageId, u32),
) -> Option<Result<Option<Message>, ForgeError>> {
    if stop.is_cancelled() {
        return None;
    }
    let poll = async { forge.poll(set, cursor, capacity).await };
    // A message whose answer is dropped halfway was not acknowledged: GitHub sends it again.
    tokio::select! {
        biased;
        answer = ask(ending, POLL_MAX, format!("poll for messages of pool {pool}"), poll) => Some(answer),
        () = stop.cancelled() => None,
    }
}

/// The deletion of a message.
pub(crate) async fn acknowledge(
    forge: &dyn Forge,
    ending: &CancellationToken,
    pool: &PoolName,
    set: ScaleSetId,
    message: MessageId,
) -> Result<(), ForgeError> {
    let acknowledge = async { forge.acknowledge(set, message).await };
    ask(ending, CALL_MAX, format!("delete message {message} of pool {pool}"), acknowledge).await
}

/// A backend's list, and how much it has where that is asked.
pub(crate) async fn list_instances(
    backend: &dyn Backend,
    ending: &CancellationToken,
    measures: bool,
) -> Result<(Vec<InstanceRecord>, Option<Capacity>), BackendError> {
    let ask = async {
        let capacity = if measures { Some(backend.capacity().await?) } else { None };
        Ok((backend.list().await?, capacity))
    };
    bounded(ending, CALL_MAX, ask).await.unwrap_or_else(|lapse| {
        Err(BackendError {
            kind: BackendErrorKind::Transient,
            operation: "list instances".to_owned(),
            detail: lapse.to_string(),
        })
    })
}

/// A scope's list.
pub(crate) async fn list_registrations(
    forge: &dyn Forge,
    ending: &CancellationToken,
) -> Result<Vec<RunnerRecord>, ForgeError> {
    ask(ending, CALL_MAX, "list runners".to_owned(), async { forge.list_runners().await }).await
}

/// What waits and runs in a scope's repositories.
pub(crate) async fn catch_up(
    forge: &dyn Forge,
    ending: &CancellationToken,
    scope: &ScopeName,
    repositories: &[String],
    cursor: Option<i64>,
) -> Result<CaughtUp, ForgeError> {
    let catch_up = async { forge.catch_up(repositories, cursor).await };
    ask(ending, CATCH_UP_MAX, format!("catch up on the jobs of scope {scope}"), catch_up).await
}

/// A look at a workflow job.
pub(crate) async fn read_job(
    forge: &dyn Forge,
    ending: &CancellationToken,
    repository: &str,
    job: WorkflowJobId,
) -> Result<Option<Box<WorkflowJob>>, ForgeError> {
    let read = async { forge.read_job(repository, job.id).await };
    let read = ask(ending, CALL_MAX, format!("read job {job} of {repository}"), read).await;
    read.map(|job| job.map(Box::new))
}

async fn ask<T>(
    ending: &CancellationToken,
    limit: Duration,
    operation: String,
    call: impl Future<Output = Result<T, ForgeError>>,
) -> Result<T, ForgeError> {
    bounded(ending, limit, call).await.unwrap_or_else(|lapse| {
        Err(ForgeError { kind: ForgeErrorKind::Transient, operation, detail: lapse.to_string() })
    })
}
