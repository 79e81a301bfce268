//! Logs for people, on standard error.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::queue::{Queue, Rendering};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object.
    Json,
}

/// Logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It was started before in this process.
    #[error("logging was started twice")]
    Twice,
    /// No thread for the writer.
    #[error(
        "cannot start the log's thread; raise the limit of processes (`ulimit -u`, `TasksMax=`)"
    )]
    Thread(#[source] io::Error),
}

/// The running log. What was said before its drop is written by then, if the terminal takes it within two seconds.
#[must_use = "the last lines are written when this is dropped"]
pub struct Logs {
    lines: Queue<Vec<u8>>,
}

impl Logs {
    /// How many lines were lost, because standard error did not take them fast enough.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lines.lost()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

/// Starts logging to standard error, once in a process: what dayfly says from `level` on, and of other libraries
/// warnings only (some print whole headers below that).
///
/// # Errors
/// Where it was started before, or the system has no thread left.
pub fn init(format: Format, level: LevelFilter) -> Result<Logs, InitError> {
    let lines = start(io::stderr(), format).map_err(InitError::Thread)?;
    let layer = layer(format, level, Lines(lines.clone()));
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| InitError::Twice)?;
    Ok(Logs { lines })
}

fn start(writer: impl Write + Send + 'static, format: Format) -> io::Result<Queue<Vec<u8>>> {
    let missing: fn(u64, &mut Vec<u8>) = match format {
        Format::Text => |lines, line| {
            line.extend_from_slice(format!("({lines} log lines are missing)\n").as_bytes());
        },
        Format::Json => |lines, line| {
            let missing = serde_json::json!({ "level": "WARN", "message": "log lines are missing", "lines": lines });
            line.extend_from_slice(missing.to_string().as_bytes());
            line.push(b'\n');
        },
    };
    let item: fn(&Vec<u8>, &mut Vec<u8>) = match format {
        Format::Text => |text, line| one_line(text, line),
        Format::Json => |text, line| line.extend_from_slice(text),
    };
    Queue::start("dayfly-log", writer, Rendering { item, missing })
}

/// Keeps an event on one line, and its terminal in order: text from outside must neither forge a second line nor
/// command the terminal. This is why there are no colours: their commands could not be told from a forger's.
fn one_line(text: &[u8], line: &mut Vec<u8>) {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    for character in String::from_utf8_lossy(body).chars() {
        if character.is_control() {
            line.extend_from_slice(character.escape_default().to_string().as_bytes());
        } else {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    line.push(b'\n');
}

fn layer(format: Format, level: LevelFilter, lines: Lines) -> impl Layer<Registry> {
    let filter =
        Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("dayfly", level);
    let layer = fmt::layer().with_writer(lines);
    match format {
        Format::Text => layer.with_ansi(false).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    }
    .with_filter(filter)
}

/// Hands each event's text to the queue.
#[derive(Clone)]
struct Lines(Queue<Vec<u8>>);

/// The text of one event, until it is whole.
struct Line {
    queue: Queue<Vec<u8>>,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { queue: self.0.clone(), text: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.queue.push(std::mem::take(&mut self.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use dayfly_core::{
        model::RegistrationId,
        ports::{JitConfig, Minted},
    };
    use tracing::{debug, info, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log says while `say` runs.
    fn said(format: Format, level: LevelFilter, say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let lines = start(kept.clone(), format).unwrap();
        let subscriber =
            tracing_subscriber::registry().with(layer(format, level, Lines(lines.clone())));
        tracing::subscriber::with_default(subscriber, say);
        lines.flush();
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn levels_count_for_dayfly_alone() {
        let check = |level, expected: &[&str]| {
            let text = said(Format::Text, level, || {
                debug!(target: "dayfly_engine::watch", "ours debug");
                info!(target: "dayfly", "ours info");
                debug!(target: "hyper", "theirs debug");
                warn!(target: "hyper", "theirs warning");
            });
            let found: Vec<&str> = ["ours debug", "ours info", "theirs debug", "theirs warning"]
                .into_iter()
                .filter(|said| text.contains(said))
                .collect();
            assert_eq!(found, expected, "{level}");
        };
        check(LevelFilter::TRACE, &["ours debug", "ours info", "theirs warning"]);
        check(LevelFilter::INFO, &["ours info", "theirs warning"]);
        check(LevelFilter::ERROR, &[]);
    }

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        let forged = "fine\n2026-11-21T08:00:00Z  INFO dayfly: all is well\r\u{1b}[2J\u{9b}1m";
        let text = said(
            Format::Text,
            LevelFilter::INFO,
            || info!(target: "dayfly", engine = %forged, "it said"),
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(['\r', '\u{1b}', '\u{9b}']), "{text:?}");
        let text = said(
            Format::Json,
            LevelFilter::INFO,
            || info!(target: "dayfly", engine = %forged, "it said"),
        );
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["engine"], forged);
        assert_eq!(line["message"], "it said");
    }

    #[test]
    fn a_secret_prints_nowhere() {
        let secret = "eyJSVU5ORVIi";
        for format in [Format::Text, Format::Json] {
            let text = said(format, LevelFilter::TRACE, || {
                let jit = JitConfig::new(secret.to_owned());
                let minted = Minted { id: RegistrationId(7), jit: jit.clone() };
                let token = secrecy::SecretString::from(secret);
                trace!(target: "dayfly", ?jit, ?minted, ?token, "all that can be printed");
            });
            assert!(text.contains("all that can be printed"), "{text}");
            assert!(!text.contains(secret), "{text}");
        }
    }

    /// Compiles only while the secret types implement neither `Display` nor `Serialize`: with one of them, `_` would
    /// have two answers.
    #[test]
    fn secret_types_cannot_be_rendered() {
        trait Rendered<Marker> {
            fn is_not() {}
        }
        impl<T: ?Sized> Rendered<()> for T {}
        struct Displayed;
        impl<T: ?Sized + std::fmt::Display> Rendered<Displayed> for T {}
        struct Serialised;
        impl<T: ?Sized + serde::Serialize> Rendered<Serialised> for T {}
        <JitConfig as Rendered<_>>::is_not();
        <Minted as Rendered<_>>::is_not();
        <secrecy::SecretString as Rendered<_>>::is_not();
    }
}
