//! Tables and sentences for people. Programs read `--json`.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use dayfly_core::{
    ports::RateLimit,
    report::{Explanation, JobView, PlanView, RunnerView},
};
use dayfly_server::{LxdInstances, StatusDocument};
use jiff::{SignedDuration, Timestamp};

/// What `dayfly status` shows.
pub fn status(document: &StatusDocument) -> String {
    let status = &document.status;
    let mut pools = table(&["POOL", "STATE", "RUNNERS", "WANTED", "MAX", "JOBS WAITING", "OFFERS"]);
    for pool in &status.pools {
        let phases: Vec<String> =
            pool.phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        let runners = if phases.is_empty() { "none".to_owned() } else { phases.join(", ") };
        let fixed = pool.demand == "fixed";
        let by_set = !fixed && pool.demand != "webhook";
        let state = match (&pool.state, pool.session) {
            (state, _) if fixed => format!("{state}, keeps {} idle", pool.min_idle),
            (state, false) if by_set => format!("{state}, no session"),
            (state, _) => state.clone(),
        };
        // Nobody tells of the jobs of a pool that is kept full; only a scale set is offered room.
        let told = |is_told: bool, count: String| if is_told { count } else { "-".to_owned() };
        pools.add_row([
            pool.name.clone(),
            state,
            runners,
            pool.desired.to_string(),
            pool.max.to_string(),
            told(!fixed, pool.jobs_waiting.to_string()),
            told(by_set, pool.capacity.to_string()),
        ]);
    }
    let mut backends = table(&["BACKEND", "RUNNERS", "BUDGET", "STATE"]);
    for backend in &status.backends {
        let state = match (&backend.trouble, &backend.breaker_trouble, backend.listed_at) {
            (Some((error, until)), ..) => format!("{error} (tried again at {until:.0})"),
            (None, Some((error, until)), _) if backend.breaker == "open" => {
                format!("no instance is made: {error} (tried again at {until:.0})")
            }
            (None, Some((error, _)), _) => {
                format!("one instance at a time is made until one works: {error}")
            }
            (None, None, Some(at)) => format!("listed {} ago", ago(at, status.at)),
            (None, None, None) => "not listed yet".to_owned(),
        };
        let budget = if backend.budget.is_empty() { "-" } else { &backend.budget };
        backends.add_row([
            backend.name.clone(),
            match document.lxd.iter().find(|(name, _)| name.as_str() == backend.name) {
                Some((_, by_sort)) => format!("{}: {}", backend.runners, sorts(by_sort)),
                None => backend.runners.to_string(),
            },
            budget.to_owned(),
            state,
        ]);
    }
    let mut scopes = table(&["SCOPE", "ADDRESS", "RATE LIMIT", "STATE"]);
    for scope in &status.scopes {
        let state = match (&scope.trouble, &scope.catch_up_trouble) {
            (Some((error, until)), _) => format!("{error} (tried again at {until:.0})"),
            (None, Some((error, until))) => {
                format!("lost webhooks are not made good: {error} (tried again at {until:.0})")
            }
            (None, None) => "in order".to_owned(),
        };
        let mut credentials = document.daemon.credentials.iter();
        let known = credentials.find(|(name, _)| name.as_str() == scope.name);
        let limit = known.and_then(|(_, used)| used.rate_limit);
        let left = limit.map_or_else(|| "-".to_owned(), |limit| rate_limit(limit, status.at));
        scopes.add_row([scope.name.clone(), scope.url.clone(), left, state]);
    }
    let mut text = format!("{pools}\n\n{backends}\n\n{scopes}");
    for pool in &status.pools {
        for condition in &pool.waits_for {
            let _ = write!(text, "\n{} waits: {condition}", pool.name);
        }
    }
    for pool in &status.pools {
        if let (Some(version), Some(from)) = (&pool.runner_version, pool.runner_refused_from) {
            let _ = write!(
                text,
                "\n{}: GitHub refuses its runner program, {version}, from {from:.0} on",
                pool.name
            );
        }
    }
    if status.stopping {
        text.push_str("\nthe daemon is ending");
    }
    if let Some(error) = &document.daemon.store_error {
        let _ = write!(text, "\nthe store can't be written, so nothing new begins: {error}");
    }
    text
}

/// What is left of a credential's hour. Of an hour that is over nothing but its length is known.
fn rate_limit(of: RateLimit, now: Timestamp) -> String {
    let RateLimit { limit, remaining, resets_at } = of;
    if resets_at <= now {
        return format!("{limit} an hour");
    }
    format!("{remaining} of {limit} left until {resets_at:.0}")
}

/// How many there are of each sort, beside each other also where there is none of one.
fn sorts(of: &LxdInstances) -> String {
    let LxdInstances { containers, vms, former } = of;
    let text = format!(
        "{containers} container{}, {vms} VM{}",
        if *containers == 1 { "" } else { "s" },
        if *vms == 1 { "" } else { "s" }
    );
    if *former == 0 { text } else { format!("{text}, {former} of former settings") }
}

/// What `dayfly runners` shows.
pub fn runners(runners: &[RunnerView], now: Timestamp) -> String {
    let mut shown = table(&["RUNNER", "PHASE", "AGE", "BACKEND", "JOB", "WAITS FOR"]);
    for runner in runners {
        let waits = match (&runner.waits_for, &runner.reason) {
            (Some(waits), Some(reason)) => format!("{waits}; it goes because {reason}"),
            (None, Some(reason)) => format!("it goes because {reason}"),
            (waits, None) => waits.clone().unwrap_or_default(),
        };
        shown.add_row([
            runner.name.clone(),
            runner.phase.to_string(),
            ago(runner.created_at, now),
            runner.backend.clone(),
            runner.job.clone().unwrap_or_default(),
            waits,
        ]);
    }
    shown.to_string()
}

/// What `dayfly jobs` shows.
pub fn jobs(jobs: &[JobView], now: Timestamp) -> String {
    let mut shown =
        table(&["JOB", "STATE", "SINCE", "POOL", "REPOSITORY", "NAME", "RUNNER", "WAITS FOR"]);
    for job in jobs {
        let state = job
            .result
            .as_ref()
            .map_or_else(|| job.state.clone(), |result| format!("{}: {result}", job.state));
        shown.add_row([
            job.id.clone(),
            state,
            ago(job.since, now),
            job.pool.clone(),
            job.repository.clone(),
            job.name.clone(),
            job.runner.clone().unwrap_or_default(),
            job.waits_for.clone().unwrap_or_default(),
        ]);
    }
    shown.to_string()
}

/// What `dayfly plan` shows.
pub fn plan(plan: &PlanView) -> String {
    let mut text = String::new();
    for pool in &plan.pools {
        let _ = writeln!(text, "{}: {}", pool.pool, pool.because);
        let nothing = ["nothing is to be done".to_owned()];
        let actions = if pool.actions.is_empty() { &nothing[..] } else { &pool.actions };
        for action in actions {
            let _ = writeln!(text, "  {action}");
        }
        for condition in &pool.waits_for {
            let _ = writeln!(text, "  waits: {condition}");
        }
    }
    text.trim_end().to_owned()
}

/// What `dayfly explain` shows.
pub fn explanation(explanation: &Explanation) -> String {
    let mut text = explanation.sentence.clone();
    for condition in explanation.conditions.iter().skip(1) {
        let _ = write!(text, "\nthen: {condition}");
    }
    text
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// How long ago, in the largest unit that says something.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What `dayfly status` shows of a document that says no more than these parts, of the report and of the daemon.
    fn shown(report: &Value, daemon: &Value) -> String {
        let mut document = json!({
            "at": "2026-01-01T00:00:00Z", "controller": "1", "stopping": false, "pools": [], "backends": [],
            "scopes": [], "daemon": {
                "version": "1", "store_error": null, "timings": dayfly_engine::Timings::default(),
                "credentials": {}, "tasks": {},
            },
        });
        for (key, value) in report.as_object().unwrap() {
            document[key] = value.clone();
        }
        for (key, value) in daemon.as_object().unwrap() {
            document["daemon"][key] = value.clone();
        }
        status(&serde_json::from_value(document).unwrap())
    }

    /// A row's words, one blank between them.
    fn words(row: &str) -> String {
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ages_are_short() {
        let check = |seconds: i64, expected: &str| {
            let now = Timestamp::UNIX_EPOCH;
            assert_eq!(ago(now - SignedDuration::from_secs(seconds), now), expected);
        };
        check(-5, "0 s");
        check(119, "119 s");
        check(120, "2 min");
        check(7_200, "2 h");
        check(172_800, "2 d");
    }

    #[test]
    fn a_pool_shows_what_its_demand_has() {
        let check = |demand: &str, session: bool, expected: &str| {
            let pools = json!([{
                "name": "linux", "state": "open", "demand": demand, "min_idle": 2, "scale_set": null,
                "session": session, "desired": 3, "warm": 0, "max": 5, "capacity": 4, "phases": {},
                "jobs_waiting": 1, "statistics": null, "waits_for": [],
            }]);
            let shown = shown(&json!({ "pools": pools }), &json!({}));
            let row = shown.lines().nth(1).unwrap();
            assert_eq!(words(row), expected);
        };
        check("scale-set", true, "linux open none 3 5 1 4");
        check("scale-set", false, "linux open, no session none 3 5 1 4");
        check("webhook", false, "linux open none 3 5 1 -");
        check("fixed", false, "linux open, keeps 2 idle none 3 5 - -");
    }

    #[test]
    fn a_scope_shows_what_it_lacks() {
        let check = |trouble: Option<&'static str>,
                     catch_up: Option<&'static str>,
                     expected: &str| {
            let until =
                |error: Option<&'static str>| error.map(|error| (error, "2026-01-01T00:01:00Z"));
            let scopes = json!([{
                "name": "acme", "url": "https://github.com/acme",
                "trouble": until(trouble), "catch_up_trouble": until(catch_up),
            }]);
            let shown = shown(&json!({ "scopes": scopes }), &json!({}));
            let row = shown.lines().last().unwrap();
            assert_eq!(words(row), format!("acme https://github.com/acme - {expected}"));
        };
        check(None, None, "in order");
        let again = "(tried again at 2026-01-01T00:01:00Z)";
        check(Some("401"), Some("502"), &format!("401 {again}"));
        check(None, Some("502"), &format!("lost webhooks are not made good: 502 {again}"));
    }

    #[test]
    fn a_backend_that_is_an_lxd_shows_containers_and_vms() {
        let check = |lxd: &Value, expected: &str| {
            let backends = json!([{
                "name": "rack", "listed_at": null, "watched": true, "creates": 0, "trouble": null,
                "runners": 6,
            }]);
            let shown = shown(&json!({ "backends": backends, "lxd": lxd }), &json!({}));
            let row = shown.lines().find(|line| line.trim().starts_with("rack")).unwrap();
            assert_eq!(words(row), format!("rack {expected} - not listed yet"));
        };
        check(&json!({}), "6");
        check(&json!({ "other": { "containers": 6, "vms": 0, "former": 0 } }), "6");
        let of = |containers: u32, vms: u32, former: u32| json!({ "rack": { "containers": containers, "vms": vms, "former": former } });
        check(&of(5, 1, 0), "6: 5 containers, 1 VM");
        check(&of(1, 0, 5), "6: 1 container, 0 VMs, 5 of former settings");
    }

    #[test]
    fn a_store_that_cannot_be_written_is_said() {
        let of = |error: &Value| shown(&json!({}), &json!({ "store_error": error }));
        assert!(!of(&Value::Null).contains("store"));
        assert!(of(&json!("the disk is full")).ends_with("nothing new begins: the disk is full"));
    }

    #[test]
    fn what_is_left_of_the_rate_limit_is_said_while_it_is_true() {
        let check = |scope: &str, resets_at: &str, expected: &str| {
            let limit = json!({ "limit": 5_000, "remaining": 17, "resets_at": resets_at });
            let used = json!({ "rate_limit": limit, "requests": 9, "empty_polls": 1 });
            let scopes =
                json!([{ "name": "acme", "url": "https://github.com/acme", "trouble": null }]);
            let shown =
                shown(&json!({ "scopes": scopes }), &json!({ "credentials": { scope: used } }));
            let row = words(shown.lines().last().unwrap());
            assert_eq!(row, format!("acme https://github.com/acme {expected} in order"));
        };
        check("acme", "2026-01-01T00:00:01Z", "17 of 5000 left until 2026-01-01T00:00:01Z");
        check("acme", "2026-01-01T00:00:00Z", "5000 an hour");
        check("other", "2026-01-01T00:00:01Z", "-");
    }

    #[test]
    fn a_plan_says_what_and_why() {
        let plan: PlanView = serde_json::from_value(serde_json::json!({ "pools": [
            { "pool": "linux", "because": "2 jobs", "actions": ["make 2 runners"], "waits_for": [] },
            { "pool": "other", "because": "no jobs", "actions": [], "waits_for": [
                { "kind": "max", "detail": "its max is reached", "until": null } ] },
        ]}))
        .unwrap();
        let expected = "linux: 2 jobs\n  make 2 runners\nother: no jobs\n  nothing is to be done\n  waits: its max is reached";
        assert_eq!(super::plan(&plan), expected);
    }
}
