//! Time, for measuring.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds by the machine's clock, which the simulator, the load and the runners read too.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
