//! The log of a simulation: what happened outside and what the daemon told, line by line. Its hash tells whether two runs
//! were the same.

use std::{fmt, io::Write, time::Duration};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The log: hashed always, kept only where somebody wants to read it.
pub(crate) struct Log {
    hash: Sha256,
    line: Vec<u8>,
    kept: Option<Vec<String>>,
}

impl Log {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: Sha256::new(), line: Vec::new(), kept: keep.then(Vec::new) }
    }

    /// Notes what happened `at` this time after the start.
    pub(crate) fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.begin(at);
        // Writing into a Vec does not fail.
        let _ = self.line.write_fmt(what);
        self.end();
    }

    /// Notes what was told in JSON.
    ///
    /// # Errors
    /// Where it has no form in JSON; nothing is noted then.
    pub(crate) fn note_json(
        &mut self,
        at: Duration,
        who: &str,
        told: &impl Serialize,
    ) -> serde_json::Result<()> {
        self.begin(at);
        self.line.extend_from_slice(who.as_bytes());
        serde_json::to_writer(&mut self.line, told)?;
        self.end();
        Ok(())
    }

    /// A new line: seconds in seven places (no simulation lasts for 115 days), a dot and milliseconds. Every line has it, and the
    /// formatting machinery takes several times as long for it.
    fn begin(&mut self, at: Duration) {
        let mut stamp = *b"      0.000 ";
        let places = [10, 9, 8, 6, 5, 4, 3, 2, 1, 0];
        let mut left = at.as_millis();
        for (nth, place) in places.into_iter().enumerate() {
            if left == 0 && nth > 3 {
                break;
            }
            stamp[place] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        self.line.clear();
        self.line.extend_from_slice(&stamp);
    }

    fn end(&mut self) {
        self.line.push(b'\n');
        self.hash.update(&self.line);
        if let Some(kept) = &mut self.kept {
            kept.push(String::from_utf8_lossy(&self.line).trim_end().to_owned());
        }
    }

    /// The hash of all lines so far, and the lines, if they were kept.
    pub(crate) fn finish(&mut self) -> ([u8; 32], Vec<String>) {
        let hash = std::mem::take(&mut self.hash).finalize();
        (hash.into(), self.kept.take().unwrap_or_default())
    }
}
