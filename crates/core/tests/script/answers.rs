//! What GitHub and the engines answer to calls under way, and what they tell unasked.

use dayfly_core::{
    effect::{
        Effect, Flight, InstanceCall, InstanceOutcome, Outcome, RegistrationCall,
        RegistrationOutcome, ScaleSetCall, ScaleSetOutcome,
    },
    model::{
        InstanceId, JobEntry, JobEntryKind, JobId, Message, MessageId, RegistrationId,
        RunnerGroupId, RunnerName, ScaleSetId, SessionId, Sign,
    },
    ports::{InstanceRecord, InstanceStatus, RunnerRecord, ScaleSetRecord},
};

use super::{show, stage::Stage, words};

/// Takes the word `again` off the end: the answer comes a second time.
pub fn again(words: &[String]) -> (&[String], bool) {
    match words {
        [rest @ .., last] if last == "again" => (rest, true),
        _ => (words, false),
    }
}

/// Splits off the verb's words and tells whether they are there.
pub fn after<'a>(words: &'a [String], verb: &str) -> Option<&'a [String]> {
    let verb: Vec<&str> = verb.split(' ').collect();
    let matches = words.len() >= verb.len() && words.iter().zip(&verb).all(|(one, two)| one == two);
    matches.then(|| &words[verb.len()..])
}

/// What is told unasked of a runner: its instance is ready or ended, or it said something.
pub fn news(stage: &mut Stage, alias: &str, words: &[String]) -> Result<Option<Outcome>, String> {
    let runner = stage.runner(alias)?;
    Ok(Some(if after(words, "ready").is_some() {
        Outcome::InstanceReady { runner }
    } else if let Some(exit) = after(words, "ended") {
        Outcome::InstanceEnded { runner, exit: words::exit(exit)? }
    } else if let Some([sign]) = after(words, "said") {
        let sign = match sign.as_str() {
            "listening" => Sign::Listening,
            "started" => Sign::JobStarted,
            "completed" => Sign::JobCompleted,
            "too-old" => Sign::TooOld,
            _ => return Err(format!("`{sign}` is no sign")),
        };
        Outcome::Said { runner, sign }
    } else {
        return Ok(None);
    }))
}

/// Which call a verb answers.
fn answers(words: &[String], effect: &Effect) -> bool {
    let verb = words.first().map_or("", String::as_str);
    match effect {
        Effect::Instance { call: InstanceCall::Create(_), .. } => {
            matches!(verb, "created" | "create")
        }
        Effect::Instance { call: InstanceCall::Inspect, .. } => {
            matches!(verb, "inspected" | "inspect")
        }
        Effect::Instance { call: InstanceCall::HandOver(_), .. } => {
            matches!(verb, "handed" | "hand")
        }
        Effect::Instance { call: InstanceCall::Destroy { .. }, .. } => {
            matches!(verb, "destroyed" | "destroy")
        }
        Effect::Registration { call: RegistrationCall::Mint(_), .. } => {
            matches!(verb, "minted" | "mint")
        }
        Effect::Registration { call: RegistrationCall::Find, .. } => {
            matches!(verb, "found" | "find")
        }
        Effect::Registration { call: RegistrationCall::Remove(_), .. } => {
            matches!(verb, "removed" | "not" | "remove")
        }
        _ => false,
    }
}

/// Every runner that has a call under way which these words answer.
pub fn all(stage: &Stage, words: &[String]) -> Vec<String> {
    stage.flying(|effect| answers(words, effect))
}

/// What is answered to a call for a runner.
pub fn runner(stage: &mut Stage, alias: &str, words: &[String]) -> Result<Outcome, String> {
    if let Some(news) = news(stage, alias, words)? {
        return Ok(news);
    }
    let (words, again) = again(words);
    let runner = stage.runner(alias)?;
    let flights = [Flight::Instance(runner.clone()), Flight::Registration(runner.clone())];
    for flight in flights {
        let known = stage.pending(&flight, again);
        if let Ok((effect, _)) = known
            && answers(words, &effect)
        {
            return match effect {
                Effect::Instance { runner, call, .. } => {
                    let result = instance(stage, alias, &runner, words)?;
                    Ok(Outcome::Instance { runner, call, result })
                }
                Effect::Registration { runner, call, .. } => {
                    let result = registration(stage, alias, words)?;
                    Ok(Outcome::Registration { runner, call, result })
                }
                _ => Err("not a call for a runner".into()),
            };
        }
    }
    Err(format!("`{}` answers no call that is under way for {alias}", words.join(" ")))
}

fn instance(
    stage: &Stage,
    alias: &str,
    runner: &RunnerName,
    words: &[String],
) -> Result<InstanceOutcome, String> {
    if let Some(rest) = after(words, "created") {
        let ready = rest.first().is_some_and(|word| word == "ready");
        return Ok(InstanceOutcome::Created { id: InstanceId(format!("i-{alias}").into()), ready });
    }
    if after(words, "handed over").is_some() {
        return Ok(InstanceOutcome::HandedOver);
    }
    if after(words, "destroyed").is_some() {
        return Ok(InstanceOutcome::Destroyed);
    }
    if let Some(state) = after(words, "inspected") {
        let record = if state == ["none"] {
            None
        } else {
            Some(instance_record(runner.clone(), alias, state)?)
        };
        return Ok(InstanceOutcome::Inspected(record));
    }
    for operation in ["create", "inspect", "hand over", "destroy"] {
        if let Some(kind) = after(words, &format!("{operation} failed")) {
            let operation = format!("{operation} {}", stage.aliased(runner.as_str()));
            return Ok(InstanceOutcome::Failed(words::backend_error(&operation, kind)?));
        }
    }
    Err(format!("`{}` is no answer for an instance", words.join(" ")))
}

fn registration(
    stage: &Stage,
    alias: &str,
    words: &[String],
) -> Result<RegistrationOutcome, String> {
    if let Some(id) = after(words, "minted") {
        let id = match id.first() {
            Some(id) => RegistrationId(words::number(id)?),
            None => Stage::registration_id(alias),
        };
        return Ok(RegistrationOutcome::Minted(id));
    }
    if let Some([state]) = after(words, "found") {
        let record = (state != "none").then(|| runner_record(stage, alias, state)).transpose()?;
        return Ok(RegistrationOutcome::Found(record));
    }
    if after(words, "removed").is_some() {
        return Ok(RegistrationOutcome::Removed { existed: true });
    }
    if after(words, "not known").is_some() {
        return Ok(RegistrationOutcome::Removed { existed: false });
    }
    if after(words, "remove refused").is_some() {
        let busy = ["busy".to_owned(), "it runs a job".to_owned()];
        let error = words::forge_error(&format!("remove {alias}"), &busy, stage.lab.now)?;
        return Ok(RegistrationOutcome::Failed(error));
    }
    for operation in ["mint", "find", "remove"] {
        if let Some(kind) = after(words, &format!("{operation} failed")) {
            let operation = format!("{operation} {alias}");
            let error = words::forge_error(&operation, kind, stage.lab.now)?;
            return Ok(RegistrationOutcome::Failed(error));
        }
    }
    Err(format!("`{}` is no answer for a registration", words.join(" ")))
}

fn instance_record(
    runner: RunnerName,
    alias: &str,
    state: &[String],
) -> Result<InstanceRecord, String> {
    let [word, rest @ ..] = state else {
        return Err(format!("which state has {alias}?"));
    };
    let status = match word.as_str() {
        "booting" => InstanceStatus::Booting,
        "running" => InstanceStatus::Running,
        "ended" => InstanceStatus::Ended(words::exit(rest)?),
        "away" => InstanceStatus::Away,
        _ => return Err(format!("`{word}` is no state of an instance")),
    };
    let id = InstanceId(format!("i-{alias}").into());
    Ok(InstanceRecord { runner, id, status, created_at: None })
}

/// `online`, `offline`, `busy`, or `known` where the answer does not tell. An alias in quotes is a name as it stands.
fn runner_record(stage: &Stage, alias: &str, state: &str) -> Result<RunnerRecord, String> {
    let (online, busy) = match state {
        "online" => (Some(true), Some(false)),
        "offline" => (Some(false), Some(false)),
        "busy" => (Some(true), Some(true)),
        "known" => (None, None),
        _ => return Err(format!("`{state}` is no state of a registration")),
    };
    let name = stage.name_of(alias).unwrap_or_else(|| alias.to_owned());
    Ok(RunnerRecord { id: Stage::registration_id(alias), name, online, busy })
}

/// Splits `head: one, two` into its head and its parts.
pub fn parts(command: &str) -> (&str, Vec<&str>) {
    let (head, tail) = command.split_once(": ").unwrap_or((command, ""));
    (head, tail.split(", ").filter(|part| !part.is_empty()).collect())
}

/// `list NAME: r1 running, r2 ended 0`, `list NAME`, `list NAME failed KIND`; of a backend or a scope.
pub fn list(stage: &mut Stage, command: &str) -> Result<Outcome, String> {
    let (head, parts) = parts(command);
    let head = words::split(head);
    let [_, name, rest @ ..] = head.as_slice() else {
        return Err("list what?".into());
    };
    let (rest, again) = again(rest);
    let failed = after(rest, "failed");
    let is_backend = stage.lab.backends.keys().any(|backend| backend.as_str() == name);
    if is_backend {
        let backend = words::backend(name)?;
        let flight = Flight::ListInstances(backend.clone());
        let began_at = stage.pending(&flight, again)?.1;
        let result = match failed {
            Some(kind) => Err(words::backend_error(&format!("list {name}"), kind)?),
            None => Ok(parts
                .iter()
                .map(|part| {
                    let words = words::split(part);
                    let alias = words.first().ok_or("which runner?")?;
                    instance_record(stage.runner(alias)?, alias, &words[1..])
                })
                .collect::<Result<_, String>>()?),
        };
        let capacity = stage.capacities.get(&backend).copied();
        return Ok(Outcome::ListedInstances { backend, began_at, result, capacity });
    }
    let scope = words::scope(name)?;
    let flight = Flight::ListRegistrations(scope.clone());
    let began_at = stage.pending(&flight, again)?.1;
    let result = match failed {
        Some(kind) => Err(words::forge_error(&format!("list {name}"), kind, stage.lab.now)?),
        None => Ok(parts
            .iter()
            .map(|part| {
                let words = words::split(part);
                let [alias, state] = words.as_slice() else {
                    return Err(format!("`{part}` is no runner and its state"));
                };
                let _ = stage.runner(alias);
                runner_record(stage, alias, state)
            })
            .collect::<Result<_, String>>()?),
    };
    Ok(Outcome::ListedRegistrations { scope, began_at, result })
}

/// `poll POOL nothing`, `poll POOL stopped`, `poll POOL failed KIND`, `poll POOL message ID COUNTS: ENTRIES`.
pub fn poll(stage: &mut Stage, command: &str) -> Result<Outcome, String> {
    let (head, entries) = parts(command);
    let head = words::split(head);
    let [_, name, rest @ ..] = head.as_slice() else {
        return Err("which poll?".into());
    };
    let (rest, again) = again(rest);
    let pool = words::pool(name)?;
    let flight = Flight::Poll(pool.clone());
    let (Effect::Poll { capacity, .. }, _) = stage.pending(&flight, again)? else {
        return Err("that is no poll".into());
    };
    let result = match rest.first().map(String::as_str) {
        Some("stopped") => return Ok(Outcome::PollStopped { pool }),
        Some("nothing") => Ok(None),
        Some("failed") => {
            let operation = format!("poll {name}");
            Err(words::forge_error(&operation, &rest[1..], stage.lab.now)?)
        }
        Some("message") => {
            let id = MessageId(words::number(rest.get(1).ok_or("which message?")?)?);
            let counts = &rest[2..];
            let statistics = (!counts.is_empty()).then(|| words::statistics(counts)).transpose()?;
            let mut message =
                Message { id, statistics, entries: Vec::new(), unreadable: Vec::new() };
            for entry in entries {
                add_entry(stage, &mut message, entry)?;
            }
            Ok(Some(message))
        }
        _ => return Err("what came of the poll?".into()),
    };
    Ok(Outcome::Polled { pool, capacity, result })
}

/// `assigned j1 j2`, `assigned j1..j9`, `available j1#5`, `started j1 r1`, `completed j1 succeeded r1`,
/// `unreadable "what"`.
fn add_entry(stage: &mut Stage, message: &mut Message, entry: &str) -> Result<(), String> {
    let words = words::split(entry);
    let [kind, rest @ ..] = words.as_slice() else {
        return Err("an empty entry".into());
    };
    match kind.as_str() {
        "assigned" | "available" => {
            let kind =
                if kind == "assigned" { JobEntryKind::Assigned } else { JobEntryKind::Available };
            for word in rest {
                for job in jobs(word)? {
                    message.entries.push(job_entry(kind.clone(), &job)?);
                }
            }
        }
        "started" => {
            let [job, alias] = rest else { return Err(format!("`{entry}`: which runner?")) };
            // A stranger, or a name that is nobody's.
            let runner =
                stage.runner(alias).map_or_else(|_| alias.clone(), |name| name.to_string());
            message.entries.push(job_entry(JobEntryKind::Started { runner }, job)?);
        }
        "completed" => {
            let [job, result, rest @ ..] = rest else {
                return Err(format!("`{entry}`: which result?"));
            };
            let runner = rest.first().map_or_else(String::new, |alias| {
                stage.name_of(alias).unwrap_or_else(|| alias.clone())
            });
            let kind = JobEntryKind::Completed { result: result.clone(), runner };
            message.entries.push(job_entry(kind, job)?);
        }
        "unreadable" => message.unreadable.push(rest.join(" ")),
        _ => return Err(format!("`{kind}` is no entry of a message")),
    }
    Ok(())
}

/// `j1`, or all of `j1..j9`.
fn jobs(word: &str) -> Result<Vec<String>, String> {
    let Some((first, last)) = word.split_once("..") else { return Ok(vec![word.to_owned()]) };
    let number = |word: &str| words::number::<u32>(word.trim_start_matches('j'));
    Ok((number(first)?..=number(last)?).map(|number| format!("j{number}")).collect())
}

/// A job of run 1; `j1#5` is acquired by the request id 5.
fn job_entry(kind: JobEntryKind, job: &str) -> Result<JobEntry, String> {
    let (job, request) = job.split_once('#').unwrap_or((job, "0"));
    Ok(JobEntry {
        kind,
        id: JobId(job.into()),
        request_id: words::number(request)?,
        repository: "acme/app".into(),
        display_name: format!("build {job}"),
        run_id: 1,
        labels: vec!["linux".into()],
        queued_at: None,
    })
}

/// `ack POOL ID`, `ack POOL ID failed KIND`.
pub fn acknowledged(stage: &mut Stage, words: &[String]) -> Result<Outcome, String> {
    let [_, pool, id, rest @ ..] = words else { return Err("which message?".into()) };
    let (rest, again) = again(rest);
    let pool = words::pool(pool)?;
    let message = MessageId(words::number(id)?);
    stage.pending(&Flight::Acknowledge(pool.clone(), message), again)?;
    let result = match after(rest, "failed") {
        Some(kind) => Err(words::forge_error(&format!("acknowledge {id}"), kind, stage.lab.now)?),
        None => Ok(()),
    };
    Ok(Outcome::Acknowledged { pool, message, result })
}

/// What is answered to a call for a pool's scale set: `group POOL 1`, `set POOL found 7 registered=2`, `set POOL absent`,
/// `set POOL made`, `set POOL has a,b`, `set POOL deleted`, `session POOL s1 assigned=2`, `session POOL closed`,
/// `acquired POOL 5,6`; each also `failed KIND`.
pub fn scale_set(stage: &mut Stage, words: &[String]) -> Result<Outcome, String> {
    let [subject, pool, rest @ ..] = words else { return Err("of which pool?".into()) };
    let (rest, again) = again(rest);
    let pool = words::pool(pool)?;
    let (effect, _) = stage.pending(&Flight::ScaleSet(pool.clone()), again)?;
    let Effect::ScaleSet { call, .. } = effect else {
        return Err("that is no call for a scale set".into());
    };
    if let Some(kind) = after(rest, "failed") {
        let operation = show::set_call(&call);
        let error = words::forge_error(&operation, kind, stage.lab.now)?;
        return Ok(Outcome::ScaleSet { pool, call, result: ScaleSetOutcome::Failed(error) });
    }
    let result = set_answer(subject, &call, rest)?;
    Ok(Outcome::ScaleSet { pool, call, result })
}

fn set_answer(
    subject: &str,
    call: &ScaleSetCall,
    rest: &[String],
) -> Result<ScaleSetOutcome, String> {
    let wrong = || format!("`{subject} {}` does not answer {call:?}", rest.join(" "));
    let [word, options @ ..] = rest else { return Err(wrong()) };
    Ok(match (subject, word.as_str(), call) {
        ("group", id, ScaleSetCall::FindGroup(_)) => {
            ScaleSetOutcome::Group(RunnerGroupId(words::number(id)?))
        }
        ("set", "absent", ScaleSetCall::Find { .. }) => ScaleSetOutcome::Set(None),
        ("set", "found", ScaleSetCall::Find { group, name }) => {
            let [id, counts @ ..] = options else { return Err(wrong()) };
            ScaleSetOutcome::Set(Some(ScaleSetRecord {
                id: ScaleSetId(words::number(id)?),
                name: name.clone(),
                group: *group,
                labels: vec![name.clone(), "self-hosted".into()],
                statistics: Some(words::statistics(counts)?),
            }))
        }
        ("set", "made", ScaleSetCall::Create { group, name, labels }) => {
            let id = options.first().map_or(Ok(7), |id| words::number(id))?;
            ScaleSetOutcome::Set(Some(ScaleSetRecord {
                id: ScaleSetId(id),
                name: name.clone(),
                group: *group,
                labels: labels.clone(),
                statistics: None,
            }))
        }
        (
            "set",
            "has",
            ScaleSetCall::Create { group, name, .. } | ScaleSetCall::Update { group, name, .. },
        ) => {
            let labels = options.first().ok_or_else(wrong)?.split(',').map(str::to_owned).collect();
            let id = match call {
                ScaleSetCall::Update { id, .. } => *id,
                _ => ScaleSetId(7),
            };
            ScaleSetOutcome::Set(Some(ScaleSetRecord {
                id,
                name: name.clone(),
                group: *group,
                labels,
                statistics: None,
            }))
        }
        ("set", "deleted", ScaleSetCall::Delete(_)) => ScaleSetOutcome::Deleted,
        ("session", "closed", ScaleSetCall::CloseSession(..)) => ScaleSetOutcome::SessionClosed,
        ("session", id, ScaleSetCall::OpenSession(_) | ScaleSetCall::RefreshSession(..)) => {
            ScaleSetOutcome::Session {
                id: SessionId(id.into()),
                statistics: words::statistics(options)?,
            }
        }
        ("acquired", ids, ScaleSetCall::Acquire(..)) => {
            let ids = ids.split(',').filter(|id| *id != "none").map(words::number);
            ScaleSetOutcome::Acquired(ids.collect::<Result<_, _>>()?)
        }
        _ => return Err(wrong()),
    })
}
