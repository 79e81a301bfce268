//! GitHub's runner program, where dayfly puts it into the instances.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which runner program a pool's instances get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The version that the user pinned; `None`: the newest of GitHub's list.
    pub pinned: Option<String>,
    /// The SHA-256 of the pinned version's archive, in lower-case hexadecimal, where the user gave it.
    pub sha256: Option<String>,
    /// What there is of it now.
    pub state: ProgramState,
}

/// What there is of a runner program. Where its file lies and when GitHub refuses it is no part of an instance's mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProgramState {
    /// It is not at hand, so that no instance can be made.
    Missing {
        /// Why, in words that read after "the runner program is not at hand: ".
        #[serde(skip)]
        why: String,
    },
    /// Its archive is at hand, and has the right sum.
    Ready {
        /// Its version, such as `2.330.0`.
        version: String,
        /// The archive's SHA-256, in lower-case hexadecimal.
        sha256: String,
        /// The archive: `tar`, compressed by `gzip`.
        #[serde(skip)]
        file: PathBuf,
        /// From when on GitHub refuses it, as far as that is known.
        #[serde(skip)]
        refused_from: Option<Timestamp>,
    },
}

impl Program {
    /// A program that is wanted, of which nothing is known yet.
    #[must_use]
    pub fn wanted(pinned: Option<String>, sha256: Option<String>) -> Self {
        let why = "it was not looked for yet".to_owned();
        Self { pinned, sha256, state: ProgramState::Missing { why } }
    }
}
