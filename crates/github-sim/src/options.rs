//! The durations and limits of the simulated GitHub. Defaults are what the live service has been seen to do.

use serde::{Deserialize, Serialize};

/// How a simulation begins.
#[derive(Debug, Clone, Default)]
pub struct SimConfig {
    /// Seed of all ids, tokens and fault draws: the same seed and calls give the same bytes.
    pub seed: u64,
    /// Durations and limits; all can be changed later over the control API.
    pub options: Options,
}

/// Durations and limits, changeable at run time by `POST /control/options`. Every duration is in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long a message poll of a scale set is held (about 50 s live).
    pub hold_ms: u64,
    /// How long a message poll of a runner is held.
    pub runner_hold_ms: u64,
    /// A message session without a poll for this long is gone. Live it lingers "some minutes"; 5 is a guess.
    pub session_ttl_ms: u64,
    /// Life of a registration or removal token.
    pub registration_token_ttl_ms: u64,
    /// Life of an App's installation token.
    pub installation_token_ttl_ms: u64,
    /// Life of the Actions service's admin token (nominally 1 h, 17 min has been seen).
    pub admin_token_ttl_ms: u64,
    /// Life of a message queue token.
    pub queue_token_ttl_ms: u64,
    /// Life of a runner's access token. The real value is unknown; 50 min is a guess.
    pub runner_token_ttl_ms: u64,
    /// A just-in-time configuration that did not connect for this long no longer works.
    pub jit_ttl_ms: u64,
    /// A just-in-time runner that never connected is swept after this long (one day, documented).
    pub unconnected_sweep_ms: u64,
    /// A connected runner without a job is removed after this long; `null`: never. Live 2 to 6 minutes were reported.
    pub idle_removal_ms: Option<u64>,
    /// A runner that does not poll is shown offline after this long. A guess.
    pub runner_offline_ms: u64,
    /// An assigned job without a runner is reassigned after this long.
    pub reassign_ms: u64,
    /// After this many assignments without a runner the job fails.
    pub reassign_rounds: u32,
    /// A job handed to a runner that does not accept it goes back after this long. A guess.
    pub offer_ms: u64,
    /// A running job whose runner does not renew its lock for this long fails.
    pub lock_ms: u64,
    /// A cancelled job whose runner does not end it is ended after this long. A guess.
    pub cancel_grace_ms: u64,
    /// A job that waits this long is cancelled.
    pub queued_limit_ms: u64,
    /// Most entries in one message, and most jobs given to a scale set by one message.
    pub batch: usize,
    /// REST calls per window and credential.
    pub core_limit: u64,
    /// Registration calls (`runner-registration`) per window and credential.
    pub registration_limit: u64,
    /// Length of a rate-limit window.
    pub rate_window_ms: u64,
    /// REST calls per minute and credential before the secondary limit refuses; `null`: no such limit.
    pub secondary_per_minute: Option<u64>,
    /// REST calls that change something, per minute and credential, before the secondary limit refuses; `null`: no such limit. GitHub
    /// asks for a second between two of them; that it refuses as soon as they are more is the worst case.
    pub writes_per_minute: Option<u64>,
    /// Base URL that runners use, written into just-in-time configurations and job messages (runners in containers may need another
    /// host than the daemon); `null`: the host of the request that minted.
    pub runner_url: Option<String>,
    /// Entries that the journal keeps. Its counters never drop.
    pub journal_max: usize,
    /// Deliveries that each webhook remembers.
    pub deliveries_max: usize,
    /// The addresses that deliveries come from, as `GET /meta` tells them.
    pub hook_addresses: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            hold_ms: 50_000,
            runner_hold_ms: 50_000,
            session_ttl_ms: 5 * MINUTE,
            registration_token_ttl_ms: HOUR,
            installation_token_ttl_ms: HOUR,
            admin_token_ttl_ms: HOUR,
            queue_token_ttl_ms: 50 * MINUTE,
            runner_token_ttl_ms: 50 * MINUTE,
            jit_ttl_ms: HOUR,
            unconnected_sweep_ms: 24 * HOUR,
            idle_removal_ms: None,
            runner_offline_ms: MINUTE,
            reassign_ms: 5 * MINUTE,
            reassign_rounds: 3,
            offer_ms: MINUTE,
            lock_ms: 10 * MINUTE,
            cancel_grace_ms: 5 * MINUTE,
            queued_limit_ms: 24 * HOUR,
            batch: 50,
            core_limit: 5_000,
            registration_limit: 10_000,
            rate_window_ms: HOUR,
            secondary_per_minute: None,
            writes_per_minute: None,
            runner_url: None,
            journal_max: 100_000,
            deliveries_max: 10_000,
            hook_addresses: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
        }
    }
}
