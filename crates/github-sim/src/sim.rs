//! The state machine: a request and the time go in, an answer comes out. No I/O, no clock, no thread.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use crate::answer::Answer;
use crate::call::Call;
use crate::credential::Credentials;
use crate::delivery::Deliveries;
use crate::downloads::RunnerProgram;
use crate::faults::{Action, Faults, distort, instead};
use crate::group::Groups;
use crate::hold::{Awaited, Hold, Holds};
use crate::hook::Hooks;
use crate::ids::{CredentialId, Ids, JobId, RunId, ScopeId};
use crate::job::{Conclusion, Job};
use crate::journal::{Entry, Journal};
use crate::moment;
use crate::options::{Options, SimConfig};
use crate::rate_limit::Rates;
use crate::refusal::{Handled, Refusal, Reply};
use crate::route::{Route, Surface};
use crate::run::Run;
use crate::runner::Runners;
use crate::scale_set::ScaleSets;
use crate::scope::Scopes;
use crate::timer::Timers;
use crate::token::{Grant, Tokens};
use crate::waiting::Waiting;

/// A whole GitHub, as far as runners see it.
pub struct Sim {
    pub(crate) now: Timestamp,
    pub(crate) options: Options,
    pub(crate) ids: Ids,
    pub(crate) scopes: Scopes,
    pub(crate) groups: Groups,
    pub(crate) credentials: Credentials,
    pub(crate) tokens: Tokens,
    pub(crate) rates: Rates,
    pub(crate) sets: ScaleSets,
    pub(crate) waiting: Waiting,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Jobs that wait for an approval.
    pub(crate) held: usize,
    /// Jobs that are over.
    pub(crate) ended: BTreeMap<Conclusion, usize>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) runners: Runners,
    pub(crate) timers: Timers,
    pub(crate) holds: Holds,
    pub(crate) hooks: Hooks,
    pub(crate) deliveries: Deliveries,
    /// Versions of the runner program, the newest last.
    pub(crate) downloads: Vec<RunnerProgram>,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
}

/// What executing a request gives.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    /// Wait for this, at most until then.
    Wait(Awaited, Timestamp),
}

impl Sim {
    /// An empty GitHub: no scope, no credential.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH,
            options: config.options,
            ids: Ids::new(config.seed),
            scopes: Scopes::default(),
            groups: Groups::default(),
            credentials: Credentials::default(),
            tokens: Tokens::default(),
            rates: Rates::default(),
            sets: ScaleSets::default(),
            waiting: Waiting::default(),
            jobs: BTreeMap::new(),
            held: 0,
            ended: BTreeMap::new(),
            runs: BTreeMap::new(),
            runners: Runners::default(),
            timers: Timers::default(),
            holds: Holds::default(),
            hooks: Hooks::default(),
            deliveries: Deliveries::default(),
            downloads: Vec::new(),
            faults: Faults::default(),
            journal: Journal::default(),
        }
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Answers a request at `now`. An earlier `now` than one seen before counts as that one.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Answer {
        self.tick(now);
        let now = self.now;
        let call = Call::new(now, request);
        let route = Route::parse(request.method(), &call.segments);
        if route == Route::Control {
            return Answer::Respond(self.control(&call).unwrap_or_else(Refusal::into_reply));
        }
        let faults = self.faults.draw(route.name(), &mut self.ids);
        let entry = Entry {
            number: 0,
            method: request.method().to_string(),
            path: call.path.to_owned(),
            route: route.name(),
            kind: route.kind(),
            status: None,
            received_at: moment::unix(now),
            answered_at: None,
            credential: None,
            faults: faults.iter().map(Action::name).collect(),
        };
        let name = route.name();
        let entry = self.journal.begin(entry, self.options.journal_max);
        for fault in faults.clone() {
            if let Some(mut reply) = instead(&fault, now) {
                // Every answer of GitHub tells its time; clients read a limit's end by it.
                crate::refusal::set_header(&mut reply, "date", &moment::http_date(now));
                return self.finish(Outcome::Reply(reply), Vec::new(), entry, name);
            }
            match fault {
                Action::ResetBefore => {
                    self.journal.end(entry, name, None, now);
                    return Answer::Drop;
                }
                Action::DelayBefore { ms } => {
                    let awaited = Awaited::Execution(Box::new(request.clone()));
                    let hold = Hold { awaited, due: false, faults, entry, route: name };
                    return Answer::Hold(self.hold(hold, moment::after(now, ms)));
                }
                Action::StuckPoll { ms } => {
                    let until = moment::after(now, ms);
                    return self.finish(
                        Outcome::Wait(Awaited::Nothing, until),
                        faults,
                        entry,
                        name,
                    );
                }
                Action::Twice => {
                    self.execute(&call, &route, entry);
                }
                _ => {}
            }
        }
        let outcome = self.execute(&call, &route, entry);
        self.finish(outcome, faults, entry, name)
    }

    /// Turns an outcome into an answer, as the faults say.
    pub(crate) fn finish(
        &mut self,
        outcome: Outcome,
        mut faults: Vec<Action>,
        entry: u64,
        route: &'static str,
    ) -> Answer {
        let now = self.now;
        let reply = match outcome {
            Outcome::Reply(reply) => reply,
            Outcome::Wait(awaited, deadline) => {
                return Answer::Hold(
                    self.hold(Hold { awaited, due: false, faults, entry, route }, deadline),
                );
            }
        };
        if let Some(at) = faults.iter().position(|fault| matches!(fault, Action::DelayAfter { .. }))
            && let Action::DelayAfter { ms } = faults.remove(at)
        {
            let hold = Hold { awaited: Awaited::Sending(reply), due: false, faults, entry, route };
            return Answer::Hold(self.hold(hold, moment::after(now, ms)));
        }
        if faults.contains(&Action::ResetAfter) {
            self.journal.end(entry, route, None, now);
            return Answer::Drop;
        }
        let reply = distort(reply, &faults);
        self.journal.end(entry, route, Some(reply.status().as_u16()), now);
        let cut = faults.iter().find_map(|fault| match fault {
            Action::Truncate { bytes } => Some(*bytes),
            _ => None,
        });
        match cut {
            Some(bytes) if bytes < reply.body().len() => Answer::Truncate(reply, bytes),
            _ => Answer::Respond(reply),
        }
    }

    /// Executes a call, whatever the faults.
    pub(crate) fn execute(&mut self, call: &Call<'_>, route: &Route, entry: u64) -> Outcome {
        let handled = match route.surface() {
            Surface::Rest => Ok(Outcome::Reply(self.rest(call, route, entry))),
            Surface::Service => self.service(call, route, entry).map(Outcome::Reply),
            Surface::Queue => self.queue(call, route, entry),
            Surface::Broker => self.broker(call, route),
            Surface::Other if *route == Route::Registration => {
                self.registration(call, entry).map(Outcome::Reply)
            }
            Surface::Other => match route {
                Route::Program(version, file) => {
                    self.program_file(call, version, file).map(Outcome::Reply)
                }
                _ => Err(Refusal::rest_not_found()),
            },
        };
        let mut outcome = handled.unwrap_or_else(|refusal| Outcome::Reply(refusal.into_reply()));
        if let Outcome::Reply(reply) = &mut outcome {
            // Diagnostics that clients log; no caller may depend on them.
            crate::refusal::set_header(reply, "x-github-request-id", &format!("SIM:{entry:X}"));
            crate::refusal::set_header(reply, "date", &moment::http_date(call.now));
        }
        outcome
    }

    /// Notes who called.
    pub(crate) fn proven(&mut self, entry: u64, credential: CredentialId) {
        if let Some(entry) = self.journal.entry(entry) {
            entry.credential = Some(credential);
        }
    }

    /// The Actions service: every route but one takes the admin token.
    fn service(&mut self, call: &Call<'_>, route: &Route, entry: u64) -> Handled {
        if call.query("api-version").is_none_or(str::is_empty) {
            return Err(Refusal::service(
                400,
                crate::refusal::BAD_ARGUMENT,
                "No api-version was supplied for the request.",
            ));
        }
        let token = call.authorization("bearer").ok_or_else(Refusal::invalid_token)?;
        let (scope, credential) = match (self.tokens.get(token, call.now), route) {
            (Some(Grant::Queue { set, credential, session }), Route::JobsAcquire(asked))
                if set == asked =>
            {
                let (set, credential, session) = (*set, *credential, *session);
                self.proven(entry, credential);
                let live = self
                    .sets
                    .get(set)
                    .and_then(|set| set.session.as_ref())
                    .is_some_and(|live| live.id == session);
                return if live {
                    self.jobs_acquire(call, set)
                } else {
                    Err(Refusal::invalid_token())
                };
            }
            (_, Route::JobsAcquire(_)) => return Err(Refusal::invalid_token()),
            (Some(Grant::Admin { scope, credential }), _) => (*scope, *credential),
            _ => return Err(Refusal::invalid_token()),
        };
        self.proven(entry, credential);
        match route {
            Route::Groups => self.service_groups(call, scope),
            Route::SetsList => self.sets_list(call, scope),
            Route::SetCreate => self.set_create(call, scope),
            Route::SetGet(id) => self.set_get(call, scope, *id),
            Route::SetUpdate(id) => self.set_update(call, scope, *id),
            Route::SetDelete(id) => self.set_delete(call.now, scope, *id),
            Route::SetJit(id) => self.set_jit(call, scope, *id),
            Route::SessionCreate(id) => self.session_create(call, scope, credential, *id),
            Route::SessionRefresh(id, session) => {
                self.session_refresh(call, scope, credential, *id, session)
            }
            Route::SessionDelete(id, session) => self.session_delete(call.now, scope, *id, session),
            Route::JobsAcquirable(id) => self.jobs_acquirable(call, scope, *id),
            Route::AgentsList => self.agents_list(call, scope),
            Route::AgentGet(id) => self.agent_get(scope, *id),
            Route::AgentDelete(id) => self.agent_delete(call.now, scope, *id),
            _ => Err(Refusal::no_page()),
        }
    }

    /// The message queue takes the session's own token and nothing else.
    fn queue(&mut self, call: &Call<'_>, route: &Route, entry: u64) -> Result<Outcome, Refusal> {
        let grant = call.authorization("bearer").and_then(|token| self.tokens.get(token, call.now));
        let Some(Grant::Queue { set, session, credential }) = grant else {
            return Err(Refusal::invalid_token());
        };
        let (set, session, credential) = (*set, *session, *credential);
        self.proven(entry, credential);
        match route {
            Route::MessageDelete(id) => {
                self.message_delete(call, set, session, *id).map(Outcome::Reply)
            }
            _ => self.message_get(call, set, session),
        }
    }

    /// A registration token becomes an admin token.
    fn registration(&mut self, call: &Call<'_>, entry: u64) -> Handled {
        #[derive(serde::Deserialize)]
        struct Body {
            url: String,
            runner_event: String,
        }
        crate::rest::user_agent(call)?;
        let bad = || Refusal::rest(401, "Bad credentials");
        let token = call.authorization("remoteauth").ok_or_else(bad)?;
        let Some(Grant::Registration { scope, credential }) = self.tokens.get(token, call.now)
        else {
            return Err(bad());
        };
        let (scope, credential) = (*scope, *credential);
        self.proven(entry, credential);
        let body: Body = call.json().map_err(|what| Refusal::rest(400, what))?;
        let counted = crate::rate_limit::Counted { credential, part: scope.0 };
        let standing = self.rates.take(
            counted,
            crate::rate_limit::Resource::Registration,
            call.now,
            &self.options,
        )?;
        let path = body
            .url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map(|(_, path)| path);
        if body.runner_event != "register"
            || path.and_then(|path| self.scopes.find(path)) != Some(scope)
        {
            return Err(Refusal::rest_not_found());
        }
        let token = self.jwt(
            call.now,
            Grant::Admin { scope, credential },
            self.options.admin_token_ttl_ms,
            "actions",
        );
        let url = format!("{}{}/", call.origin.base, crate::route::SERVICE_BASE);
        let mut reply = crate::refusal::ok(&serde_json::json!({ "url": url, "token": token }));
        standing.write(&mut reply);
        Ok(reply)
    }

    /// The scope of a path, or 404.
    pub(crate) fn scope_at(&self, path: &crate::route::ScopePath) -> Result<ScopeId, Refusal> {
        self.scopes.at(path).ok_or_else(Refusal::rest_not_found)
    }
}
