//! A set's message queue: long polls, batches, replay, acknowledgement, acquisition.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::call::Call;
use crate::hold::Awaited;
use crate::ids::{JobId, RunId, ScopeId, SetId};
use crate::job::{Conclusion, Job, JobState};
use crate::moment;
use crate::refusal::{BAD_ARGUMENT, Handled, RUNNER_ADMIN, Refusal, Reply, empty, ok, text_reply};
use crate::route::SERVICE_BASE;
use crate::scale_set::Statistics;
use crate::scope::Assignment;
use crate::sim::{Outcome, Sim};

/// Id of a set's first message: live ids start near here, beyond what a careless 32-bit client expects to add up.
pub(crate) const FIRST_MESSAGE: i64 = 100_000_001;

/// Messages that a set keeps; the oldest go first. Live keeps them at least 13 h.
const LOG_MAX: usize = 10_000;

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Available,
    Assigned,
    Started,
    Completed,
}

impl EntryKind {
    fn text(self) -> &'static str {
        match self {
            Self::Available => "JobAvailable",
            Self::Assigned => "JobAssigned",
            Self::Started => "JobStarted",
            Self::Completed => "JobCompleted",
        }
    }
}

/// An entry that waits for a message, with the facts as they were.
#[derive(Debug)]
pub(crate) struct Entry {
    kind: EntryKind,
    job: JobId,
    json: String,
}

/// An entry as messages carry it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryBody<'a> {
    message_type: &'static str,
    runner_request_id: i64,
    repository_name: &'a str,
    owner_name: &'a str,
    job_id: Uuid,
    job_workflow_ref: String,
    job_display_name: &'a str,
    workflow_run_id: RunId,
    event_name: &'a str,
    request_labels: &'a [String],
    queue_time: String,
    scale_set_assign_time: String,
    runner_assign_time: String,
    finish_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    acquire_job_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Message {
    body: String,
}

/// A message as a poll gets it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody<'a> {
    message_id: i64,
    message_type: &'static str,
    body: &'a str,
    statistics: Statistics,
}

/// A message poll's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    pub set: SetId,
    pub session: Uuid,
    pub cursor: i64,
    /// `None`: an old client that sends no capacity.
    pub capacity: Option<usize>,
}

impl Sim {
    /// Adds an entry to a set's next message.
    pub(crate) fn push_entry(
        &mut self,
        set_id: SetId,
        kind: EntryKind,
        job_id: JobId,
        result: Option<Conclusion>,
    ) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        let acquire = self.acquires(set_id);
        let mut body = self.entry_body(kind, job, acquire);
        if kind == EntryKind::Available {
            // Relative: the host that the client used is not known here; clients ignore this member.
            body.acquire_job_url =
                Some(format!("{SERVICE_BASE}/_apis/runtime/runnerscalesets/{set_id}/acquirejobs"));
        }
        if matches!(kind, EntryKind::Started | EntryKind::Completed) {
            // A reassignment's "canceled" names no runner.
            let runner = job.runner.as_ref().filter(|_| job.started_at.is_some());
            body.runner_id = Some(runner.map_or(0, |(id, _)| id.0));
            body.runner_name = Some(runner.map_or("", |(_, name)| name));
        }
        body.result = result.map(Conclusion::result);
        // A struct always serialises.
        let json = serde_json::to_string(&body).unwrap_or_default();
        if let Some(set) = self.sets.get_mut(set_id) {
            set.pending.push_back(Entry { kind, job: job_id, json });
        }
        if kind != EntryKind::Started {
            self.wake_set(set_id);
        }
    }

    fn entry_body<'a>(&'a self, kind: EntryKind, job: &'a Job, acquire: bool) -> EntryBody<'a> {
        let path = self.scopes.get(job.repo).map_or("", |repo| repo.path.as_str());
        let (owner, name) = path.split_once('/').unwrap_or(("", path));
        let run = self.runs.get(&job.run);
        EntryBody {
            message_type: kind.text(),
            // With auto-assignment live sends 0: there is nothing to acquire.
            runner_request_id: if acquire { job.id.0 } else { 0 },
            repository_name: name,
            owner_name: owner,
            job_id: job.uuid,
            job_workflow_ref: format!("{path}/.github/workflows/ci.yml@refs/heads/main"),
            job_display_name: &job.name,
            workflow_run_id: job.run,
            event_name: run.map_or("push", |run| run.event.as_str()),
            request_labels: &job.labels,
            queue_time: moment::precise(Some(job.queued_at)),
            scale_set_assign_time: moment::precise(job.assigned_at),
            runner_assign_time: moment::precise(job.started_at),
            finish_time: moment::precise(job.completed_at),
            acquire_job_url: None,
            runner_id: None,
            runner_name: None,
            result: None,
        }
    }

    pub(crate) fn acquires(&self, set: SetId) -> bool {
        self.sets
            .get(set)
            .and_then(|set| self.scopes.get(set.scope))
            .is_some_and(|scope| scope.assignment == Assignment::Acquire)
    }

    /// A poll arrives.
    pub(crate) fn message_get(
        &mut self,
        call: &Call<'_>,
        set: SetId,
        session: Uuid,
    ) -> Result<Outcome, Refusal> {
        let bad =
            |what: &str| Refusal::Text { status: StatusCode::BAD_REQUEST, text: what.to_owned() };
        if call.query("shard") != Some(&crate::session::shard(set)) {
            return Err(bad("missing or wrong shard\n"));
        }
        let capacity = match call.header("x-scalesetmaxcapacity") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad("invalid X-ScaleSetMaxCapacity\n"))?),
        };
        let cursor = match call.query("lastMessageId") {
            None => 0,
            Some(text) => text.parse().map_err(|_| bad("invalid lastMessageId\n"))?,
        };
        self.check_session(set, session)?;
        self.session_seen(call.now, set);
        let poll = Poll { set, session, cursor, capacity };
        if let Some(reply) = self.try_message(call.now, poll, true)? {
            return Ok(Outcome::Reply(reply));
        }
        Ok(Outcome::Wait(Awaited::Messages(poll), moment::after(call.now, self.options.hold_ms)))
    }

    /// The queue's answer for a session that is no longer there.
    fn check_session(&self, set: SetId, session: Uuid) -> Result<(), Refusal> {
        let live = self
            .sets
            .get(set)
            .and_then(|set| set.session.as_ref())
            .is_some_and(|live| live.id == session);
        if live {
            return Ok(());
        }
        Err(Refusal::service(
            404,
            RUNNER_ADMIN,
            "The request names a session ID that doesn't exist in redis.",
        ))
    }

    /// A message for the poll, if there is one now. `eager`: entries that wake nobody are sent too (the poll is new, or ends).
    pub(crate) fn try_message(
        &mut self,
        now: Timestamp,
        poll: Poll,
        eager: bool,
    ) -> Result<Option<Reply>, Refusal> {
        self.check_session(poll.set, poll.session)?;
        let from = poll.cursor.saturating_add(1);
        let replay =
            self.sets.get(poll.set).and_then(|set| set.log.range(from..).next()).map(|(id, _)| *id);
        if let Some(id) = replay {
            return Ok(self.message_reply(poll.set, id));
        }
        self.fill(now, poll);
        let batch = self.options.batch.max(1);
        let Some(set) = self.sets.get_mut(poll.set) else { return Ok(None) };
        let wakes = set.pending.iter().take(batch).any(|entry| entry.kind != EntryKind::Started);
        if set.pending.is_empty() || !(wakes || eager) {
            return Ok(None);
        }
        let count = batch.min(set.pending.len());
        let entries: Vec<Entry> = set.pending.drain(..count).collect();
        let id = set.next_message;
        set.next_message += 1;
        let texts: Vec<&str> = entries.iter().map(|entry| entry.json.as_str()).collect();
        set.log.insert(id, Message { body: format!("[{}]", texts.join(",")) });
        while set.log.len() > LOG_MAX {
            set.log.pop_first();
        }
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Assigned) {
            if let Some(job) = self.jobs.get_mut(&entry.job) {
                job.told_at.get_or_insert(now);
            }
        }
        Ok(self.message_reply(poll.set, id))
    }

    /// Gives (or, in acquire mode, offers) waiting jobs up to the poll's capacity and the size of a batch. That a batch bounds what is
    /// given at once, and not only what is told at once, is a guess.
    fn fill(&mut self, now: Timestamp, poll: Poll) {
        let batch = self.options.batch.max(1);
        let capacity = poll.capacity.unwrap_or(usize::MAX);
        let acquire = self.acquires(poll.set);
        while let Some(set) = self.sets.get(poll.set) {
            let taken = set.total_assigned() + if acquire { set.announced.len() } else { 0 };
            if set.pending.len() >= batch || taken >= capacity {
                return;
            }
            if acquire {
                let Some((job, bucket)) = set.next_to_announce(&self.waiting.buckets) else {
                    return;
                };
                if let Some(set) = self.sets.get_mut(poll.set) {
                    set.announce(job, bucket);
                }
                self.push_entry(poll.set, EntryKind::Available, job, None);
            } else {
                let Some(job) = self.oldest(&set.buckets) else { return };
                self.assign(now, job, poll.set);
            }
        }
    }

    /// A message with fresh statistics; that a replay carries the statistics of the replay is a guess.
    fn message_reply(&self, set: SetId, id: i64) -> Option<Reply> {
        let set = self.sets.get(set)?;
        let message = set.log.get(&id)?;
        Some(ok(&MessageBody {
            message_id: id,
            message_type: "RunnerScaleSetJobMessages",
            body: &message.body,
            statistics: self.statistics(set),
        }))
    }

    /// Acknowledges a message. An unknown id is acknowledged too: what live answers was not recorded.
    pub(crate) fn message_delete(
        &mut self,
        call: &Call<'_>,
        set: SetId,
        session: Uuid,
        id: i64,
    ) -> Handled {
        if call.query("shard") != Some(&crate::session::shard(set)) {
            return Err(Refusal::Text {
                status: StatusCode::BAD_REQUEST,
                text: "missing or wrong shard\n".to_owned(),
            });
        }
        self.check_session(set, session)?;
        self.session_seen(call.now, set);
        if let Some(set) = self.sets.get_mut(set) {
            set.log.remove(&id);
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// `POST acquirejobs` with the queue token. With auto-assignment the route does not exist.
    pub(crate) fn jobs_acquire(&mut self, call: &Call<'_>, set: SetId) -> Handled {
        if self.sets.get(set).is_none() {
            return Err(Refusal::no_set(set));
        }
        if !self.acquires(set) {
            return Err(Refusal::no_page());
        }
        let asked: Vec<i64> =
            call.json().map_err(|what| Refusal::service(400, BAD_ARGUMENT, what))?;
        let mut won = Vec::new();
        for id in asked.into_iter().map(JobId) {
            let open = self.jobs.get(&id).is_some_and(|job| {
                job.state == JobState::Waiting
                    && self
                        .waiting
                        .buckets
                        .get(job.bucket)
                        .is_some_and(|bucket| bucket.sets.contains(&set))
            });
            if open {
                self.assign(call.now, id, set);
                won.push(id);
            }
        }
        Ok(ok(&json!({ "count": won.len(), "value": won })))
    }

    /// `GET acquirablejobs` with the admin token: 204 when there is none.
    pub(crate) fn jobs_acquirable(&self, call: &Call<'_>, scope: ScopeId, id: SetId) -> Handled {
        let set = self.set_in(scope, id)?;
        if !self.acquires(id) {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        let jobs: Vec<EntryBody<'_>> = set
            .buckets
            .iter()
            .filter_map(|bucket| self.waiting.buckets.get(*bucket))
            .flat_map(|bucket| &bucket.jobs)
            .filter_map(|job| self.jobs.get(job))
            .take(self.options.batch)
            .map(|job| {
                let mut body = self.entry_body(EntryKind::Available, job, true);
                body.acquire_job_url = Some(format!(
                    "{}{SERVICE_BASE}/_apis/runtime/runnerscalesets/{id}/acquirejobs",
                    call.origin.base
                ));
                body
            })
            .collect();
        if jobs.is_empty() {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        Ok(ok(&json!({ "count": jobs.len(), "value": jobs })))
    }

    /// What a poll hears when its time is over.
    pub(crate) fn nothing_new() -> Reply {
        text_reply(StatusCode::ACCEPTED, String::new())
    }
}
