//! GitHub's webhooks: where they lead, how their deliveries come, and what is checked of their answers.

use std::sync::Arc;

use bytes::Bytes;
use dayfly_core::model::WorkflowJob;
use dayfly_engine::Handle;
use dayfly_github::{Delivery, WebhookSecrets};
use dayfly_github_sim::{Answer, CredentialSpec, DeliveryId, Sim};
use http::{Method, Request, StatusCode};

use super::{Happening, Life, Outside, State};
use crate::checks::Check;

/// Where the daemon hears.
pub(crate) const WEBHOOK: &str = "https://dayfly.test/webhook";

/// What its deliveries are signed with.
const SECRET: &str = "a simulated secret";

/// Who made the hook.
const MAKER: &str = "ghp_maker";

/// How many deliveries GitHub sends at once.
const AT_ONCE: usize = 64;

/// A delivery that was signed as it should be, and understood.
#[derive(Debug)]
pub(crate) struct Arrived {
    id: DeliveryId,
    pub(crate) job: WorkflowJob,
}

/// Makes the organisation's hook that leads to the daemon.
pub(super) fn make_hook(sim: &mut Sim) -> Result<(), String> {
    let token = Some(MAKER.to_owned());
    sim.add_credential(CredentialSpec::Pat { token, permissions: None, owners: None })?;
    let body = serde_json::json!({
        "name": "web",
        "active": true,
        "events": ["workflow_job"],
        "config": { "url": WEBHOOK, "content_type": "json", "secret": SECRET, "insecure_ssl": "0" },
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://sim.test/api/v3/orgs/acme/hooks")
        .header("authorization", format!("Bearer {MAKER}"))
        .header("user-agent", "a user")
        .body(Bytes::from(body.to_string()))
        .map_err(|error| error.to_string())?;
    match sim.handle(super::timestamp(std::time::Duration::ZERO), &request) {
        Answer::Respond(answer) if answer.status() == StatusCode::CREATED => Ok(()),
        other => Err(format!("the hook is not made: {other:?}")),
    }
}

impl State {
    /// Brings the deliveries that are due on their way.
    pub(super) fn send_deliveries(&mut self) {
        while self.sim.has_deliveries() {
            for outgoing in self.sim.take_deliveries(AT_ONCE) {
                let latency = self.latency();
                let at = self.after(latency);
                let request = Arc::new(outgoing.request);
                self.calendar.put(at, Happening::Delivery(outgoing.id, request));
            }
        }
    }

    /// A delivery arrives, and is read as the daemon's intake reads it.
    pub(super) fn delivery_arrives(&mut self, id: DeliveryId, request: &Request<Bytes>) {
        if self.alive.is_none() {
            return self.delivered(id, None);
        }
        let header = |name: &str| request.headers().get(name).map(http::HeaderValue::as_bytes);
        let secrets = WebhookSecrets::new([SECRET.as_bytes()]);
        let signed = secrets.verify(header("x-hub-signature-256"), request.body());
        let event = String::from_utf8_lossy(header("x-github-event").unwrap_or_default());
        let form = header("content-type").and_then(|form| std::str::from_utf8(form).ok());
        let read = Delivery::parse(&event, form, request.body());
        let understood = signed.is_ok() && read.is_ok();
        self.look(Check::Lives, understood, || {
            format!("a delivery is not taken for one: {signed:?}, {read:?}")
        });
        match read {
            Ok(Delivery::WorkflowJob(job)) => self.arrived.push(Arrived { id, job: *job }),
            _ => self.delivered(id, Some(202)),
        }
    }

    /// Deliveries for the daemon.
    pub(crate) fn take_arrived(&mut self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived)
    }

    fn delivered(&mut self, id: DeliveryId, status: Option<u16>) {
        let now = self.github_now();
        self.sim.delivered(now, id, status);
    }
}

/// Has a life of the daemon take a delivery, and answers it as its intake does.
pub(crate) async fn answer(
    outside: Arc<Outside>,
    daemon: Option<(Life, Handle)>,
    arrived: Arrived,
) {
    let Arrived { id, job } = arrived;
    let (told, status) = (job.id, job.status);
    let taken = match &daemon {
        Some((_, handle)) => Some(handle.evidence(job).await),
        None => None,
    };
    let mut state = outside.lock();
    // An answer of a daemon that died meanwhile reaches nobody.
    let life = daemon.map(|(life, _)| life).filter(|life| state.is_alive(*life));
    let code = match taken.as_ref().filter(|_| life.is_some()) {
        Some(Ok(())) => {
            let stored = state.disk.workflow_job(told);
            state.look(Check::StoreFirst, stored.is_some_and(|stored| stored >= status), || {
                format!("job {told} is taken as {status:?}, and {stored:?} is stored")
            });
            Some(202)
        }
        Some(Err(_)) => Some(503),
        None => None,
    };
    state.note(format_args!("delivery {id} of job {told}, {status:?}: {code:?}"));
    state.delivered(id, code);
}
