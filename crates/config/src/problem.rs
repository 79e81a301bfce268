//! What is wrong with a configuration file: where, what, and what to do.

use std::{fmt, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::mask::{Mask, visible};

/// More are counted, not shown.
const SHOWN_MAX: usize = 100;

/// Something wrong, or odd, in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, both from 1, the column in characters; `None` where the file could not be read.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    rendered: String,
}

impl fmt::Display for Problem {
    /// With the line and a caret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// All that is wrong with a configuration file. Shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// In the order of their places; at most 100.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub count: usize,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}\n")?;
        }
        let more = self.count - self.problems.len();
        match self.count {
            1 => write!(f, "1 error"),
            count if more > 0 => write!(f, "{count} errors, {more} of them not shown"),
            count => write!(f, "{count} errors"),
        }
    }
}

/// A remark before it is rendered.
#[derive(Debug, PartialEq, Eq)]
struct Remark {
    span: Range<usize>,
    message: String,
    remedy: String,
    is_error: bool,
}

/// Collects what is wrong while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    remarks: Vec<Remark>,
}

impl Problems {
    /// Something that must be mended.
    pub fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(span, message.into(), remedy.into(), true);
    }

    /// Something that may not be meant.
    pub fn warning(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(span, message.into(), remedy.into(), false);
    }

    /// What was found where the same was read again in another light: what is known already is told once.
    pub fn merge(&mut self, other: Self) {
        for remark in other.remarks {
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Whether an error was found at this place, or around it.
    pub fn has_error_at(&self, place: &Range<usize>) -> bool {
        let around = |span: &Range<usize>| {
            span.start <= place.start && place.start < span.end.max(span.start + 1)
        };
        self.remarks.iter().any(|remark| remark.is_error && around(&remark.span))
    }

    fn push(&mut self, span: &Range<usize>, message: String, remedy: String, is_error: bool) {
        self.remarks.push(Remark { span: span.clone(), message, remedy, is_error });
    }

    /// The warnings, or, where there is an error, the errors.
    pub fn finish(
        mut self,
        text: &str,
        name: &Path,
        mask: &Mask,
    ) -> Result<Vec<Problem>, ConfigErrors> {
        self.remarks.sort_by_key(|remark| remark.span.start);
        let count = self.remarks.iter().filter(|remark| remark.is_error).count();
        let wanted = self.remarks.iter().filter(|remark| remark.is_error == (count > 0));
        let problems =
            wanted.take(SHOWN_MAX).map(|remark| render(remark, text, name, mask)).collect();
        if count == 0 { Ok(problems) } else { Err(ConfigErrors { problems, count }) }
    }
}

/// The one error of a file that is not text, or could not be read.
pub(crate) fn unreadable(name: &Path, message: String, remedy: &str) -> ConfigErrors {
    let title = Level::ERROR.primary_title(&message);
    let name = visible(&name.display().to_string());
    let report = &[title.element(Origin::path(&name)).element(Level::HELP.message(remedy))];
    let rendered = Renderer::plain().render(report);
    let problem = Problem { place: None, message, remedy: remedy.to_owned(), rendered };
    ConfigErrors { problems: vec![problem], count: 1 }
}

fn render(remark: &Remark, text: &str, name: &Path, mask: &Mask) -> Problem {
    let at = floor(text, remark.span.start);
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let line_end = line_start + text[line_start..line_end].trim_end_matches('\r').len();
    let line = 1 + text[..line_start].matches('\n').count();
    let column = 1 + text[line_start..at].chars().count();

    let (message, remedy) = (mask.words(&remark.message), mask.words(&remark.remedy));
    let name = visible(&name.display().to_string());
    let level = if remark.is_error { Level::ERROR } else { Level::WARNING };
    let (shown, span) = mask.line(text, line_start..line_end, at..floor(text, remark.span.end));
    let title = level.primary_title(&message);
    let group = if mask.all_lines {
        let note = "the line is not shown: the file may hold a secret";
        title
            .element(Origin::path(&name).line(line).char_column(column))
            .element(Level::NOTE.message(note))
    } else {
        let snippet = Snippet::source(&shown).line_start(line).path(&name);
        title.element(snippet.annotation(AnnotationKind::Primary.span(span)))
    };
    let rendered = Renderer::plain().render(&[group.element(Level::HELP.message(&remedy))]);
    Problem { place: Some((line, column)), message, remedy, rendered }
}

/// The nearest character's start at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}
