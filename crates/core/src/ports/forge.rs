//! GitHub, as one scope's credential sees it.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{BoxFuture, Finding};
use crate::model::{
    Message, MessageId, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, SessionId,
    Statistics, WorkflowJob,
};

/// A JIT configuration: until it is used it lets anyone be that runner. Lives in memory only, and never prints.
#[derive(Clone)]
pub struct JitConfig(SecretString);

impl JitConfig {
    /// Takes GitHub's encoded form (base64, about 4 KiB).
    #[must_use]
    pub fn new(encoded: String) -> Self {
        Self(encoded.into())
    }

    /// The encoded form, for the hand-over alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for JitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JitConfig([hidden])")
    }
}

/// A registration just made.
#[derive(Debug, Clone)]
pub struct Minted {
    /// GitHub's id.
    pub id: RegistrationId,
    /// What the runner needs to be it.
    pub jit: JitConfig,
}

/// What GitHub tells of a runner's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerRecord {
    /// GitHub's id.
    pub id: RegistrationId,
    /// Its name; anyone's, so text.
    pub name: String,
    /// Whether it is connected; `None` where the answer does not tell.
    pub online: Option<bool>,
    /// Whether it has a job; `None` where the answer does not tell.
    pub busy: Option<bool>,
}

/// What GitHub tells of a scale set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleSetRecord {
    /// GitHub's id.
    pub id: ScaleSetId,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: RunnerGroupId,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its counts, where the answer has them.
    pub statistics: Option<Statistics>,
}

/// A message session just opened or refreshed. Its queue's address and token stay with the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// GitHub's id.
    pub id: SessionId,
    /// Fresh counts.
    pub statistics: Statistics,
}

/// What a credential may still ask of GitHub's REST API, from its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests an hour.
    pub limit: u32,
    /// Requests left.
    pub remaining: u32,
    /// When the count begins anew.
    pub resets_at: Timestamp,
}

/// A workflow job, as GitHub's public REST API tells it (`GET /repos/{owner}/{repo}/actions/jobs/{id}`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its public id. The scale sets' messages do not have it.
    pub id: i64,
    /// The public id of its run.
    pub run_id: i64,
    /// Its name in the run.
    pub name: String,
    /// GitHub's word: queued, in_progress, completed, waiting, requested or pending.
    pub status: String,
    /// GitHub's word, once it is completed.
    pub conclusion: Option<String>,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// The runner that has or had it, by name.
    pub runner: Option<String>,
}

/// What a scope's repositories have to do, and how far the deliveries of its hooks were looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Every job of a queued or running workflow run, whether it changed since the last time or not: a job that is not here had
    /// ended, or its repository was not looked at, or it is of what was left out.
    pub jobs: Vec<WorkflowJob>,
    /// The newest delivery before which nothing is left to do; `None` where there is no hook of ours.
    pub cursor: Option<i64>,
    /// How many failed deliveries GitHub was asked to make again.
    pub redelivered: u32,
    /// What could not be read: nothing is known of its jobs.
    pub left_out: BTreeSet<LeftOut>,
    /// Why something was left out, or why the deliveries were not looked through.
    pub trouble: Option<ForgeError>,
}

/// Whose jobs could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    repository: String,
    run: Option<i64>,
}

impl LeftOut {
    /// A repository (`OWNER/REPO`, in any case), or one run of it.
    #[must_use]
    pub fn new(repository: &str, run: Option<i64>) -> Self {
        Self { repository: repository.to_ascii_lowercase(), run }
    }
}

impl CaughtUp {
    /// Whether a job that is not in the list may be there all the same.
    #[must_use]
    pub fn may_lack(&self, job: &WorkflowJob) -> bool {
        let is_out = |run| self.left_out.contains(&LeftOut::new(&job.repository, run));
        !self.left_out.is_empty() && (is_out(None) || is_out(Some(job.run_id)))
    }
}

/// A permission, in GitHub's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(pub String);

/// What kind of failure: what the planner needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgeErrorKind {
    /// The credential is wrong or expired (401).
    Unauthorized,
    /// The credential may not (403, or a 404 that hides it); the permission that is missing.
    NotAllowed(Permission),
    /// GitHub does not know it (404).
    NotFound,
    /// The runner has a job (422 in REST, `JobStillRunningException` in the service).
    Busy,
    /// Not before this time (primary or secondary limit).
    RateLimited(Timestamp),
    /// Someone else has it: a session on the set, a name in the group (409, `…ExistsException`).
    Conflict,
    /// The session is not valid any more: open a new one.
    SessionGone,
    /// The scale set is not there any more.
    ScaleSetGone,
    /// GitHub's answer could not be understood, or refuses what can't be mended by waiting (400, 422).
    Refused,
    /// Try again later: no connection, no answer, 5xx.
    Transient,
}

/// A failed call on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct ForgeError {
    /// What kind.
    pub kind: ForgeErrorKind,
    /// What was asked, and of what: "mint a registration for linux-small-…".
    pub operation: String,
    /// What the other side said, and what to do; without a secret, at most 2,000 characters.
    pub detail: String,
}

/// One scope of GitHub with one credential. Sessions' tokens, admin tokens and retries within a call are the
/// implementation's; what is asked, when, and again, is the planner's.
pub trait Forge: Send + Sync {
    /// The id of a runner group by name.
    fn find_group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RunnerGroupId, ForgeError>>;

    /// The scale set of that name in the group.
    fn find_scale_set<'a>(
        &'a self,
        group: RunnerGroupId,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ScaleSetRecord>, ForgeError>>;

    /// Makes a scale set. A name that is taken is [`ForgeErrorKind::Conflict`].
    fn create_scale_set<'a>(
        &'a self,
        group: RunnerGroupId,
        name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>>;

    /// Sets a scale set's labels.
    fn update_scale_set<'a>(
        &'a self,
        id: ScaleSetId,
        group: RunnerGroupId,
        name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>>;

    /// Deletes a scale set; absent is success.
    fn delete_scale_set(&self, id: ScaleSetId) -> BoxFuture<'_, Result<(), ForgeError>>;

    /// Opens the set's one session. Another's session is [`ForgeErrorKind::Conflict`].
    fn open_session(&self, set: ScaleSetId) -> BoxFuture<'_, Result<Session, ForgeError>>;

    /// Refreshes a session, also one that an earlier process opened.
    fn refresh_session<'a>(
        &'a self,
        set: ScaleSetId,
        session: &'a SessionId,
    ) -> BoxFuture<'a, Result<Session, ForgeError>>;

    /// Closes a session; absent is success.
    fn close_session<'a>(
        &'a self,
        set: ScaleSetId,
        session: &'a SessionId,
    ) -> BoxFuture<'a, Result<(), ForgeError>>;

    /// Waits for the next message after `cursor`, about 50 seconds; `None`: nothing came. The set's session must
    /// have been opened or refreshed through this forge. An expired queue token is renewed within the call.
    fn poll(
        &self,
        set: ScaleSetId,
        cursor: MessageId,
        capacity: u32,
    ) -> BoxFuture<'_, Result<Option<Message>, ForgeError>>;

    /// Deletes a message; absent is success.
    fn acknowledge(
        &self,
        set: ScaleSetId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<(), ForgeError>>;

    /// Acquires jobs; returns the request ids that were won. A server that assigns by itself (404) wins none.
    fn acquire<'a>(
        &'a self,
        set: ScaleSetId,
        requests: &'a [i64],
    ) -> BoxFuture<'a, Result<Vec<i64>, ForgeError>>;

    /// Makes a registration in the set. A name that is taken, by a retry whose first answer was lost, is removed and
    /// made anew within the call where it is of the same set; else it is [`ForgeErrorKind::Conflict`].
    fn mint<'a>(
        &'a self,
        set: ScaleSetId,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>>;

    /// Makes a registration outside any set, by the public REST API: it costs the credential's hour. A name that is taken is
    /// dealt with as in [`Self::mint`].
    fn register<'a>(
        &'a self,
        group: RunnerGroupId,
        labels: &'a [String],
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>>;

    /// Looks a runner up by name.
    fn find_runner<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<RunnerRecord>, ForgeError>>;

    /// Removes a registration: `true` where it was removed, `false` where GitHub did not know it.
    fn remove_runner(&self, id: RegistrationId) -> BoxFuture<'_, Result<bool, ForgeError>>;

    /// Lists every registration of the scope: whole or an error, never a part.
    fn list_runners(&self) -> BoxFuture<'_, Result<Vec<RunnerRecord>, ForgeError>>;

    /// The jobs of a run (`OWNER/REPO`, its newest attempt) up to the page of the first that is not completed, at most 1,000, or the
    /// one job of it that is asked for.
    fn find_jobs<'a>(
        &'a self,
        repository: &'a str,
        run: i64,
        job: Option<i64>,
    ) -> BoxFuture<'a, Result<Vec<JobRecord>, ForgeError>>;

    /// Lists the queued and the running workflow runs of the repositories (`OWNER/REPO`; none: those of the scope that were
    /// active in the last 7 days) with their jobs. Where a hook there is ours, looks through its deliveries newer than `cursor`
    /// and asks for those that failed, and that no later one of the same id made good, to be delivered again. Asks conditionally,
    /// so that what did not change costs nothing of the credential's hour.
    ///
    /// A repository or a run that can't be read is left out, unless none can be, and deliveries that can't be looked through take
    /// nothing from the jobs; a refusal of the credential as a whole ends the list.
    fn catch_up<'a>(
        &'a self,
        repositories: &'a [String],
        cursor: Option<i64>,
    ) -> BoxFuture<'a, Result<CaughtUp, ForgeError>>;

    /// Reads one job of a repository (`OWNER/REPO`) by its public id; `None` where GitHub does not know it.
    fn read_job<'a>(
        &'a self,
        repository: &'a str,
        id: i64,
    ) -> BoxFuture<'a, Result<Option<WorkflowJob>, ForgeError>>;

    /// What the credential may still ask, as of the newest answer; `None` before the first.
    fn rate_limit(&self) -> Option<RateLimit>;

    /// How many requests were sent, and how many polls came back empty (202): for the figures.
    fn requests(&self) -> (u64, u64);

    /// Tries the credential, its permissions and the group for real.
    fn check<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Vec<Finding>>;
}
