//! The routes.

use std::{future::Future, time::Duration};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dayfly_core::{
    effect::Command,
    model::{InvalidName, PoolName, RunnerName},
    ports::{ForgeError, ForgeErrorKind},
    report::{self, Explanation, JobAddress, JobView, PlanView, PoolStatus, RunnerView},
};
use dayfly_engine::{Handle, Refused, Stopped};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    documents::{Accepted, FlushPool, RemoveRunner, StatusDocument, Version},
    error::ApiError,
};

/// How many bytes a request's body may have: the largest that there is has one flag.
const BODY_MAX: usize = 16 * 1024;

/// How many characters of a job's address, pool or runner `explain` takes: more than any address at GitHub has.
const WHAT_MAX: usize = 1_000;

/// How long a request may take: a commit on a disk that works takes milliseconds, and clients wait no longer.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// How long GitHub may take to be asked for a job, by all scopes that may: well within a request, so that what is known without it is told.
const GITHUB_MAX: Duration = Duration::from_secs(15);

type Answer<T> = Result<Json<T>, ApiError>;
type Taken = Result<(StatusCode, Json<Accepted>), ApiError>;

/// Every route of the API.
pub(crate) fn router(handle: Handle) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/status", get(status))
        .route("/v1/plan", get(plan))
        .route("/v1/runners", get(runners))
        .route("/v1/jobs", get(jobs))
        .route("/v1/explain", get(explain))
        .route("/v1/runners/{name}/remove", post(remove_runner))
        .route("/v1/pools/{name}", get(pool).delete(delete_pool))
        .route("/v1/pools/{name}/drain", post(drain))
        .route("/v1/pools/{name}/undrain", post(undrain))
        .route("/v1/pools/{name}/flush", post(flush))
        .fallback(|| async { ApiError::no_such_route() })
        .method_not_allowed_fallback(|| async { ApiError::no_such_method() })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
        .with_state(handle)
}

async fn in_time(request: Request, next: Next) -> Response {
    timeout(REQUEST_MAX, next.run(request))
        .await
        .unwrap_or_else(|_| ApiError::timed_out().into_response())
}

async fn version() -> Json<Version> {
    Json(Version::ours())
}

async fn status(State(handle): State<Handle>) -> Answer<StatusDocument> {
    Ok(Json(handle.read(StatusDocument::of).await?))
}

async fn plan(State(handle): State<Handle>) -> Answer<PlanView> {
    Ok(Json(handle.read(|view| report::plan_view(view.world, view.spec, view.now)).await?))
}

async fn runners(State(handle): State<Handle>) -> Answer<Vec<RunnerView>> {
    Ok(Json(handle.read(|view| report::runners(view.world, view.spec, view.now)).await?))
}

async fn jobs(State(handle): State<Handle>) -> Answer<Vec<JobView>> {
    Ok(Json(handle.read(|view| report::jobs(view.world, view.spec, view.now)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    what: String,
}

async fn explain(
    State(handle): State<Handle>,
    query: Result<Query<What>, QueryRejection>,
) -> Answer<Explanation> {
    let Query(What { what }) = query?;
    if what.chars().count() > WHAT_MAX {
        return Err(ApiError::bad_request(
            format!("`what` is longer than {WHAT_MAX} characters"),
            "give a job's id or address, a pool or a runner",
        ));
    }
    let address = JobAddress::parse(&what);
    let explained =
        handle.read(move |view| report::explain(view.world, view.spec, &what, view.now)).await?;
    let unknown = match explained {
        Ok(explanation) => return Ok(Json(explanation)),
        Err(unknown) => unknown.sentence,
    };
    let asked = match address {
        Some(address) => ask_github(&handle, &address).await?,
        None => None,
    };
    let hint = "`dayfly jobs`, `dayfly runners` and `dayfly status` list what is known";
    match asked {
        Some(Ok(explanation)) => Ok(Json(explanation)),
        Some(Err(refused)) => Err(ApiError::not_found(
            format!("{unknown}. GitHub could not be asked: {refused}"),
            hint,
        )),
        None => Err(ApiError::not_found(unknown, hint)),
    }
}

/// A job that no message has told of, read from GitHub's REST API where a credential of ours may. `None`: no scope of
/// ours covers it, or GitHub tells of no job.
async fn ask_github(
    handle: &Handle,
    address: &JobAddress,
) -> Result<Option<Result<Explanation, ForgeError>>, Stopped> {
    let of = address.clone();
    let scopes = handle.read(move |view| of.scopes(view.spec)).await?;
    let mut refused = None;
    let each = GITHUB_MAX / u32::try_from(scopes.len()).unwrap_or(u32::MAX).max(1);
    for forge in scopes.iter().filter_map(|scope| handle.forge(scope)) {
        let repository = address.repository();
        let found = forge.find_jobs(&repository, address.run, address.job);
        match within(each, &repository, found).await {
            Ok(records) => {
                let explain = handle.read(move |view| {
                    report::explain_listed(view.world, view.spec, &repository, &records, view.now)
                });
                return Ok(explain.await?.map(Ok));
            }
            Err(error) => refused = Some(Err(error)),
        }
    }
    Ok(refused)
}

/// GitHub's answer, or that it gave none in time.
async fn within<T>(
    limit: Duration,
    repository: &str,
    answer: impl Future<Output = Result<T, ForgeError>>,
) -> Result<T, ForgeError> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        Err(ForgeError {
            kind: ForgeErrorKind::Transient,
            operation: format!("read the jobs of {repository}"),
            detail: format!("no answer within {} s", limit.as_secs()),
        })
    })
}

async fn pool(State(handle): State<Handle>, Named(name): Named<PoolName>) -> Answer<PoolStatus> {
    let wanted = name.to_string();
    let find = handle.read(move |view| {
        let pools = report::status(view.world, view.spec, view.now).pools;
        pools.into_iter().find(|pool| pool.name == wanted)
    });
    let found = find.await?.ok_or(Refused::NoSuchPool(name))?;
    Ok(Json(found))
}

async fn remove_runner(
    State(handle): State<Handle>,
    Named(runner): Named<RunnerName>,
    body: Result<Json<RemoveRunner>, JsonRejection>,
) -> Taken {
    let Json(RemoveRunner { even_busy }) = body?;
    let message = if even_busy {
        format!("runner {runner} is being removed, whatever it does")
    } else {
        format!("runner {runner} is removed as soon as GitHub says that it has no job")
    };
    take(&handle, Command::Remove { runner, even_busy }, message).await
}

async fn drain(State(handle): State<Handle>, Named(pool): Named<PoolName>) -> Taken {
    let message = format!("pool {pool} takes no more jobs; its busy runners finish");
    take(&handle, Command::Drain(pool), message).await
}

async fn undrain(State(handle): State<Handle>, Named(pool): Named<PoolName>) -> Taken {
    let message = format!("pool {pool} takes jobs");
    take(&handle, Command::Undrain(pool), message).await
}

async fn flush(
    State(handle): State<Handle>,
    Named(pool): Named<PoolName>,
    body: Result<Json<FlushPool>, JsonRejection>,
) -> Taken {
    let Json(FlushPool { even_busy }) = body?;
    let message = if even_busy {
        format!("every runner of pool {pool} is being replaced, whatever it does")
    } else {
        format!("warm and idle runners of pool {pool} are being replaced; its busy ones finish")
    };
    take(&handle, Command::Flush { pool, even_busy }, message).await
}

async fn delete_pool(State(handle): State<Handle>, Named(pool): Named<PoolName>) -> Taken {
    let message =
        format!("pool {pool} is being deleted: its runners, then its session and its scale set");
    take(&handle, Command::DeletePool(pool), message).await
}

async fn take(handle: &Handle, command: Command, message: String) -> Taken {
    handle.command(command).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { message })))
}

/// A name in the path, checked.
struct Named<N>(N);

impl<S, N> FromRequestParts<S> for Named<N>
where
    S: Send + Sync,
    N: TryFrom<String, Error = InvalidName>,
{
    type Rejection = ApiError;

    fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> impl Future<Output = Result<Self, ApiError>> + Send {
        let path = Path::<String>::from_request_parts(parts, state);
        async {
            let Path(name) = path.await?;
            Ok(Self(N::try_from(name)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_github_is_waited_for_only_so_long() {
        let silent = std::future::pending::<Result<(), ForgeError>>();
        let refused = within(Duration::from_millis(1), "acme/app", silent).await.unwrap_err();
        assert_eq!(refused.kind, ForgeErrorKind::Transient);
        assert!(refused.to_string().contains("read the jobs of acme/app: no answer"), "{refused}");
        assert!(within(REQUEST_MAX, "acme/app", async { Ok(()) }).await.is_ok());
        assert!(GITHUB_MAX * 2 <= REQUEST_MAX, "the rest of the answer needs time, too");
    }
}
