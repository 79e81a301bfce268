//! Runners as the Actions service shows them: mint for a set, look up, remove.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Call;
use crate::ids::{GroupId, RunnerId, ScopeId, SetId};
use crate::moment;
use crate::refusal::{
    AGENT_EXISTS, BAD_ARGUMENT, Handled, JOB_RUNNING, Refusal, empty, ok, written_reply,
};
use crate::runner::{NewRunner, Runner};
use crate::sim::Sim;

/// The longest runner name (the limit of GitHub's own `config.sh`; that the service enforces it is a guess).
const NAME_MAX: usize = 64;

/// A runner as the Actions service shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent<'a> {
    id: RunnerId,
    name: &'a str,
    runner_scale_set_id: i64,
    runner_group_id: GroupId,
    runner_group_name: &'a str,
    os: &'a str,
    created_on: String,
    version: Option<&'a str>,
    enabled: bool,
    ephemeral: bool,
    status: &'static str,
    disable_update: bool,
    provisioning_state: &'static str,
    busy: bool,
    labels: Vec<AgentLabel<'a>>,
}

#[derive(Serialize)]
struct AgentLabel<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
}

impl Sim {
    /// Where runners find the broker.
    pub(crate) fn runner_base(&self, call: &Call<'_>) -> String {
        self.options
            .runner_url
            .as_deref()
            .map_or_else(|| call.origin.base.clone(), |url| url.trim_end_matches('/').to_owned())
    }

    /// `POST generatejitconfig` of a set.
    pub(crate) fn set_jit(&mut self, call: &Call<'_>, scope: ScopeId, id: SetId) -> Handled {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Setting {
            name: String,
            #[serde(default)]
            work_folder: String,
        }
        let set = self.set_in(scope, id)?;
        let setting: Setting =
            call.json().map_err(|what| Refusal::service(400, BAD_ARGUMENT, what))?;
        if setting.name.is_empty() || setting.name.len() > NAME_MAX {
            let what = format!("The name of a runner has 1 to {NAME_MAX} characters.");
            return Err(Refusal::service(400, BAD_ARGUMENT, what));
        }
        let name = setting.name.clone();
        let new = NewRunner {
            name: setting.name,
            scope,
            group: set.group,
            set: Some(id),
            labels: set.labels.iter().map(|label| label.name.clone()).collect(),
            work_folder: setting.work_folder,
        };
        let runner = self.register(call.now, new).ok_or_else(|| {
            Refusal::service(
                409,
                AGENT_EXISTS,
                format!("Agent {name} already exists in this pool."),
            )
        })?;
        let runner = self.runners.get(runner).ok_or_else(|| Refusal::no_agent(runner))?;
        let blob = crate::jit::encode(runner, &self.runner_base(call));
        // Base64 needs no escapes, and thousands of bytes of it are not looked through for any.
        let runner = serde_json::to_string(&self.agent(runner)).unwrap_or_default();
        let body = format!(r#"{{"runner":{runner},"encodedJITConfig":"{blob}"}}"#);
        Ok(written_reply(http::StatusCode::OK, body))
    }

    fn agent<'a>(&'a self, runner: &'a Runner) -> Agent<'a> {
        let group =
            self.groups.get(runner.scope, runner.group).map_or("", |group| group.name.as_str());
        Agent {
            id: runner.id,
            name: &runner.name,
            runner_scale_set_id: runner.set.map_or(0, |set| set.0),
            runner_group_id: runner.group,
            runner_group_name: group,
            os: &runner.os,
            created_on: moment::precise(Some(runner.created_at)),
            version: runner.version.as_deref(),
            enabled: true,
            ephemeral: true,
            status: if runner.online { "online" } else { "offline" },
            disable_update: true,
            provisioning_state: "Provisioned",
            busy: runner.job.is_some(),
            labels: runner.labels.iter().map(|name| AgentLabel { kind: "System", name }).collect(),
        }
    }

    pub(crate) fn agents_list(&self, call: &Call<'_>, scope: ScopeId) -> Handled {
        let value: Vec<Agent<'_>> = match call.query("agentName") {
            Some(name) => self
                .runners
                .named(scope, name)
                .map(|runner| self.agent(runner))
                .into_iter()
                .collect(),
            None => {
                let ids = self.scopes.get(scope).map(|scope| &scope.runners).into_iter().flatten();
                ids.filter_map(|id| self.runners.get(*id))
                    .map(|runner| self.agent(runner))
                    .collect()
            }
        };
        Ok(ok(&json!({ "count": value.len(), "value": value })))
    }

    pub(crate) fn agent_get(&self, scope: ScopeId, id: RunnerId) -> Handled {
        let runner = self
            .runners
            .get(id)
            .filter(|runner| runner.scope == scope)
            .ok_or_else(|| Refusal::no_agent(id))?;
        Ok(ok(&self.agent(runner)))
    }

    pub(crate) fn agent_delete(&mut self, at: Timestamp, scope: ScopeId, id: RunnerId) -> Handled {
        let runner = self
            .runners
            .get(id)
            .filter(|runner| runner.scope == scope)
            .ok_or_else(|| Refusal::no_agent(id))?;
        if runner.job.is_some() {
            return Err(Refusal::service(
                400,
                JOB_RUNNING,
                format!("The runner {} is still running a job.", runner.name),
            ));
        }
        self.remove_runner(at, id);
        Ok(empty(http::StatusCode::NO_CONTENT))
    }
}
