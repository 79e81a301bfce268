//! Which limits are in force: the calendar's changes of a pool's limits.

use std::str::FromStr;

use croner::Cron;
use jiff::{Timestamp, tz::TimeZone};

use super::earlier;
use crate::model::{Limits, PoolSpec, Schedule};

/// A schedule that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// The cron expression.
    #[error("`{cron}` is no cron expression of five fields: {detail}")]
    Cron {
        /// As written.
        cron: String,
        /// What is wrong.
        detail: String,
    },
    /// The time zone.
    #[error("`{timezone}` is no time zone: use an IANA name such as Europe/Berlin")]
    TimeZone {
        /// As written.
        timezone: String,
    },
}

fn read(schedule: &Schedule) -> Result<(Cron, TimeZone), InvalidSchedule> {
    let cron_error = |detail: String| InvalidSchedule::Cron { cron: schedule.cron.clone(), detail };
    if schedule.cron.split_whitespace().count() != 5 {
        return Err(cron_error("five fields are wanted: minute, hour, day, month, weekday".into()));
    }
    let cron = Cron::from_str(&schedule.cron).map_err(|error| cron_error(error.to_string()))?;
    let zone = TimeZone::get(&schedule.timezone)
        .map_err(|_| InvalidSchedule::TimeZone { timezone: schedule.timezone.clone() })?;
    Ok((cron, zone))
}

/// Reads a schedule, for the configuration's check.
///
/// # Errors
/// What can't be read.
pub fn check_schedule(schedule: &Schedule) -> Result<(), InvalidSchedule> {
    read(schedule).map(|_| ())
}

/// The limits in force at `now`, and when they may change next. Of all schedules the one that matched last is in
/// force; of two that matched at the same time, the later in the user's list. What it does not set stays as it is
/// without schedules.
#[must_use]
pub fn limits_at(pool: &PoolSpec, now: Timestamp) -> (Limits, Option<Timestamp>) {
    let mut newest: Option<(Timestamp, &Schedule)> = None;
    let mut next: Option<Timestamp> = None;
    for schedule in &pool.schedules {
        let Ok((cron, zone)) = read(schedule) else { continue };
        let local = now.to_zoned(zone);
        if let Ok(last) = cron.find_previous_occurrence(&local, true) {
            let last = last.timestamp();
            if newest.is_none_or(|(known, _)| last >= known) {
                newest = Some((last, schedule));
            }
        }
        if let Ok(coming) = cron.find_next_occurrence(&local, false) {
            next = earlier(next, Some(coming.timestamp()));
        }
    }
    let mut limits = pool.limits;
    if let Some((_, schedule)) = newest {
        limits.warm = schedule.warm.unwrap_or(limits.warm);
        limits.min_idle = schedule.min_idle.unwrap_or(limits.min_idle);
        limits.max = schedule.max.unwrap_or(limits.max);
    }
    (limits, next)
}
