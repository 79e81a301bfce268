//! The public REST of workflow runs and their jobs.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::call::{Call, Origin, Page};
use crate::ids::{JobId, RunId, ScopeId};
use crate::job::{Conclusion, Job};
use crate::moment;
use crate::refusal::{Handled, Refusal, Reply, json_reply, ok, set_header};
use crate::route::Route;
use crate::run::{Run, RunStatus};
use crate::sim::Sim;
use crate::workflow_job::{WorkflowJob, WorkflowStep};

/// The commit that every simulated run is of.
pub(crate) const SHA: &str = "5cc4f7a2d1e0b39886aa01bb7d4ef2c93f0d6e1b";

/// When every simulated repository was made.
pub(crate) const CREATED_AT: &str = "2024-01-01T00:00:00Z";

/// A page of a run's jobs.
#[derive(Serialize)]
struct JobsBody {
    total_count: usize,
    jobs: Vec<WorkflowJob>,
}

/// A filtered list of runs ends here, as GitHub's search does.
const FILTERED_MAX: usize = 1000;

impl Sim {
    pub(crate) fn runs_route(&mut self, call: &Call<'_>, route: &Route, repo: ScopeId) -> Handled {
        match route {
            Route::RunsList(_) => self.runs_list(call, repo),
            Route::RunGet(_, run) => Ok(ok(&self.run_json(&call.origin, self.run_in(repo, *run)?))),
            Route::RunJobs(_, run) => {
                let run = self.run_in(repo, *run)?;
                let all = call.query("filter") == Some("all");
                let jobs: Vec<JobId> = if all {
                    run.attempts.values().flatten().copied().collect()
                } else {
                    run.latest.clone()
                };
                Ok(self.jobs_page(call, &jobs))
            }
            Route::RunAttemptJobs(_, run, attempt) => {
                let jobs = self
                    .run_in(repo, *run)?
                    .attempts
                    .get(attempt)
                    .cloned()
                    .ok_or_else(Refusal::rest_not_found)?;
                Ok(self.jobs_page(call, &jobs))
            }
            Route::JobGet(_, job) => Ok(ok(&self.job_json(&call.origin, self.job_in(repo, *job)?))),
            Route::RunCancel(_, run) | Route::RunForceCancel(_, run) => {
                let force = matches!(route, Route::RunForceCancel(..));
                let id = self.run_in(repo, *run)?.id;
                if self.cancel_run(call.now, id, force) {
                    return Ok(json_reply(StatusCode::ACCEPTED, &json!({})));
                }
                Err(Refusal::rest(409, "Cannot cancel a workflow run that is completed."))
            }
            Route::RunRerun(_, run) => {
                let id = self.run_in(repo, *run)?.id;
                self.rerun_reply(call, id, |_| true)
            }
            Route::RunRerunFailed(_, run) => {
                let id = self.run_in(repo, *run)?.id;
                self.rerun_reply(call, id, |job| job.conclusion() != Some(Conclusion::Success))
            }
            Route::JobRerun(_, job) => {
                let (id, run) = self.job_in(repo, *job).map(|job| (job.id, job.run))?;
                self.rerun_reply(call, run, |job| job.id == id)
            }
            _ => Err(Refusal::rest_not_found()),
        }
    }

    fn rerun_reply(
        &mut self,
        call: &Call<'_>,
        run: RunId,
        choose: impl Fn(&Job) -> bool,
    ) -> Handled {
        match self.rerun(call.now, run, choose) {
            Some(_) => Ok(json_reply(StatusCode::CREATED, &json!({}))),
            None => Err(Refusal::rest(403, "This workflow run cannot be retried")),
        }
    }

    fn run_in(&self, repo: ScopeId, id: RunId) -> Result<&Run, Refusal> {
        self.runs.get(&id).filter(|run| run.repo == repo).ok_or_else(Refusal::rest_not_found)
    }

    fn job_in(&self, repo: ScopeId, id: JobId) -> Result<&Job, Refusal> {
        self.jobs.get(&id).filter(|job| job.repo == repo).ok_or_else(Refusal::rest_not_found)
    }

    /// The newest runs first; `status` filters by status or conclusion.
    fn runs_list(&self, call: &Call<'_>, repo: ScopeId) -> Handled {
        let scope = self.scopes.get(repo).ok_or_else(Refusal::rest_not_found)?;
        let page = call.page();
        let (total, shown): (usize, Vec<RunId>) = match call.query("status") {
            None => (scope.runs.len(), window(scope.runs.iter().rev(), page)),
            Some(wanted) => match [
                RunStatus::Waiting,
                RunStatus::Queued,
                RunStatus::InProgress,
                RunStatus::Completed,
            ]
            .into_iter()
            .find(|s| s.text() == wanted)
            {
                Some(status) => {
                    let found = scope.runs_by_status.get(&status);
                    let total = found.map_or(0, std::collections::BTreeSet::len);
                    (total, window(found.into_iter().flatten().rev().take(FILTERED_MAX), page))
                }
                None => {
                    let done =
                        scope.runs_by_status.get(&RunStatus::Completed).into_iter().flatten().rev();
                    let found: Vec<RunId> = done
                        .filter(|id| {
                            self.runs
                                .get(id)
                                .and_then(Run::conclusion)
                                .is_some_and(|conclusion| conclusion.public() == wanted)
                        })
                        .take(FILTERED_MAX)
                        .copied()
                        .collect();
                    (found.len(), window(found.iter(), page))
                }
            },
        };
        let runs: Vec<Value> = shown
            .iter()
            .filter_map(|id| self.runs.get(id))
            .map(|run| self.run_json(&call.origin, run))
            .collect();
        let mut reply = ok(&json!({ "total_count": total, "workflow_runs": runs }));
        if let Some(link) = page.link(call, total) {
            set_header(&mut reply, "link", &link);
        }
        Ok(reply)
    }

    fn jobs_page(&self, call: &Call<'_>, ids: &[JobId]) -> Reply {
        let page = call.page();
        let jobs: Vec<WorkflowJob> = ids
            .iter()
            .skip(page.skip())
            .take(page.per)
            .filter_map(|id| self.jobs.get(id))
            .map(|job| self.job_json(&call.origin, job))
            .collect();
        let mut reply = ok(&JobsBody { total_count: ids.len(), jobs });
        if let Some(link) = page.link(call, ids.len()) {
            set_header(&mut reply, "link", &link);
        }
        reply
    }

    pub(crate) fn job_json(&self, origin: &Origin, job: &Job) -> WorkflowJob {
        let repo = self.scopes.get(job.repo).map_or("", |repo| repo.path.as_str());
        let api = format!("{}/repos/{repo}", origin.api);
        let group = job.runner.as_ref().map(|_| crate::group::DEFAULT_GROUP);
        let steps = match job.step_results.as_array() {
            Some(steps) => {
                steps.iter().enumerate().map(|(index, step)| step_json(index, step)).collect()
            }
            None => Vec::new(),
        };
        WorkflowJob {
            id: job.id.0,
            run_id: job.run.0,
            run_url: format!("{api}/actions/runs/{}", job.run),
            run_attempt: Some(job.attempt),
            node_id: format!("CR_{}", job.id),
            head_sha: SHA.to_owned(),
            head_branch: Some("main".to_owned()),
            url: format!("{api}/actions/jobs/{}", job.id),
            html_url: Some(format!(
                "{}/{repo}/actions/runs/{}/job/{}",
                origin.base, job.run, job.id
            )),
            status: job.status().to_owned(),
            conclusion: job.conclusion().map(|conclusion| conclusion.public().to_owned()),
            created_at: Some(moment::seconds(job.queued_at)),
            started_at: moment::seconds(job.started_at.unwrap_or(job.queued_at)),
            completed_at: job.completed_at.map(moment::seconds),
            name: job.name.clone(),
            steps,
            check_run_url: format!("{api}/check-runs/{}", job.id),
            labels: job.labels.clone(),
            runner_id: job.runner.as_ref().map(|(id, _)| id.0),
            runner_name: job.runner.as_ref().map(|(_, name)| name.clone()),
            runner_group_id: group.map(|group| group.0),
            runner_group_name: group.map(|_| "Default".to_owned()),
            workflow_name: self.runs.get(&job.run).map(|run| run.workflow.clone()),
        }
    }

    pub(crate) fn run_json(&self, origin: &Origin, run: &Run) -> Value {
        let repo = self.scopes.get(run.repo);
        let path = repo.map_or("", |repo| repo.path.as_str());
        let url = format!("{}/repos/{path}/actions/runs/{}", origin.api, run.id);
        let owner = self.scopes.owner(run.repo);
        let actor = self.user_json(origin, owner);
        let repository = self.repository_json(origin, run.repo);
        json!({
            "id": run.id,
            "name": run.workflow,
            "node_id": format!("WFR_{}", run.id),
            "head_branch": "main",
            "head_sha": SHA,
            "path": ".github/workflows/ci.yml",
            "display_title": format!("{} run", run.workflow),
            "run_number": run.number,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": run.status().text(),
            "conclusion": run.conclusion().map(Conclusion::public),
            "workflow_id": 1,
            "check_suite_id": run.id,
            "check_suite_node_id": format!("CS_{}", run.id),
            "url": url,
            "html_url": format!("{}/{path}/actions/runs/{}", origin.base, run.id),
            "pull_requests": [],
            "created_at": moment::seconds(run.created_at),
            "updated_at": moment::seconds(run.updated_at),
            "run_started_at": moment::seconds(run.started_at),
            "actor": actor,
            "triggering_actor": actor,
            "jobs_url": format!("{url}/jobs"),
            "logs_url": format!("{url}/logs"),
            "check_suite_url": format!("{}/repos/{path}/check-suites/{}", origin.api, run.id),
            "artifacts_url": format!("{url}/artifacts"),
            "cancel_url": format!("{url}/cancel"),
            "rerun_url": format!("{url}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{}/repos/{path}/actions/workflows/1", origin.api),
            "head_commit": {
                "id": SHA,
                "tree_id": SHA,
                "message": "A simulated commit",
                "timestamp": moment::seconds(run.created_at),
                "author": { "name": "Simulated Author", "email": "author@example.com" },
                "committer": { "name": "Simulated Author", "email": "author@example.com" },
            },
            "repository": repository,
            "head_repository": repository,
        })
    }

    /// A repository in GitHub's minimal form.
    pub(crate) fn repository_json(&self, origin: &Origin, id: ScopeId) -> Value {
        /// Members of the minimal form that are URLs below the repository's own.
        const PARTS: [&str; 36] = [
            "archive",
            "assignees",
            "blobs",
            "branches",
            "collaborators",
            "comments",
            "commits",
            "compare",
            "contents",
            "contributors",
            "deployments",
            "downloads",
            "events",
            "forks",
            "git_commits",
            "git_refs",
            "git_tags",
            "issue_comment",
            "issue_events",
            "issues",
            "keys",
            "labels",
            "languages",
            "merges",
            "milestones",
            "notifications",
            "pulls",
            "releases",
            "stargazers",
            "statuses",
            "subscribers",
            "subscription",
            "tags",
            "teams",
            "trees",
            "hooks",
        ];
        let scope = self.scopes.get(id);
        let path = scope.map_or("", |scope| scope.path.as_str());
        let url = format!("{}/repos/{path}", origin.api);
        let mut value = json!({
            "id": id,
            "node_id": format!("R_{id}"),
            "name": path.rsplit('/').next().unwrap_or_default(),
            "full_name": path,
            "owner": self.user_json(origin, self.scopes.owner(id)),
            "private": scope.is_none_or(|scope| scope.private),
            "html_url": format!("{}/{path}", origin.base),
            "description": null,
            "fork": false,
            "url": url,
        });
        for part in PARTS {
            value[format!("{part}_url")] = format!("{url}/{part}").into();
        }
        value
    }
}

impl Sim {
    /// When a repository was pushed to last, as far as its runs tell.
    pub(crate) fn pushed_at(&self, id: ScopeId) -> Option<String> {
        let newest = self.runs.get(self.scopes.get(id)?.runs.last()?)?;
        Some(moment::seconds(newest.created_at))
    }

    /// What never changes of a repository in the form that webhooks have: all but `updated_at` and `pushed_at`.
    pub(crate) fn lasting_repository_json(&self, origin: &Origin, id: ScopeId) -> Value {
        let path = self.scopes.get(id).map_or("", |scope| scope.path.as_str());
        let mut value = self.repository_json(origin, id);
        let Value::Object(members) = &mut value else { return value };
        for flag in ["has_downloads", "has_issues", "has_projects", "has_wiki"] {
            members.insert(flag.to_owned(), true.into());
        }
        for flag in ["has_pages", "archived", "disabled"] {
            members.insert(flag.to_owned(), false.into());
        }
        let counts = [
            "forks",
            "forks_count",
            "open_issues",
            "open_issues_count",
            "size",
            "stargazers_count",
            "watchers",
            "watchers_count",
        ];
        for count in counts {
            members.insert(count.to_owned(), 0.into());
        }
        for unset in ["homepage", "language", "license", "mirror_url"] {
            members.insert(unset.to_owned(), Value::Null);
        }
        let host = origin.base.split_once("://").map_or("", |(_, host)| host);
        let texts = [
            ("default_branch", "main".to_owned()),
            ("clone_url", format!("{}/{path}.git", origin.base)),
            ("git_url", format!("git://{host}/{path}.git")),
            ("ssh_url", format!("git@{host}:{path}.git")),
            ("svn_url", format!("{}/{path}", origin.base)),
            ("created_at", CREATED_AT.to_owned()),
        ];
        for (name, text) in texts {
            members.insert(name.to_owned(), text.into());
        }
        value
    }
}

fn window<'a>(ids: impl Iterator<Item = &'a RunId>, page: Page) -> Vec<RunId> {
    ids.skip(page.skip()).take(page.per).copied().collect()
}

fn step_json(index: usize, step: &Value) -> WorkflowStep {
    let text = |name: &str| step[name].as_str().map(str::to_owned);
    WorkflowStep {
        name: text("name").unwrap_or_default(),
        status: "completed".to_owned(),
        conclusion: step["conclusion"]
            .as_str()
            .map(|result| Conclusion::from_result(result).public().to_owned()),
        number: i64::try_from(index + 1).unwrap_or(i64::MAX),
        started_at: text("startedAt"),
        completed_at: text("completedAt"),
    }
}
