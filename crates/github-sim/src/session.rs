//! Message sessions: one live session for each set, with expiry, conflict and eviction.

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::Call;
use crate::ids::{CredentialId, ScopeId, SetId};
use crate::moment;
use crate::refusal::{
    Handled, RUNNER_ADMIN, Refusal, SESSION_CONFLICT, SESSION_EXPIRED, empty, ok,
};
use crate::route::QUEUE_PATH;
use crate::scale_set::{ENDED_MAX, SetBody, Statistics};
use crate::sim::Sim;
use crate::timer::Timer;
use crate::token::Grant;

#[derive(Debug)]
pub(crate) struct Session {
    pub id: Uuid,
    pub owner: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewSession {
    #[serde(default)]
    owner_name: String,
}

/// A session as the service shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionBody<'a> {
    session_id: Uuid,
    owner_name: &'a str,
    runner_scale_set: SetBody<'a>,
    message_queue_url: String,
    message_queue_access_token: String,
    statistics: Statistics,
}

/// What a second session is told.
pub(crate) fn conflict(owner: &str) -> Refusal {
    Refusal::service(
        409,
        SESSION_CONFLICT,
        format!("The runner scale set already has an active session for owner {owner}."),
    )
}

impl Sim {
    pub(crate) fn session_create(
        &mut self,
        call: &Call<'_>,
        scope: ScopeId,
        credential: CredentialId,
        id: SetId,
    ) -> Handled {
        let new: NewSession = call
            .json()
            .map_err(|what| Refusal::service(400, crate::refusal::BAD_ARGUMENT, what))?;
        if let Some(live) = &self.set_in(scope, id)?.session {
            return Err(conflict(&live.owner));
        }
        self.begin_session(call.now, id, new.owner_name);
        self.session_json(call, credential, id)
    }

    /// A session begins on a set that has none.
    pub(crate) fn begin_session(&mut self, at: Timestamp, id: SetId, owner: String) {
        let session = Session { id: self.ids.sessions.uuid(), owner, created_at: at };
        if let Some(set) = self.sets.get_mut(id) {
            set.session = Some(session);
            set.forget_announcements();
        }
        self.session_seen(at, id);
    }

    pub(crate) fn session_refresh(
        &mut self,
        call: &Call<'_>,
        scope: ScopeId,
        credential: CredentialId,
        id: SetId,
        session: &str,
    ) -> Handled {
        self.live_session(scope, id, session)?;
        self.session_seen(call.now, id);
        self.session_json(call, credential, id)
    }

    pub(crate) fn session_delete(
        &mut self,
        at: Timestamp,
        scope: ScopeId,
        id: SetId,
        session: &str,
    ) -> Handled {
        self.live_session(scope, id, session)?;
        self.end_session(at, id, false);
        Ok(empty(StatusCode::NO_CONTENT))
    }

    /// Refuses a session id that is not the set's live one.
    fn live_session(&self, scope: ScopeId, id: SetId, session: &str) -> Result<(), Refusal> {
        let set = self.set_in(scope, id)?;
        let asked = Uuid::parse_str(session).ok();
        if set.session.as_ref().is_some_and(|live| Some(live.id) == asked) {
            return Ok(());
        }
        if set.ended.iter().any(|(ended, evicted)| Some(*ended) == asked && *evicted) {
            return Err(Refusal::service(
                404,
                RUNNER_ADMIN,
                "The request names a session ID that doesn't exist in redis.",
            ));
        }
        Err(Refusal::service(
            400,
            SESSION_EXPIRED,
            format!("The session {session} has expired or does not exist."),
        ))
    }

    /// Ends a set's session. `evicted`: the broker lost it, which is told apart from expiry.
    pub(crate) fn end_session(&mut self, at: Timestamp, id: SetId, evicted: bool) {
        let Some(set) = self.sets.get_mut(id) else { return };
        let Some(session) = set.session.take() else { return };
        set.ended.push_back((session.id, evicted));
        while set.ended.len() > ENDED_MAX {
            set.ended.pop_front();
        }
        self.now = self.now.max(at);
        self.timers.cancel(Timer::Session(id));
        self.wake_set(id);
    }

    /// The session gave a sign of life.
    pub(crate) fn session_seen(&mut self, at: Timestamp, id: SetId) {
        self.timers.set(Timer::Session(id), moment::after(at, self.options.session_ttl_ms));
    }

    pub(crate) fn session_idle(&mut self, at: Timestamp, id: SetId) {
        match self.sets.get(id) {
            // A held poll is a sign of life.
            Some(set) if set.poll.is_some() => self.session_seen(at, id),
            _ => self.end_session(at, id, false),
        }
    }

    fn session_json(&mut self, call: &Call<'_>, credential: CredentialId, id: SetId) -> Handled {
        let live = self.sets.get(id).and_then(|set| set.session.as_ref());
        let session = live.map(|live| live.id).ok_or_else(|| Refusal::no_set(id))?;
        let token = self.jwt(
            call.now,
            Grant::Queue { set: id, session, credential },
            self.options.queue_token_ttl_ms,
            "queue",
        );
        let set = self.sets.get(id).ok_or_else(|| Refusal::no_set(id))?;
        Ok(ok(&SessionBody {
            session_id: session,
            owner_name: set.session.as_ref().map_or("", |live| &live.owner),
            runner_scale_set: self.set_body(call, set),
            // The extra parameter must come back with every call: clients have to keep the query.
            message_queue_url: format!("{}{QUEUE_PATH}?shard={}", call.origin.base, shard(id)),
            message_queue_access_token: token,
            statistics: self.statistics(set),
        }))
    }
}

/// The extra query parameter's value for a set.
pub(crate) fn shard(id: SetId) -> String {
    format!("s{}", id.0 % 8)
}
