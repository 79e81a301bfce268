//! What the control API shows of the state.

use serde_json::{Value, json};

use crate::hook::{Hook, HookOwner};
use crate::job::{Conclusion, Job, JobState};
use crate::moment::unix;
use crate::runner::Runner;
use crate::scale_set::ScaleSet;
use crate::sim::Sim;

impl Sim {
    /// Counts of what there is: its cost does not depend on the number of jobs and runners.
    pub(crate) fn summary(&self) -> Value {
        let waiting: usize = self.waiting.buckets.iter().map(|bucket| bucket.jobs.len()).sum();
        let assigned: usize = self.sets.iter().map(|set| set.assigned.len()).sum();
        let ended = |conclusion| self.ended.get(&conclusion).copied().unwrap_or(0);
        let over: usize = self.ended.values().sum();
        json!({
            "jobs": {
                "total": self.jobs.len(),
                "held": self.held,
                "waiting": waiting,
                "assigned": assigned,
                // Handed to a runner, accepted or not.
                "running": self.jobs.len().saturating_sub(self.held + waiting + assigned + over),
                "success": ended(Conclusion::Success),
                "failure": ended(Conclusion::Failure),
                "cancelled": ended(Conclusion::Cancelled),
            },
            "runners": { "total": self.runners.len(), "online": self.runners.online, "busy": self.runners.busy },
            "sets": self.sets.iter().count(),
            "sessions": self.sets.iter().filter(|set| set.session.is_some()).count(),
        })
    }

    /// All jobs, runners, sets and sessions.
    pub(crate) fn state(&self) -> Value {
        json!({
            "now": unix(self.now),
            "scopes": self.scopes.iter().map(|(id, scope)| json!({
                "id": id, "path": scope.path, "kind": scope.kind, "private": scope.private, "assignment": scope.assignment,
            })).collect::<Vec<_>>(),
            "jobs": self.jobs.values().map(|job| self.job_state(job)).collect::<Vec<_>>(),
            "runners": self.runners.iter().map(|runner| self.runner_state(runner)).collect::<Vec<_>>(),
            "sets": self.sets.iter().map(|set| self.set_state(set)).collect::<Vec<_>>(),
            "hooks": self.hooks.iter().map(|hook| self.hook_state(hook)).collect::<Vec<_>>(),
            "sessions": self.sets.iter().filter_map(|set| {
                let session = set.session.as_ref()?;
                Some(json!({ "id": session.id, "set": set.id, "owner": session.owner, "created_at": unix(session.created_at), "polling": set.poll.is_some() }))
            }).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn job_state(&self, job: &Job) -> Value {
        let set = match job.state {
            JobState::Assigned { set } => Some(set),
            JobState::Offered { set, .. } | JobState::Running { set, .. } => set,
            _ => None,
        };
        json!({
            "id": job.id,
            "uuid": job.uuid,
            "run_id": job.run,
            "attempt": job.attempt,
            "name": job.name,
            "repo": self.scopes.get(job.repo).map(|repo| repo.path.as_str()),
            "labels": job.labels,
            "phase": phase(job),
            "status": job.status(),
            "conclusion": job.conclusion().map(Conclusion::public),
            "set": set,
            "rounds": job.round,
            "runner_id": job.runner.as_ref().map(|(id, _)| id),
            "runner_name": job.runner.as_ref().map(|(_, name)| name),
            "queued_at": unix(job.queued_at),
            "assigned_at": job.assigned_at.map(unix),
            "told_at": job.told_at.map(unix),
            "started_at": job.started_at.map(unix),
            "first_step_at": job.first_step_at,
            "completed_at": job.completed_at.map(unix),
        })
    }

    fn runner_state(&self, runner: &Runner) -> Value {
        json!({
            "id": runner.id,
            "name": runner.name,
            "scope": self.scopes.get(runner.scope).map(|scope| scope.path.as_str()),
            "set": runner.set,
            "labels": runner.labels,
            "online": runner.online,
            "busy": runner.job.is_some(),
            "job": runner.job,
            "created_at": unix(runner.created_at),
            "connected_at": runner.connected_at.map(unix),
        })
    }

    fn hook_state(&self, hook: &Hook) -> Value {
        let tried =
            hook.deliveries.iter().filter_map(|id| self.deliveries.by_id.get(id)?.outcome.as_ref());
        let (well, failed): (Vec<_>, Vec<_>) = tried.partition(|tried| tried.is_success());
        json!({
            "id": hook.id,
            "scope": match hook.owner {
                HookOwner::Scope(scope) => self.scopes.get(scope).map(|scope| scope.path.as_str()),
                HookOwner::App(_) => None,
            },
            "url": hook.url,
            "succeeded": well.len(),
            "failed": failed.len(),
        })
    }

    fn set_state(&self, set: &ScaleSet) -> Value {
        json!({
            "id": set.id,
            "name": set.name,
            "scope": self.scopes.get(set.scope).map(|scope| scope.path.as_str()),
            "group": set.group,
            "labels": set.labels.iter().map(|label| &label.name).collect::<Vec<_>>(),
            "statistics": self.statistics(set),
            "session": set.session.as_ref().map(|session| session.id),
            "messages": set.log.len(),
            "pending_entries": set.pending.len(),
        })
    }
}

/// Where a job is, finer than its public status.
fn phase(job: &Job) -> &'static str {
    match job.state {
        JobState::Held => "held",
        JobState::Waiting => "waiting",
        JobState::Assigned { .. } => "assigned",
        JobState::Offered { .. } => "offered",
        JobState::Running { .. } => "running",
        JobState::Completed { conclusion } => conclusion.public(),
    }
}
