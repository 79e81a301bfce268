//! GitHub.

use std::time::Duration;

use dayfly_core::{
    model::{
        Message, MessageId, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, SessionId,
        WorkflowJob, WorkflowJobStatus,
    },
    ports::{
        BoxFuture, CaughtUp, Finding, Forge, ForgeError, ForgeErrorKind, JitConfig, JobRecord,
        Minted, RateLimit, RunnerRecord, ScaleSetRecord, Session,
    },
};
use tokio::time::{Instant, sleep_until};

use super::{Registered, Site};

/// How long GitHub holds a poll.
const POLL: Duration = Duration::from_secs(50);

fn refused(kind: ForgeErrorKind, operation: &str) -> ForgeError {
    ForgeError { kind, operation: operation.into(), detail: "no".into() }
}

impl Forge for Site {
    fn find_group<'a>(
        &'a self,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<RunnerGroupId, ForgeError>> {
        Box::pin(async { Ok(RunnerGroupId(1)) })
    }

    fn find_scale_set<'a>(
        &'a self,
        _group: RunnerGroupId,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ScaleSetRecord>, ForgeError>> {
        Box::pin(
            async move { Ok(self.state().sets.values().find(|set| set.name == name).cloned()) },
        )
    }

    fn create_scale_set<'a>(
        &'a self,
        group: RunnerGroupId,
        name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>> {
        Box::pin(async move {
            self.note(format!("make-set {name}"));
            let mut state = self.state();
            let id = state.next();
            let record = ScaleSetRecord {
                id: ScaleSetId(id),
                name: name.into(),
                group,
                labels: labels.to_vec(),
                statistics: None,
            };
            state.sets.insert(id, record.clone());
            Ok(record)
        })
    }

    fn update_scale_set<'a>(
        &'a self,
        id: ScaleSetId,
        _group: RunnerGroupId,
        _name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>> {
        Box::pin(async move {
            let mut state = self.state();
            let set = state
                .sets
                .get_mut(&id.0)
                .ok_or_else(|| refused(ForgeErrorKind::ScaleSetGone, "update"))?;
            set.labels = labels.to_vec();
            Ok(set.clone())
        })
    }

    fn delete_scale_set(&self, id: ScaleSetId) -> BoxFuture<'_, Result<(), ForgeError>> {
        Box::pin(async move {
            self.note("delete set");
            self.state().sets.remove(&id.0);
            Ok(())
        })
    }

    fn open_session(&self, set: ScaleSetId) -> BoxFuture<'_, Result<Session, ForgeError>> {
        Box::pin(async move {
            self.note("open session");
            let mut state = self.state();
            if state.sessions.contains_key(&set.0) {
                return Err(refused(ForgeErrorKind::Conflict, "open a session"));
            }
            let id = SessionId(format!("session-{}", state.next()).into());
            state.sessions.insert(set.0, id.clone());
            Ok(Session { id, statistics: state.statistics(set.0) })
        })
    }

    fn refresh_session<'a>(
        &'a self,
        set: ScaleSetId,
        session: &'a SessionId,
    ) -> BoxFuture<'a, Result<Session, ForgeError>> {
        Box::pin(async move {
            self.note("refresh session");
            let state = self.state();
            if state.sessions.get(&set.0) != Some(session) {
                return Err(refused(ForgeErrorKind::SessionGone, "refresh a session"));
            }
            Ok(Session { id: session.clone(), statistics: state.statistics(set.0) })
        })
    }

    fn close_session<'a>(
        &'a self,
        set: ScaleSetId,
        _session: &'a SessionId,
    ) -> BoxFuture<'a, Result<(), ForgeError>> {
        Box::pin(async move {
            self.note("close session");
            if self.state().sessions_hang {
                std::future::pending::<()>().await;
            }
            self.state().sessions.remove(&set.0);
            Ok(())
        })
    }

    fn poll(
        &self,
        set: ScaleSetId,
        cursor: MessageId,
        capacity: u32,
    ) -> BoxFuture<'_, Result<Option<Message>, ForgeError>> {
        Box::pin(async move {
            self.note(format!("poll capacity {capacity}"));
            let until = Instant::now() + POLL;
            loop {
                let bell = self.bell.notified();
                {
                    let state = self.state();
                    if !state.sessions.contains_key(&set.0) {
                        return Err(refused(ForgeErrorKind::SessionGone, "poll"));
                    }
                    let next = state
                        .messages
                        .iter()
                        .find(|(of, message)| *of == set.0 && message.id > cursor);
                    if let Some((_, message)) = next {
                        return Ok(Some(message.clone()));
                    }
                }
                tokio::select! {
                    biased;
                    () = bell => {}
                    () = sleep_until(until) => return Ok(None),
                }
            }
        })
    }

    fn acknowledge(
        &self,
        _set: ScaleSetId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<(), ForgeError>> {
        Box::pin(async move {
            self.note("acknowledge");
            self.state().messages.retain(|(_, held)| held.id != message);
            Ok(())
        })
    }

    fn acquire<'a>(
        &'a self,
        _set: ScaleSetId,
        _requests: &'a [i64],
    ) -> BoxFuture<'a, Result<Vec<i64>, ForgeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn mint<'a>(
        &'a self,
        set: ScaleSetId,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>> {
        Box::pin(async move {
            self.note(format!("mint {runner}"));
            let mut state = self.state();
            let id = RegistrationId(state.next());
            state
                .registrations
                .insert(runner.to_string(), (set.0, Registered { id, online: false, job: None }));
            Ok(Minted { id, jit: JitConfig::new(format!("jit-{runner}")) })
        })
    }

    fn register<'a>(
        &'a self,
        group: RunnerGroupId,
        labels: &'a [String],
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>> {
        Box::pin(async move {
            self.note(format!("register {runner} in {group} with {}", labels.join(",")));
            let mut state = self.state();
            let id = RegistrationId(state.next());
            state
                .registrations
                .insert(runner.to_string(), (0, Registered { id, online: false, job: None }));
            Ok(Minted { id, jit: JitConfig::new(format!("jit-{runner}")) })
        })
    }

    fn find_runner<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<RunnerRecord>, ForgeError>> {
        Box::pin(async move {
            self.note(format!("find {runner}"));
            let state = self.state();
            Ok(state
                .registrations
                .get(runner.as_str())
                .map(|(_, registered)| record(runner.as_str(), registered)))
        })
    }

    fn remove_runner(&self, id: RegistrationId) -> BoxFuture<'_, Result<bool, ForgeError>> {
        Box::pin(async move {
            self.note("remove registration");
            let mut state = self.state();
            let name = state
                .registrations
                .iter()
                .find(|(_, (_, held))| held.id == id)
                .map(|(name, _)| name.clone());
            let Some(name) = name else { return Ok(false) };
            if state.registrations[&name].1.job.is_some() {
                return Err(refused(ForgeErrorKind::Busy, "remove a runner"));
            }
            state.registrations.remove(&name);
            Ok(true)
        })
    }

    fn list_runners(&self) -> BoxFuture<'_, Result<Vec<RunnerRecord>, ForgeError>> {
        Box::pin(async {
            self.note("list registrations");
            let state = self.state();
            Ok(state
                .registrations
                .iter()
                .map(|(name, (_, registered))| record(name, registered))
                .collect())
        })
    }

    fn find_jobs<'a>(
        &'a self,
        _repository: &'a str,
        _run: i64,
        _job: Option<i64>,
    ) -> BoxFuture<'a, Result<Vec<JobRecord>, ForgeError>> {
        Box::pin(async { Err(refused(ForgeErrorKind::NotFound, "read jobs")) })
    }

    fn catch_up<'a>(
        &'a self,
        repositories: &'a [String],
        cursor: Option<i64>,
    ) -> BoxFuture<'a, Result<CaughtUp, ForgeError>> {
        Box::pin(async move {
            self.note(format!("catch up {} after {cursor:?}", repositories.join(",")));
            let state = self.state();
            let open = |job: &&WorkflowJob| job.status < WorkflowJobStatus::Completed;
            Ok(CaughtUp {
                jobs: state.workflow_jobs.values().filter(open).cloned().collect(),
                cursor: Some(cursor.unwrap_or(0) + 1),
                ..CaughtUp::default()
            })
        })
    }

    fn read_job<'a>(
        &'a self,
        _repository: &'a str,
        id: i64,
    ) -> BoxFuture<'a, Result<Option<WorkflowJob>, ForgeError>> {
        Box::pin(async move {
            self.note(format!("read job {id}"));
            Ok(self.state().workflow_jobs.get(&id).cloned())
        })
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        None
    }

    fn requests(&self) -> (u64, u64) {
        (self.noted(" mint ") as u64, 0)
    }

    fn check<'a>(&'a self, _group: &'a str) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async { Vec::new() })
    }
}

fn record(name: &str, registered: &Registered) -> RunnerRecord {
    RunnerRecord {
        id: registered.id,
        name: name.to_owned(),
        online: Some(registered.online),
        busy: Some(registered.job.is_some()),
    }
}
