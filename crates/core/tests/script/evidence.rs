//! What webhooks and GitHub's REST API tell of workflow jobs.

use dayfly_core::{
    effect::{Effect, Flight, Outcome},
    model::{WorkflowJob, WorkflowJobId, WorkflowJobStatus},
    ports::{CaughtUp, LeftOut},
};
use jiff::Timestamp;

use super::{
    answers::{after, again, parts},
    stage::Stage,
    words,
};

/// `job 1 queued linux,x64`, `job 1#2 in_progress linux on=r1`, `job 1 completed linux on=r1 result=success`: a delivery.
pub fn event(stage: &mut Stage, words: &[String]) -> Result<Outcome, String> {
    Ok(Outcome::Evidence(job(stage, &words[1..])?.into()))
}

/// `caught up on acme: 1 queued linux, 2 in_progress linux on=r1`, `caught up on acme cursor=7 redelivered=2`, `caught up on acme
/// failed transient`, `caught up on acme without=acme/site,acme/app#9 trouble=transient`.
pub fn caught_up(stage: &mut Stage, command: &str) -> Result<Outcome, String> {
    let (head, jobs) = parts(command);
    let head = words::split(head);
    let [_, _, _, scope, rest @ ..] = head.as_slice() else {
        return Err("caught up on what?".into());
    };
    let (rest, again) = again(rest);
    let scope = words::scope(scope)?;
    let (_, began_at) = stage.pending(&Flight::CatchUp(scope.clone()), again)?;
    if let Some(kind) = after(rest, "failed") {
        let error = words::forge_error(&format!("catch up on {scope}"), kind, stage.lab.now)?;
        return Ok(Outcome::CaughtUp { scope, began_at, result: Err(error) });
    }
    let mut told = CaughtUp::default();
    for (name, value) in words::pairs(rest)? {
        match name {
            "cursor" => told.cursor = Some(words::number(value)?),
            "redelivered" => told.redelivered = words::number(value)?,
            "without" => {
                for left in value.split(',') {
                    let (repository, run) = left.split_once('#').unzip();
                    let run = run.map(words::number).transpose()?;
                    told.left_out.insert(LeftOut::new(repository.unwrap_or(left), run));
                }
            }
            "trouble" => {
                let call = format!("catch up on {scope}");
                let kind = [value.to_owned()];
                told.trouble = Some(words::forge_error(&call, &kind, stage.lab.now)?);
            }
            _ => return Err(format!("`{name}` is nothing that a list tells")),
        }
    }
    for part in jobs {
        told.jobs.push(job(stage, &words::split(part))?);
    }
    Ok(Outcome::CaughtUp { scope, began_at, result: Ok(told) })
}

/// `read 1 queued linux`, `read 1 none`, `read 1 failed not-allowed`.
pub fn read(stage: &mut Stage, words: &[String]) -> Result<Outcome, String> {
    let [_, id, rest @ ..] = words else { return Err("which job?".into()) };
    let (rest, again) = again(rest);
    let asked = job_id(id)?;
    let flights = stage.lab.spec.scopes.keys().map(|scope| Flight::ReadJob(scope.clone(), asked));
    let mut flights = flights.collect::<Vec<_>>().into_iter();
    let pending = flights.find_map(|flight| stage.pending(&flight, again).ok());
    let Some((Effect::ReadJob { scope, .. }, began_at)) = pending else {
        return Err(format!("job {id} is not being read"));
    };
    let result = if let Some(kind) = after(rest, "failed") {
        Err(words::forge_error(&format!("read job {id}"), kind, stage.lab.now)?)
    } else if after(rest, "none").is_some() {
        Ok(None)
    } else {
        Ok(Some(job(stage, &words[1..])?.into()))
    };
    Ok(Outcome::JobRead { scope, job: asked, began_at, result })
}

/// `ID` or `ID#ATTEMPT`.
fn job_id(word: &str) -> Result<WorkflowJobId, String> {
    let (id, attempt) = word.split_once('#').unwrap_or((word, "1"));
    Ok(WorkflowJobId { id: words::number(id)?, attempt: words::number(attempt)? })
}

/// A job of run 9 and of acme/app, queued just now: `ID STATUS LABELS`, then `on=RUNNER`, `result=WORD`, `in=OWNER/REPO`,
/// `age=DURATION`.
fn job(stage: &Stage, words: &[String]) -> Result<WorkflowJob, String> {
    let [id, status, labels, options @ ..] = words else {
        return Err(format!("`{}` is no job, its status and its labels", words.join(" ")));
    };
    let status = match status.as_str() {
        "waiting" => WorkflowJobStatus::Waiting,
        "queued" => WorkflowJobStatus::Queued,
        "in_progress" => WorkflowJobStatus::InProgress,
        "completed" => WorkflowJobStatus::Completed,
        _ => return Err(format!("`{status}` is no status of a job")),
    };
    let mut job = WorkflowJob {
        id: job_id(id)?,
        run_id: 9,
        repository: "acme/app".into(),
        name: format!("build {id}"),
        status,
        conclusion: None,
        labels: labels.split(',').map(str::to_owned).collect(),
        runner: None,
        created_at: None,
    };
    for (option, value) in words::pairs(options)? {
        match option {
            "on" => job.runner = Some(stage.name_of(value).unwrap_or_else(|| value.to_owned())),
            "result" => job.conclusion = Some(value.to_owned()),
            "in" => job.repository = value.to_owned(),
            "age" => job.created_at = Some(age(stage, value)?),
            _ => return Err(format!("`{option}` is nothing that is told of a job")),
        }
    }
    Ok(job)
}

fn age(stage: &Stage, word: &str) -> Result<Timestamp, String> {
    Ok(stage.lab.now - words::duration(word)?)
}
