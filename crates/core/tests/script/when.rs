//! What each command does.

use dayfly_core::{
    effect::{Command, Effect, Outcome, ScaleSetCall, ScaleSetOutcome},
    model::{RunnerGroupId, ScaleSetId, SessionId, Statistics},
    ports::{RateLimit, ScaleSetRecord},
};
use jiff::Timestamp;

use super::{answers, evidence, file::Line, given::Given, show, stage::Stage, words};
use crate::lab::Lab;

/// When every script begins: a Monday.
const START: &str = "2026-01-05T12:00:00Z";

/// Runs a script and writes what came of each command below it.
///
/// # Errors
/// The command that could not be run, or after which a rule was broken, and why.
pub fn run(lines: &mut [Line]) -> Result<(), String> {
    let mut given = Given::default();
    let mut stage: Option<Stage> = None;
    for line in lines.iter_mut().filter(|line| line.is_command()) {
        let words = words::split(&line.text);
        let told = match (&mut stage, words.first().map(String::as_str)) {
            (None, Some("given")) => given.take(&words[1..]).map(|()| Vec::new()),
            (None, Some("start")) => {
                let now: Timestamp = START.parse().map_err(|_| "no start".to_owned())?;
                let lab = Lab::new(given.spec.clone(), given.backends.clone(), now);
                let mut begun = Stage::new(lab);
                begun.capacities.clone_from(&given.capacities);
                let told = begun.pass().map(|()| std::mem::take(&mut begun.out));
                stage = Some(begun);
                told
            }
            (None, _) => Err("a script begins with `given` and `start`".into()),
            (Some(stage), _) => {
                command(stage, &line.text, &mut given).map(|()| std::mem::take(&mut stage.out))
            }
        };
        line.output = told.map_err(|error| format!("{}\n    {error}", line.text))?;
    }
    Ok(())
}

/// One line: one command, or several answers joined by ` & ` that reach the same pass.
fn command(stage: &mut Stage, text: &str, given: &mut Given) -> Result<(), String> {
    let words = words::split(text);
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    match word(0) {
        "wait" => stage.wait(words::duration(word(1))?),
        "crash" => {
            let shift = word(1).strip_prefix("clock=");
            if let Some(shift) = shift {
                stage.lab.now += words::duration(shift)?;
            }
            stage.lab.crash();
            stage.pass()
        }
        // The configuration of the next life of the daemon.
        "given" => {
            given.take(&words[1..])?;
            stage.lab.spec = given.spec.clone();
            stage.lab.backends = given.backends.clone();
            Ok(())
        }
        "forget" => {
            stage.lab.spec.pools.remove(&words::pool(word(1))?);
            given.spec = stage.lab.spec.clone();
            Ok(())
        }
        "without" => {
            given.backends.remove(&words::backend(word(2))?);
            Ok(())
        }
        // `rate acme 300 of 5000 for 20m`: what GitHub's newest answer told.
        "rate" => {
            let limit = RateLimit {
                limit: words::number(word(4))?,
                remaining: words::number(word(2))?,
                resets_at: stage.lab.now + words::duration(word(6))?,
            };
            stage.lab.world.note_rate_limit(&words::scope(word(1))?, Some(limit));
            stage.pass()
        }
        "commits" => {
            stage.lab.disk_full = word(1) == "fail";
            stage.pass()
        }
        "up" => up(stage),
        "explain" => {
            let what = stage.name_of(word(1)).unwrap_or_else(|| word(1).to_owned());
            show::explain(stage, &what);
            Ok(())
        }
        "status" | "plan" | "runners" | "jobs" | "flights" => {
            match word(0) {
                "status" => show::status(stage),
                "plan" => show::plan(stage),
                "runners" => show::runners(stage),
                "jobs" => show::jobs(stage),
                _ => show::flights(stage),
            }
            Ok(())
        }
        _ => {
            for part in text.split(" & ") {
                happened(stage, part)?;
            }
            stage.pass()
        }
    }
}

/// Takes in what one part of a line says.
fn happened(stage: &mut Stage, text: &str) -> Result<(), String> {
    let words = words::split(text);
    let outcome = match words.first().map_or("", String::as_str) {
        "poll" => answers::poll(stage, text)?,
        "list" => answers::list(stage, text)?,
        "ack" => answers::acknowledged(stage, &words)?,
        "group" | "set" | "session" | "acquired" => answers::scale_set(stage, &words)?,
        "job" => evidence::event(stage, &words)?,
        "read" => evidence::read(stage, &words)?,
        "caught" => evidence::caught_up(stage, text)?,
        "watch" => watch(&words)?,
        "flush" | "drain" | "undrain" | "delete" | "remove" | "stop" => user(stage, &words)?,
        "all" => {
            let aliases = answers::all(stage, &words[1..]);
            if aliases.is_empty() {
                return Err("no such call is under way".into());
            }
            for alias in aliases {
                let outcome = answers::runner(stage, &alias, &words[1..])?;
                stage.apply(outcome);
            }
            return Ok(());
        }
        aliases => {
            for alias in aliases.split(',') {
                let outcome = answers::runner(stage, alias, &words[1..])?;
                stage.apply(outcome);
            }
            return Ok(());
        }
    };
    stage.apply(outcome);
    Ok(())
}

/// `watch NAME began`, `watch NAME broke`.
fn watch(words: &[String]) -> Result<Outcome, String> {
    let [_, backend, what, rest @ ..] = words else { return Err("which watch?".into()) };
    let error = match what.as_str() {
        "began" => None,
        "broke" => Some(words::backend_error(&format!("watch {backend}"), rest)?),
        _ => return Err(format!("a watch can't have {what}")),
    };
    Ok(Outcome::WatchBroke { backend: words::backend(backend)?, error })
}

/// `flush POOL --busy`, `drain POOL`, `undrain POOL`, `delete POOL`, `remove RUNNER --busy`, `stop`.
fn user(stage: &mut Stage, words: &[String]) -> Result<Outcome, String> {
    let what = words.get(1).map_or("", String::as_str);
    Ok(Outcome::Command(match words.first().map_or("", String::as_str) {
        "flush" => Command::Flush {
            pool: words::pool(what)?,
            even_busy: words.get(2).is_some_and(|word| word == "--busy"),
        },
        "drain" => Command::Drain(words::pool(what)?),
        "undrain" => Command::Undrain(words::pool(what)?),
        "delete" => Command::DeletePool(words::pool(what)?),
        "stop" => Command::Stop,
        _ => Command::Remove {
            runner: stage.runner(what)?,
            even_busy: words.get(2).is_some_and(|word| word == "--busy"),
        },
    }))
}

/// Everything is in order: lists are empty, and every pool gets a scale set and a session with nothing to do.
fn up(stage: &mut Stage) -> Result<(), String> {
    loop {
        let calls: Vec<Effect> = stage.lab.flights.values().map(|(call, _)| call.clone()).collect();
        let mut answered = false;
        for call in calls {
            let began_at = stage.lab.now;
            let outcome = match call {
                Effect::ListInstances { backend, .. } => {
                    let capacity = stage.capacities.get(&backend).copied();
                    Outcome::ListedInstances { backend, began_at, result: Ok(Vec::new()), capacity }
                }
                Effect::ListRegistrations { scope } => {
                    Outcome::ListedRegistrations { scope, began_at, result: Ok(Vec::new()) }
                }
                Effect::ScaleSet { pool, call, .. } => {
                    let index = stage.lab.spec.pools.keys().position(|name| *name == pool);
                    let number = index.unwrap_or(0);
                    let Some(result) = in_order(&call, number) else { continue };
                    Outcome::ScaleSet { pool, call, result }
                }
                Effect::CatchUp { scope, .. } => Outcome::CaughtUp {
                    scope,
                    began_at,
                    result: Ok(dayfly_core::ports::CaughtUp::default()),
                },
                _ => continue,
            };
            stage.apply(outcome);
            answered = true;
        }
        if !answered {
            return Ok(());
        }
        stage.quiet_pass()?;
    }
}

fn in_order(call: &ScaleSetCall, number: usize) -> Option<ScaleSetOutcome> {
    Some(match call {
        ScaleSetCall::FindGroup(_) => ScaleSetOutcome::Group(RunnerGroupId(1)),
        ScaleSetCall::Find { .. } => ScaleSetOutcome::Set(None),
        ScaleSetCall::Create { group, name, labels } => {
            ScaleSetOutcome::Set(Some(ScaleSetRecord {
                id: ScaleSetId(7 + i64::try_from(number).unwrap_or(0)),
                name: name.clone(),
                group: *group,
                labels: labels.clone(),
                statistics: None,
            }))
        }
        ScaleSetCall::OpenSession(_) => ScaleSetOutcome::Session {
            id: SessionId(format!("s{}", 1 + number).into()),
            statistics: Statistics::default(),
        },
        _ => return None,
    })
}
