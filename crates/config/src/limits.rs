//! A pool's numbers: how many runners, when, and how long each state may last.

use dayfly_core::{
    model::{Deadlines, Limits, Schedule},
    plan::check_schedule,
};
use jiff::SignedDuration;

use crate::{keys, problem::Problems, quantity, table::Table, yaml::Node};

/// What the figures of the project go up to, and then some.
const RUNNERS_MAX: u32 = 100_000;

pub(crate) fn read(pool: &Table<'_>, problems: &mut Problems) -> (Option<Limits>, Vec<Schedule>) {
    pool.required(
        "max",
        "write how many instances there may be at any time; 0 drains the pool",
        problems,
    );
    let max = pool.count("max", RUNNERS_MAX, problems);
    let warm = pool.count("warm", RUNNERS_MAX, problems).unwrap_or(0);
    let min_idle = pool.count("min_idle", RUNNERS_MAX, problems).unwrap_or(0);
    let limits = max.map(|max| Limits { warm, min_idle, max });
    if let Some(limits) = limits {
        check(pool, limits, problems);
    }
    let schedules = pool
        .list("schedules", problems)
        .iter()
        .filter_map(|node| schedule(node, limits, problems))
        .collect();
    (limits, schedules)
}

/// Reports limits that contradict each other, at the key of `table` that a reader would change.
fn check(table: &Table<'_>, limits: Limits, problems: &mut Problems) {
    // A pool is drained by its `max` alone.
    if limits.max == 0 {
        return;
    }
    let place = |key: &str| {
        table
            .get(key)
            .or_else(|| table.get("max"))
            .map_or(table.span.clone(), |node| node.span.clone())
    };
    let mut fits = true;
    for (key, count) in [("warm", limits.warm), ("min_idle", limits.min_idle)] {
        if count > limits.max {
            fits = false;
            let message = format!("`{key}` is {count} and `max` is {}", limits.max);
            problems.error(&place(key), message, format!("lower `{key}` or raise `max`"));
        }
    }
    if fits && u64::from(limits.warm) + u64::from(limits.min_idle) > u64::from(limits.max) {
        problems.warning(
            &place("warm"),
            format!(
                "`warm` ({}) and `min_idle` ({}) are more than `max` ({})",
                limits.warm, limits.min_idle, limits.max
            ),
            "raise `max`: what is warm gives way to what is online, and never comes up to `warm`",
        );
    }
}

fn schedule(node: &Node, limits: Option<Limits>, problems: &mut Problems) -> Option<Schedule> {
    let table = Table::of(node, &keys::SCHEDULE, problems)?;
    table.required("cron", "write when it begins, such as `cron: \"0 7 * * 1-5\"`", problems);
    let mut schedule = Schedule {
        cron: "0 0 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        warm: table.count("warm", RUNNERS_MAX, problems),
        min_idle: table.count("min_idle", RUNNERS_MAX, problems),
        max: table.count("max", RUNNERS_MAX, problems),
    };
    if ["warm", "min_idle", "max"].iter().all(|key| table.get(key).is_none()) {
        problems.error(
            &table.span,
            "a schedule changes nothing",
            "add `warm`, `min_idle` or `max`",
        );
    }
    if let Some(limits) = limits {
        let limits = Limits {
            warm: schedule.warm.unwrap_or(limits.warm),
            min_idle: schedule.min_idle.unwrap_or(limits.min_idle),
            max: schedule.max.unwrap_or(limits.max),
        };
        check(&table, limits, problems);
    }
    // One after the other, each against a good value of the other, so that each mistake is found at its place.
    let timezone = table.text("timezone", problems);
    if let Some(timezone) = &timezone {
        let tried = Schedule { timezone: timezone.text.to_owned(), ..schedule.clone() };
        if let Err(error) = check_schedule(&tried) {
            problems.error(
                timezone.span,
                error.to_string(),
                "write an IANA name such as UTC or Europe/Berlin",
            );
        }
    }
    let cron = table.text("cron", problems)?;
    cron.text.clone_into(&mut schedule.cron);
    if let Err(error) = check_schedule(&schedule) {
        problems.error(
            cron.span,
            error.to_string(),
            "write minute, hour, day, month and weekday, such as \"0 7 * * 1-5\"",
        );
    }
    if let Some(timezone) = timezone {
        timezone.text.clone_into(&mut schedule.timezone);
    }
    Some(schedule)
}

pub(crate) fn deadlines(pool: &Table<'_>, problems: &mut Problems) -> Deadlines {
    let mut deadlines = Deadlines::default();
    let Some(table) =
        pool.get("deadlines").and_then(|node| Table::of(node, &keys::DEADLINES, problems))
    else {
        return deadlines;
    };
    let mut set = |key: &str, deadline: &mut SignedDuration| {
        if let Some(duration) = table.parsed(key, problems, quantity::duration) {
            *deadline = duration;
        }
    };
    set("creating", &mut deadlines.creating);
    set("booting", &mut deadlines.booting);
    set("minting", &mut deadlines.minting);
    set("starting", &mut deadlines.starting);
    set("idle", &mut deadlines.idle);
    set("removing", &mut deadlines.removing);
    set("job_timeout", &mut deadlines.job_timeout);
    set("warm", &mut deadlines.warm);
    deadlines
}
