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
}

impl Exit {
    /// What `run.sh` makes of it: nearly everything becomes 0; `None` means that it starts the listener again.
    #[must_use]
    pub fn wrapped(self) -> Option<u8> {
        match self {
            Self::Retryable => None,
            Self::Success | Self::Terminated | Self::SessionConflict => Some(0),
        }
    }
}
