//! Workflow jobs in the public REST API: read for `explain` alone, never to decide.

use std::sync::Arc;

use dayfly_core::ports::{ForgeError, JobRecord};
use http::Method;
use serde::Deserialize;

use crate::{
    client::Shared,
    operation::Operation,
    refusal::{Surface, unreadable},
    scrub::clean,
};

/// Characters of a name or label that are kept.
const TEXT_MAX: usize = 256;

/// Labels of a job that are kept: GitHub's own bound for a runner (protocol.md, 4.2).
const LABELS_MAX: usize = 100;

/// GitHub's word for a job that is over.
const COMPLETED: &str = "completed";

/// Pages of a run's jobs that are read at most: a matrix has at most 256 jobs, and few runs have more than a thousand.
const PAGES_MAX: usize = 10;

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Wire>,
}

#[derive(Deserialize)]
struct Wire {
    id: i64,
    run_id: i64,
    #[serde(default)]
    name: String,
    status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    runner_name: Option<String>,
}

impl From<Wire> for JobRecord {
    fn from(wire: Wire) -> Self {
        let text = |text: &str| clean(text, TEXT_MAX);
        Self {
            id: wire.id,
            run_id: wire.run_id,
            name: text(&wire.name),
            status: text(&wire.status),
            conclusion: wire.conclusion.as_deref().map(text),
            labels: wire.labels.iter().take(LABELS_MAX).map(|label| text(label)).collect(),
            runner: wire.runner_name.as_deref().map(text).filter(|runner| !runner.is_empty()),
        }
    }
}

impl Shared {
    pub async fn find_jobs(
        self: &Arc<Self>,
        repository: &str,
        run: i64,
        job: Option<i64>,
    ) -> Result<Vec<JobRecord>, ForgeError> {
        let operation = Operation::FindJobs { repository, run };
        let odd = || unreadable(&operation, Surface::Rest, "it holds no jobs");
        let (owner, name) = repository.split_once('/').unwrap_or((repository, ""));
        let id = job.unwrap_or(run).to_string();
        let of_repository = ["repos", owner, name, "actions"].into_iter();
        if job.is_some() {
            let url = self.address.rest_url(of_repository.chain(["jobs", &id]));
            let response = self.rest(&operation, Method::GET, &url).await?;
            let wire: Wire = serde_json::from_slice(response.body()).map_err(|_| odd())?;
            return Ok(vec![wire.into()]);
        }
        let mut url = self.address.rest_url(of_repository.chain(["runs", &id, "jobs"]));
        url.query_pairs_mut().append_pair("filter", "latest").append_pair("per_page", "100");
        let mut next = Some(url);
        let mut jobs: Vec<JobRecord> = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else { break };
            let response = self.rest(&operation, Method::GET, &url).await?;
            let read = |body: &[u8]| Some(serde_json::from_slice::<Page>(body).ok()?.jobs);
            let page = self.page_in(&operation, &url, &response, read)?;
            jobs.extend(page.items.into_iter().map(JobRecord::from));
            if jobs.iter().all(|job| job.status == COMPLETED) {
                next = page.links.next;
            }
        }
        Ok(jobs)
    }
}
