//! The log on stderr.

use anyhow::{Context, Result};
use dayfly_telemetry::{Format, Logs};
use tracing::level_filters::LevelFilter;

use crate::failure::{Code, Failure};

/// How much is said: `error`, `warn`, `info`, `debug` or `trace`.
const LEVEL: &str = "DAYFLY_LOG";

/// Starts the log; its last lines are written when the result is dropped.
pub fn start(json: bool) -> Result<Logs> {
    let level = match std::env::var(LEVEL) {
        Ok(level) => level.parse::<LevelFilter>().map_err(|_| {
            Failure::new(
                Code::Usage,
                format!("${LEVEL} is `{}`", level.chars().take(40).collect::<String>()),
            )
            .hint("give error, warn, info, debug or trace")
        })?,
        Err(_) => LevelFilter::INFO,
    };
    dayfly_telemetry::init(if json { Format::Json } else { Format::Text }, level)
        .context("start the log")
}
