//! Rows to store.

use std::collections::BTreeSet;

use dayfly_core::{
    model::{
        Attempt, BackendName, ControllerId, Exit, Instance, InstanceId, Job, JobId, JobState,
        MessageId, PoolName, PoolState, Proof, Reason, Registration, RegistrationId, Retiring,
        Runner, RunnerGroupId, RunnerName, ScaleSetId, ScaleSetTrack, ScopeName, ScopeState,
        SessionId, SessionTrack, Share, Statistics, Suffix, TrackedJob, Trouble, TroubleKey,
        WorkflowJob, WorkflowJobId, WorkflowJobStatus,
    },
    ports::{Batch, JobKey},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Text that a careless layer would break.
pub const ODD: &str = "it's \"odd\"; -- \\ \0 \u{1F680} \n\t";

pub fn controller() -> ControllerId {
    ControllerId(Uuid::from_u128(0xC0FF_EE00_1234))
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::new(1_790_000_000 + second, 123_456_789).unwrap()
}

pub fn pool_name() -> PoolName {
    PoolName::new("linux-small").unwrap()
}

pub fn runner_name(number: u64) -> RunnerName {
    RunnerName::compose(&pool_name(), controller(), Suffix::from_bits(number))
}

/// A new runner's row.
pub fn runner(number: u64) -> Runner {
    let backend = BackendName::new("here").unwrap();
    let mut runner =
        Runner::planned(runner_name(number), backend, "0123456789abcdef".into(), at(0));
    runner.generation = 1;
    runner
}

/// The same row with every field set, two generations later than [`runner`].
pub fn full_runner(number: u64) -> Runner {
    let attempt = Attempt { failures: 3, next_at: at(60), error: ODD.to_owned() };
    let exit = Exit {
        code: Some(-1),
        out_of_memory: true,
        error: Some(ODD.to_owned()),
        last_output: vec![ODD.to_owned(), String::new()],
    };
    Runner {
        generation: 2,
        share: Share { cpu_millis: 1_500, memory_bytes: u64::MAX },
        instance: Instance::Removing { since: at(7), exit: Some(exit) },
        registration: Registration::Busy {
            since: at(5),
            id: Some(RegistrationId(i64::MAX)),
            job: Some(JobId(ODD.into())),
            completed_at: Some(Timestamp::MAX),
        },
        retiring: Some(Retiring {
            since: Timestamp::MIN,
            reason: Reason::CreateFailed { error: ODD.to_owned() },
            even_busy: true,
        }),
        had_job: true,
        online_since: Some(at(4)),
        instance_attempt: Some(attempt.clone()),
        registration_attempt: Some(attempt),
        ..runner(number)
    }
}

pub fn pool(generation: u64) -> PoolState {
    let mut pool = PoolState::new(pool_name());
    pool.generation = generation;
    pool
}

/// A pool with every field set and a duty open.
pub fn full_pool(generation: u64) -> PoolState {
    PoolState {
        scale_set: ScaleSetTrack::Present {
            id: ScaleSetId(7),
            group: RunnerGroupId(1),
            group_name: None,
            scope: ScopeName::new("acme").unwrap(),
            name: ODD.to_owned(),
            labels: vec!["linux".to_owned()],
            made: true,
        },
        session: SessionTrack::Open { id: SessionId("session".into()), since: at(1) },
        cursor: MessageId(5),
        newest: MessageId(9),
        unacknowledged: BTreeSet::from([MessageId(8), MessageId(9)]),
        statistics: Some((Statistics { assigned: u32::MAX, ..Statistics::default() }, at(2))),
        drained: Some(at(3)),
        deleting: Some(at(4)),
        registers_in: Some(ScopeName::new("acme").unwrap()),
        ..pool(generation)
    }
}

pub fn job(id: &str) -> Job {
    Job {
        id: JobId(id.into()),
        request_id: i64::MIN,
        repository: ODD.into(),
        display_name: ODD.into(),
        run_id: 1,
        labels: vec![ODD.to_owned(), String::new()],
        queued_at: Some(at(0)),
        state: JobState::Started { since: at(1), runner: ODD.into() },
        assignments: 3,
        message: MessageId(4),
    }
}

pub fn job_key(id: &str) -> JobKey {
    JobKey { pool: pool_name(), job: JobId(id.into()) }
}

/// A workflow job with every field set.
pub fn tracked(id: i64, attempt: u32) -> TrackedJob {
    TrackedJob {
        job: WorkflowJob {
            id: WorkflowJobId { id, attempt },
            run_id: i64::MIN,
            repository: ODD.into(),
            name: ODD.into(),
            status: WorkflowJobStatus::Completed,
            conclusion: Some(ODD.into()),
            labels: vec![ODD.into(), String::new()],
            runner: Some(ODD.into()),
            created_at: Some(at(0)),
        },
        since: at(5),
    }
}

/// Every status that a workflow job may have, some of it left out.
pub fn tracked_in_every_state() -> Vec<TrackedJob> {
    let states = [
        WorkflowJobStatus::Waiting,
        WorkflowJobStatus::Queued,
        WorkflowJobStatus::InProgress,
        WorkflowJobStatus::Completed,
    ];
    let rows = (100..).zip(states).map(|(id, status)| {
        let TrackedJob { job, since } = tracked(id, 1);
        let job = WorkflowJob { status, conclusion: None, runner: None, created_at: None, ..job };
        TrackedJob { job, since }
    });
    rows.collect()
}

pub fn scope_name() -> ScopeName {
    ScopeName::new("acme").unwrap()
}

pub fn trouble_keys() -> Vec<TroubleKey> {
    let (pool, backend) = (pool_name(), BackendName::new("here").unwrap());
    vec![
        TroubleKey::Creation { pool: pool.clone(), backend: backend.clone(), mark: ODD.into() },
        TroubleKey::Creates { backend: backend.clone() },
        TroubleKey::Backend { backend },
        TroubleKey::Credential { scope: ScopeName::new("acme").unwrap() },
        TroubleKey::ScaleSet { pool },
    ]
}

pub fn trouble() -> Trouble {
    let first = Trouble::after(None, SignedDuration::from_secs(5), "first", at(0));
    Trouble::after(Some(&first), SignedDuration::from_secs(5), ODD, at(9)).until(Timestamp::MAX)
}

/// A new state fails to compile here: give [`every_state`] one of it, and a new version its dump.
#[expect(clippy::match_same_arms, reason = "arms are lines of a list")]
fn is_in_every_state(runner: &Runner, job: &JobState) {
    match &runner.instance {
        Instance::Planned { .. } | Instance::Creating { .. } | Instance::Booting { .. } => {}
        Instance::Ready { .. } | Instance::Spent { .. } | Instance::Ended { .. } => {}
        Instance::Removing { .. } | Instance::Gone { .. } => {}
    }
    match &runner.registration {
        Registration::None | Registration::Minting { .. } | Registration::Held { .. } => {}
        Registration::HandingOver { .. } | Registration::HandedOver { .. } => {}
        Registration::Online { .. } | Registration::Busy { .. } => {}
        Registration::InDoubt { .. } | Registration::Removing { .. } => {}
        Registration::Gone { .. } => {}
    }
    match runner.retiring.as_ref().map(|retiring| &retiring.reason) {
        None | Some(Reason::JobDone | Reason::CreateFailed { .. } | Reason::CreateTimeout) => {}
        Some(Reason::BootTimeout | Reason::HandOverFailed { .. } | Reason::StartTimeout) => {}
        Some(Reason::EndedWithoutJob { .. } | Reason::IdleRemoved | Reason::Surplus) => {}
        Some(Reason::IdleTimeout | Reason::Drained | Reason::PoolRemoved) => {}
        Some(Reason::ImageReplaced | Reason::WarmExpired | Reason::Orphan) => {}
        Some(Reason::JobTimeout | Reason::Removed | Reason::InstanceLost) => {}
        Some(Reason::TooMany | Reason::WentOffline | Reason::Flushed | Reason::GaveWay) => {}
    }
    match job {
        JobState::Available { .. } | JobState::Assigned { .. } => {}
        JobState::Started { .. } | JobState::Completed { .. } => {}
    }
}

/// Every state that a runner's tracks, a pool's and a job's may have, and every reason: what a store of this version
/// holds, later versions must read.
pub fn every_state() -> Batch {
    let id = InstanceId("engine's".into());
    let registered = RegistrationId(7);
    let since = at(3);
    let exit = Exit { code: Some(1), ..Exit::default() };
    let instances = vec![
        Instance::Planned { since },
        Instance::Creating { since },
        Instance::Booting { since, id: id.clone() },
        Instance::Ready { since, id: id.clone() },
        Instance::Spent { since, id },
        Instance::Ended { since, exit },
        Instance::Removing { since, exit: None },
        Instance::Gone { since, ended: false },
    ];
    let registrations = vec![
        Registration::None,
        Registration::Minting { since },
        Registration::Held { since, id: registered },
        Registration::HandingOver { since, id: registered },
        Registration::HandedOver { since, id: registered },
        Registration::Online { since, id: registered },
        Registration::Busy { since, id: Some(registered), job: None, completed_at: None },
        Registration::InDoubt { since, id: None },
        Registration::Removing { since, id: None, proof: Proof::Removal },
        Registration::Removing { since, id: Some(registered), proof: Proof::Absence },
        Registration::Gone { since },
    ];
    let error = ODD.to_owned();
    let reasons = vec![
        Reason::JobDone,
        Reason::CreateFailed { error: error.clone() },
        Reason::CreateTimeout,
        Reason::BootTimeout,
        Reason::HandOverFailed { error: error.clone() },
        Reason::StartTimeout,
        Reason::EndedWithoutJob { exit: error },
        Reason::IdleRemoved,
        Reason::Surplus,
        Reason::IdleTimeout,
        Reason::Drained,
        Reason::PoolRemoved,
        Reason::ImageReplaced,
        Reason::WarmExpired,
        Reason::Orphan,
        Reason::JobTimeout,
        Reason::Removed,
        Reason::InstanceLost,
        Reason::TooMany,
        Reason::WentOffline,
        Reason::Flushed,
        // Last: earlier versions do not know it.
        Reason::GaveWay,
    ];
    let retiring = |reason| Some(Retiring { since, reason, even_busy: false });
    let numbered = |number: usize| runner(100 + u64::try_from(number).unwrap());
    let rows = instances
        .into_iter()
        .map(|instance| Runner { instance, ..runner(0) })
        .chain(registrations.into_iter().map(|registration| Runner { registration, ..runner(0) }))
        .chain(reasons.into_iter().map(|reason| Runner { retiring: retiring(reason), ..runner(0) }))
        .enumerate()
        .map(|(number, row)| Runner { name: numbered(number).name, ..row })
        .inspect(|row| is_in_every_state(row, &JobState::Assigned { since }));
    let tracks = [
        (ScaleSetTrack::Unknown, SessionTrack::None),
        (
            ScaleSetTrack::Creating { since, group: RunnerGroupId(1) },
            SessionTrack::Stored { id: SessionId("stored".into()) },
        ),
        (
            ScaleSetTrack::Deleting { since, id: ScaleSetId(7), scope: None },
            SessionTrack::Closing { id: SessionId("closing".into()), since },
        ),
    ];
    let pools = (0..).zip(tracks).map(|(number, (scale_set, session))| {
        let name = PoolName::new(format!("state-{number}")).unwrap();
        let state = PoolState { generation: 1, scale_set, session, ..PoolState::new(name.clone()) };
        (name, Some(state))
    });
    let states = [
        JobState::Available { since },
        JobState::Assigned { since },
        JobState::Started { since, runner: "theirs".into() },
        JobState::Completed { since, result: "succeeded".into(), runner: Some("theirs".into()) },
        JobState::Completed { since, result: "canceled".into(), runner: None },
    ];
    let jobs = (0..).zip(states).map(|(number, state)| {
        let id = format!("state-{number}");
        (job_key(&id), Some(Job { state, ..job(&id) }))
    });
    Batch {
        pools: pools.collect(),
        jobs: jobs.collect(),
        workflow_jobs: tracked_in_every_state()
            .into_iter()
            .map(|row| (row.job.id, Some(row)))
            .collect(),
        scopes: [(scope_name(), Some(ScopeState { cursor: None }))].into(),
        ..runners(rows.map(|row| (row.name.clone(), Some(row))))
    }
}

/// One row of everything.
pub fn everything() -> Batch {
    Batch {
        runners: [runner(1), runner(2)].map(|runner| (runner.name.clone(), Some(runner))).into(),
        pools: [(pool_name(), Some(full_pool(1)))].into(),
        jobs: ["a", ODD].map(|id| (job_key(id), Some(job(id)))).into(),
        workflow_jobs: [tracked(7, 1), tracked(7, 2), tracked(i64::MAX, u32::MAX)]
            .map(|row| (row.job.id, Some(row)))
            .into(),
        scopes: [(scope_name(), Some(ScopeState { cursor: Some(i64::MAX) }))].into(),
        troubles: trouble_keys().into_iter().map(|key| (key, Some(trouble()))).collect(),
        clock: Some(at(10)),
    }
}

/// A batch that changes runners alone.
pub fn runners(changes: impl IntoIterator<Item = (RunnerName, Option<Runner>)>) -> Batch {
    Batch { runners: changes.into_iter().collect(), ..Batch::default() }
}

/// So many runners, beside those of [`everything`].
pub fn many(count: u64) -> Batch {
    runners((1_000..1_000 + count).map(|number| (runner_name(number), Some(runner(number)))))
}
