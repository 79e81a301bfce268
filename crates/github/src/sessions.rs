//! Message sessions of scale sets (protocol.md, 3.1, 3.2).

use std::sync::Arc;

use dayfly_core::{
    model::{ScaleSetId, SessionId, Statistics},
    ports::{ForgeError, ForgeErrorKind, Session},
};
use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    authorization::Authorization,
    client::Shared,
    operation::Operation,
    queue::QueueAccess,
    refusal::{Surface, unreadable},
    scale_sets::{StatisticsWire, json},
    service::{Call, read},
    wire::Manner,
};

/// GitHub's session ids are UUIDs of 36 characters.
const SESSION_ID_MAX: usize = 128;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewSession<'a> {
    owner_name: &'a str,
}

/// A session as it comes. Degraded service has been seen to leave parts empty (F4).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionWire {
    session_id: String,
    #[serde(default)]
    message_queue_url: String,
    #[serde(default)]
    message_queue_access_token: SecretString,
    #[serde(default)]
    statistics: Option<StatisticsWire>,
}

impl Shared {
    pub async fn open_session(self: &Arc<Self>, set: ScaleSetId) -> Result<Session, ForgeError> {
        let operation = Operation::OpenSession(set);
        let set_text = set.to_string();
        let path = ["_apis", "runtime", "runnerscalesets", &set_text, "sessions"];
        let body = json(&operation, &NewSession { owner_name: &self.owner })?;
        // A repeat after a lost answer would find the set taken, by us.
        let call = Call { body, manner: Manner::Once, ..Call::on_set(Method::POST, &path, set) };
        let response = self.service(&operation, &call).await?;
        let wire: SessionWire = read(&operation, &response, "no session")?;
        let id = SessionId(wire.session_id.as_str().into());
        match self.access(&operation, wire) {
            Ok((session, access)) => {
                self.queue(set).access.keep(access);
                Ok(session)
            }
            Err(unusable) => {
                // Left open it would bar the next attempt for minutes. Whether this works or not, the first failure
                // is what is told.
                let _ = self.close_session(set, &id).await;
                Err(unusable)
            }
        }
    }

    pub async fn refresh_session(
        self: &Arc<Self>,
        set: ScaleSetId,
        session: &SessionId,
    ) -> Result<Session, ForgeError> {
        let queue = self.queue(set);
        match self.refreshed(set, session).await {
            Ok((session, access)) => {
                queue.access.keep(access);
                Ok(session)
            }
            Err(refusal) => {
                if matches!(
                    refusal.kind,
                    ForgeErrorKind::SessionGone | ForgeErrorKind::ScaleSetGone
                ) {
                    self.forget_session(set, session);
                }
                Err(refusal)
            }
        }
    }

    /// Refreshes a session, without keeping what comes.
    pub async fn refreshed(
        self: &Arc<Self>,
        set: ScaleSetId,
        session: &SessionId,
    ) -> Result<(Session, QueueAccess), ForgeError> {
        let operation = Operation::RefreshSession(set);
        let set_text = set.to_string();
        let path = ["_apis", "runtime", "runnerscalesets", &set_text, "sessions", &session.0];
        let call = Call { surface: Surface::Session, ..Call::on_set(Method::PATCH, &path, set) };
        let response = self.service(&operation, &call).await?;
        let wire: SessionWire = read(&operation, &response, "no session")?;
        self.access(&operation, wire)
    }

    pub async fn close_session(
        self: &Arc<Self>,
        set: ScaleSetId,
        session: &SessionId,
    ) -> Result<(), ForgeError> {
        let operation = Operation::CloseSession(set, session);
        let set_text = set.to_string();
        let path = ["_apis", "runtime", "runnerscalesets", &set_text, "sessions", &session.0];
        let call = Call { surface: Surface::Session, ..Call::on_set(Method::DELETE, &path, set) };
        match self.service(&operation, &call).await {
            Ok(_) => {}
            Err(refusal)
                if matches!(
                    refusal.kind,
                    ForgeErrorKind::SessionGone | ForgeErrorKind::ScaleSetGone
                ) => {}
            Err(refusal) => return Err(refusal),
        }
        self.forget_session(set, session);
        Ok(())
    }

    fn forget_session(&self, set: ScaleSetId, session: &SessionId) {
        let queue = self.queue(set);
        if let Some(access) = queue.access.held().filter(|access| access.session == *session) {
            queue.access.discard(&access);
        }
    }

    /// Takes a session's answer apart; all of it must be usable.
    fn access(
        &self,
        operation: &Operation<'_>,
        wire: SessionWire,
    ) -> Result<(Session, QueueAccess), ForgeError> {
        let odd = |what| unreadable(operation, Surface::Service, what);
        let id = wire.session_id;
        if id.is_empty()
            || id.len() > SESSION_ID_MAX
            || !id.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(odd("its session id is empty or odd"));
        }
        let url = Url::parse(&wire.message_queue_url).ok().filter(|url| self.address.trusts(url));
        let url = url.ok_or_else(|| {
            odd("its message queue's address is empty or not a valid https address")
        })?;
        let authorization = Authorization::bearer(&wire.message_queue_access_token);
        let authorization =
            authorization.ok_or_else(|| odd("its message queue's token is empty or odd"))?;
        let statistics: Statistics =
            wire.statistics.ok_or_else(|| odd("it has no statistics"))?.into();
        let id = SessionId(id.into());
        Ok((
            Session { id: id.clone(), statistics },
            QueueAccess { session: id, url, authorization },
        ))
    }
}
