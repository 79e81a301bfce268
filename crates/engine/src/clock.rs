//! Steady time.

use dayfly_core::{model::later, ports::Clock};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The wall clock at start plus what the monotonic clock saw elapse: a step of the wall clock moves no deadline.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    wall: Timestamp,
    since: Instant,
}

impl SteadyClock {
    /// Begins at the wall clock's time.
    #[must_use]
    pub fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the wall clock is read: the clock itself"
        )]
        Self::starting_at(Timestamp::now())
    }

    /// Begins at `wall`: where the time is chosen, not read.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, since: Instant::now() }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        // A process that runs longer than a SignedDuration can say does not exist; saturating keeps this total.
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        later(self.wall, elapsed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_monotonic_clock() {
        let wall: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let clock = SteadyClock::starting_at(wall);
        assert_eq!(clock.now(), wall);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), later(wall, SignedDuration::from_secs(90)));
    }
}
