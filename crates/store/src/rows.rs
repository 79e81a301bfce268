//! Rows: how each thing is written and read.
//!
//! The data is JSON with times as text; the columns beside it are its key, what a commit compares, and what helps a
//! person who looks into the file.

use std::fmt;

use dayfly_core::{
    model::{
        ControllerId, Job, PoolName, PoolState, Runner, RunnerName, ScopeName, ScopeState,
        TrackedJob, Trouble, TroubleKey,
    },
    ports::{Batch, StoreError, StoreErrorKind, Stored},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, types::ToSql};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::error::{Name, corrupt_remedy};

/// The key of the controller's id in `meta`.
const CONTROLLER: &str = "controller";
/// The key of the controller's clock in `meta`.
const CLOCK: &str = "clock";

pub(crate) fn insert_controller(
    transaction: &Transaction<'_>,
    controller: ControllerId,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute((CONTROLLER, controller.0.to_string())).map(|_| ())
}

/// What is wrong with a row: of which table, under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    table: &'static str,
    key: String,
    what: String,
}

impl Damage {
    fn new(table: &'static str, key: &str, what: impl fmt::Display) -> Self {
        // A key in a damaged file may be anything.
        Self { table, key: key.chars().take(200).collect(), what: what.to_string() }
    }

    fn error(&self, name: &Name) -> StoreError {
        name.error("load", StoreErrorKind::Corrupt, format!("{self}; {}", corrupt_remedy()))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, what } = self;
        write!(f, "row {key:?} of table {table} cannot be read: {what}")
    }
}

/// Takes in rows one by one, readable or not; an error ends the reading.
pub(crate) type Take<'a, T> = &'a mut dyn FnMut(Result<T, Damage>) -> Result<(), StoreError>;

/// Reads all.
pub(crate) fn load(connection: &Connection, name: &Name) -> Result<Stored, StoreError> {
    let damaged = |damage: Damage| damage.error(name);
    Ok(Stored {
        controller: controller(connection, name)?.map_err(damaged)?,
        clock: clock(connection, name)?.map_err(damaged)?,
        runners: all(name, |take| runners(connection, name, take))?,
        pools: all(name, |take| pools(connection, name, take))?,
        jobs: all(name, |take| jobs(connection, name, take))?,
        workflow_jobs: all(name, |take| workflow_jobs(connection, name, take))?,
        scopes: all(name, |take| scopes(connection, name, take))?,
        troubles: all(name, |take| troubles(connection, name, take))?,
    })
}

/// Every row, where each can be read.
pub(crate) fn all<T>(
    name: &Name,
    read: impl FnOnce(Take<'_, T>) -> Result<(), StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    read(&mut |row| {
        rows.push(row.map_err(|damage| damage.error(name))?);
        Ok(())
    })?;
    Ok(rows)
}

/// Whose store it is.
pub(crate) fn controller(
    connection: &Connection,
    name: &Name,
) -> Result<Result<ControllerId, Damage>, StoreError> {
    let bad = |what: &dyn fmt::Display| Damage::new("meta", CONTROLLER, what);
    Ok(match meta(connection, name, CONTROLLER)? {
        None => Err(bad(&"it is missing")),
        Some(text) => text.parse::<Uuid>().map(ControllerId).map_err(|error| bad(&error)),
    })
}

/// The clock at the newest commit.
pub(crate) fn clock(
    connection: &Connection,
    name: &Name,
) -> Result<Result<Option<Timestamp>, Damage>, StoreError> {
    let clock = meta(connection, name, CLOCK)?.map(|text| text.parse::<Timestamp>());
    Ok(clock.transpose().map_err(|error| Damage::new("meta", CLOCK, error)))
}

fn meta(connection: &Connection, name: &Name, key: &str) -> Result<Option<String>, StoreError> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .map_err(name.sql("load"))
}

/// Reads the runners' rows.
pub(crate) fn runners(
    connection: &Connection,
    name: &Name,
    take: Take<'_, Runner>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "runners",
        "SELECT data, name, generation FROM runners ORDER BY name",
        |row, runner: Runner| {
            let generation: i64 = row.get(2)?;
            Ok((runner.name.as_str() == row.get_ref(1)?.as_str()?
                && i64::try_from(runner.generation) == Ok(generation))
            .then_some(runner))
        },
        take,
    )
}

/// Reads the pools' rows.
pub(crate) fn pools(
    connection: &Connection,
    name: &Name,
    take: Take<'_, PoolState>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "pools",
        "SELECT data, name, generation FROM pools ORDER BY name",
        |row, pool: PoolState| {
            let generation: i64 = row.get(2)?;
            Ok((pool.name.as_str() == row.get_ref(1)?.as_str()?
                && i64::try_from(pool.generation) == Ok(generation))
            .then_some(pool))
        },
        take,
    )
}

/// Reads the jobs' rows.
pub(crate) fn jobs(
    connection: &Connection,
    name: &Name,
    take: Take<'_, (PoolName, Job)>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "jobs",
        "SELECT data, id, pool FROM jobs ORDER BY pool, id",
        |row, job: Job| {
            let pool: String = row.get(2)?;
            let same = *job.id.0 == *row.get_ref(1)?.as_str()?;
            Ok(PoolName::new(pool).ok().filter(|_| same).map(|pool| (pool, job)))
        },
        take,
    )
}

/// Reads the workflow jobs' rows.
pub(crate) fn workflow_jobs(
    connection: &Connection,
    name: &Name,
    take: Take<'_, TrackedJob>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "workflow_jobs",
        "SELECT data, CAST(id AS TEXT), id, attempt FROM workflow_jobs ORDER BY id, attempt",
        |row, tracked: TrackedJob| {
            let id = tracked.job.id;
            let same = (id.id, i64::from(id.attempt)) == (row.get(2)?, row.get(3)?);
            Ok(same.then_some(tracked))
        },
        take,
    )
}

/// Reads the scopes' rows.
pub(crate) fn scopes(
    connection: &Connection,
    name: &Name,
    take: Take<'_, (ScopeName, ScopeState)>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "scopes",
        "SELECT data, name FROM scopes ORDER BY name",
        |row, state: ScopeState| {
            Ok(ScopeName::new(row.get_ref(1)?.as_str()?).ok().map(|name| (name, state)))
        },
        take,
    )
}

/// Reads the troubles' rows.
pub(crate) fn troubles(
    connection: &Connection,
    name: &Name,
    take: Take<'_, (TroubleKey, Trouble)>,
) -> Result<(), StoreError> {
    table(
        connection,
        name,
        "troubles",
        "SELECT data, key FROM troubles ORDER BY key",
        |row, trouble: Trouble| {
            Ok(serde_json::from_str(row.get_ref(1)?.as_str()?).ok().map(|key| (key, trouble)))
        },
        take,
    )
}

/// Reads a table whose first column is the data and whose second is the key; `finish` answers `None` where the columns
/// contradict the data.
fn table<D: DeserializeOwned, T>(
    connection: &Connection,
    name: &Name,
    table: &'static str,
    sql: &str,
    finish: impl Fn(&Row<'_>, D) -> rusqlite::Result<Option<T>>,
    take: Take<'_, T>,
) -> Result<(), StoreError> {
    let failed = name.sql("load");
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let read = |row: &Row<'_>| {
        let key: String = row.get(1).unwrap_or_else(|_| "(not text)".to_owned());
        let bad = |what: &dyn fmt::Display| Damage::new(table, &key, what);
        let text: String = row.get(0).map_err(|error| bad(&error))?;
        let data = serde_json::from_str(&text).map_err(|error| bad(&error))?;
        let whole = finish(row, data).map_err(|error| bad(&error))?;
        whole.ok_or_else(|| bad(&"its columns contradict its data"))
    };
    while let Some(row) = rows.next().map_err(&failed)? {
        take(read(row))?;
    }
    Ok(())
}

/// Writes a batch, within the caller's transaction. An error leaves that to be rolled back.
pub(crate) fn write(connection: &Connection, batch: &Batch, name: &Name) -> Result<(), StoreError> {
    let writer = Writer { connection, name };
    for (key, runner) in &batch.runners {
        match runner {
            Some(runner) => writer.runner(key, runner)?,
            None => writer.delete("DELETE FROM runners WHERE name = ?1", key.as_str())?,
        }
    }
    for (key, pool) in &batch.pools {
        match pool {
            Some(pool) => writer.pool(key, pool)?,
            None => writer.delete("DELETE FROM pools WHERE name = ?1", key.as_str())?,
        }
    }
    for (key, job) in &batch.jobs {
        let (pool, id) = (key.pool.as_str(), &*key.job.0);
        match job {
            Some(job) => writer.execute(
                "INSERT INTO jobs (pool, id, data) VALUES (?1, ?2, ?3)
                 ON CONFLICT (pool, id) DO UPDATE SET data = excluded.data",
                &[&pool, &id, &writer.json(job)?],
            )?,
            None => {
                writer.execute("DELETE FROM jobs WHERE pool = ?1 AND id = ?2", &[&pool, &id])?
            }
        };
    }
    for (key, tracked) in &batch.workflow_jobs {
        let (id, attempt) = (key.id, i64::from(key.attempt));
        match tracked {
            Some(tracked) => writer.execute(
                "INSERT INTO workflow_jobs (id, attempt, data) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id, attempt) DO UPDATE SET data = excluded.data",
                &[&id, &attempt, &writer.json(tracked)?],
            )?,
            None => writer.execute(
                "DELETE FROM workflow_jobs WHERE id = ?1 AND attempt = ?2",
                &[&id, &attempt],
            )?,
        };
    }
    for (name, scope) in &batch.scopes {
        match scope {
            Some(scope) => writer.execute(
                "INSERT INTO scopes (name, data) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET data = excluded.data",
                &[&name.as_str(), &writer.json(scope)?],
            )?,
            None => writer.execute("DELETE FROM scopes WHERE name = ?1", &[&name.as_str()])?,
        };
    }
    for (key, trouble) in &batch.troubles {
        let key = writer.json(key)?;
        match trouble {
            Some(trouble) => writer.execute(
                "INSERT INTO troubles (key, data) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET data = excluded.data",
                &[&key, &writer.json(trouble)?],
            )?,
            None => writer.execute("DELETE FROM troubles WHERE key = ?1", &[&key])?,
        };
    }
    if let Some(clock) = batch.clock {
        writer.execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &[&CLOCK, &clock.to_string()],
        )?;
    }
    Ok(())
}

struct Writer<'a> {
    connection: &'a Connection,
    name: &'a Name,
}

impl Writer<'_> {
    fn runner(&self, key: &RunnerName, runner: &Runner) -> Result<(), StoreError> {
        let generation = self.generation("runner", key, &runner.name, runner.generation)?;
        let (name, pool, phase) = (key.as_str(), key.pool_str(), runner.phase().to_string());
        let data = self.json(runner)?;
        let written = if generation == 1 {
            self.execute(
                "INSERT INTO runners (name, pool, phase, generation, data) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO NOTHING",
                &[&name, &pool, &phase, &generation, &data],
            )?
        } else {
            self.execute(
                "UPDATE runners SET phase = ?1, generation = ?2, data = ?3 WHERE name = ?4 AND generation = ?2 - 1",
                &[&phase, &generation, &data, &name],
            )?
        };
        self.one_row("runner", name, generation, written)
    }

    fn pool(&self, key: &PoolName, pool: &PoolState) -> Result<(), StoreError> {
        let generation = self.generation("pool", key, &pool.name, pool.generation)?;
        let (name, data) = (key.as_str(), self.json(pool)?);
        let written = if generation == 1 {
            self.execute(
                "INSERT INTO pools (name, generation, data) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
                &[&name, &generation, &data],
            )?
        } else {
            self.execute(
                "UPDATE pools SET generation = ?1, data = ?2 WHERE name = ?3 AND generation = ?1 - 1",
                &[&generation, &data, &name],
            )?
        };
        self.one_row("pool", name, generation, written)
    }

    /// Deletes a row, if it is there: one that came and went between two commits never was.
    fn delete(&self, sql: &str, key: &str) -> Result<(), StoreError> {
        self.execute(sql, &[&key]).map(|_| ())
    }

    fn execute(&self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        let failed = self.name.sql("commit to");
        self.connection.prepare_cached(sql).map_err(&failed)?.execute(values).map_err(&failed)
    }

    fn json(&self, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| {
            self.name.error(
                "commit to",
                StoreErrorKind::Io,
                format!("a row has no JSON form: {error}"),
            )
        })
    }

    /// The generation as SQL has it. A row under another's key, or a generation of 0, would make the store unreadable.
    fn generation<N: PartialEq + std::fmt::Display>(
        &self,
        what: &str,
        key: &N,
        own: &N,
        generation: u64,
    ) -> Result<i64, StoreError> {
        i64::try_from(generation)
            .ok()
            .filter(|generation| *generation > 0 && key == own)
            .ok_or_else(|| {
                let detail = format!(
                    "row of {what} {key} holds {own} with generation {generation}: this is a bug"
                );
                self.name.error("commit to", StoreErrorKind::Generation, detail)
            })
    }

    fn one_row(
        &self,
        what: &str,
        key: &str,
        generation: i64,
        written: usize,
    ) -> Result<(), StoreError> {
        if written == 1 {
            return Ok(());
        }
        let was = if generation == 1 {
            "not to exist".to_owned()
        } else {
            format!("to be of generation {}", generation - 1)
        };
        let detail = format!(
            "row of {what} {key} was {was}, and is not so: two daemons on one store, or a bug; \
             nothing of the commit is stored"
        );
        Err(self.name.error("commit to", StoreErrorKind::Generation, detail))
    }
}
