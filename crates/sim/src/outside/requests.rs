//! Every request of the daemon, as it reaches GitHub: whether it keeps the promises, and what its answer tells.

use std::time::Duration;

use bytes::Bytes;
use dayfly_core::model::RunnerName;
use dayfly_github_sim::{Answer, RunnerId, SetId};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;

use super::{
    Life, State, Trouble,
    github::{Bucket, OWNER},
};
use crate::checks::Check;

const SETS: &str = "/services/tenant-7f3a/_apis/runtime/runnerscalesets/";
const AGENTS: &str = "/services/tenant-7f3a/_apis/distributedtask/pools/0/agents/";
const QUEUE: &str = "/queue/scalesets/message";
const REGISTRATION: &str = "/api/v3/actions/runner-registration";

/// How long it may take until an engine that is away is known to be, with a long poll that began before.
const AWAY_GRACE: Duration = Duration::from_secs(150);

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
                    Asked::Mint(name_in(request.body()))
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
            return Asked::Register(name_in(request.body()));
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
        let (life, now) = (self.github.newest_life(), self.now());
        let long_away = plan.engines.iter().all(|engine| {
            let since = self.engines[*engine].away_since;
            since.is_some_and(|since| since.max(life) + AWAY_GRACE < now)
        });
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
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase")]
                struct Session {
                    message_queue_access_token: String,
                }
                if let Ok(session) = serde_json::from_slice::<Session>(response.body()) {
                    self.github.queues.insert(session.message_queue_access_token, *set);
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
}

/// The runner's name in a request for a configuration.
fn name_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice::<Named>(body).map_or_else(|_| String::new(), |of| of.name)
}
