//! Deliveries of webhooks: what is sent when something happens to a job, what goes wrong on the way, and what is known of it
//! afterwards. Nothing is sent here: [`Sim::take_deliveries`] gives what is due, [`Sim::delivered`] takes how it went.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::call::Origin;
use crate::credential::app_id;
use crate::faults::Action;
use crate::hook::{Hook, HookOwner};
use crate::ids::{DeliveryId, HookId, JobId, ScopeId};
use crate::job::Job;
use crate::moment;
use crate::rest_runs::CREATED_AT;
use crate::scope::ScopeKind;
use crate::sim::Sim;
use crate::timer::Timer;

/// The event of jobs.
pub(crate) const WORKFLOW_JOB: &str = "workflow_job";

/// What faults of the first delivery of an event are set on.
const DELIVER: &str = "hooks.deliver";
/// What faults of a delivery that was asked for again are set on.
const REDELIVER: &str = "hooks.redeliver";

/// How a delivery to an address where nobody answers is shown. The words are a guess.
const NOT_CONNECTED: (u16, &str) = (502, "failed to connect to host");
/// How one without an answer in time is shown. The words are a guess.
const TIMED_OUT: (u16, &str) = (504, "timed out");

/// A delivery that is to be sent now.
#[derive(Debug)]
pub struct Outgoing {
    /// Which; to be given back to [`Sim::delivered`].
    pub id: DeliveryId,
    /// The whole request, signed.
    pub request: Request<Bytes>,
    /// Whether the hook's owner wants the other side's certificate looked at.
    pub verify_tls: bool,
}

/// A delivery, sent or still to be sent.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub id: DeliveryId,
    pub guid: Uuid,
    pub hook: HookId,
    pub event: &'static str,
    pub action: Option<&'static str>,
    pub repository: Option<ScopeId>,
    pub payload: Bytes,
    pub redelivery: bool,
    /// Its answer will be lost.
    deaf: bool,
    /// How it went, once it was tried.
    pub outcome: Option<Tried>,
}

/// How a delivery went.
#[derive(Debug)]
pub(crate) struct Tried {
    pub at: Timestamp,
    pub status_code: u16,
    pub status: String,
}

impl Tried {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

/// What is the same in every payload of a hook about one repository: most of it. Written once, which makes a simulated job that
/// is told by webhook a good deal cheaper.
#[derive(Debug)]
struct Frame {
    /// The repository's lasting members, still open at its end.
    repository: String,
    /// What follows the repository.
    rest: String,
}

/// What is under way, and what is remembered.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pub by_id: BTreeMap<DeliveryId, Delivery>,
    /// Due, in order.
    ready: VecDeque<DeliveryId>,
    frames: BTreeMap<(HookId, ScopeId), Arc<Frame>>,
}

impl Sim {
    /// Tells the hooks of the job's repository and of its owner what happened to it.
    pub(crate) fn tell_hooks(&mut self, at: Timestamp, job: JobId, action: &'static str) {
        if self.hooks.is_empty() {
            return;
        }
        let Some(job) = self.jobs.get(&job) else { return };
        let repository = job.repo;
        let mut told = Vec::new();
        let of_scopes = self.scopes.chain(repository).into_iter();
        let of_scopes = of_scopes.flat_map(|scope| self.hooks.of(scope));
        for hook in of_scopes.chain(self.hooks_of_apps_on(repository)) {
            if hook.active && hook.hears(WORKFLOW_JOB) {
                let frame = self.frame(hook, repository);
                // A job is text and numbers: writing it does not fail.
                if let Ok(payload) = self.job_payload(hook, &frame, job, action) {
                    told.push((hook.id, payload, frame));
                }
            }
        }
        for (hook, payload, frame) in told {
            self.deliveries.frames.insert((hook, repository), frame);
            let guid = self.ids.deliveries.uuid();
            let delivery = Delivery {
                id: DeliveryId(self.ids.deliveries.next()),
                guid,
                hook,
                event: WORKFLOW_JOB,
                action: Some(action),
                repository: Some(repository),
                payload,
                redelivery: false,
                deaf: false,
                outcome: None,
            };
            self.send_out(at, delivery, DELIVER);
        }
    }

    /// Sends a hook GitHub's greeting.
    pub(crate) fn ping(&mut self, at: Timestamp, hook: HookId) {
        let Some(hook) = self.hooks.get(hook) else { return };
        let payload = json!({
            "zen": "Design for failure.",
            "hook_id": hook.id,
            "hook": self.hook_json(&hook.origin, hook),
        });
        let hook = hook.id;
        let delivery = Delivery {
            guid: self.ids.deliveries.uuid(),
            id: DeliveryId(self.ids.deliveries.next()),
            hook,
            event: "ping",
            action: None,
            repository: None,
            payload: Bytes::from(payload.to_string()),
            redelivery: false,
            deaf: false,
            outcome: None,
        };
        self.send_out(at, delivery, DELIVER);
    }

    /// Sends a delivery again: the same event, under a new id.
    pub(crate) fn redeliver(&mut self, at: Timestamp, id: DeliveryId) {
        let Some(old) = self.deliveries.by_id.get(&id) else { return };
        let (guid, hook, event, action) = (old.guid, old.hook, old.event, old.action);
        let (repository, payload) = (old.repository, old.payload.clone());
        let delivery = Delivery {
            id: DeliveryId(self.ids.deliveries.next()),
            guid,
            hook,
            event,
            action,
            repository,
            payload,
            redelivery: true,
            deaf: false,
            outcome: None,
        };
        self.send_out(at, delivery, REDELIVER);
    }

    /// Brings a delivery on its way, as the faults let it.
    fn send_out(&mut self, at: Timestamp, mut delivery: Delivery, route: &'static str) {
        let id = delivery.id;
        let (mut times, mut late_ms, mut instead) = (1, 0, None);
        for fault in self.faults.draw(route, &mut self.ids) {
            match fault {
                // Not even GitHub's own list knows of it.
                Action::Lose => return,
                Action::Twice => times = 2,
                Action::DelayBefore { ms } => late_ms += ms,
                Action::Shuffle { ms } => {
                    late_ms += (self.ids.faults.fraction() * ms as f64) as u64;
                }
                Action::ResetBefore => {
                    instead = Some((NOT_CONNECTED.0, NOT_CONNECTED.1.to_owned()));
                }
                Action::Status { status, .. } => {
                    instead = Some((status, format!("Invalid HTTP Response: {status}")));
                }
                Action::ResetAfter => delivery.deaf = true,
                _ => {}
            }
        }
        self.deliveries.by_id.insert(id, delivery);
        if let Some((code, status)) = instead {
            self.tried(at, id, code, status);
        } else if late_ms > 0 {
            self.timers.set(Timer::Delivery(id), moment::after(at, late_ms));
        } else {
            self.deliveries.ready.extend(std::iter::repeat_n(id, times));
        }
    }

    /// A late delivery's time has come.
    pub(crate) fn delivery_due(&mut self, id: DeliveryId) {
        self.deliveries.ready.push_back(id);
    }

    /// Whether a delivery is due.
    #[must_use]
    pub fn has_deliveries(&self) -> bool {
        !self.deliveries.ready.is_empty()
    }

    /// Takes at most `max` deliveries that are due, in order. Each must be given back to [`Self::delivered`]; GitHub sends them side by
    /// side and promises no order.
    pub fn take_deliveries(&mut self, max: usize) -> Vec<Outgoing> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(id) = self.deliveries.ready.pop_front()
        {
            let outgoing = self.deliveries.by_id.get(&id).and_then(|delivery| {
                let hook = self.hooks.get(delivery.hook)?;
                Some(Outgoing {
                    id,
                    request: self.delivery_request(hook, delivery)?,
                    verify_tls: hook.insecure_ssl == "0",
                })
            });
            // A hook that was deleted in the meantime hears nothing more.
            match outgoing {
                Some(outgoing) => taken.push(outgoing),
                None => {
                    self.deliveries.by_id.remove(&id);
                }
            }
        }
        taken
    }

    /// How a delivery went: the status of the answer, or `None` where none came.
    pub fn delivered(&mut self, now: Timestamp, id: DeliveryId, status: Option<u16>) {
        self.tick(now);
        let deaf = self.deliveries.by_id.get(&id).is_some_and(|delivery| delivery.deaf);
        let (code, words) = match status.filter(|_| !deaf) {
            Some(code @ 200..300) => (code, "OK".to_owned()),
            Some(code) => (code, format!("Invalid HTTP Response: {code}")),
            None if deaf => (TIMED_OUT.0, TIMED_OUT.1.to_owned()),
            None => (NOT_CONNECTED.0, NOT_CONNECTED.1.to_owned()),
        };
        self.tried(self.now, id, code, words);
    }

    fn tried(&mut self, at: Timestamp, id: DeliveryId, status_code: u16, status: String) {
        let Some(delivery) = self.deliveries.by_id.get_mut(&id) else { return };
        let is_first = delivery.outcome.is_none();
        delivery.outcome = Some(Tried { at, status_code, status: status.clone() });
        let Some(hook) = self.hooks.get_mut(delivery.hook) else { return };
        hook.last = Some((status_code, status));
        if is_first {
            hook.deliveries.push_back(id);
        }
        while hook.deliveries.len() > self.options.deliveries_max {
            if let Some(old) = hook.deliveries.pop_front() {
                self.deliveries.by_id.remove(&old);
            }
        }
    }

    /// `None` where the hook's address can't be asked, which making it has ruled out.
    fn delivery_request(&self, hook: &Hook, delivery: &Delivery) -> Option<Request<Bytes>> {
        let mut request = Request::post(&hook.url).body(delivery.payload.clone()).ok()?;
        for (name, value) in self.delivery_headers(hook, delivery) {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().insert(name, HeaderValue::from_str(&value).ok()?);
        }
        Some(request)
    }

    /// Every header that GitHub sends.
    pub(crate) fn delivery_headers(
        &self,
        hook: &Hook,
        delivery: &Delivery,
    ) -> Vec<(&'static str, String)> {
        let (target, kind) = match hook.owner {
            HookOwner::Scope(id) => {
                let scope = self.scopes.get(id);
                let of_repository = scope.is_some_and(|scope| scope.kind == ScopeKind::Repo);
                (id.0, if of_repository { "repository" } else { "organization" })
            }
            HookOwner::App(app) => (app_id(app), "integration"),
        };
        let mut headers = vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitHub-Hookshot/5171a12".to_owned()),
            ("X-GitHub-Delivery", delivery.guid.to_string()),
            ("X-GitHub-Event", delivery.event.to_owned()),
            ("X-GitHub-Hook-ID", hook.id.to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", target.to_string()),
            ("X-GitHub-Hook-Installation-Target-Type", kind.to_owned()),
        ];
        if let Some(secret) = hook.secret.as_deref() {
            let sign = |algorithm, name| {
                let key = hmac::Key::new(algorithm, secret.as_bytes());
                let digest = hmac::sign(&key, &delivery.payload);
                let nibbles = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
                let digits = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
                [name, "="].into_iter().flat_map(str::chars).chain(digits).collect()
            };
            headers.push(("X-Hub-Signature", sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, "sha1")));
            headers.push(("X-Hub-Signature-256", sign(hmac::HMAC_SHA256, "sha256")));
        }
        headers
    }

    /// A repository's frame for a hook's payloads, made once.
    fn frame(&self, hook: &Hook, repository: ScopeId) -> Arc<Frame> {
        if let Some(made) = self.deliveries.frames.get(&(hook.id, repository)) {
            return Arc::clone(made);
        }
        let (origin, owner) = (&hook.origin, self.scopes.owner(repository));
        let account = self.user_json(origin, owner);
        let repository = self.lasting_repository_json(origin, repository).to_string();
        let repository = repository.strip_suffix('}').unwrap_or_default().to_owned();
        let mut rest = format!(r#","sender":{account}"#);
        let scope = self.scopes.get(owner);
        if let Some(scope) = scope.filter(|scope| scope.kind == ScopeKind::Org) {
            let organization = organization(origin, owner, &scope.path, &account);
            // Writing into a String does not fail.
            let _ = write!(rest, r#","organization":{organization}"#);
        }
        if let HookOwner::App(app) = hook.owner
            && let Some(id) = self.installation_on(app, owner)
        {
            let _ = write!(rest, r#","installation":{{"id":{id},"node_id":"I_{id}"}}"#);
        }
        Arc::new(Frame { repository, rest })
    }

    fn job_payload(
        &self,
        hook: &Hook,
        frame: &Frame,
        job: &Job,
        action: &'static str,
    ) -> Result<Bytes, serde_json::Error> {
        let pushed = self.pushed_at(job.repo);
        let updated = pushed.as_deref().unwrap_or(CREATED_AT);
        let job = serde_json::to_string(&self.job_json(&hook.origin, job))?;
        let pushed = serde_json::to_string(&pushed)?;
        let Frame { repository, rest } = frame;
        Ok(Bytes::from(format!(
            r#"{{"action":"{action}","workflow_job":{job},"repository":{repository},"updated_at":"{updated}","pushed_at":{pushed}}}{rest}}}"#
        )))
    }
}

/// An organisation in the form that payloads have.
fn organization(origin: &Origin, id: ScopeId, login: &str, account: &Value) -> Value {
    let url = format!("{}/orgs/{login}", origin.api);
    json!({
        "login": login,
        "id": id,
        "node_id": format!("O_{id}"),
        "url": url,
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events"),
        "hooks_url": format!("{url}/hooks"),
        "issues_url": format!("{url}/issues"),
        "members_url": format!("{url}/members{{/member}}"),
        "public_members_url": format!("{url}/public_members{{/member}}"),
        "avatar_url": account["avatar_url"],
        "description": null,
    })
}

impl Hook {
    pub fn hears(&self, event: &str) -> bool {
        self.events.iter().any(|heard| heard == event || heard == "*")
    }
}
