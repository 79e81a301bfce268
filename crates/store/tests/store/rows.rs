//! Rows to store.

use std::collections::BTreeSet;

use dayfly_core::{
    model::{
        Attempt, BackendName, ControllerId, Exit, Instance, Job, JobId, JobState, MessageId,
        PoolName, PoolState, Reason, Registration, RegistrationId, Retiring, Runner, RunnerGroupId,
        RunnerName, ScaleSetId, ScaleSetTrack, ScopeName, SessionId, SessionTrack, Statistics,
        Suffix, Trouble, TroubleKey,
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
        instance: Instance::Removing { since: at(7), exit: Some(exit) },
        registration: Registration::Busy {
            since: at(5),
            id: RegistrationId(i64::MAX),
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

pub fn trouble_keys() -> Vec<TroubleKey> {
    let (pool, backend) = (pool_name(), BackendName::new("here").unwrap());
    vec![
        TroubleKey::Creation { pool: pool.clone(), backend: backend.clone(), mark: ODD.into() },
        TroubleKey::Backend { backend },
        TroubleKey::Credential { scope: ScopeName::new("acme").unwrap() },
        TroubleKey::ScaleSet { pool },
    ]
}

pub fn trouble() -> Trouble {
    let first = Trouble::after(None, SignedDuration::from_secs(5), "first", at(0));
    Trouble::after(Some(&first), SignedDuration::from_secs(5), ODD, at(9)).until(Timestamp::MAX)
}

/// One row of everything.
pub fn everything() -> Batch {
    Batch {
        runners: [runner(1), runner(2)].map(|runner| (runner.name.clone(), Some(runner))).into(),
        pools: [(pool_name(), Some(full_pool(1)))].into(),
        jobs: ["a", ODD].map(|id| (job_key(id), Some(job(id)))).into(),
        troubles: trouble_keys().into_iter().map(|key| (key, Some(trouble()))).collect(),
        clock: Some(at(10)),
    }
}

/// A batch that changes runners alone.
pub fn runners(changes: impl IntoIterator<Item = (RunnerName, Option<Runner>)>) -> Batch {
    Batch { runners: changes.into_iter().collect(), ..Batch::default() }
}
