//! A runner's output as lines: bounded in length and number, and read for signs.

use std::collections::VecDeque;

use dayfly_core::model::Sign;

/// How many characters of a line are kept, as `Backend::console` and `Exit::last_output` promise.
const LINE_MAX: usize = 500;

/// How many bytes of an unfinished line are held: enough for [`LINE_MAX`] characters of four bytes.
const HELD_MAX: usize = 4 * LINE_MAX;

/// How many lines an [`dayfly_core::model::Exit`] carries.
pub(crate) const LAST_OUTPUT_LINES: usize = 20;

/// How many lines `Backend::console` gives.
pub(crate) const CONSOLE_LINES: usize = 200;

/// Cuts a stream of bytes into lines. Of an overlong line only the beginning is held, whatever follows.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Takes more output, and gives each line that it completes.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ends) =
                piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = HELD_MAX.saturating_sub(self.held.len());
            self.held.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                line(self.take());
            }
        }
    }

    /// The line that no newline ended, at the end of the output.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.held.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = clean(&self.held);
        self.held.clear();
        line
    }
}

/// Text without control characters, which a terminal would obey, cut to [`LINE_MAX`] characters.
fn clean(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(LINE_MAX).collect()
}

/// The last lines of some output.
#[derive(Debug)]
pub(crate) struct LastLines {
    lines: VecDeque<String>,
    max: usize,
}

impl LastLines {
    /// Keeps at most `max` lines.
    pub(crate) fn new(max: usize) -> Self {
        Self { lines: VecDeque::new(), max }
    }

    pub(crate) fn push(&mut self, line: String) {
        if self.lines.len() == self.max {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.lines.into()
    }
}

/// The signs of one instance, each told once: a job that prints them without end causes no more than four events.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    told: Vec<Sign>,
}

impl Signs {
    /// Whether a sign was told.
    #[cfg(feature = "lxd")]
    pub(crate) fn has(&self, sign: Sign) -> bool {
        self.told.contains(&sign)
    }

    /// The line's sign, if it has one that was not told before.
    pub(crate) fn read(&mut self, line: &str) -> Option<Sign> {
        let sign = Sign::read(line).filter(|sign| !self.told.contains(sign))?;
        self.told.push(sign);
        Some(sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_bounded_lines() {
        let check = |chunks: &[&[u8]], expected: &[&str]| {
            let (mut lines, mut last) = (Lines::default(), LastLines::new(3));
            for chunk in chunks {
                lines.push(chunk, |line| last.push(line));
            }
            lines.finish().into_iter().for_each(|line| last.push(line));
            assert_eq!(last.into_vec(), expected, "{chunks:?}");
        };
        check(&[], &[]);
        check(&[b"one\ntwo\n"], &["one", "two"]);
        check(&[b"o", b"ne\nt", b"wo"], &["one", "two"]);
        check(&[b"1\n2\n3\n4\n"], &["2", "3", "4"]);
        check(&[b"\n\n"], &["", ""]);
        check(&[b"a\rb\x1b[31mred\n"], &["ab[31mred"]);
        check(&[b"\xff\xfe\n"], &["\u{fffd}\u{fffd}"]);
        let long = vec![b'x'; 10_000_000];
        check(&[&long, b"\nnext\n"], &[&"x".repeat(500), "next"]);
    }

    #[test]
    fn a_sign_is_told_once() {
        let mut signs = Signs::default();
        assert_eq!(signs.read("2026: Listening for Jobs"), Some(Sign::Listening));
        assert_eq!(signs.read("2026: Listening for Jobs"), None);
        assert_eq!(signs.read("nothing"), None);
        assert_eq!(signs.read("2026: Running job: a"), Some(Sign::JobStarted));
    }
}
