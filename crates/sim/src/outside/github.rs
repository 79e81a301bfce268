//! GitHub's side: how it is prepared, what of our calls is checked, and what happens to it by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use dayfly_core::model::RunnerName;
use dayfly_github::Credential;
use dayfly_github_sim::{
    Answer, Assignment, CredentialSpec, Heard, Options, RunnerId, ScopeId, ScopeSpec, SetId, Sim,
    SimConfig,
};
use http::{Method, Request, Response, StatusCode};

use super::{Happening, Holder, Life, State, Trouble};
use crate::{
    checks::Check,
    scenario::{Scenario, Source},
};

/// Where GitHub is, for the client.
pub(crate) const ADDRESS: &str = "http://sim.test/acme";
/// The token, where the credential is one.
const TOKEN: &str = "ghp_simulated";
/// Who opens our sessions.
pub(crate) const OWNER: &str = "simulated-host";
/// What a message tells of jobs.
pub(super) const ENTRIES: [&str; 4] = ["JobAvailable", "JobAssigned", "JobStarted", "JobCompleted"];
const SETS: &str = "/services/tenant-7f3a/_apis/runtime/runnerscalesets/";
const AGENTS: &str = "/services/tenant-7f3a/_apis/distributedtask/pools/0/agents/";
const QUEUE: &str = "/queue/scalesets/message";
const REGISTRATION: &str = "/api/v3/actions/runner-registration";

/// How long it may take until an engine that is away is known to be, with a long poll that began before.
const AWAY_GRACE: Duration = Duration::from_secs(150);

/// What is remembered of GitHub beside its own state.
#[derive(Default)]
pub(crate) struct Github {
    /// Which set a queue token is for.
    queues: BTreeMap<String, SetId>,
    /// Sets whose session is new: its first poll must begin at the start.
    fresh: BTreeMap<SetId, ()>,
    /// Scale sets that are not ours.
    pub(super) foreign_sets: BTreeSet<SetId>,
    /// Until when GitHub asked to be left alone, since when we know, and in which life, by bucket.
    left_alone: BTreeMap<Bucket, (Duration, Duration, Life)>,
    /// Until when the longest such wait lasts.
    pub(crate) longest_wait: Duration,
    /// Requests that reached GitHub.
    pub(crate) requests: u64,
    /// Registrations that were removed behind our back while they had a job that we knew of, or not.
    pub(crate) removed_busy: BTreeMap<String, bool>,
    /// For how many minutes nobody reached it, in all.
    pub(super) away_minutes: u64,
    /// When each life began.
    lives: BTreeMap<u64, Duration>,
}

impl Github {
    pub(crate) fn life_begins(&mut self, life: Life, now: Duration) {
        self.lives.insert(life.0, now);
    }

    pub(crate) fn newest_life(&self) -> Duration {
        self.lives.last_key_value().map(|(_, began)| *began).unwrap_or_default()
    }

    pub(super) fn life_began(&self, life: Life) -> Duration {
        self.lives.get(&life.0).copied().unwrap_or_default()
    }
}

/// What a rate limit is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bucket {
    Core,
    App,
    Registration,
}

/// A new GitHub with our scope, and the credential that reaches it.
pub(super) fn prepare(scenario: &Scenario) -> Result<(Sim, ScopeId, Credential), String> {
    let plan = &scenario.github;
    let ms = |duration: Duration| duration.as_millis() as u64;
    let options = Options {
        idle_removal_ms: plan.idle_removal.map(ms),
        jit_ttl_ms: ms(plan.jit_life),
        admin_token_ttl_ms: ms(plan.admin_life),
        queue_token_ttl_ms: ms(plan.queue_life),
        installation_token_ttl_ms: plan
            .app_life
            .map_or(Options::default().installation_token_ttl_ms, ms),
        journal_max: 1,
        ..Options::default()
    };
    let mut sim = Sim::new(SimConfig { seed: scenario.seed, options });
    sim.tick(super::timestamp(Duration::ZERO));
    let assignment = if plan.acquire { Assignment::Acquire } else { Assignment::Auto };
    let scope = |path: &str| ScopeSpec {
        path: path.to_owned(),
        kind: None,
        enterprise: None,
        public: false,
        assignment,
    };
    let id = sim.add_scope(&scope("acme"))?;
    sim.add_scope(&scope("acme/app"))?;
    for name in super::foreign::RUNNERS {
        sim.add_runner(super::timestamp(Duration::ZERO), id, name)
            .ok_or_else(|| format!("the name {name} is taken"))?;
    }
    let credential = credential(&mut sim, plan.app_life.is_some())?;
    if scenario.pools.iter().any(|pool| pool.source == Source::Webhook) {
        super::hooks::make_hook(&mut sim)?;
    }
    Ok((sim, id, credential))
}

/// An App, with the one key that all simulated Apps share, or a token.
fn credential(sim: &mut Sim, app: bool) -> Result<Credential, String> {
    if !app {
        let token = Some(TOKEN.to_owned());
        sim.add_credential(CredentialSpec::Pat { token, permissions: None, owners: None })?;
        return Ok(Credential::Token(TOKEN.to_owned().into()));
    }
    let made = sim.add_credential(CredentialSpec::App {
        client_id: None,
        public_key: None,
        permissions: None,
        installations: vec!["acme".to_owned()],
    })?;
    let (Some(client_id), Some(key)) = (made.client_id, made.private_key) else {
        return Err("the App has no key".to_owned());
    };
    Ok(Credential::App { client_id, private_key: key.into(), installation_id: None })
}

/// What a request is, as far as the checks ask.
enum Asked {
    Mint(String),
    /// A registration outside any set, which counts against the credential's hour.
    Register(String),
    RemoveAgent(i64),
    Poll {
        set: Option<SetId>,
        cursor: i64,
        capacity: Option<u32>,
    },
    Acknowledge {
        set: Option<SetId>,
        message: i64,
    },
    Acquire {
        set: SetId,
        jobs: usize,
    },
    OpenSession(SetId),
    RefreshSession(SetId),
    CloseSession(String),
    ChangeSet(SetId),
    DeleteSet(SetId),
    Rest(Bucket),
    Other,
}

impl Asked {
    fn bucket(&self) -> Option<Bucket> {
        match self {
            Self::Rest(bucket) => Some(*bucket),
            Self::Register(_) => Some(Bucket::Core),
            _ => None,
        }
    }
}

impl State {
    /// One request of a living daemon.
    pub(super) fn ask_github(
        &mut self,
        life: Life,
        sent: Duration,
        request: &Request<Bytes>,
    ) -> Answer {
        let asked = self.classify(request);
        self.check_request(life, sent, &asked);
        self.github.requests += 1;
        let now = self.github_now();
        let answer = self.sim.handle(now, request);
        if let Answer::Respond(response) = &answer {
            self.learn(life, &asked, response);
        }
        let told = match &answer {
            Answer::Respond(response) => response.status().as_u16(),
            Answer::Hold(_) => 1,
            Answer::Drop => 0,
            Answer::Truncate(..) => 2,
        };
        self.note(format_args!("{} {} -> {told}", request.method(), request.uri().path()));
        answer
    }

    fn classify(&self, request: &Request<Bytes>) -> Asked {
        let path = request.uri().path();
        let method = request.method();
        if let Some(rest) = path.strip_prefix(QUEUE) {
            let token =
                request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            let set = self.github.queues.get(token).copied();
            if let Some(message) = rest.strip_prefix('/').and_then(|id| id.parse().ok()) {
                return Asked::Acknowledge { set, message };
            }
            let query = request.uri().query().unwrap_or_default();
            let cursor = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("lastMessageId="))
                .and_then(|id| id.parse().ok());
            let capacity = request.headers().get("x-scalesetmaxcapacity");
            let capacity =
                capacity.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
            return Asked::Poll { set, cursor: cursor.unwrap_or(0), capacity };
        }
        if let Some(rest) = path.strip_prefix(SETS) {
            let mut parts = rest.split('/');
            let Some(set) = parts.next().and_then(|id| id.parse().ok()).map(SetId) else {
                return Asked::Other;
            };
            return match (method, parts.next(), parts.next()) {
                (&Method::POST, Some("generatejitconfig"), _) => {
                    let body: serde_json::Value =
                        serde_json::from_slice(request.body()).unwrap_or_default();
                    Asked::Mint(body["name"].as_str().unwrap_or_default().to_owned())
                }
                (&Method::POST, Some("acquirejobs"), None) => {
                    let jobs: Vec<i64> = serde_json::from_slice(request.body()).unwrap_or_default();
                    Asked::Acquire { set, jobs: jobs.len() }
                }
                (&Method::POST, Some("sessions"), None) => Asked::OpenSession(set),
                (&Method::PATCH, Some("sessions"), Some(_)) => Asked::RefreshSession(set),
                (&Method::DELETE, Some("sessions"), Some(session)) => {
                    Asked::CloseSession(session.to_owned())
                }
                (&Method::PATCH, None, _) => Asked::ChangeSet(set),
                (&Method::DELETE, None, _) => Asked::DeleteSet(set),
                _ => Asked::Other,
            };
        }
        if let Some(agent) = path.strip_prefix(AGENTS)
            && *method == Method::DELETE
        {
            return agent.parse().map_or(Asked::Other, Asked::RemoveAgent);
        }
        if path == REGISTRATION {
            return Asked::Rest(Bucket::Registration);
        }
        if *method == Method::POST && path.ends_with("/actions/runners/generate-jitconfig") {
            let body: serde_json::Value =
                serde_json::from_slice(request.body()).unwrap_or_default();
            return Asked::Register(body["name"].as_str().unwrap_or_default().to_owned());
        }
        // An App's own calls have a limit of their own.
        if path.starts_with("/api/v3/app/") || path.ends_with("/installation") {
            return Asked::Rest(Bucket::App);
        }
        if path.starts_with("/api/v3/") { Asked::Rest(Bucket::Core) } else { Asked::Other }
    }

    fn check_request(&mut self, life: Life, sent: Duration, asked: &Asked) {
        if let Some(bucket) = asked.bucket()
            && let Some((until, since, of)) = self.github.left_alone.get(&bucket).copied()
        {
            let now = self.now();
            // A second's grace: GitHub tells whole seconds.
            let early = of == life && sent > since && now + Duration::from_secs(1) < until;
            self.look(Check::RateLimit, !early, || {
                format!("GitHub asked to be left alone until {:.0} s", until.as_secs_f64())
            });
        }
        match asked {
            Asked::Mint(name) | Asked::Register(name) => {
                let row = RunnerName::new(name).ok().and_then(|name| self.disk.row(&name));
                // The row may have gone on while the request was on its way, but not to nothing.
                let intended = row.is_some_and(|row| row.registration.may_exist());
                self.look(Check::IntentFirst, intended, || {
                    format!("a registration for {name} is minted without a stored intent")
                });
            }
            Asked::RemoveAgent(id) => {
                let name = self.sim.runner(RunnerId(*id)).map(|runner| runner.name);
                let tag = self.controller;
                let ours = name
                    .as_deref()
                    .is_none_or(|name| RunnerName::new(name).is_ok_and(|name| name.is_of(tag)));
                self.look(Check::OursOnly, ours, || format!("runner {name:?} is removed"));
            }
            Asked::Poll { set: Some(set), cursor, capacity } => {
                if self.github.fresh.remove(set).is_some() {
                    self.look(Check::Cursor, *cursor == 0, || {
                        format!("the first poll of a session of set {set} begins at {cursor}")
                    });
                }
                self.check_capacity(*set, *capacity);
            }
            Asked::Acknowledge { set: Some(set), message } => {
                let newest = self.disk.newest_of_set(set.0);
                self.look(Check::StoreFirst, newest >= *message, || {
                    format!("message {message} of set {set} is deleted, and {newest} is stored")
                });
            }
            Asked::CloseSession(session) => {
                let live = self
                    .sim
                    .every_set()
                    .into_iter()
                    .find(|set| set.session.is_some_and(|live| live.to_string() == *session));
                let ours = live.is_none_or(|set| set.owner.as_deref() == Some(OWNER));
                self.look(Check::OursOnly, ours, || format!("session {session} is closed"));
            }
            Asked::Acquire { set, jobs } => {
                let pool = self.disk.pool_of_set(set.0, self.now());
                let max =
                    pool.and_then(|pool| self.scenario.pools.get(pool.index)).map(|of| of.max);
                self.look(Check::Capacity, max.is_none_or(|max| *jobs <= max as usize), || {
                    format!("{jobs} jobs of set {set} are acquired with max {max:?}")
                });
            }
            Asked::ChangeSet(set) => self.check_own_set(*set, "changed"),
            Asked::DeleteSet(set) => self.check_set_deleted(*set),
            Asked::OpenSession(set) => self.check_own_set(*set, "listened to"),
            _ => {}
        }
    }

    fn check_capacity(&mut self, set: SetId, capacity: Option<u32>) {
        let Some(pool) = self.disk.pool_of_set(set.0, self.now()) else { return };
        let Some(plan) = self.scenario.pools.get(pool.index).cloned() else { return };
        let max = plan.max;
        let advertised = capacity.unwrap_or(u32::MAX);
        self.look(Check::Capacity, advertised <= max, || {
            format!("pool p{} advertises {advertised} of max {max}", pool.index)
        });
        let engine = &self.engines[plan.engine];
        let (life, now) = (self.github.newest_life(), self.now());
        let long_away = engine.away_since.is_some_and(|since| since.max(life) + AWAY_GRACE < now);
        if long_away {
            self.look(Check::Capacity, advertised == 0, || {
                format!("pool p{} has no engine and advertises {advertised}", pool.index)
            });
        }
        if pool.closed {
            self.look(Check::Capacity, advertised == 0, || {
                format!("pool p{} takes no jobs and advertises {advertised}", pool.index)
            });
        }
    }

    /// What an answer tells that later requests are checked by.
    fn learn(&mut self, life: Life, asked: &Asked, response: &Response<Bytes>) {
        match asked {
            Asked::OpenSession(set) | Asked::RefreshSession(set)
                if response.status() == StatusCode::OK =>
            {
                let body: serde_json::Value =
                    serde_json::from_slice(response.body()).unwrap_or_default();
                if let Some(token) = body["messageQueueAccessToken"].as_str() {
                    self.github.queues.insert(token.to_owned(), *set);
                }
                if matches!(asked, Asked::OpenSession(_)) {
                    self.github.fresh.insert(*set, ());
                }
            }
            Asked::Rest(_) | Asked::Register(_)
                if matches!(
                    response.status(),
                    StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
                ) =>
            {
                let Some(bucket) = asked.bucket() else { return };
                let number = |name: &str| -> Option<i64> {
                    response.headers().get(name)?.to_str().ok()?.parse().ok()
                };
                let github_now = self.github_now().as_second();
                let wait = number("retry-after")
                    .or_else(|| {
                        (number("x-ratelimit-remaining") == Some(0))
                            .then(|| number("x-ratelimit-reset").map(|at| at - github_now))
                            .flatten()
                    })
                    .unwrap_or(0);
                let now = self.now();
                let until = now + Duration::from_secs(u64::try_from(wait).unwrap_or(0));
                // The daemon knows once the answer has arrived.
                let known = now + self.scenario.latency + self.scenario.tick;
                self.github.left_alone.insert(bucket, (until, known, life));
                self.github.longest_wait = self.github.longest_wait.max(until);
                // It may strike long after it was set, and keeps runners from being registered for as long as GitHub says.
                self.troubles.push(Trouble { from: now, until, why: super::missed_by("github") });
            }
            _ => {}
        }
    }

    /// A call waits for its answer.
    pub(super) fn hold_call(
        &mut self,
        id: dayfly_github_sim::HoldId,
        sender: tokio::sync::oneshot::Sender<Answer>,
    ) {
        self.holds.insert(id, Holder::Call(sender));
    }

    pub(super) fn hold_runner(
        &mut self,
        id: dayfly_github_sim::HoldId,
        engine: usize,
        serial: u64,
    ) {
        self.holds.insert(id, Holder::Runner(engine, serial));
    }

    /// Whoever waits is gone.
    pub(super) fn abandon(&mut self, id: dayfly_github_sim::HoldId) {
        if self.holds.remove(&id).is_some() {
            let now = self.github_now();
            self.sim.abandon(now, id);
        }
    }

    /// Lets everything happen at GitHub that is due, and tells those who wait for it.
    pub(crate) fn settle_github(&mut self) {
        let now = self.github_now();
        self.sim.tick(now);
        loop {
            let woken = self.sim.take_woken();
            if woken.is_empty() {
                return self.send_deliveries();
            }
            for id in woken {
                match self.holds.get(&id) {
                    Some(Holder::Runner(engine, serial)) => {
                        let (engine, serial) = (*engine, *serial);
                        self.runner_woken(engine, serial, id);
                    }
                    Some(Holder::Call(_)) => {
                        if let Some(answer) = self.sim.held(now, id)
                            && let Some(Holder::Call(sender)) = self.holds.remove(&id)
                        {
                            // A receiver that is gone abandons the hold by itself.
                            let _ = sender.send(answer);
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn runner_woken(&mut self, engine: usize, serial: u64, hold: dayfly_github_sim::HoldId) {
        let now = self.github_now();
        let Some(id) = self.engines[engine].registration(serial) else { return };
        let Some(heard) = self.sim.runner_hears(now, id, hold) else { return };
        self.holds.remove(&hold);
        self.runner_hears(engine, serial, id, heard);
    }

    /// A runner is told something.
    fn runner_hears(&mut self, engine: usize, serial: u64, id: RunnerId, heard: Heard) {
        // A runner that has a job ends it, whatever became of its registration.
        if heard == Heard::Gone
            && self.engines[engine].get(serial).is_some_and(|made| made.job.is_some())
        {
            return;
        }
        let now = self.github_now();
        match heard {
            Heard::Job(job) => {
                if self.sim.runner_accepts(now, id, job) {
                    self.job_starts(engine, serial, id, job);
                } else {
                    self.runner_listens(engine, serial, id);
                }
            }
            Heard::Cancelled(job) => {
                let at = self.after(Duration::from_secs(3));
                let end = dayfly_github_sim::Conclusion::Cancelled;
                self.calendar.put(at, Happening::JobEnds(engine, serial, job, end));
            }
            Heard::Gone => {
                let at = self.after(Duration::from_secs(1));
                let words = "The runner registration has been deleted from the server.";
                self.calendar.put(at, Happening::Exits(engine, serial, words));
            }
        }
    }

    /// A runner waits for what GitHub tells it.
    pub(super) fn runner_listens(&mut self, engine: usize, serial: u64, id: RunnerId) {
        let now = self.github_now();
        match self.sim.runner_listens(now, id) {
            Some(hold) => {
                self.hold_runner(hold, engine, serial);
                self.engines[engine].set_hold(serial, Some(hold));
                if let Some(heard) = self.sim.runner_hears(now, id, hold) {
                    self.holds.remove(&hold);
                    self.runner_hears(engine, serial, id, heard);
                }
            }
            None => self.runner_hears(engine, serial, id, Heard::Gone),
        }
    }
}
