//! The runners' side: token, session, messages, and the job itself. What a stand-in runner speaks; the shapes of job body, step report
//! and log are this project's own, as the real ones are not public.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::Call;
use crate::credential::signature_only;
use crate::hold::Awaited;
use crate::ids::{HoldId, JobId, RunnerId};
use crate::job::{Conclusion, JOB_LOG_MAX, Job, JobState};
use crate::message::EntryKind;
use crate::moment;
use crate::refusal::{Handled, Refusal, Reply, empty, ok};
use crate::route::{RUN_PATH, Route};
use crate::sim::{Outcome, Sim};
use crate::timer::Timer;
use crate::token::Grant;

const NO_RUNNER: &str = "RunnerNotFound";
const BAD_SESSION: &str = "RunnerSessionInvalid";

/// The client assertion that a runner signs with the key of its configuration (RFC 7523).
#[derive(Debug, Deserialize)]
struct Assertion {
    sub: String,
    exp: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSession {
    session_id: Option<Uuid>,
    #[serde(default)]
    agent: Agent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Agent {
    version: Option<String>,
    os_description: Option<String>,
}

/// Every job call names its job by the id that the message gave.
#[derive(Debug, Deserialize)]
struct JobCall {
    #[serde(alias = "jobMessageId", alias = "jobID", alias = "jobId")]
    job: Uuid,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default, rename = "stepResults")]
    step_results: Option<Value>,
    #[serde(default, rename = "startedAt")]
    started_at: Option<f64>,
    #[serde(default)]
    lines: Option<String>,
}

impl Sim {
    pub(crate) fn broker(&mut self, call: &Call<'_>, route: &Route) -> Result<Outcome, Refusal> {
        if *route == Route::BrokerToken {
            return self.runner_token(call).map(Outcome::Reply);
        }
        let grant = call.authorization("bearer").and_then(|token| self.tokens.get(token, call.now));
        let Some(Grant::Runner { runner }) = grant else {
            return Err(Refusal::broker(
                401,
                "Unauthorized",
                "The access token is invalid or expired.",
            ));
        };
        let runner = *runner;
        if self.runners.get(runner).is_none() {
            return Err(no_runner());
        }
        let reply = match route {
            Route::BrokerSessionCreate => self.runner_connects(call, runner),
            Route::BrokerSessionDelete => self.runner_leaves(call.now, runner),
            Route::BrokerMessage => return self.runner_polls(call, runner),
            Route::BrokerAcknowledge => Ok(empty(StatusCode::NO_CONTENT)),
            Route::JobAcquire => self.job_acquire(call, runner),
            Route::JobRenew => self.job_renew(call, runner),
            Route::JobComplete => self.job_complete(call, runner),
            Route::JobFirstStep => self.job_first_step(call, runner),
            Route::JobLog => self.job_log(call, runner),
            _ => Err(Refusal::no_page()),
        };
        reply.map(Outcome::Reply)
    }

    /// Trades a signed assertion for an access token. `invalid_client`: the registration is gone, or its configuration is stale.
    fn runner_token(&mut self, call: &Call<'_>) -> Handled {
        let invalid =
            |message: &str| Refusal::OAuth { error: "invalid_client", message: message.to_owned() };
        let form: std::collections::BTreeMap<String, String> =
            form_urlencoded::parse(call.body).into_owned().collect();
        let assertion = form.get("client_assertion").ok_or_else(|| Refusal::OAuth {
            error: "invalid_request",
            message: "client_assertion is missing".to_owned(),
        })?;
        let claims: Assertion = jsonwebtoken::dangerous::insecure_decode(assertion)
            .map_err(|_| invalid("The assertion is not a JSON web token."))?
            .claims;
        let client =
            Uuid::parse_str(&claims.sub).map_err(|_| invalid("The subject is not a client id."))?;
        let runner = self
            .runners
            .by_client(client)
            .ok_or_else(|| invalid(&format!("Registration {client} was not found.")))?;
        let (id, created, connected) = (runner.id, runner.created_at, runner.connected_at);
        let key = crate::jit::public_key(crate::jit::key_of(runner));
        let proven = key.is_some_and(|key| {
            jsonwebtoken::decode::<Assertion>(assertion, key, &signature_only()).is_ok()
        });
        if !proven {
            return Err(invalid("The signature of the assertion does not fit."));
        }
        if claims.exp <= call.now.as_second() {
            return Err(invalid("The assertion has expired."));
        }
        if connected.is_none() && call.now >= moment::after(created, self.options.jit_ttl_ms) {
            return Err(invalid("The just-in-time configuration has expired."));
        }
        let ttl = self.options.runner_token_ttl_ms;
        let token = self.jwt(call.now, Grant::Runner { runner: id }, ttl, "runner");
        Ok(ok(&json!({ "access_token": token, "token_type": "Bearer", "expires_in": ttl / 1000 })))
    }

    fn runner_connects(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let new: NewSession =
            call.json().map_err(|what| Refusal::broker(400, BAD_SESSION, what))?;
        let fresh = self.ids.sessions.uuid();
        let idle_removal = self.options.idle_removal_ms;
        let runner = self.runners.get_mut(id).ok_or_else(no_runner)?;
        if runner.session.is_some() && runner.online {
            return Err(Refusal::broker(
                409,
                "RunnerSessionConflict",
                format!("The actions runner {} already has an active session.", runner.name),
            ));
        }
        let session = new.session_id.filter(|id| !id.is_nil()).unwrap_or(fresh);
        runner.session = Some(session);
        runner.connected_at.get_or_insert(call.now);
        runner.version = new.agent.version.or_else(|| runner.version.take());
        if let Some(os) = new.agent.os_description {
            runner.os = os;
        }
        let (name, id) = (runner.name.clone(), runner.id);
        self.timers.cancel(Timer::Unconnected(id));
        if let Some(idle) = idle_removal {
            self.timers.set(Timer::Idle(id), moment::after(call.now, idle));
        }
        self.runner_seen(call.now, id);
        Ok(ok(
            &json!({ "sessionId": session, "ownerName": name, "agent": { "id": id, "name": name } }),
        ))
    }

    fn runner_seen(&mut self, at: Timestamp, id: RunnerId) {
        self.set_online(id);
        self.timers.set(Timer::Offline(id), moment::after(at, self.options.runner_offline_ms));
    }

    fn runner_leaves(&mut self, at: Timestamp, id: RunnerId) -> Handled {
        if let Some(job) = self.runners.get(id).and_then(|runner| runner.job)
            && self.jobs.get(&job).is_some_and(|job| matches!(job.state, JobState::Offered { .. }))
        {
            self.clear_runner_job(id);
            self.take_back(at, job);
        }
        self.set_offline(id);
        self.timers.cancel(Timer::Idle(id));
        if let Some(runner) = self.runners.get_mut(id) {
            runner.session = None;
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn runner_polls(&mut self, call: &Call<'_>, id: RunnerId) -> Result<Outcome, Refusal> {
        let asked = call.query("sessionId").and_then(|text| Uuid::parse_str(text).ok());
        let runner = self.runners.get(id).ok_or_else(no_runner)?;
        if asked.is_none() || runner.session != asked {
            return Err(Refusal::broker(404, BAD_SESSION, "The session is not valid."));
        }
        self.runner_seen(call.now, id);
        if self.runners.get(id).is_some_and(|runner| runner.job.is_none()) {
            self.ready(call.now, id);
        }
        if let Some(reply) = self.try_runner_message(id)? {
            self.unready(id);
            return Ok(Outcome::Reply(reply));
        }
        Ok(Outcome::Wait(Awaited::Runner(id), moment::after(call.now, self.options.runner_hold_ms)))
    }

    pub(crate) fn runner_poll_ended(&mut self, now: Timestamp, id: RunnerId, hold: HoldId) {
        let Some(runner) = self.runners.get_mut(id).filter(|runner| runner.poll == Some(hold))
        else {
            return;
        };
        runner.poll = None;
        self.unready(id);
        self.timers.set(Timer::Offline(id), moment::after(now, self.options.runner_offline_ms));
    }

    /// The message that a runner has to hear now: its job, or that its job is cancelled.
    pub(crate) fn try_runner_message(&mut self, id: RunnerId) -> Result<Option<Reply>, Refusal> {
        let runner = self.runners.get(id).ok_or_else(no_runner)?;
        let Some(job) = runner.job.and_then(|job| self.jobs.get(&job)) else { return Ok(None) };
        let (number, uuid) = (job.id.0, job.uuid);
        let (kind, body) = match job.state {
            JobState::Offered { .. } => (
                "RunnerJobRequest",
                // The run service is on the runner's own base URL, which it knows: only the path is given here.
                json!({ "id": uuid, "runner_request_id": uuid, "run_service_url": format!("{RUN_PATH}/"), "should_acknowledge": true }),
            ),
            JobState::Running { .. } if job.cancel_requested && !runner.cancel_told => {
                ("JobCancellation", json!({ "jobId": uuid, "timeout": "00:05:00" }))
            }
            _ => return Ok(None),
        };
        if kind == "JobCancellation"
            && let Some(runner) = self.runners.get_mut(id)
        {
            runner.cancel_told = true;
        }
        Ok(Some(ok(&json!({ "messageId": number, "messageType": kind, "body": body.to_string() }))))
    }

    /// The caller's job, which the call must name.
    fn job_call(&self, call: &Call<'_>, id: RunnerId) -> Result<(JobId, JobCall), Refusal> {
        let body: JobCall = call.json().map_err(|what| Refusal::broker(400, "BadRequest", what))?;
        let job =
            self.runners.get(id).and_then(|runner| runner.job).and_then(|job| self.jobs.get(&job));
        match job {
            Some(job) if job.uuid == body.job => Ok((job.id, body)),
            _ => Err(Refusal::broker(
                404,
                "AcknowledgeJobNotFound",
                "The runner does not have this job.",
            )),
        }
    }

    fn job_acquire(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let (job_id, _) = self.job_call(call, id)?;
        if !self.accept_job(call.now, job_id, id) {
            return Err(Refusal::broker(
                409,
                "JobAlreadyAcquired",
                "The job has been taken already.",
            ));
        }
        let job = self.jobs.get(&job_id).ok_or_else(no_runner)?;
        Ok(ok(&self.job_body(job, moment::after(call.now, self.options.lock_ms))))
    }

    /// A runner accepts the job that it was handed; `false` where it has it already, or no longer.
    pub(crate) fn accept_job(&mut self, at: Timestamp, job_id: JobId, id: RunnerId) -> bool {
        let lock = moment::after(at, self.options.lock_ms);
        let name = self.runners.get(id).map(|runner| runner.name.clone()).unwrap_or_default();
        let Some(job) = self.jobs.get_mut(&job_id) else { return false };
        let JobState::Offered { set, runner } = job.state else { return false };
        job.state = JobState::Running { set, runner };
        job.started_at = Some(at);
        job.runner = Some((id, name));
        let run = job.run;
        self.timers.cancel(Timer::Offered(job_id));
        self.timers.cancel(Timer::Queued(job_id));
        self.timers.set(Timer::Lock(job_id), lock);
        self.run_moved(at, run, "queued", job_id);
        self.tell_hooks(at, job_id, "in_progress");
        if let Some(set_id) = set {
            if let Some(set) = self.sets.get_mut(set_id) {
                set.offered -= 1;
                set.running += 1;
            }
            self.push_entry(set_id, EntryKind::Started, job_id, None);
        }
        true
    }

    /// The job as the stand-in runner takes it: this project's own shape.
    fn job_body(&self, job: &Job, lock: Timestamp) -> Value {
        let repo = self.scopes.get(job.repo).map_or("", |repo| repo.path.as_str());
        let run = self.runs.get(&job.run);
        let steps: Vec<Value> =
            job.steps.iter().enumerate().map(|(index, line)| json!({ "number": index + 1, "name": format!("Run {}", first_line(line)), "run": line })).collect();
        json!({
            "jobId": job.uuid,
            "planId": job.uuid,
            "jobDisplayName": job.name,
            "lockedUntil": moment::precise(Some(lock)),
            "steps": steps,
            "environment": {
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_REPOSITORY": repo,
                "GITHUB_REPOSITORY_OWNER": repo.split('/').next().unwrap_or_default(),
                "GITHUB_RUN_ID": job.run.to_string(),
                "GITHUB_RUN_NUMBER": run.map_or(1, |run| run.number).to_string(),
                "GITHUB_RUN_ATTEMPT": job.attempt.to_string(),
                "GITHUB_JOB": job.name,
                "GITHUB_WORKFLOW": run.map_or("", |run| run.workflow.as_str()),
                "GITHUB_EVENT_NAME": run.map_or("push", |run| run.event.as_str()),
                "GITHUB_REF": "refs/heads/main",
                "GITHUB_SHA": crate::rest_runs::SHA,
            },
        })
    }

    fn job_renew(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let (job, _) = self.job_call(call, id)?;
        if !self.jobs.get(&job).is_some_and(|job| matches!(job.state, JobState::Running { .. })) {
            return Err(Refusal::broker(404, "JobNotFound", "The job is over."));
        }
        let until = moment::after(call.now, self.options.lock_ms);
        self.timers.set(Timer::Lock(job), until);
        self.runner_seen(call.now, id);
        Ok(ok(&json!({ "lockedUntil": moment::precise(Some(until)) })))
    }

    fn job_complete(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let (job_id, body) = self.job_call(call, id)?;
        let job = self.jobs.get_mut(&job_id).ok_or_else(no_runner)?;
        if let Some(results) = body.step_results {
            job.step_results = results;
        }
        if matches!(job.state, JobState::Offered { .. }) {
            return Err(Refusal::broker(409, "JobNotAcquired", "The job was not acquired."));
        }
        let conclusion = Conclusion::from_result(body.conclusion.as_deref().unwrap_or_default());
        self.conclude(call.now, job_id, conclusion);
        // An ephemeral runner's registration ends with its job.
        self.clear_runner_job(id);
        self.remove_runner(call.now, id);
        Ok(ok(&json!({})))
    }

    fn job_first_step(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let (job, body) = self.job_call(call, id)?;
        if let (Some(job), Some(at)) = (self.jobs.get_mut(&job), body.started_at) {
            job.first_step_at.get_or_insert(at);
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn job_log(&mut self, call: &Call<'_>, id: RunnerId) -> Handled {
        let (job, body) = self.job_call(call, id)?;
        if let (Some(job), Some(lines)) = (self.jobs.get_mut(&job), body.lines) {
            job.log.push_str(&lines);
            if job.log.len() > JOB_LOG_MAX {
                let cut = (job.log.len() - JOB_LOG_MAX..job.log.len())
                    .find(|at| job.log.is_char_boundary(*at));
                job.log.drain(..cut.unwrap_or(0));
            }
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }
}

fn no_runner() -> Refusal {
    Refusal::broker(404, NO_RUNNER, "The runner registration has been deleted from the server.")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
