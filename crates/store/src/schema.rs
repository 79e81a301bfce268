//! The tables, how one version's become the next's, and how a dayfly store is told from another database.
//!
//! The SQL keeps to what PostgreSQL takes too (TEXT, BIGINT); what is SQLite's own is in the pragmas.

use std::collections::BTreeMap;

use dayfly_core::ports::{StoreError, StoreErrorKind};
use rusqlite::{Connection, Transaction};

use crate::error::Name;

/// "dyfl": marks the file as ours.
const APPLICATION_ID: i64 = 0x6479_666c;

/// Entry n takes a store of version n to version n + 1. Entries are never changed once released, only added;
/// `tests/versions` holds a store of each version.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
    CREATE TABLE runners (
        name TEXT PRIMARY KEY NOT NULL,
        pool TEXT NOT NULL,
        phase TEXT NOT NULL,
        generation BIGINT NOT NULL,
        data TEXT NOT NULL
    );
    CREATE TABLE pools (name TEXT PRIMARY KEY NOT NULL, generation BIGINT NOT NULL, data TEXT NOT NULL);
    CREATE TABLE jobs (pool TEXT NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (pool, id));
    CREATE TABLE troubles (key TEXT PRIMARY KEY NOT NULL, data TEXT NOT NULL);
", "
    CREATE TABLE workflow_jobs (id BIGINT NOT NULL, attempt BIGINT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (id, attempt));
    CREATE TABLE scopes (name TEXT PRIMARY KEY NOT NULL, data TEXT NOT NULL);
", "
    -- The tables stay: rows of runners say what they take of a budget, and a backend's create calls have a trouble of their own,
    -- which earlier versions can't read.
"];

/// The version of the tables that this dayfly reads and writes.
pub(crate) fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The version of a store: 0 for an empty database. A database of someone else's, or of a newer dayfly, is an error;
/// it is left as it is.
pub(crate) fn version(connection: &Connection, name: &Name) -> Result<i64, StoreError> {
    let failed = name.sql("open");
    let pragma =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(&failed)?;
    let version = pragma("user_version").map_err(&failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(&failed)?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID || version < 1 {
        return Err(name.error(
            "open",
            StoreErrorKind::Corrupt,
            "the file is a database of another program; name another file in `store`",
        ));
    }
    if version > latest() {
        return Err(name.error(
            "open",
            StoreErrorKind::Newer,
            format!(
                "a newer dayfly made it (its tables are of version {version}, this dayfly knows {}); \
                 run the newer dayfly, or name another file in `store`",
                latest()
            ),
        ));
    }
    Ok(version)
}

/// Brings the tables from `version` to the latest, within the caller's transaction.
pub(crate) fn migrate(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    run(transaction, version, MIGRATIONS)
}

fn run(transaction: &Transaction<'_>, version: i64, migrations: &[&str]) -> rusqlite::Result<()> {
    for (number, migration) in (0_i64..).zip(migrations).skip_while(|(number, _)| *number < version)
    {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number + 1)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)
}

/// What in the tables' definitions differs from what `version` should have, in words.
pub(crate) fn differences(connection: &Connection, version: i64) -> rusqlite::Result<Vec<String>> {
    let mut model = Connection::open_in_memory()?;
    let steps = usize::try_from(version).unwrap_or(0).min(MIGRATIONS.len());
    let transaction = model.transaction()?;
    run(&transaction, 0, &MIGRATIONS[..steps])?;
    transaction.commit()?;
    let (wanted, found) = (definitions(&model)?, definitions(connection)?);
    let missing =
        wanted.iter().filter(|(what, sql)| found.get(*what) != Some(sql)).map(|(what, _)| {
            match found.contains_key(what) {
                true => format!("{what} is not defined as dayfly defines it"),
                false => format!("{what} is missing"),
            }
        });
    let foreign = found.keys().filter(|what| !wanted.contains_key(*what));
    Ok(missing.chain(foreign.map(|what| format!("{what} is not of dayfly's making"))).collect())
}

/// Tables, indexes, triggers and views by kind and name, with their SQL.
fn definitions(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Option<String>>> {
    let mut read = connection.prepare("SELECT type, name, sql FROM sqlite_master")?;
    let rows = read.query_map([], |row| {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        // A name in a damaged file may be anything.
        let name: String = name.chars().take(200).collect();
        Ok((format!("{kind} {name:?}"), row.get(2)?))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_migration_runs_once_and_in_order() {
        let steps = [
            "CREATE TABLE a (x TEXT)",
            "INSERT INTO a VALUES ('two')",
            "INSERT INTO a VALUES ('three')",
        ];
        for start in 0..=3 {
            let mut connection = Connection::open_in_memory().unwrap();
            let reached = usize::try_from(start).unwrap();
            let transaction = connection.transaction().unwrap();
            run(&transaction, 0, &steps[..reached]).unwrap();
            transaction.commit().unwrap();
            let transaction = connection.transaction().unwrap();
            run(&transaction, start, &steps).unwrap();
            transaction.commit().unwrap();
            let rows: i64 =
                connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 2, "from version {start}");
            let version: i64 =
                connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, 3);
        }
    }

    #[test]
    fn a_failing_migration_leaves_the_old_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x TEXT)", "INSERT INTO a VALUES ('two')", "no SQL"];
        let transaction = connection.transaction().unwrap();
        run(&transaction, 0, &steps[..1]).unwrap();
        transaction.commit().unwrap();
        let transaction = connection.transaction().unwrap();
        assert!(run(&transaction, 1, &steps).is_err());
        drop(transaction);
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
    }
}
