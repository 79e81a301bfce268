//! The exit codes of GitHub's runner and of its wrapper.

/// How the listener ends (`Runner.Listener`'s return codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A job was run, whatever its result; or the runner was told to go, or removed.
    Success = 0,
    /// It cannot work: bad configuration, registration gone.
    Terminated = 1,
    /// Something passing; the wrapper starts it again.
    Retryable = 2,
    /// Another runner holds the session.
    SessionConflict = 5,
    /// The service takes no runner of this version any more; only where the environment asks for this code, else 1.
    VersionDeprecated = 7,
}

/// Environment variable that asks for [`Exit::VersionDeprecated`].
const ASKS_FOR_DEPRECATED: &str = "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE";

impl Exit {
    /// What `run.sh` makes of it: nearly everything becomes 0; `None` means that it starts the listener again.
    #[must_use]
    pub fn wrapped(self) -> Option<u8> {
        match self {
            Self::Retryable => None,
            Self::VersionDeprecated => Some(if asked().as_deref() == Some("1") { 7 } else { 0 }),
            Self::Success | Self::Terminated | Self::SessionConflict => Some(0),
        }
    }

    /// How the listener ends when its version is refused.
    pub(crate) fn deprecated() -> Self {
        let truthy = asked().is_some_and(|value| {
            matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        if truthy { Self::VersionDeprecated } else { Self::Terminated }
    }
}

fn asked() -> Option<String> {
    std::env::var(ASKS_FOR_DEPRECATED).ok()
}
