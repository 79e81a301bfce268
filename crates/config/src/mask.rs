//! What must never be shown: secrets that were written into the file.
//!
//! A value under a key that speaks of a secret is one unless it is a reference; a text that has the form of a GitHub
//! token or a PEM key is one wherever it stands. Where the file could not be read as a tree, a file that may hold a
//! secret shows none of its lines.

use std::ops::Range;

use crate::yaml::{Node, Value};

/// What stands in a secret's place.
pub(crate) const HIDDEN: &str = "[hidden]";

/// Keys that contain one of these have secrets as values.
const SECRET_WORDS: [&str; 6] =
    ["token", "secret", "password", "passphrase", "private_key", "credential"];

/// How GitHub's tokens begin (`ghp_` personal, `gho_` OAuth, `ghu_`/`ghs_` App, `ghr_` refresh).
const TOKEN_PREFIXES: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];

/// Fewer characters after the prefix are no token: GitHub's have 36 and more.
const TOKEN_TAIL_MIN: usize = 10;

/// In the middle of a word, as in `highs_and_lows`, only a long tail without a break is one.
const TAIL_IN_WORD_MIN: usize = 20;

/// A shorter secret is hidden where it stands, but not looked for in other words.
const LOOKED_FOR_MIN: usize = 6;

const PEM: &str = "-----BEGIN";

/// What of a file must not be shown.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    /// Places of secrets.
    places: Vec<Range<usize>>,
    /// The secrets themselves, so that no message repeats one.
    texts: Vec<String>,
    /// Show no line at all.
    pub all_lines: bool,
}

impl Mask {
    /// For a file that could be read.
    pub fn of_tree(root: &Node) -> Self {
        let mut mask = Self::default();
        mask.walk(root, false);
        mask
    }

    /// For a file of which there is no tree, or only a part of one.
    pub fn without_tree(text: &str) -> Self {
        Self {
            all_lines: text.lines().any(|line| !hidden_in_line(line).is_empty()),
            ..Self::default()
        }
    }

    /// Adds what another mask hides.
    pub fn and(mut self, other: Self) -> Self {
        self.places.extend(other.places);
        self.texts.extend(other.texts);
        self.all_lines |= other.all_lines;
        self
    }

    fn walk(&mut self, node: &Node, under_secret: bool) {
        match &node.value {
            Value::Nothing => {}
            Value::Scalar { text, .. } => {
                if (under_secret && !is_reference(text))
                    || looks_like_secret(text)
                    || has_user_part(text)
                {
                    self.places.push(node.span.clone());
                    let lines =
                        text.lines().map(str::trim).filter(|line| line.len() >= LOOKED_FOR_MIN);
                    self.texts.extend(lines.map(str::to_owned));
                }
            }
            Value::List(nodes) => nodes.iter().for_each(|node| self.walk(node, under_secret)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.walk(key, under_secret);
                    self.walk(value, under_secret || key.text().is_some_and(is_secret_key));
                }
            }
        }
    }

    /// Words of ours, without the secrets that they may repeat.
    pub fn words(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for text in &self.texts {
            words = words.replace(text.as_str(), HIDDEN);
        }
        line(&words, 0..0, secret_places(&words)).0
    }

    /// A line of the file as it may be shown, and where `span` (bytes of the file) lies in it.
    pub fn line(
        &self,
        text: &str,
        bounds: Range<usize>,
        span: Range<usize>,
    ) -> (String, Range<usize>) {
        let source = text.get(bounds.clone()).unwrap_or_default();
        let within = |range: &Range<usize>| {
            let clamp = |at: usize| at.clamp(bounds.start, bounds.end) - bounds.start;
            clamp(range.start)..clamp(range.end)
        };
        let mut hidden = hidden_in_line(source);
        hidden.extend(self.places.iter().map(within).filter(|range| !range.is_empty()));
        let repeated = self.texts.iter().flat_map(|text| source.match_indices(text.as_str()));
        hidden.extend(repeated.map(|(start, text)| start..start + text.len()));
        line(source, within(&span), hidden)
    }
}

/// A text of the user's within a sentence: without secrets and control characters, and not endless.
pub(crate) fn visible(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let lines: Vec<_> =
        text.lines().map(|source| line(source, 0..0, hidden_in_line(source)).0).collect();
    let text = lines.join("\n");
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether the value of such a key is a secret.
fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether the text refers to a secret, rather than being one.
fn is_reference(text: &str) -> bool {
    ["file:", "env:", "credential:"].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether the text holds what has the form of a token or a key.
fn looks_like_secret(text: &str) -> bool {
    !secret_places(text).is_empty()
}

/// Whether the text is an address with a user or a password in it.
pub(crate) fn has_user_part(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}

/// Where tokens and keys lie in a text. After the beginning of a PEM key all is one.
pub(crate) fn secret_places(text: &str) -> Vec<Range<usize>> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut places: Vec<_> = TOKEN_PREFIXES
        .iter()
        .flat_map(|prefix| text.match_indices(prefix))
        .filter_map(|(start, prefix)| {
            let end = start + prefix.len();
            let run = |belongs: &dyn Fn(char) -> bool| {
                let tail = &text[end..];
                tail.find(|c| !belongs(c)).unwrap_or(tail.len())
            };
            let length = run(&|c| in_word(c) || c == '.' || c == '-');
            let begins = !text[..start].ends_with(in_word);
            let is_token = (begins && length >= TOKEN_TAIL_MIN)
                || run(&|c| c.is_ascii_alphanumeric()) >= TAIL_IN_WORD_MIN;
            // A token may be a JWT behind its prefix: dots and dashes belong to it.
            is_token.then_some(start..end + length)
        })
        .collect();
    places.extend(text.find(PEM).map(|start| start..text.len()));
    places
}

/// What a line on its own shows to be secret: tokens, and the rest of the line after a key that speaks of a secret.
fn hidden_in_line(line: &str) -> Vec<Range<usize>> {
    let mut hidden = secret_places(line);
    // ASCII only: the places in the lower-case text are those in the line.
    let lower = line.to_ascii_lowercase();
    for (start, word) in SECRET_WORDS.iter().flat_map(|word| lower.match_indices(word)) {
        let after = &line[start + word.len()..];
        let after_key = after.trim_start_matches(|c: char| {
            c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'' | ' ')
        });
        if let Some(value) = after_key.strip_prefix(':') {
            let value = value.trim_start_matches([' ', '\t', '"', '\'']);
            if !is_reference(value) {
                hidden.push(line.len() - value.len()..line.len());
            }
        }
    }
    hidden.extend(line.match_indices("://").filter_map(|(start, _)| {
        let rest = &line[start + 3..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#'))
            .unwrap_or(rest.len());
        rest[..end].rfind('@').map(|at| start + 3..start + 3 + at)
    }));
    hidden
}

/// The line with the hidden places replaced, and where `span` lies then: what of it is hidden counts whole.
fn line(source: &str, span: Range<usize>, mut hidden: Vec<Range<usize>>) -> (String, Range<usize>) {
    hidden.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in hidden {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let mut shown = String::new();
    let mut at = 0;
    for range in &merged {
        shown.push_str(source.get(at..range.start).unwrap_or_default());
        shown.push_str(HIDDEN);
        at = range.end;
    }
    shown.push_str(source.get(at..).unwrap_or_default());

    let place = |at: usize, within: usize| {
        let (mut removed, mut added) = (0, 0);
        for range in merged.iter().filter(|range| range.start < at) {
            removed += range.end.min(at) - range.start;
            added += if range.end <= at { HIDDEN.len() } else { within };
        }
        at - removed + added
    };
    let (start, end) = (place(span.start, 0), place(span.end, HIDDEN.len()));
    (shown, start..end.max(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_from_words() {
        let check =
            |text: &str, secret: bool| assert_eq!(looks_like_secret(text), secret, "{text}");
        check("ghp_0123456789abcdef", true);
        check("x ghs_0123456789abcdef y", true);
        check("\"github_pat_11AAAAAAA0aaaaaaaaaaaa\"", true);
        check("-----BEGIN RSA PRIVATE KEY-----\nabc", true);
        check("highs_and_lows_of_a_long_day", false);
        check("ghp_short", false);
        check("nameghp_0123456789abcdef0123456789abcdef0123", true);
        check("linux", false);
    }

    #[test]
    fn a_line_hides_what_is_secret_and_keeps_the_place() {
        let check = |source: &str, marked: &str, shown: &str, mark: &str| {
            let start = source.find(marked).unwrap();
            let (line, span) =
                Mask::default().line(source, 0..source.len(), start..start + marked.len());
            assert_eq!(line, shown);
            assert_eq!(&line[span], mark, "{source}");
        };
        check("cpus: two", "two", "cpus: two", "two");
        check("token: hunter2", "hunter2", "token: [hidden]", HIDDEN);
        check("token: hunter2", "token", "token: [hidden]", "token");
        check("  - {\"token\": hunter2, a: b}", "a: b", "  - {\"token\": [hidden]", HIDDEN);
        check(
            "token: file:/etc/token",
            "file:/etc/token",
            "token: file:/etc/token",
            "file:/etc/token",
        );
        check("a: ghp_0123456789abcdef, b", ", b", "a: [hidden], b", ", b");
        check("name: x # Webhook_Secret: hunter2", "x", "name: x # Webhook_Secret: [hidden]", "x");
        check(
            "url: https://me:pw@github.com/acme",
            "url",
            "url: https://[hidden]@github.com/acme",
            "url",
        );
    }
}
