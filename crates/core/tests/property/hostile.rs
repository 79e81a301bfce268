//! Any outcome at all: for runners and calls that are known, and for some that are not.

use dayfly_core::{
    effect::{
        Command, InstanceCall, InstanceOutcome, Membership, Outcome, RegistrationCall,
        RegistrationOutcome, ScaleSetCall, ScaleSetOutcome,
    },
    model::{
        BackendName, Capacity, Exit, InstanceId, InstanceSpec, JobEntry, JobEntryKind, JobId,
        Message, MessageId, PoolName, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId,
        ScopeName, SessionId, Sign, Statistics, Suffix, WorkflowJob, WorkflowJobId,
        WorkflowJobStatus,
    },
    ports::{
        BackendError, BackendErrorKind, CaughtUp, ForgeError, ForgeErrorKind, InstanceRecord,
        InstanceStatus, LeftOut, Permission, RunnerRecord, ScaleSetRecord,
    },
};
use jiff::{SignedDuration, Timestamp};

use super::tape::Tape;
use crate::lab::Lab;

/// Runners that the world did not make count from here.
const STRANGERS: u64 = 1 << 45;

/// Makes any outcome.
pub struct Hostile<'a> {
    pub lab: &'a Lab,
    pub tape: &'a mut Tape,
}

impl Hostile<'_> {
    fn left_out(&mut self) -> LeftOut {
        let job = self.workflow_job();
        LeftOut::new(&job.repository, self.tape.chance(50).then_some(job.run_id))
    }

    pub fn outcome(&mut self) -> Outcome {
        match self.tape.pick(19) {
            16 => Outcome::Evidence(self.workflow_job().into()),
            17 => Outcome::CaughtUp {
                scope: self.scope(),
                began_at: self.time(),
                result: if self.tape.chance(70) {
                    Ok(CaughtUp {
                        jobs: (0..self.tape.pick(4)).map(|_| self.workflow_job()).collect(),
                        cursor: self.tape.chance(50).then(|| self.big()),
                        redelivered: self.number(),
                        left_out: (0..self.tape.pick(3)).map(|_| self.left_out()).collect(),
                        trouble: self.tape.chance(30).then(|| self.github_error()),
                    })
                } else {
                    Err(self.github_error())
                },
            },
            18 => Outcome::JobRead {
                scope: self.scope(),
                job: self.workflow_job_id(),
                began_at: self.time(),
                result: if self.tape.chance(70) {
                    Ok(self.tape.chance(70).then(|| self.workflow_job().into()))
                } else {
                    Err(self.github_error())
                },
            },
            0..=3 => {
                let runner = self.runner();
                Outcome::Instance { runner, call: self.instance_call(), result: self.instance() }
            }
            4..=6 => {
                let runner = self.runner();
                let call = self.registration_call();
                Outcome::Registration { runner, call, result: self.registration() }
            }
            7 => Outcome::ScaleSet {
                pool: self.pool(),
                call: self.set_call(),
                result: self.scale_set(),
            },
            8 => Outcome::Polled {
                pool: self.pool(),
                capacity: self.number(),
                result: if self.tape.chance(70) {
                    Ok(self.tape.chance(80).then(|| self.message()))
                } else {
                    Err(self.github_error())
                },
            },
            9 => Outcome::PollStopped { pool: self.pool() },
            10 => Outcome::Acknowledged {
                pool: self.pool(),
                message: MessageId(self.big()),
                result: if self.tape.chance(50) { Ok(()) } else { Err(self.github_error()) },
            },
            11 => Outcome::ListedInstances {
                backend: self.backend(),
                began_at: self.time(),
                result: if self.tape.chance(80) {
                    Ok((0..self.tape.pick(4)).map(|_| self.instance_record()).collect())
                } else {
                    Err(self.engine_error())
                },
                capacity: self.tape.chance(20).then(|| Capacity {
                    cpu_millis: self.tape.pick(9_000) as u64,
                    memory_bytes: self.tape.pick(9_000) as u64,
                }),
            },
            12 => Outcome::ListedRegistrations {
                scope: self.scope(),
                began_at: self.time(),
                result: if self.tape.chance(80) {
                    Ok((0..self.tape.pick(4)).map(|_| self.runner_record()).collect())
                } else {
                    Err(self.github_error())
                },
            },
            13 => match self.tape.pick(3) {
                0 => Outcome::InstanceReady { runner: self.runner() },
                1 => Outcome::InstanceEnded { runner: self.runner(), exit: self.exit() },
                _ => Outcome::Said { runner: self.runner(), sign: self.sign() },
            },
            14 => Outcome::WatchBroke {
                backend: self.backend(),
                error: self.tape.chance(50).then(|| self.engine_error()),
            },
            _ => Outcome::Command(self.command()),
        }
    }

    /// A known runner, or one of a name that nobody gave, or of a pool that nobody has.
    fn runner(&mut self) -> RunnerName {
        let known: Vec<_> = self.lab.world.runners().map(|row| row.name.clone()).collect();
        if !known.is_empty() && self.tape.chance(85) {
            return known[self.tape.pick(known.len())].clone();
        }
        let pool = self.pool();
        let suffix = Suffix::from_bits(STRANGERS + u64::try_from(self.tape.pick(40)).unwrap_or(0));
        RunnerName::compose(&pool, self.lab.world.controller(), suffix)
    }

    fn pool(&mut self) -> PoolName {
        let known = self.lab.spec.pools.keys().next().cloned();
        known.filter(|_| self.tape.chance(95)).unwrap_or_else(|| PoolName::new("other").unwrap())
    }

    fn backend(&mut self) -> BackendName {
        let known = self.lab.backends.keys().next().cloned();
        known.filter(|_| self.tape.chance(95)).unwrap_or_else(|| BackendName::new("other").unwrap())
    }

    fn scope(&mut self) -> ScopeName {
        let known = self.lab.spec.scopes.keys().next().cloned();
        known.filter(|_| self.tape.chance(95)).unwrap_or_else(|| ScopeName::new("other").unwrap())
    }

    fn time(&mut self) -> Timestamp {
        match self.tape.pick(4) {
            0 => Timestamp::MIN,
            1 => Timestamp::MAX,
            2 => self.lab.now,
            _ => self.lab.now - SignedDuration::from_secs(30),
        }
    }

    fn number(&mut self) -> u32 {
        [0, 1, 2, 5, u32::MAX][self.tape.pick(5)]
    }

    fn big(&mut self) -> i64 {
        [0, 1, 2, 3, -1, i64::MAX, i64::MIN][self.tape.pick(7)]
    }

    fn text(&mut self) -> String {
        ["", "j1", "j2", "\u{0}\u{202e}☠", &"x".repeat(5_000)][self.tape.pick(5)].to_owned()
    }

    fn instance_id(&mut self) -> InstanceId {
        InstanceId(self.text().into())
    }

    fn instance_call(&mut self) -> InstanceCall {
        match self.tape.pick(4) {
            0 => InstanceCall::Create(InstanceSpec::default().into()),
            1 => InstanceCall::Inspect,
            2 => InstanceCall::HandOver(self.instance_id()),
            _ => InstanceCall::Destroy { force: self.tape.chance(50) },
        }
    }

    fn instance(&mut self) -> InstanceOutcome {
        match self.tape.pick(5) {
            0 => InstanceOutcome::Created { id: self.instance_id(), ready: self.tape.chance(50) },
            1 => InstanceOutcome::Inspected(self.tape.chance(60).then(|| self.instance_record())),
            2 => InstanceOutcome::HandedOver,
            3 => InstanceOutcome::Destroyed,
            _ => InstanceOutcome::Failed(self.engine_error()),
        }
    }

    fn instance_record(&mut self) -> InstanceRecord {
        let status = match self.tape.pick(4) {
            0 => InstanceStatus::Booting,
            1 => InstanceStatus::Running,
            2 => InstanceStatus::Away,
            _ => InstanceStatus::Ended(self.exit()),
        };
        let created_at = Some(self.time());
        InstanceRecord { runner: self.runner(), id: self.instance_id(), status, created_at }
    }

    fn exit(&mut self) -> Exit {
        let line = "2026-01-05 12:00:00Z: Running job: build";
        Exit {
            code: [None, Some(0), Some(i64::MIN)][self.tape.pick(3)],
            out_of_memory: self.tape.chance(50),
            error: self.tape.chance(50).then(|| self.text()),
            last_output: if self.tape.chance(50) { vec![line.into()] } else { Vec::new() },
        }
    }

    fn sign(&mut self) -> Sign {
        [Sign::Listening, Sign::JobStarted, Sign::JobCompleted, Sign::TooOld][self.tape.pick(4)]
    }

    fn registration_id(&mut self) -> RegistrationId {
        RegistrationId(self.big())
    }

    fn registration_call(&mut self) -> RegistrationCall {
        match self.tape.pick(3) {
            0 if self.tape.chance(50) => RegistrationCall::Mint(Membership::Alone {
                group: RunnerGroupId(self.big()),
                labels: ["linux".to_owned()].into(),
            }),
            0 => RegistrationCall::Mint(Membership::ScaleSet(ScaleSetId(self.big()))),
            1 => RegistrationCall::Find,
            _ => RegistrationCall::Remove(self.registration_id()),
        }
    }

    fn registration(&mut self) -> RegistrationOutcome {
        match self.tape.pick(4) {
            0 => RegistrationOutcome::Minted(self.registration_id()),
            1 => RegistrationOutcome::Found(self.tape.chance(60).then(|| self.runner_record())),
            2 => RegistrationOutcome::Removed { existed: self.tape.chance(50) },
            _ => RegistrationOutcome::Failed(self.github_error()),
        }
    }

    fn runner_record(&mut self) -> RunnerRecord {
        let name = if self.tape.chance(70) { self.runner().to_string() } else { self.text() };
        let mut maybe = || [None, Some(true), Some(false)][self.tape.pick(3)];
        let (online, busy) = (maybe(), maybe());
        RunnerRecord { id: self.registration_id(), name, online, busy }
    }

    fn set_call(&mut self) -> ScaleSetCall {
        let id = ScaleSetId(self.big());
        let group = RunnerGroupId(self.big());
        let (name, labels) = (self.text(), vec![self.text()]);
        let session = SessionId(self.text().into());
        match self.tape.pick(9) {
            0 => ScaleSetCall::FindGroup(name),
            1 => ScaleSetCall::Find { group, name },
            2 => ScaleSetCall::Create { group, name, labels },
            3 => ScaleSetCall::Update { id, group, name, labels },
            4 => ScaleSetCall::Delete(id),
            5 => ScaleSetCall::OpenSession(id),
            6 => ScaleSetCall::RefreshSession(id, session),
            7 => ScaleSetCall::CloseSession(id, session),
            _ => ScaleSetCall::Acquire(id, vec![self.big()]),
        }
    }

    fn scale_set(&mut self) -> ScaleSetOutcome {
        match self.tape.pick(7) {
            0 => ScaleSetOutcome::Group(RunnerGroupId(self.big())),
            1 => ScaleSetOutcome::Set(self.tape.chance(70).then(|| ScaleSetRecord {
                id: ScaleSetId(self.big()),
                name: self.text(),
                group: RunnerGroupId(self.big()),
                labels: vec![self.text()],
                statistics: self.tape.chance(50).then(|| self.statistics()),
            })),
            2 => ScaleSetOutcome::Deleted,
            3 => ScaleSetOutcome::Session {
                id: SessionId(self.text().into()),
                statistics: self.statistics(),
            },
            4 => ScaleSetOutcome::SessionClosed,
            5 => ScaleSetOutcome::Acquired(vec![self.big()]),
            _ => ScaleSetOutcome::Failed(self.github_error()),
        }
    }

    fn statistics(&mut self) -> Statistics {
        Statistics {
            available: self.number(),
            acquired: self.number(),
            assigned: self.number(),
            running: self.number(),
            registered: self.number(),
            busy: self.number(),
            idle: self.number(),
        }
    }

    fn message(&mut self) -> Message {
        Message {
            id: MessageId(self.big()),
            statistics: self.tape.chance(80).then(|| self.statistics()),
            entries: (0..self.tape.pick(4)).map(|_| self.entry()).collect(),
            unreadable: (0..self.tape.pick(2)).map(|_| self.text()).collect(),
        }
    }

    fn entry(&mut self) -> JobEntry {
        let runner = if self.tape.chance(70) { self.runner().to_string() } else { self.text() };
        let kind = match self.tape.pick(4) {
            0 => JobEntryKind::Available,
            1 => JobEntryKind::Assigned,
            2 => JobEntryKind::Started { runner },
            _ => JobEntryKind::Completed { result: self.text(), runner },
        };
        JobEntry {
            kind,
            id: JobId(self.text().into()),
            request_id: self.big(),
            repository: self.text(),
            display_name: self.text(),
            run_id: self.big(),
            labels: vec![self.text()],
            queued_at: Some(self.time()),
        }
    }

    fn workflow_job_id(&mut self) -> WorkflowJobId {
        WorkflowJobId { id: self.big(), attempt: self.number() }
    }

    fn workflow_job(&mut self) -> WorkflowJob {
        let status = [
            WorkflowJobStatus::Waiting,
            WorkflowJobStatus::Queued,
            WorkflowJobStatus::InProgress,
            WorkflowJobStatus::Completed,
        ][self.tape.pick(4)];
        let runner = if self.tape.chance(70) { self.runner().to_string() } else { self.text() };
        let repository = if self.tape.chance(80) { "acme/app".into() } else { self.text() };
        let labels = if self.tape.chance(80) { Vec::new() } else { vec![self.text()] };
        WorkflowJob {
            id: self.workflow_job_id(),
            run_id: self.big(),
            repository,
            name: self.text(),
            status,
            conclusion: self.tape.chance(50).then(|| self.text()),
            labels,
            runner: self.tape.chance(50).then_some(runner),
            created_at: self.tape.chance(50).then(|| self.time()),
        }
    }

    fn engine_error(&mut self) -> BackendError {
        let kind = [
            BackendErrorKind::NoCapacity,
            BackendErrorKind::Quota,
            BackendErrorKind::ImageMissing,
            BackendErrorKind::NotAllowed,
            BackendErrorKind::Unreachable,
            BackendErrorKind::Unknown,
            BackendErrorKind::Transient,
        ][self.tape.pick(7)];
        BackendError { kind, operation: self.text(), detail: self.text() }
    }

    fn github_error(&mut self) -> ForgeError {
        let kind = match self.tape.pick(10) {
            0 => ForgeErrorKind::Unauthorized,
            1 => ForgeErrorKind::NotAllowed(Permission(self.text())),
            2 => ForgeErrorKind::NotFound,
            3 => ForgeErrorKind::Busy,
            4 => ForgeErrorKind::RateLimited(self.time()),
            5 => ForgeErrorKind::Conflict,
            6 => ForgeErrorKind::SessionGone,
            7 => ForgeErrorKind::ScaleSetGone,
            8 => ForgeErrorKind::Refused,
            _ => ForgeErrorKind::Transient,
        };
        ForgeError { kind, operation: self.text(), detail: self.text() }
    }

    fn command(&mut self) -> Command {
        match self.tape.pick(5) {
            4 => Command::Flush { pool: self.pool(), even_busy: self.tape.chance(30) },
            0 => Command::Remove { runner: self.runner(), even_busy: self.tape.chance(30) },
            1 => Command::Drain(self.pool()),
            2 => Command::DeletePool(self.pool()),
            _ => Command::Undrain(self.pool()),
        }
    }
}
