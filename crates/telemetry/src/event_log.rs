//! The event log: what happened, typed, a line of JSON each.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use dayfly_core::{model::Event, ports::EventSink};

use crate::queue::{Queue, Rendering};

/// How many of the newest events stay in memory: a few minutes of a busy daemon, in some hundred KiB.
const RECENT_MAX: usize = 1_000;

/// The event log can't be written to.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// The file can't be opened.
    #[error("cannot open the event log {}; give a path in a directory that dayfly may write to", .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the writer.
    #[error(
        "cannot start the event log's thread; raise the limit of processes (`ulimit -u`, `TasksMax=`)"
    )]
    Thread(#[source] io::Error),
}

/// Writes events as JSON lines, and keeps the newest in memory. Never blocks; what finds no room is counted, and the
/// log says how many events are missing where they are missing.
pub struct EventLog {
    recent: Mutex<VecDeque<Arc<Event>>>,
    queue: Queue<Arc<Event>>,
}

impl EventLog {
    /// Writes to `writer`, from a thread of its own.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn new(writer: impl Write + Send + 'static) -> Result<Self, EventLogError> {
        let rendering = Rendering { item: render, missing: render_missing };
        let queue =
            Queue::start("dayfly-events", writer, rendering).map_err(EventLogError::Thread)?;
        Ok(Self { recent: Mutex::default(), queue })
    }

    /// Appends to a file, which only its owner may read: it names repositories and jobs.
    ///
    /// # Errors
    /// Where the file can't be opened, or the system has no thread left.
    pub fn append_to(path: &Path) -> Result<Self, EventLogError> {
        let file: File = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| EventLogError::Open { path: path.to_owned(), source })?;
        Self::new(file)
    }

    /// The newest events, oldest first: at most 1,000.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<Event>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many events were not written, for want of room or because the disk refused them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Waits until all events so far are written, for two seconds at most.
    pub fn flush(&self) {
        self.queue.flush();
    }
}

impl EventSink for EventLog {
    fn emit(&self, event: &Event) {
        let event = Arc::new(event.clone());
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        drop(recent);
        self.queue.push(event);
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.flush();
    }
}

fn render(event: &Arc<Event>, line: &mut Vec<u8>) {
    let begin = line.len();
    if let Err(error) = serde_json::to_writer(&mut *line, &**event) {
        // A model type that can't be JSON is a bug; its event is replaced by that fact.
        line.truncate(begin);
        let odd = serde_json::json!({ "event": "odd", "what": format!("an event could not be written: {error}") });
        line.extend_from_slice(odd.to_string().as_bytes());
    }
    line.push(b'\n');
}

fn render_missing(events: u64, line: &mut Vec<u8>) {
    let missing = serde_json::json!({ "event": "missing", "events": events });
    line.extend_from_slice(missing.to_string().as_bytes());
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use dayfly_core::model::{EventKind, Exit, Phase, Reason, RunnerName};
    use jiff::Timestamp;

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event { at: "2026-11-21T08:00:00Z".parse::<Timestamp>().unwrap(), kind }
    }

    fn runner() -> RunnerName {
        RunnerName::new("linux-aaaabbbbbbbbbb").unwrap()
    }

    #[test]
    fn events_are_lines_of_json_that_read_back() {
        let exit = Exit {
            code: Some(137),
            last_output: vec!["a \"quoted\"\nline".into()],
            ..Exit::default()
        };
        let events = [
            event(EventKind::Runner { runner: runner(), from: None, to: Phase::Planned }),
            event(EventKind::Retired {
                runner: runner(),
                reason: Reason::CreateFailed { error: "no\nroom".into() },
            }),
            event(EventKind::Ended { runner: runner(), exit }),
        ];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let log = EventLog::append_to(&path).unwrap();
        for event in &events {
            log.emit(event);
        }
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Event> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_newest_stay_in_memory() {
        let log = EventLog::new(io::sink()).unwrap();
        for number in 0..RECENT_MAX + 5 {
            log.emit(&event(EventKind::Odd { what: number.to_string() }));
        }
        let recent = log.recent();
        assert_eq!(recent.len(), RECENT_MAX);
        assert_eq!(recent[0].kind, EventKind::Odd { what: "5".into() });
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = EventLog::append_to(Path::new("/proc/no/such/place")).err().unwrap();
        assert!(error.to_string().contains("/proc/no/such/place"), "{error}");
    }
}
