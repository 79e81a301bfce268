//! Logs for people and the event log for programs.
