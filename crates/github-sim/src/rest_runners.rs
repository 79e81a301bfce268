//! The public REST of runners: list, get, remove, mint.

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Call;
use crate::ids::{GroupId, RunnerId, ScopeId};
use crate::refusal::{Handled, Refusal, empty, json_reply, ok, set_header};
use crate::runner::{NewRunner, Runner};
use crate::sim::Sim;

/// A runner as the public REST shows it.
#[derive(Serialize)]
struct RunnerBody<'a> {
    id: RunnerId,
    runner_group_id: GroupId,
    name: &'a str,
    os: &'a str,
    status: &'static str,
    busy: bool,
    labels: Vec<LabelBody<'a>>,
    ephemeral: bool,
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct LabelBody<'a> {
    id: usize,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct RunnersBody<'a> {
    total_count: usize,
    runners: Vec<RunnerBody<'a>>,
}

impl Sim {
    /// The runners of a scope, or of one of its groups.
    pub(crate) fn rest_runners(
        &self,
        call: &Call<'_>,
        scope: ScopeId,
        group: Option<GroupId>,
    ) -> Handled {
        if group.is_some_and(|group| self.groups.get(scope, group).is_none()) {
            return Err(Refusal::rest_not_found());
        }
        let page = call.page();
        let (total, shown): (usize, Vec<RunnerBody<'_>>) = match (call.query("name"), group) {
            (Some(name), None) => {
                let found = self.runners.named(scope, name);
                (found.iter().count(), found.map(runner_body).into_iter().collect())
            }
            (None, None) => {
                let ids = self.scopes.get(scope).map(|scope| &scope.runners);
                let total = ids.map_or(0, std::collections::BTreeSet::len);
                let ids = ids.into_iter().flatten().skip(page.skip()).take(page.per);
                (total, ids.filter_map(|id| self.runners.get(*id)).map(runner_body).collect())
            }
            (name, group) => {
                let ids = self.scopes.get(scope).map(|scope| &scope.runners).into_iter().flatten();
                let found: Vec<&Runner> = ids
                    .filter_map(|id| self.runners.get(*id))
                    .filter(|runner| group.is_none_or(|group| runner.group == group))
                    .filter(|runner| name.is_none_or(|name| runner.name.eq_ignore_ascii_case(name)))
                    .collect();
                (
                    found.len(),
                    found.into_iter().skip(page.skip()).take(page.per).map(runner_body).collect(),
                )
            }
        };
        let mut reply = ok(&RunnersBody { total_count: total, runners: shown });
        if let Some(link) = page.link(call, total) {
            set_header(&mut reply, "link", &link);
        }
        Ok(reply)
    }

    fn runner_in(&self, scope: ScopeId, id: RunnerId) -> Result<&Runner, Refusal> {
        self.runners
            .get(id)
            .filter(|runner| runner.scope == scope)
            .ok_or_else(Refusal::rest_not_found)
    }

    pub(crate) fn rest_runner_get(&self, scope: ScopeId, id: RunnerId) -> Handled {
        Ok(ok(&runner_body(self.runner_in(scope, id)?)))
    }

    pub(crate) fn rest_runner_delete(
        &mut self,
        at: Timestamp,
        scope: ScopeId,
        id: RunnerId,
    ) -> Handled {
        let runner = self.runner_in(scope, id)?;
        if runner.job.is_some() {
            let what = format!(
                "Bad request - Runner \"{}\" is currently running a job and cannot be deleted.",
                runner.name
            );
            return Err(Refusal::rest(422, what));
        }
        self.remove_runner(at, id);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// `POST generate-jitconfig`: a runner outside any set. Its labels are those given and no others (a guess).
    pub(crate) fn rest_runner_jit(&mut self, call: &Call<'_>, scope: ScopeId) -> Handled {
        #[derive(Deserialize)]
        struct Wanted {
            name: String,
            runner_group_id: i64,
            labels: Vec<String>,
            #[serde(default)]
            work_folder: String,
        }
        let wanted: Wanted = call.json().map_err(|what| Refusal::rest(422, what))?;
        let invalid = |what: &str| Refusal::rest(422, format!("Validation failed: {what}"));
        if wanted.name.is_empty() || wanted.name.len() > 64 {
            return Err(invalid("name has 1 to 64 characters"));
        }
        if wanted.labels.is_empty() || wanted.labels.len() > 100 {
            return Err(invalid("labels has 1 to 100 items"));
        }
        let group = GroupId(wanted.runner_group_id);
        if self.groups.get(scope, group).is_none() {
            return Err(invalid("runner group does not exist"));
        }
        let new = NewRunner {
            name: wanted.name,
            scope,
            group,
            set: None,
            labels: wanted.labels,
            work_folder: wanted.work_folder,
        };
        let taken =
            || Refusal::rest(409, "Already exists - A runner with this name already exists.");
        let id = self.register(call.now, new).ok_or_else(taken)?;
        let runner = self.runner_in(scope, id)?;
        let blob = crate::jit::encode(runner, &self.runner_base(call));
        Ok(json_reply(
            StatusCode::CREATED,
            &json!({ "runner": runner_body(runner), "encoded_jit_config": blob }),
        ))
    }
}

fn runner_body(runner: &Runner) -> RunnerBody<'_> {
    let labels = runner.labels.iter().zip(1..);
    RunnerBody {
        id: runner.id,
        runner_group_id: runner.group,
        name: &runner.name,
        os: &runner.os,
        status: if runner.online { "online" } else { "offline" },
        busy: runner.job.is_some(),
        labels: labels.map(|(name, id)| LabelBody { id, name, kind: "custom" }).collect(),
        ephemeral: true,
        version: runner.version.as_deref(),
    }
}
