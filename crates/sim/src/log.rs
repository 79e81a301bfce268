//! The log of a simulation: what happened outside and what the daemon told, line by line. Its hash tells whether two runs
//! were the same.

use std::{fmt, fmt::Write, time::Duration};

use sha2::{Digest, Sha256};

/// The log: hashed always, kept only where somebody wants to read it.
pub(crate) struct Log {
    hash: Sha256,
    line: String,
    kept: Option<Vec<String>>,
}

impl Log {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: Sha256::new(), line: String::new(), kept: keep.then(Vec::new) }
    }

    /// Notes what happened `at` this time after the start.
    pub(crate) fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing into a String does not fail.
        let _ = writeln!(self.line, "{:>7}.{:03} {what}", at.as_secs(), at.subsec_millis());
        self.hash.update(self.line.as_bytes());
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.trim_end().to_owned());
        }
    }

    /// The hash of all lines so far, and the lines, if they were kept.
    pub(crate) fn finish(&mut self) -> ([u8; 32], Vec<String>) {
        let hash = std::mem::take(&mut self.hash).finalize();
        (hash.into(), self.kept.take().unwrap_or_default())
    }
}
