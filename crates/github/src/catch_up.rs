//! What a scope's repositories have to do, by REST: where a webhook was lost, this is how its job is heard of.

use std::{collections::BTreeSet, sync::Arc};

use dayfly_core::{
    model::{ScopeKind, WorkflowJob, later},
    ports::{CaughtUp, ForgeError, ForgeErrorKind, LeftOut},
};
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;

use crate::{
    client::Shared,
    conditional::Remembered,
    deliveries::DeliveryWire,
    hooks::HookWire,
    limits::Bucket,
    operation::Operation,
    refusal::{Surface, error, unreadable},
    runners::Told,
    workflow_job::{JobWire, by_word},
};

/// Repositories that were active this long ago are looked at where the configuration names none.
const ACTIVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Lists read at once: a tenth of what GitHub allows.
const AT_ONCE: usize = 10;

/// The most that GitHub gives on a page.
const PER_PAGE: &str = "100";

/// The states of runs that have jobs to do or under way. A run moves from the first to the second: read in this order, none is missed.
const STATES: [&str; 2] = ["queued", "in_progress"];

/// Lists read before.
#[derive(Default)]
pub(crate) struct Memory {
    repositories: Remembered<Repository>,
    runs: Remembered<i64>,
    jobs: Remembered<WorkflowJob>,
    pub hooks: Remembered<HookWire>,
    pub deliveries: Remembered<DeliveryWire>,
    pub runners: Remembered<Told>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    #[serde(default)]
    pushed_at: Option<Timestamp>,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    id: i64,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<JobWire>,
}

impl Shared {
    pub async fn catch_up(
        self: &Arc<Self>,
        repositories: &[String],
        cursor: Option<i64>,
    ) -> Result<CaughtUp, ForgeError> {
        let named = !repositories.is_empty();
        let repositories =
            if named { repositories.to_vec() } else { self.active_repositories().await? };
        let caught_up = self.jobs_to_do(&repositories).await?;
        // Last, so that nothing is asked for again because of what failed before.
        Ok(match self.look_through_deliveries(&repositories, cursor).await {
            Ok((cursor, redelivered)) => CaughtUp { cursor, redelivered, ..caught_up },
            // What the jobs told is not thrown away.
            Err(failure) => CaughtUp { cursor, trouble: Some(failure), ..caught_up },
        })
    }

    pub async fn read_job(
        self: &Arc<Self>,
        repository: &str,
        id: i64,
    ) -> Result<Option<WorkflowJob>, ForgeError> {
        let operation = Operation::ReadJob { repository, id };
        let url = self.actions_url(repository, &["jobs", &id.to_string()]);
        let (authorization, response) = self.rest_answer(&operation, Method::GET, &url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return self.can_read_jobs(repository).await.map(|()| None);
        }
        if !response.status().is_success() {
            let (surface, bucket) = (Surface::Rest, Bucket::Core);
            return Err(self.rest_refusal(&operation, surface, bucket, &authorization, &response));
        }
        let odd = |what| unreadable(&operation, Surface::Rest, what);
        let wire: JobWire =
            serde_json::from_slice(response.body()).map_err(|_| odd("it holds no job"))?;
        let job = job(wire, repository).ok_or_else(|| odd("its status is not known"))?;
        Ok(Some(job))
    }

    /// Asks whether the credential may read a repository's jobs: GitHub says of those that it may not see that they are not there.
    async fn can_read_jobs(self: &Arc<Self>, repository: &str) -> Result<(), ForgeError> {
        let operation = Operation::ListRuns(repository);
        let mut url = self.actions_url(repository, &["runs"]);
        url.query_pairs_mut().append_pair("per_page", "1");
        let (authorization, response) = self.rest_answer(&operation, Method::GET, &url).await?;
        if response.status().is_success() {
            return Ok(());
        }
        let (surface, bucket) = (Surface::Rest, Bucket::Core);
        Err(self.rest_refusal(&operation, surface, bucket, &authorization, &response))
    }

    /// The repositories whose jobs may be for us.
    async fn active_repositories(self: &Arc<Self>) -> Result<Vec<String>, ForgeError> {
        let operation = Operation::ListRepositories { scope: &self.scope };
        match self.address.kind() {
            ScopeKind::Repository { owner, name } => return Ok(vec![format!("{owner}/{name}")]),
            ScopeKind::Enterprise(_) => {
                let detail = "an enterprise's repositories can't be listed: name them by `repositories` of the scope";
                return Err(error(&operation, ForgeErrorKind::Refused, detail));
            }
            ScopeKind::Organization(_) => {}
        }
        let mut url = self.address.scope_url(&["repos"]);
        url.query_pairs_mut()
            .append_pair("sort", "pushed")
            .append_pair("direction", "desc")
            .append_pair("per_page", PER_PAGE);
        let since = later(self.wire.github_now(), -ACTIVE);
        let is_old = |repository: &Repository| repository.pushed_at.is_none_or(|at| at < since);
        let read = |body: &[u8]| serde_json::from_slice::<Vec<Repository>>(body).ok();
        let enough = |page: &[Repository]| page.last().is_none_or(is_old);
        let remembered = &self.memory.repositories;
        let pages = self.pages_of(&operation, remembered, url, read, enough).await?;
        let all = pages.iter().flat_map(|page| &page.items);
        let active = all.filter(|repository| {
            !(is_old(repository) || repository.archived || repository.disabled)
        });
        Ok(active.map(|repository| repository.full_name.clone()).collect())
    }

    /// Every job of the repositories' queued and running runs. A repository or a run that can't be read keeps nobody from the others,
    /// unless none can be. One that the credential may not read is passed over in silence: an App need not be installed on all of them.
    async fn jobs_to_do(self: &Arc<Self>, repositories: &[String]) -> Result<CaughtUp, ForgeError> {
        let runs = stream::iter(repositories.to_vec()).map(|repository| async move {
            let runs = self.runs_to_do(&repository).await;
            (repository, runs)
        });
        let runs: Vec<_> = runs.buffered(AT_ONCE).collect().await;
        let (mut wanted, mut told) = (Vec::new(), CaughtUp::default());
        let (mut read, mut refused) = (0, None);
        for (repository, runs) in runs {
            match runs {
                Ok(runs) => {
                    read += 1;
                    wanted.extend(runs.into_iter().map(|run| (repository.clone(), run)));
                }
                Err(refusal) if matches!(refusal.kind, ForgeErrorKind::NotAllowed(_)) => {
                    refused = Some(refusal);
                }
                Err(failure) => leave_out(&mut told, LeftOut::new(&repository, None), failure)?,
            }
        }
        if read == 0
            && let Some(failure) = told.trouble.take().or(refused)
        {
            return Err(failure);
        }
        let jobs = stream::iter(wanted).map(|(repository, run)| async move {
            let jobs = self.jobs_of_run(&repository, run).await;
            (LeftOut::new(&repository, Some(run)), jobs)
        });
        let jobs: Vec<_> = jobs.buffered(AT_ONCE).collect().await;
        for (of, jobs) in jobs {
            match jobs {
                Ok(jobs) => told.jobs.extend(jobs),
                Err(failure) => leave_out(&mut told, of, failure)?,
            }
        }
        Ok(told)
    }

    async fn runs_to_do(self: &Arc<Self>, repository: &str) -> Result<BTreeSet<i64>, ForgeError> {
        let operation = Operation::ListRuns(repository);
        let mut runs = BTreeSet::new();
        for state in STATES {
            let mut url = self.actions_url(repository, &["runs"]);
            url.query_pairs_mut().append_pair("status", state).append_pair("per_page", PER_PAGE);
            let read = |body: &[u8]| {
                let runs = serde_json::from_slice::<Runs>(body).ok()?.workflow_runs;
                Some(runs.into_iter().map(|run| run.id).collect())
            };
            let pages = self.pages_of(&operation, &self.memory.runs, url, read, |_| false).await?;
            runs.extend(pages.iter().flat_map(|page| page.items.iter().copied()));
        }
        Ok(runs)
    }

    async fn jobs_of_run(
        self: &Arc<Self>,
        repository: &str,
        run: i64,
    ) -> Result<Vec<WorkflowJob>, ForgeError> {
        let operation = Operation::FindJobs { repository, run };
        let mut url = self.actions_url(repository, &["runs", &run.to_string(), "jobs"]);
        url.query_pairs_mut().append_pair("filter", "latest").append_pair("per_page", PER_PAGE);
        let read = |body: &[u8]| {
            let jobs = serde_json::from_slice::<Jobs>(body).ok()?.jobs;
            Some(jobs.into_iter().filter_map(|wire| job(wire, repository)).collect())
        };
        let pages = self.pages_of(&operation, &self.memory.jobs, url, read, |_| false).await?;
        Ok(pages.iter().flat_map(|page| page.items.iter().cloned()).collect())
    }

    fn actions_url(&self, repository: &str, below: &[&str]) -> Url {
        let (owner, name) = repository.split_once('/').unwrap_or((repository, ""));
        let of_repository = ["repos", owner, name, "actions"].into_iter();
        self.address.rest_url(of_repository.chain(below.iter().copied()))
    }
}

/// Leaves out what could not be read, and keeps the first reason. What refuses the credential as a whole ends the list.
fn leave_out(told: &mut CaughtUp, what: LeftOut, failure: ForgeError) -> Result<(), ForgeError> {
    if matches!(failure.kind, ForgeErrorKind::Unauthorized | ForgeErrorKind::RateLimited(_)) {
        return Err(failure);
    }
    told.left_out.insert(what);
    told.trouble.get_or_insert(failure);
    Ok(())
}

/// `None` where GitHub has a new word for how far it is.
fn job(wire: JobWire, repository: &str) -> Option<WorkflowJob> {
    let status = by_word(wire.status.as_deref()?)?;
    Some(wire.into_job(repository, status))
}
