//! The user's errors: what failed, what to do, and the exit code that programs read.

use std::{fmt, process::ExitCode};

/// Which exit code an error has. The numbers are part of the command line's contract (docs/cli.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Something failed that has no code of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// A credential is wrong, or lacks a permission.
    Credential = 4,
    /// An engine can't be reached, or refuses.
    Backend = 5,
    /// No daemon answers on the socket.
    NoDaemon = 6,
    /// The store can't be used.
    Store = 7,
}

/// An error for people: a lower-case fragment that says what failed and on what, and a hint that says what to do.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    hint: Option<String>,
    /// The message says itself, at its beginning, that it is an error.
    is_rendered: bool,
}

impl Failure {
    /// An error without a hint.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None, is_rendered: false }
    }

    /// Errors that are shown as they are: each with its own heading, place and remedy.
    pub fn rendered(code: Code, messages: impl fmt::Display) -> Self {
        Self { is_rendered: true, ..Self::new(code, messages) }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What the program ends with.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints an error with its causes and its hint on stderr, and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let heading = if failure.is_some_and(|failure| failure.is_rendered) { "" } else { "error: " };
    eprintln!("{heading}{error:#}");
    if let Some(hint) = failure.and_then(Failure::remedy) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(failure.map_or(Code::Failed, Failure::code) as u8)
}
