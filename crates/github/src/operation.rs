//! What is asked, and of what: the words with which every error begins.

use std::fmt;

use dayfly_core::model::{
    MessageId, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, SessionId,
};

/// One thing asked of GitHub.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// An App's installation in the scope.
    FindInstallation {
        scope: &'a str,
    },
    /// An App's installation token.
    SignIn {
        scope: &'a str,
    },
    /// Whether the credential is accepted at all.
    TryCredential,
    /// Whether the scope is there.
    FindScope {
        scope: &'a str,
    },
    RegistrationToken {
        scope: &'a str,
    },
    AdminConnection {
        scope: &'a str,
    },
    FindGroup(&'a str),
    FindScaleSet(&'a str),
    CreateScaleSet(&'a str),
    UpdateScaleSet(&'a str, ScaleSetId),
    DeleteScaleSet(ScaleSetId),
    OpenSession(ScaleSetId),
    RefreshSession(ScaleSetId),
    CloseSession(ScaleSetId, &'a SessionId),
    Poll(ScaleSetId),
    Acknowledge(ScaleSetId, MessageId),
    Acquire(ScaleSetId, usize),
    Mint(&'a RunnerName, ScaleSetId),
    Register(&'a RunnerName, RunnerGroupId),
    FindRunner(&'a RunnerName),
    RemoveRunner(RegistrationId),
    ListRunners {
        scope: &'a str,
    },
    FindJobs {
        repository: &'a str,
        run: i64,
    },
    ReadJob {
        repository: &'a str,
        id: i64,
    },
    ListRepositories {
        scope: &'a str,
    },
    ListRuns(&'a str),
    /// The hooks of a place: "organization acme".
    ListHooks(&'a str),
    ChangeHook(&'a str),
    ListDeliveries(&'a str),
    Redeliver(i64),
    ReadMeta,
    ListPrograms {
        scope: &'a str,
    },
    ReadDeprecation(&'a str),
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FindInstallation { scope } => write!(f, "find the App's installation in {scope}"),
            Self::SignIn { scope } => write!(f, "sign in as a GitHub App for {scope}"),
            Self::TryCredential => write!(f, "try the credential"),
            Self::FindScope { scope } => write!(f, "look for {scope}"),
            Self::RegistrationToken { scope } => write!(f, "get a registration token of {scope}"),
            Self::AdminConnection { scope } => {
                write!(f, "connect to the Actions service of {scope}")
            }
            Self::FindGroup(name) => write!(f, "find runner group `{name}`"),
            Self::FindScaleSet(name) => write!(f, "find scale set `{name}`"),
            Self::CreateScaleSet(name) => write!(f, "create scale set `{name}`"),
            Self::UpdateScaleSet(name, id) => write!(f, "update scale set `{name}` ({id})"),
            Self::DeleteScaleSet(id) => write!(f, "delete scale set {id}"),
            Self::OpenSession(set) => write!(f, "open a session on scale set {set}"),
            Self::RefreshSession(set) => write!(f, "refresh the session of scale set {set}"),
            Self::CloseSession(set, session) => {
                write!(f, "close session {session} of scale set {set}")
            }
            Self::Poll(set) => write!(f, "wait for a message of scale set {set}"),
            Self::Acknowledge(set, message) => {
                write!(f, "delete message {message} of scale set {set}")
            }
            Self::Acquire(set, jobs) => write!(f, "acquire {jobs} jobs for scale set {set}"),
            Self::Mint(runner, set) => {
                write!(f, "mint a registration for {runner} in scale set {set}")
            }
            Self::Register(runner, group) => write!(f, "register {runner} in runner group {group}"),
            Self::FindRunner(runner) => write!(f, "look up runner {runner}"),
            Self::RemoveRunner(id) => write!(f, "remove registration {id}"),
            Self::FindJobs { repository, run } => write!(f, "read run {run} of {repository}"),
            Self::ReadJob { repository, id } => write!(f, "read job {id} of {repository}"),
            Self::ListRepositories { scope } => write!(f, "list the repositories of {scope}"),
            Self::ListRuns(repository) => write!(f, "list the workflow runs of {repository}"),
            Self::ListHooks(place) => write!(f, "list the webhooks of {place}"),
            Self::ChangeHook(place) => write!(f, "change the webhook of {place}"),
            Self::ListDeliveries(place) => write!(f, "list the webhook deliveries of {place}"),
            Self::Redeliver(id) => write!(f, "have delivery {id} sent again"),
            Self::ReadMeta => write!(f, "read the addresses that webhooks come from"),
            Self::ListPrograms { scope } => write!(f, "list the runner programs for {scope}"),
            Self::ReadDeprecation(version) => {
                write!(f, "ask until when runner program {version} is taken")
            }
            Self::ListRunners { scope } => write!(f, "list the runners of {scope}"),
        }
    }
}
