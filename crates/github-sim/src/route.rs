//! Which path is which route. Knows paths only; never state.

use std::borrow::Cow;

use http::Method;

use crate::ids::{DeliveryId, GroupId, HookId, JobId, RunId, RunnerId, SetId};

/// Path of the Actions service below the host. Not empty, as live (`/rest`, `/{tenant}`): clients must keep it when they join.
pub(crate) const SERVICE_BASE: &str = "/services/tenant-7f3a";
/// Path of the scale sets' message queue: deliberately not below [`SERVICE_BASE`], as live.
pub(crate) const QUEUE_PATH: &str = "/queue/scalesets/message";
/// Path of the runners' broker.
pub(crate) const BROKER_PATH: &str = "/broker";
/// Path of the service that holds jobs for runners.
pub(crate) const RUN_PATH: &str = "/run-service";
/// Path where runners trade their assertion for a token.
pub(crate) const TOKEN_PATH: &str = "/broker-oauth/token";

/// Who calls a route: the program under test, or a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Scale sets, registrations, the public REST.
    Daemon,
    /// The broker and the run service.
    Runner,
}

/// A scope as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScopePath {
    Owner(String),
    Repository(String, String),
    Enterprise(String),
}

/// A request's route with the ids in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Control,
    Unknown,
    // The public REST.
    App,
    AppInstallations,
    AppInstallation(i64),
    AppToken(i64),
    AppHookGet,
    AppHookUpdate,
    AppDeliveriesList,
    AppDeliveryGet(DeliveryId),
    AppDeliveryAttempt(DeliveryId),
    Installation(ScopePath, bool),
    RegistrationToken(ScopePath),
    RemoveToken(ScopePath),
    RunnersList(ScopePath),
    RunnerGet(ScopePath, RunnerId),
    RunnerDelete(ScopePath, RunnerId),
    RunnerJit(ScopePath),
    ProgramList(ScopePath),
    ProgramDeprecation(ScopePath, String),
    RestGroupsList(ScopePath),
    RestGroupGet(ScopePath, GroupId),
    RestGroupRunners(ScopePath, GroupId),
    RunsList(ScopePath),
    RunGet(ScopePath, RunId),
    RunJobs(ScopePath, RunId),
    RunAttemptJobs(ScopePath, RunId, u32),
    RunCancel(ScopePath, RunId),
    RunForceCancel(ScopePath, RunId),
    RunRerun(ScopePath, RunId),
    RunRerunFailed(ScopePath, RunId),
    JobGet(ScopePath, JobId),
    JobRerun(ScopePath, JobId),
    ReposList(ScopePath),
    HooksList(ScopePath),
    HookCreate(ScopePath),
    HookGet(ScopePath, HookId),
    HookUpdate(ScopePath, HookId),
    HookDelete(ScopePath, HookId),
    HookPing(ScopePath, HookId),
    DeliveriesList(ScopePath, HookId),
    DeliveryGet(ScopePath, HookId, DeliveryId),
    DeliveryAttempt(ScopePath, HookId, DeliveryId),
    Meta,
    RateLimit,
    Registration,
    /// A runner program's archive: its version and its file.
    Program(String, String),
    // The Actions service.
    Groups,
    SetsList,
    SetCreate,
    SetGet(SetId),
    SetUpdate(SetId),
    SetDelete(SetId),
    SetJit(SetId),
    SessionCreate(SetId),
    SessionRefresh(SetId, String),
    SessionDelete(SetId, String),
    JobsAcquire(SetId),
    JobsAcquirable(SetId),
    AgentsList,
    AgentGet(RunnerId),
    AgentDelete(RunnerId),
    // The message queue.
    MessageGet,
    MessageDelete(i64),
    // The runners' side.
    BrokerToken,
    BrokerSessionCreate,
    BrokerSessionDelete,
    BrokerMessage,
    BrokerAcknowledge,
    JobAcquire,
    JobRenew,
    JobComplete,
    JobFirstStep,
    JobLog,
}

/// Which family of rules a route falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Rest,
    Service,
    Queue,
    Broker,
    Other,
}

impl Route {
    /// The route of a path's decoded segments, REST prefix taken off.
    pub fn parse(method: &Method, segments: &[Cow<'_, str>]) -> Self {
        let parts: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let method = method.as_str();
        let route = match parts.as_slice() {
            ["control", ..] => Some(Self::Control),
            ["services", "tenant-7f3a", "_apis", rest @ ..] => service(method, rest),
            ["queue", "scalesets", "message", rest @ ..] => queue(method, rest),
            ["broker" | "broker-oauth" | "run-service", ..] => broker(method, &parts),
            _ => rest(method, &parts),
        };
        route.unwrap_or(Self::Unknown)
    }

    /// The route's name, as faults, journal and counters use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Unknown => "unknown",
            Self::App => "app.get",
            Self::AppInstallations => "app.installations",
            Self::AppInstallation(_) => "app.installation",
            Self::AppToken(_) => "app.access_token",
            Self::AppHookGet => "app.hook",
            Self::AppHookUpdate => "app.hook_update",
            Self::AppDeliveriesList => "app.deliveries",
            Self::AppDeliveryGet(_) => "app.delivery",
            Self::AppDeliveryAttempt(_) => "app.attempt",
            Self::Installation(..) => "scope.installation",
            Self::RegistrationToken(_) => "runners.registration_token",
            Self::RemoveToken(_) => "runners.remove_token",
            Self::RunnersList(_) => "runners.list",
            Self::RunnerGet(..) => "runners.get",
            Self::RunnerDelete(..) => "runners.delete",
            Self::RunnerJit(_) => "runners.jitconfig",
            Self::ProgramList(_) => "runners.downloads",
            Self::ProgramDeprecation(..) => "runners.deprecation",
            Self::Program(..) => "program",
            Self::RestGroupsList(_) => "runner_groups.list",
            Self::RestGroupGet(..) => "runner_groups.get",
            Self::RestGroupRunners(..) => "runner_groups.runners",
            Self::RunsList(_) => "runs.list",
            Self::RunGet(..) => "runs.get",
            Self::RunJobs(..) => "runs.jobs",
            Self::RunAttemptJobs(..) => "runs.attempt_jobs",
            Self::RunCancel(..) => "runs.cancel",
            Self::RunForceCancel(..) => "runs.force_cancel",
            Self::RunRerun(..) => "runs.rerun",
            Self::RunRerunFailed(..) => "runs.rerun_failed",
            Self::JobGet(..) => "jobs.get",
            Self::JobRerun(..) => "jobs.rerun",
            Self::ReposList(_) => "repos.list",
            Self::HooksList(_) => "hooks.list",
            Self::HookCreate(_) => "hooks.create",
            Self::HookGet(..) => "hooks.get",
            Self::HookUpdate(..) => "hooks.update",
            Self::HookDelete(..) => "hooks.delete",
            Self::HookPing(..) => "hooks.ping",
            Self::DeliveriesList(..) => "hooks.deliveries",
            Self::DeliveryGet(..) => "hooks.delivery",
            Self::DeliveryAttempt(..) => "hooks.attempt",
            Self::Meta => "meta",
            Self::RateLimit => "rate_limit",
            Self::Registration => "registration",
            Self::Groups => "groups.list",
            Self::SetsList => "sets.list",
            Self::SetCreate => "sets.create",
            Self::SetGet(_) => "sets.get",
            Self::SetUpdate(_) => "sets.update",
            Self::SetDelete(_) => "sets.delete",
            Self::SetJit(_) => "sets.jitconfig",
            Self::SessionCreate(_) => "sessions.create",
            Self::SessionRefresh(..) => "sessions.refresh",
            Self::SessionDelete(..) => "sessions.delete",
            Self::JobsAcquire(_) => "jobs.acquire",
            Self::JobsAcquirable(_) => "jobs.acquirable",
            Self::AgentsList => "agents.list",
            Self::AgentGet(_) => "agents.get",
            Self::AgentDelete(_) => "agents.delete",
            Self::MessageGet => "messages.get",
            Self::MessageDelete(_) => "messages.delete",
            Self::BrokerToken => "broker.token",
            Self::BrokerSessionCreate => "broker.session_create",
            Self::BrokerSessionDelete => "broker.session_delete",
            Self::BrokerMessage => "broker.message",
            Self::BrokerAcknowledge => "broker.acknowledge",
            Self::JobAcquire => "run.acquirejob",
            Self::JobRenew => "run.renewjob",
            Self::JobComplete => "run.completejob",
            Self::JobFirstStep => "run.firststep",
            Self::JobLog => "run.log",
        }
    }

    pub fn surface(&self) -> Surface {
        match self.name().split('.').next() {
            Some(
                "app" | "scope" | "runners" | "runner_groups" | "runs" | "rate_limit" | "repos"
                | "hooks" | "meta",
            ) => Surface::Rest,
            Some("jobs") if matches!(self, Self::JobGet(..) | Self::JobRerun(..)) => Surface::Rest,
            Some("groups" | "sets" | "sessions" | "jobs" | "agents") => Surface::Service,
            Some("messages") => Surface::Queue,
            Some("broker" | "run") => Surface::Broker,
            _ => Surface::Other,
        }
    }

    pub fn kind(&self) -> Kind {
        if self.surface() == Surface::Broker { Kind::Runner } else { Kind::Daemon }
    }
}

fn service(method: &str, parts: &[&str]) -> Option<Route> {
    Some(match (method, parts) {
        ("GET", ["runtime", "runnergroups"]) => Route::Groups,
        ("GET", ["runtime", "runnerscalesets"]) => Route::SetsList,
        ("POST", ["runtime", "runnerscalesets"]) => Route::SetCreate,
        (_, ["runtime", "runnerscalesets", id, rest @ ..]) => {
            let set = SetId(id.parse().ok()?);
            match (method, rest) {
                ("GET", []) => Route::SetGet(set),
                ("PATCH", []) => Route::SetUpdate(set),
                ("DELETE", []) => Route::SetDelete(set),
                ("POST", ["generatejitconfig"]) => Route::SetJit(set),
                ("POST", ["acquirejobs"]) => Route::JobsAcquire(set),
                ("GET", ["acquirablejobs"]) => Route::JobsAcquirable(set),
                ("POST", ["sessions"]) => Route::SessionCreate(set),
                ("PATCH", ["sessions", session]) => {
                    Route::SessionRefresh(set, (*session).to_owned())
                }
                ("DELETE", ["sessions", session]) => {
                    Route::SessionDelete(set, (*session).to_owned())
                }
                _ => return None,
            }
        }
        ("GET", ["distributedtask", "pools", "0", "agents"]) => Route::AgentsList,
        ("GET", ["distributedtask", "pools", "0", "agents", id]) => {
            Route::AgentGet(RunnerId(id.parse().ok()?))
        }
        ("DELETE", ["distributedtask", "pools", "0", "agents", id]) => {
            Route::AgentDelete(RunnerId(id.parse().ok()?))
        }
        _ => return None,
    })
}

fn queue(method: &str, parts: &[&str]) -> Option<Route> {
    match (method, parts) {
        ("GET", []) => Some(Route::MessageGet),
        ("DELETE", [id]) => id.parse().ok().map(Route::MessageDelete),
        _ => None,
    }
}

fn broker(method: &str, parts: &[&str]) -> Option<Route> {
    Some(match (method, parts) {
        ("POST", ["broker-oauth", "token"]) => Route::BrokerToken,
        ("POST", ["broker", "session"]) => Route::BrokerSessionCreate,
        ("DELETE", ["broker", "session"]) => Route::BrokerSessionDelete,
        ("GET", ["broker", "message"]) => Route::BrokerMessage,
        ("POST", ["broker", "acknowledge"]) => Route::BrokerAcknowledge,
        ("POST", ["run-service", "acquirejob"]) => Route::JobAcquire,
        ("POST", ["run-service", "renewjob"]) => Route::JobRenew,
        ("POST", ["run-service", "completejob"]) => Route::JobComplete,
        ("POST", ["run-service", "firststep"]) => Route::JobFirstStep,
        ("POST", ["run-service", "log"]) => Route::JobLog,
        _ => return None,
    })
}

fn rest(method: &str, parts: &[&str]) -> Option<Route> {
    match (method, parts) {
        ("GET", ["rate_limit"]) => Some(Route::RateLimit),
        ("GET", ["meta"]) => Some(Route::Meta),
        ("POST", ["actions", "runner-registration"]) => Some(Route::Registration),
        ("GET", ["actions", "runner", "releases", "download", tag, file]) => {
            let version = tag.strip_prefix('v')?;
            Some(Route::Program(version.to_owned(), (*file).to_owned()))
        }
        ("GET", ["release-assets", version, file]) => {
            Some(Route::Program((*version).to_owned(), (*file).to_owned()))
        }
        ("GET", ["app"]) => Some(Route::App),
        ("GET", ["app", "hook", "config"]) => Some(Route::AppHookGet),
        ("PATCH", ["app", "hook", "config"]) => Some(Route::AppHookUpdate),
        ("GET", ["app", "hook", "deliveries"]) => Some(Route::AppDeliveriesList),
        ("GET", ["app", "hook", "deliveries", id]) => {
            id.parse().ok().map(DeliveryId).map(Route::AppDeliveryGet)
        }
        ("POST", ["app", "hook", "deliveries", id, "attempts"]) => {
            id.parse().ok().map(DeliveryId).map(Route::AppDeliveryAttempt)
        }
        ("GET", ["app", "installations"]) => Some(Route::AppInstallations),
        ("GET", ["app", "installations", id]) => id.parse().ok().map(Route::AppInstallation),
        ("POST", ["app", "installations", id, "access_tokens"]) => {
            id.parse().ok().map(Route::AppToken)
        }
        ("GET", ["users", user, "installation"]) => {
            Some(Route::Installation(ScopePath::Owner((*user).to_owned()), true))
        }
        (_, ["orgs", owner, rest @ ..]) => {
            scoped(method, ScopePath::Owner((*owner).to_owned()), rest)
        }
        (_, ["enterprises", slug, rest @ ..]) => {
            scoped(method, ScopePath::Enterprise((*slug).to_owned()), rest)
        }
        (_, ["repos", owner, repo, rest @ ..]) => {
            scoped(method, ScopePath::Repository((*owner).to_owned(), (*repo).to_owned()), rest)
        }
        _ => None,
    }
}

fn scoped(method: &str, scope: ScopePath, parts: &[&str]) -> Option<Route> {
    let in_repository = matches!(scope, ScopePath::Repository(..));
    Some(match (method, parts) {
        ("GET", ["installation"]) => Route::Installation(scope, false),
        ("POST", ["actions", "runners", "registration-token"]) => Route::RegistrationToken(scope),
        ("POST", ["actions", "runners", "remove-token"]) => Route::RemoveToken(scope),
        ("POST", ["actions", "runners", "generate-jitconfig"]) => Route::RunnerJit(scope),
        ("GET", ["actions", "runners"]) => Route::RunnersList(scope),
        ("GET", ["actions", "runners", "downloads"]) => Route::ProgramList(scope),
        ("GET", ["actions", "runners", "deprecations", version]) => {
            Route::ProgramDeprecation(scope, (*version).to_owned())
        }
        ("GET", ["actions", "runners", id]) => Route::RunnerGet(scope, RunnerId(id.parse().ok()?)),
        ("DELETE", ["actions", "runners", id]) => {
            Route::RunnerDelete(scope, RunnerId(id.parse().ok()?))
        }
        ("GET", ["actions", "runner-groups"]) if !in_repository => Route::RestGroupsList(scope),
        ("GET", ["actions", "runner-groups", id]) if !in_repository => {
            Route::RestGroupGet(scope, GroupId(id.parse().ok()?))
        }
        ("GET", ["actions", "runner-groups", id, "runners"]) if !in_repository => {
            Route::RestGroupRunners(scope, GroupId(id.parse().ok()?))
        }
        (_, ["actions", rest @ ..]) if in_repository => return runs(method, scope, rest),
        ("GET", ["repos"]) if !in_repository => Route::ReposList(scope),
        (_, ["hooks", rest @ ..]) => return hooks(method, scope, rest),
        _ => return None,
    })
}

fn hooks(method: &str, scope: ScopePath, parts: &[&str]) -> Option<Route> {
    let [id, rest @ ..] = parts else {
        return match method {
            "GET" => Some(Route::HooksList(scope)),
            "POST" => Some(Route::HookCreate(scope)),
            _ => None,
        };
    };
    let hook = HookId(id.parse().ok()?);
    let delivery = |id: &str| id.parse().ok().map(DeliveryId);
    Some(match (method, rest) {
        ("GET", []) => Route::HookGet(scope, hook),
        ("PATCH", []) => Route::HookUpdate(scope, hook),
        ("DELETE", []) => Route::HookDelete(scope, hook),
        ("POST", ["pings"]) => Route::HookPing(scope, hook),
        ("GET", ["deliveries"]) => Route::DeliveriesList(scope, hook),
        ("GET", ["deliveries", id]) => Route::DeliveryGet(scope, hook, delivery(id)?),
        ("POST", ["deliveries", id, "attempts"]) => {
            Route::DeliveryAttempt(scope, hook, delivery(id)?)
        }
        _ => return None,
    })
}

fn runs(method: &str, scope: ScopePath, parts: &[&str]) -> Option<Route> {
    Some(match (method, parts) {
        ("GET", ["runs"]) => Route::RunsList(scope),
        (_, ["runs", id, rest @ ..]) => {
            let run = RunId(id.parse().ok()?);
            match (method, rest) {
                ("GET", []) => Route::RunGet(scope, run),
                ("GET", ["jobs"]) => Route::RunJobs(scope, run),
                ("GET", ["attempts", number, "jobs"]) => {
                    Route::RunAttemptJobs(scope, run, number.parse().ok()?)
                }
                ("POST", ["cancel"]) => Route::RunCancel(scope, run),
                ("POST", ["force-cancel"]) => Route::RunForceCancel(scope, run),
                ("POST", ["rerun"]) => Route::RunRerun(scope, run),
                ("POST", ["rerun-failed-jobs"]) => Route::RunRerunFailed(scope, run),
                _ => return None,
            }
        }
        ("GET", ["jobs", id]) => Route::JobGet(scope, JobId(id.parse().ok()?)),
        ("POST", ["jobs", id, "rerun"]) => Route::JobRerun(scope, JobId(id.parse().ok()?)),
        _ => return None,
    })
}
