//! Ids and random material of the simulation: seeded, one stream per kind, so that adding one thing does not renumber the rest.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// An organisation, user, repository or enterprise.
    ScopeId
);
id!(
    /// A runner group; 1 is the default group of every scope.
    GroupId
);
id!(
    /// A runner scale set.
    SetId
);
id!(
    /// A workflow run.
    RunId
);
id!(
    /// A workflow job, as the public REST names it.
    JobId
);
id!(
    /// A registered runner.
    RunnerId
);
id!(
    /// A credential; what the journal names instead of a token.
    CredentialId
);
id!(
    /// A request that waits for its answer.
    HoldId
);
id!(
    /// A fault that was set.
    FaultId
);
id!(
    /// A webhook.
    HookId
);
id!(
    /// A webhook's delivery.
    DeliveryId
);

/// A counter and a generator of its own for one kind of thing.
#[derive(Debug)]
pub(crate) struct Stream {
    next: i64,
    rng: fastrand::Rng,
}

impl Stream {
    fn new(seed: u64, kind: u64, first: i64) -> Self {
        // The multiplier spreads neighbouring kinds over the seed space (the golden ratio in 64 bits).
        Self {
            next: first,
            rng: fastrand::Rng::with_seed(seed ^ kind.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        }
    }

    /// The next number.
    pub fn next(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// A random UUID, version 4.
    pub fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid()
    }

    /// `length` random letters and digits.
    pub fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| self.rng.alphanumeric()).collect()
    }

    /// A number in 0..1.
    pub fn fraction(&mut self) -> f64 {
        self.rng.f64()
    }
}

/// All streams.
#[derive(Debug)]
pub(crate) struct Ids {
    pub scopes: Stream,
    pub groups: Stream,
    pub sets: Stream,
    pub sessions: Stream,
    pub runs: Stream,
    pub jobs: Stream,
    pub runners: Stream,
    pub credentials: Stream,
    pub tokens: Stream,
    pub holds: Stream,
    pub faults: Stream,
    pub hooks: Stream,
    pub deliveries: Stream,
}

impl Ids {
    pub fn new(seed: u64) -> Self {
        let stream = |kind, first| Stream::new(seed, kind, first);
        Self {
            scopes: stream(1, 4001),
            groups: stream(2, 2),
            sets: stream(3, 1),
            sessions: stream(4, 1),
            runs: stream(5, 9_000_001),
            jobs: stream(6, 27_000_001),
            runners: stream(7, 21),
            credentials: stream(8, 1),
            tokens: stream(9, 1),
            holds: stream(10, 1),
            faults: stream(11, 1),
            hooks: stream(12, 410_001),
            deliveries: stream(13, 80_000_000_001),
        }
    }
}
