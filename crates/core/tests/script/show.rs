//! How effects, events and reports are written.

use dayfly_core::{
    effect::{Effect, InstanceCall, Membership, RegistrationCall, ScaleSetCall},
    model::{EventKind, Phase, RunnerName},
    report,
};

use super::{stage::Stage, words};
use crate::lab::Passed;

/// What a pass did: events, then the calls that begin.
pub fn passed(stage: &mut Stage, passed: &Passed) {
    let mut lines = Vec::new();
    let mut path: Option<(RunnerName, Vec<Phase>)> = None;
    for event in &passed.events {
        if let EventKind::Runner { runner, from, to } = &event.kind {
            match &mut path {
                Some((name, phases)) if name == runner => phases.push(*to),
                _ => {
                    lines.extend(path.take().map(phases));
                    path = Some((runner.clone(), from.iter().copied().chain([*to]).collect()));
                }
            }
        } else {
            lines.extend(path.take().map(phases));
            lines.push(format!("* {}", self::event(stage, &event.kind)));
        }
    }
    lines.extend(path.take().map(phases));
    lines.extend(passed.effects.iter().map(|effect| format!("-> {}", self::effect(effect))));
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

fn phases((runner, phases): (RunnerName, Vec<Phase>)) -> String {
    let words: Vec<String> = phases.iter().map(ToString::to_string).collect();
    format!("* {runner}: {}", words.join(" > "))
}

fn event(stage: &Stage, kind: &EventKind) -> String {
    match kind {
        EventKind::Runner { runner, to, .. } => format!("{runner}: {to}"),
        EventKind::Retired { runner, reason } => format!("{runner} is to go: {reason}"),
        EventKind::Ended { runner, exit } => format!("{runner} ended: {exit}"),
        EventKind::Job { pool, job, state, runner } => match runner {
            Some(runner) => format!("job {job} of {pool} {state} on {runner}"),
            None => format!("job {job} of {pool} {state}"),
        },
        EventKind::ScaleSet { pool, what } => format!("{pool}: {what}"),
        EventKind::Scope { scope, what } => format!("{scope}: {what}"),
        EventKind::Trouble { pool, backend, scope, error, failures, next_attempt_at } => {
            let of = [
                pool.as_ref().map(|name| format!("pool {name}")),
                backend.as_ref().map(|name| format!("backend {name}")),
                scope.as_ref().map(|name| format!("scope {name}")),
            ];
            let of: Vec<String> = of.into_iter().flatten().collect();
            let next = words::since(stage.start, *next_attempt_at);
            format!("trouble of {}: {error}; {failures} in a row, next at {next}", of.join(" on "))
        }
        EventKind::Alarm { what, .. } => format!("ALARM: {what}"),
        EventKind::Odd { what } => format!("odd: {what}"),
    }
}

pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Instance { runner, backend, call } => match call {
            InstanceCall::Create(spec) if spec.image.is_empty() => {
                format!("create {runner} on {backend}")
            }
            InstanceCall::Create(spec) => {
                format!("create {runner} on {backend} from {}", spec.image)
            }
            InstanceCall::Inspect => format!("inspect {runner}"),
            InstanceCall::HandOver(_) => format!("hand over {runner}"),
            InstanceCall::Destroy { force: false } => format!("destroy {runner}"),
            InstanceCall::Destroy { force: true } => format!("destroy {runner} by force"),
        },
        Effect::Registration { runner, call, .. } => match call {
            RegistrationCall::Mint(Membership::ScaleSet(set)) => {
                format!("mint {runner} in set {set}")
            }
            RegistrationCall::Mint(Membership::Alone { group, labels }) => {
                format!("mint {runner} in group {group} with {}", labels.join(","))
            }
            RegistrationCall::Find => format!("find {runner}"),
            RegistrationCall::Remove(id) => format!("remove {runner} ({id})"),
        },
        Effect::ScaleSet { pool, call, .. } => format!("{pool}: {}", set_call(call)),
        Effect::Poll { pool, set, cursor, capacity, .. } => {
            format!("{pool}: poll set {set} after {cursor}, capacity {capacity}")
        }
        Effect::StopPoll { pool } => format!("{pool}: stop the poll"),
        Effect::Acknowledge { pool, message, .. } => format!("{pool}: acknowledge {message}"),
        Effect::ListInstances { backend, measures: false } => format!("list {backend}"),
        Effect::ListInstances { backend, measures: true } => format!("list and measure {backend}"),
        Effect::ListRegistrations { scope } => format!("list {scope}"),
        Effect::CatchUp { scope, repositories, cursor } => {
            let of = if repositories.is_empty() {
                String::new()
            } else {
                format!(" ({})", repositories.join(", "))
            };
            let after = cursor.map_or_else(String::new, |cursor| format!(" after {cursor}"));
            format!("catch up on {scope}{of}{after}")
        }
        Effect::ReadJob { repository, job, .. } => format!("read job {job} of {repository}"),
    }
}

/// A call for a scale set, in words.
pub fn set_call(call: &ScaleSetCall) -> String {
    match call {
        ScaleSetCall::FindGroup(name) => format!("find group {name}"),
        ScaleSetCall::Find { group, name } => format!("find set {name} in group {group}"),
        ScaleSetCall::Create { group, name, labels } => {
            format!("create set {name} in group {group}, labels {}", labels.join(","))
        }
        ScaleSetCall::Update { id, group, labels, .. } => {
            format!("update set {id} in group {group}, labels {}", labels.join(","))
        }
        ScaleSetCall::Delete(id) => format!("delete set {id}"),
        ScaleSetCall::OpenSession(id) => format!("open a session on set {id}"),
        ScaleSetCall::RefreshSession(id, session) => {
            format!("refresh session {session} of set {id}")
        }
        ScaleSetCall::CloseSession(id, session) => format!("close session {session} of set {id}"),
        ScaleSetCall::Acquire(id, requests) => format!("acquire {requests:?} in set {id}"),
    }
}

/// `explain X`.
pub fn explain(stage: &mut Stage, what: &str) {
    let lab = &stage.lab;
    let lines = match report::explain(&lab.world, &lab.spec, what, lab.now) {
        Ok(explanation) => {
            let rest = explanation.conditions.iter().skip(1);
            std::iter::once(format!("=> {}", explanation.sentence))
                .chain(rest.map(|condition| format!("=> also: {condition}")))
                .collect()
        }
        Err(unknown) => vec![format!("=> {unknown}")],
    };
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

/// `status`.
pub fn status(stage: &mut Stage) {
    let lab = &stage.lab;
    let status = report::status(&lab.world, &lab.spec, lab.now);
    let mut lines = Vec::new();
    for pool in &status.pools {
        let phases: Vec<String> =
            pool.phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        lines.push(format!(
            "=> {} is {}: desired {}, warm {}, max {}, capacity {}, {} waiting; runners: {}",
            pool.name,
            pool.state,
            pool.desired,
            pool.warm,
            pool.max,
            pool.capacity,
            pool.jobs_waiting,
            if phases.is_empty() { "none".to_owned() } else { phases.join(", ") }
        ));
        lines.extend(pool.waits_for.iter().map(|condition| format!("=>   waits: {condition}")));
    }
    for backend in status.backends.iter().filter(|backend| backend.trouble.is_some()) {
        lines.push(format!("=> {} is in trouble: {:?}", backend.name, backend.trouble));
    }
    for backend in status.backends.iter().filter(|backend| !backend.budget.is_empty()) {
        lines.push(format!("=> {} uses {}", backend.name, backend.budget));
    }
    for backend in status.backends.iter().filter(|backend| backend.breaker != "closed") {
        let Some((error, until)) = &backend.breaker_trouble else { continue };
        lines.push(format!("=> {} is {}: {error}, next at {until}", backend.name, backend.breaker));
    }
    for scope in status.scopes.iter().filter(|scope| scope.catch_up_trouble.is_some()) {
        lines.push(format!("=> {} is not caught up: {:?}", scope.name, scope.catch_up_trouble));
    }
    for scope in status.scopes.iter().filter(|scope| scope.trouble.is_some()) {
        lines.push(format!("=> {} is in trouble: {:?}", scope.name, scope.trouble));
    }
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

/// `plan`.
pub fn plan(stage: &mut Stage) {
    let lab = &stage.lab;
    let mut lines = Vec::new();
    for pool in report::plan_view(&lab.world, &lab.spec, lab.now).pools {
        lines.push(format!("=> {}: {}", pool.pool, pool.because));
        lines.extend(pool.actions.iter().map(|action| format!("=>   {action}")));
        lines.extend(pool.waits_for.iter().map(|condition| format!("=>   waits: {condition}")));
    }
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

/// `runners`.
pub fn runners(stage: &mut Stage) {
    let lab = &stage.lab;
    let mut lines = Vec::new();
    for runner in report::runners(&lab.world, &lab.spec, lab.now) {
        let mut line = format!(
            "=> {} {}: instance {}, registration {}",
            runner.name, runner.phase, runner.instance, runner.registration
        );
        for (word, what) in
            [("job", &runner.job), ("because", &runner.reason), ("waits for", &runner.waits_for)]
        {
            if let Some(what) = what {
                line.push_str(&format!(", {word} {what}"));
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push("=> no runners".into());
    }
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

/// `jobs`.
pub fn jobs(stage: &mut Stage) {
    let lab = &stage.lab;
    let mut lines = Vec::new();
    for job in report::jobs(&lab.world, &lab.spec, lab.now) {
        let mut line = format!("=> job {} {}", job.id, job.state);
        if job.pool.is_empty() {
            line.push_str(" in no pool");
        }
        for (word, what) in
            [("on", &job.runner), ("result", &job.result), ("waits:", &job.waits_for)]
        {
            if let Some(what) = what {
                line.push_str(&format!(" {word} {what}"));
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push("=> no jobs".into());
    }
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}

/// `flights`: what is under way.
pub fn flights(stage: &mut Stage) {
    let mut lines: Vec<String> =
        stage.lab.flights.values().map(|(call, _)| format!("=> {}", effect(call))).collect();
    if lines.is_empty() {
        lines.push("=> nothing is under way".into());
    }
    stage.out.extend(lines.iter().map(|line| stage.aliased(line)).collect::<Vec<_>>());
}
