//! What is remembered of a scope.

use serde::{Deserialize, Serialize};

/// A scope's row: what outlives the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeState {
    /// How far the deliveries of its hooks were looked through for ones that failed; `None`: not at all yet.
    pub cursor: Option<i64>,
}
