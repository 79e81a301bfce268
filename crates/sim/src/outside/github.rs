//! GitHub's side: how it is prepared, and what happens to it by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dayfly_github::Credential;
use dayfly_github_sim::{
    Answer, Assignment, CredentialSpec, Heard, Options, QueueSpec, RunnerId, ScopeId, ScopeSpec,
    SetId, Sim, SimConfig,
};

use super::{Happening, Holder, Life, State};
use crate::scenario::{Scenario, Source};

/// Where GitHub is, for the client.
pub(crate) const ADDRESS: &str = "http://sim.test/acme";
/// The token, where the credential is one.
const TOKEN: &str = "ghp_simulated";
/// Who opens our sessions.
pub(crate) const OWNER: &str = "simulated-host";
/// What a message tells of jobs.
pub(super) const ENTRIES: [&str; 4] = ["JobAvailable", "JobAssigned", "JobStarted", "JobCompleted"];

/// What is remembered of GitHub beside its own state.
#[derive(Default)]
pub(crate) struct Github {
    /// Which set a queue token is for.
    pub(super) queues: BTreeMap<String, SetId>,
    /// Sets whose session is new: its first poll must begin at the start.
    pub(super) fresh: BTreeMap<SetId, ()>,
    /// Scale sets that are not ours.
    pub(super) foreign_sets: BTreeSet<SetId>,
    /// Until when GitHub asked to be left alone, since when we know, and in which life, by bucket.
    pub(super) left_alone: BTreeMap<Bucket, (Duration, Duration, Life)>,
    /// Until when the longest such wait lasts.
    pub(crate) longest_wait: Duration,
    /// Requests that reached GitHub.
    pub(crate) requests: u64,
    /// Registrations that were removed behind our back while they had a job that we knew of, or not.
    pub(crate) removed_busy: BTreeMap<String, bool>,
    /// For how many minutes nobody reached it, in all.
    pub(super) away_minutes: u64,
    /// When each life began.
    lives: BTreeMap<u64, Duration>,
}

impl Github {
    pub(crate) fn life_begins(&mut self, life: Life, now: Duration) {
        self.lives.insert(life.0, now);
    }

    pub(crate) fn newest_life(&self) -> Duration {
        self.lives.last_key_value().map(|(_, began)| *began).unwrap_or_default()
    }

    pub(super) fn life_began(&self, life: Life) -> Duration {
        self.lives.get(&life.0).copied().unwrap_or_default()
    }
}

/// What a rate limit is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    Core,
    App,
    Registration,
}

/// A new GitHub with our scope, and the credential that reaches it.
pub(super) fn prepare(scenario: &Scenario) -> Result<(Sim, ScopeId, Credential), String> {
    let plan = &scenario.github;
    let ms = |duration: Duration| duration.as_millis() as u64;
    let options = Options {
        idle_removal_ms: plan.idle_removal.map(ms),
        jit_ttl_ms: ms(plan.jit_life),
        admin_token_ttl_ms: ms(plan.admin_life),
        queue_token_ttl_ms: ms(plan.queue_life),
        installation_token_ttl_ms: plan
            .app_life
            .map_or(Options::default().installation_token_ttl_ms, ms),
        writes_per_minute: plan.writes.map(u64::from),
        journal_max: 1,
        ..Options::default()
    };
    let mut sim = Sim::new(SimConfig { seed: scenario.seed, options });
    sim.tick(super::timestamp(Duration::ZERO));
    let assignment = if plan.acquire { Assignment::Acquire } else { Assignment::Auto };
    let scope = |path: &str| ScopeSpec {
        path: path.to_owned(),
        kind: None,
        enterprise: None,
        public: false,
        assignment,
    };
    let id = sim.add_scope(&scope("acme"))?;
    sim.add_scope(&scope("acme/app"))?;
    for name in super::foreign::RUNNERS {
        sim.add_runner(super::timestamp(Duration::ZERO), id, name)
            .ok_or_else(|| format!("the name {name} is taken"))?;
    }
    for number in 1..=plan.others {
        let spec = QueueSpec {
            scope: format!("acme/other-{number}"),
            repo: None,
            labels: vec!["elsewhere".to_owned()],
            steps: Vec::new(),
            count: 1,
            display_name: None,
            event: None,
            run_each: false,
        };
        let start = super::timestamp(Duration::ZERO);
        for job in sim.enqueue(start, &spec)?.job_ids {
            sim.cancel(start, job, true);
        }
    }
    let credential = credential(&mut sim, plan.app_life.is_some())?;
    if scenario.pools.iter().any(|pool| pool.source == Source::Webhook) {
        super::hooks::make_hook(&mut sim)?;
    }
    Ok((sim, id, credential))
}

/// An App, with the one key that all simulated Apps share, or a token.
fn credential(sim: &mut Sim, app: bool) -> Result<Credential, String> {
    if !app {
        let token = Some(TOKEN.to_owned());
        sim.add_credential(CredentialSpec::Pat { token, permissions: None, owners: None })?;
        return Ok(Credential::Token(TOKEN.to_owned().into()));
    }
    let made = sim.add_credential(CredentialSpec::App {
        client_id: None,
        public_key: None,
        permissions: None,
        installations: vec!["acme".to_owned()],
        events: Vec::new(),
    })?;
    let (Some(client_id), Some(key)) = (made.client_id, made.private_key) else {
        return Err("the App has no key".to_owned());
    };
    Ok(Credential::App { client_id, private_key: key.into(), installation_id: None })
}

impl State {
    /// A call waits for its answer.
    pub(super) fn hold_call(
        &mut self,
        id: dayfly_github_sim::HoldId,
        sender: tokio::sync::oneshot::Sender<Answer>,
    ) {
        self.holds.insert(id, Holder::Call(sender));
    }

    pub(super) fn hold_runner(
        &mut self,
        id: dayfly_github_sim::HoldId,
        engine: usize,
        serial: u64,
    ) {
        self.holds.insert(id, Holder::Runner(engine, serial));
    }

    /// Whoever waits is gone.
    pub(super) fn abandon(&mut self, id: dayfly_github_sim::HoldId) {
        if self.holds.remove(&id).is_some() {
            let now = self.github_now();
            self.sim.abandon(now, id);
        }
    }

    /// Lets everything happen at GitHub that is due, and tells those who wait for it.
    pub(crate) fn settle_github(&mut self) {
        let now = self.github_now();
        self.sim.tick(now);
        loop {
            let woken = self.sim.take_woken();
            if woken.is_empty() {
                return self.send_deliveries();
            }
            for id in woken {
                match self.holds.get(&id) {
                    Some(Holder::Runner(engine, serial)) => {
                        let (engine, serial) = (*engine, *serial);
                        self.runner_woken(engine, serial, id);
                    }
                    Some(Holder::Call(_)) => {
                        if let Some(answer) = self.sim.held(now, id)
                            && let Some(Holder::Call(sender)) = self.holds.remove(&id)
                        {
                            // A receiver that is gone abandons the hold by itself.
                            let _ = sender.send(answer);
                        }
                    }
                    None => {}
                }
            }
        }
    }

    fn runner_woken(&mut self, engine: usize, serial: u64, hold: dayfly_github_sim::HoldId) {
        let now = self.github_now();
        let Some(id) = self.engines[engine].registration(serial) else { return };
        let Some(heard) = self.sim.runner_hears(now, id, hold) else { return };
        self.holds.remove(&hold);
        self.runner_hears(engine, serial, id, heard);
    }

    /// A runner is told something.
    fn runner_hears(&mut self, engine: usize, serial: u64, id: RunnerId, heard: Heard) {
        // A runner that has a job ends it, whatever became of its registration.
        if heard == Heard::Gone
            && self.engines[engine].get(serial).is_some_and(|made| made.job.is_some())
        {
            return;
        }
        let now = self.github_now();
        match heard {
            Heard::Job(job) => {
                if self.sim.runner_accepts(now, id, job) {
                    self.job_starts(engine, serial, id, job);
                } else {
                    self.runner_listens(engine, serial, id);
                }
            }
            Heard::Cancelled(job) => {
                let at = self.after(Duration::from_secs(3));
                let end = dayfly_github_sim::Conclusion::Cancelled;
                self.calendar.put(at, Happening::JobEnds(engine, serial, job, end));
            }
            Heard::Gone => {
                let at = self.after(Duration::from_secs(1));
                let words = "The runner registration has been deleted from the server.";
                self.calendar.put(at, Happening::Exits(engine, serial, words));
            }
        }
    }

    /// A runner waits for what GitHub tells it.
    pub(super) fn runner_listens(&mut self, engine: usize, serial: u64, id: RunnerId) {
        let now = self.github_now();
        match self.sim.runner_listens(now, id) {
            Some(hold) => {
                self.hold_runner(hold, engine, serial);
                self.engines[engine].set_hold(serial, Some(hold));
                if let Some(heard) = self.sim.runner_hears(now, id, hold) {
                    self.holds.remove(&hold);
                    self.runner_hears(engine, serial, id, heard);
                }
            }
            None => self.runner_hears(engine, serial, id, Heard::Gone),
        }
    }
}
