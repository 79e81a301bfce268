//! The control API: prepares a GitHub, plays its users, and looks behind the scenes. Not part of GitHub; no authentication.
//!
//! | request | body or query | answer |
//! |---|---|---|
//! | `POST /control/scopes` | [`ScopeSpec`] | `{id, path}` |
//! | `POST /control/groups` | `{scope, name, allows_public?}` | `{id}` |
//! | `POST /control/credentials` | [`CredentialSpec`] | [`crate::CreatedCredential`] |
//! | `POST /control/jobs` | [`QueueSpec`]; `?held=1`: they wait for an approval first | [`crate::Queued`] |
//! | `GET /control/jobs/{id}` | | one job, with its output |
//! | `POST /control/jobs/{id}/approve` | | `{}` |
//! | `POST /control/jobs/{id}/cancel` | `?force=1` | `{}` |
//! | `POST /control/jobs/{id}/complete` | `{conclusion}` | ends it on GitHub's side only: its runner still works (F7) |
//! | `POST /control/runs/{id}/cancel`, `/rerun`, `/rerun-failed` | `?force=1` | `{}`, [`crate::Queued`] |
//! | `GET /control/summary` | | counts, cheap |
//! | `GET /control/state` | | everything |
//! | `GET /control/journal` | `?since=NUMBER` | entries |
//! | `GET /control/counters` | | per route, never dropped |
//! | `POST /control/faults` | [`FaultSpec`] | `{id}` |
//! | `GET /control/faults`, `DELETE /control/faults[/{id}]` | | those in force |
//! | `GET /control/options`, `POST /control/options` | any members of [`Options`] | all options |
//! | `POST /control/sets/{id}/delete` | | the set vanishes (F2) |
//! | `POST /control/sets/{id}/evict` | | its session is lost by the broker (F3) |
//! | `POST /control/sets/{id}/expire` | | its session expires |
//! | `POST /control/runners/{id}/remove` | | the service removes it, busy or not (F8, F10) |
//! | `POST /control/programs` | `?version=`; the archive; `&sha256=` where another sum is to be told, or none; `&token=` | the newest runner program |
//! | `POST /control/tokens/revoke` | `{kind: installation, registration, admin, queue, runner}` | `{revoked}` |

use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::credential::CredentialSpec;
use crate::downloads::RunnerProgram;
use crate::faults::FaultSpec;
use crate::group::Group;
use crate::ids::{FaultId, GroupId, JobId, RunId, RunnerId, SetId};
use crate::job::Conclusion;
use crate::options::Options;
use crate::refusal::{Handled, Refusal, ok};
use crate::run::{QueueSpec, Queued};
use crate::scope::ScopeSpec;
use crate::sim::Sim;
use crate::token::Grant;

fn body<T: serde::de::DeserializeOwned>(call: &Call<'_>) -> Result<T, Refusal> {
    call.json().map_err(|what| Refusal::control(400, what))
}

fn bad(what: String) -> Refusal {
    Refusal::control(422, what)
}

fn id(text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|_| Refusal::control(404, format!("`{text}` is not an id")))
}

impl Sim {
    pub(crate) fn control(&mut self, call: &Call<'_>) -> Handled {
        let parts: Vec<&str> = call.segments.iter().skip(1).map(AsRef::as_ref).collect();
        let force = call.query("force").is_some();
        match (call.method.as_str(), parts.as_slice()) {
            ("POST", ["scopes"]) => {
                let spec: ScopeSpec = body(call)?;
                let id = self.create_scope(&spec).map_err(bad)?;
                Ok(ok(&json!({ "id": id, "path": spec.path })))
            }
            ("POST", ["groups"]) => self.control_group(call),
            ("POST", ["credentials"]) => {
                let spec: CredentialSpec = body(call)?;
                Ok(ok(&self.create_credential(spec).map_err(bad)?))
            }
            ("POST", ["jobs"]) => {
                let spec: QueueSpec = body(call)?;
                Ok(ok(&self
                    .queue_jobs(call.now, &spec, call.query("held").is_some())
                    .map_err(bad)?))
            }
            ("GET", ["jobs", job]) => {
                let job = self
                    .jobs
                    .get(&JobId(id(job)?))
                    .ok_or_else(|| Refusal::control(404, "no such job"))?;
                let mut value = self.job_state(job);
                value["log"] = job.log.clone().into();
                value["steps"] = job.step_results.clone();
                Ok(ok(&value))
            }
            ("POST", ["jobs", job, act]) => self.control_job(call, JobId(id(job)?), act, force),
            ("POST", ["runs", run, act]) => self.control_run(call, RunId(id(run)?), act, force),
            ("GET", ["summary"]) => Ok(ok(&self.summary())),
            ("GET", ["state"]) => Ok(ok(&self.state())),
            ("GET", ["journal"]) => {
                let since = call.number("since").map_or(0, i64::unsigned_abs);
                Ok(ok(&self.journal.since(since).collect::<Vec<_>>()))
            }
            ("GET", ["counters"]) => Ok(ok(self.journal.counters())),
            ("POST", ["faults"]) => {
                let spec: FaultSpec = body(call)?;
                let id = FaultId(self.ids.faults.next());
                self.faults.set.insert(id, spec);
                Ok(ok(&json!({ "id": id })))
            }
            ("GET", ["faults"]) => Ok(ok(&self
                .faults
                .set
                .iter()
                .map(|(id, spec)| json!({ "id": id, "fault": spec }))
                .collect::<Vec<_>>())),
            ("DELETE", ["faults"]) => {
                self.faults.set.clear();
                Ok(ok(&json!({})))
            }
            ("DELETE", ["faults", fault]) => {
                self.faults.set.remove(&FaultId(id(fault)?));
                Ok(ok(&json!({})))
            }
            ("GET", ["options"]) => Ok(ok(&self.options)),
            ("POST", ["options"]) => self.control_options(call),
            ("POST", ["sets", set, act]) => self.control_set(call, SetId(id(set)?), act),
            ("POST", ["runners", runner, "remove"]) => {
                let runner = RunnerId(id(runner)?);
                self.runners.get(runner).ok_or_else(|| Refusal::control(404, "no such runner"))?;
                self.remove_runner(call.now, runner);
                Ok(ok(&json!({})))
            }
            ("POST", ["programs"]) => {
                self.downloads.push(RunnerProgram::of(call)?);
                Ok(ok(&json!({})))
            }
            ("POST", ["tokens", "revoke"]) => self.control_revoke(call),
            _ => Err(Refusal::control(
                404,
                format!("no control route {} {}", call.method, call.path),
            )),
        }
    }

    fn control_group(&mut self, call: &Call<'_>) -> Handled {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct GroupSpec {
            scope: String,
            name: String,
            #[serde(default)]
            allows_public: bool,
        }
        let spec: GroupSpec = body(call)?;
        let scope = self
            .scopes
            .find(&spec.scope)
            .ok_or_else(|| bad(format!("no scope `{}`", spec.scope)))?;
        let same = self
            .groups
            .of(scope)
            .find(|(_, group)| group.name.eq_ignore_ascii_case(&spec.name))
            .map(|(id, _)| id);
        let id = same.unwrap_or_else(|| GroupId(self.ids.groups.next()));
        self.groups.insert(scope, id, Group { name: spec.name, allows_public: spec.allows_public });
        let sets: Vec<SetId> =
            self.sets.iter().filter(|set| set.scope == scope).map(|set| set.id).collect();
        for set in sets {
            self.match_all(set);
            self.wake_set(set);
        }
        Ok(ok(&json!({ "id": id })))
    }

    fn control_job(&mut self, call: &Call<'_>, job: JobId, act: &str, force: bool) -> Handled {
        if !self.jobs.contains_key(&job) {
            return Err(Refusal::control(404, "no such job"));
        }
        match act {
            "cancel" => self.cancel_job(call.now, job, force),
            "approve" => {
                if !self.approve_job(call.now, job) {
                    return Err(Refusal::control(409, "the job waits for no approval"));
                }
            }
            "complete" => {
                #[derive(Deserialize)]
                struct End {
                    conclusion: Conclusion,
                }
                let end: End = body(call)?;
                self.conclude(call.now, job, end.conclusion);
            }
            _ => return Err(Refusal::control(404, format!("no act `{act}` on a job"))),
        }
        Ok(ok(&json!({})))
    }

    fn control_run(&mut self, call: &Call<'_>, run: RunId, act: &str, force: bool) -> Handled {
        if !self.runs.contains_key(&run) {
            return Err(Refusal::control(404, "no such run"));
        }
        let again = match act {
            "cancel" => {
                self.cancel_run(call.now, run, force);
                return Ok(ok(&json!({})));
            }
            "rerun" => self.rerun(call.now, run, |_| true),
            "rerun-failed" => {
                self.rerun(call.now, run, |job| job.conclusion() != Some(Conclusion::Success))
            }
            _ => return Err(Refusal::control(404, format!("no act `{act}` on a run"))),
        };
        let job_ids = again
            .ok_or_else(|| Refusal::control(409, "the run is not over, or no job of it failed"))?;
        Ok(ok(&Queued { run_ids: vec![run], job_ids }))
    }

    fn control_options(&mut self, call: &Call<'_>) -> Handled {
        let change: serde_json::Map<String, Value> = body(call)?;
        let mut all =
            serde_json::to_value(&self.options).map_err(|error| bad(error.to_string()))?;
        if let Value::Object(all) = &mut all {
            all.extend(change);
        }
        self.options =
            serde_json::from_value::<Options>(all).map_err(|error| bad(error.to_string()))?;
        Ok(ok(&self.options))
    }

    fn control_set(&mut self, call: &Call<'_>, set: SetId, act: &str) -> Handled {
        self.sets.get(set).ok_or_else(|| Refusal::control(404, "no such set"))?;
        match act {
            "delete" => self.drop_set(call.now, set),
            "evict" => self.end_session(call.now, set, true),
            "expire" => self.end_session(call.now, set, false),
            _ => return Err(Refusal::control(404, format!("no act `{act}` on a set"))),
        }
        Ok(ok(&json!({})))
    }

    fn control_revoke(&mut self, call: &Call<'_>) -> Handled {
        #[derive(Deserialize)]
        struct Which {
            kind: String,
        }
        let which: Which = body(call)?;
        let revoked = self.tokens.revoke(|grant| {
            let kind = match grant {
                Grant::Installation { .. } => "installation",
                Grant::Registration { .. } => "registration",
                Grant::Removal => "removal",
                Grant::Admin { .. } => "admin",
                Grant::Queue { .. } => "queue",
                Grant::Runner { .. } => "runner",
            };
            kind == which.kind
        });
        Ok(ok(&json!({ "revoked": revoked })))
    }
}
