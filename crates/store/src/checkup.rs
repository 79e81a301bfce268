//! What is wrong with a store: SQLite's own check of the file, then what every row means. Changes nothing.

use std::{collections::BTreeSet, path::Path};

use dayfly_core::{
    model::ControllerId,
    ports::{StoreError, StoreErrorKind},
};
use rusqlite::Connection;

use crate::{
    error::{Name, corrupt_remedy},
    rows::{self, Damage},
    schema,
    sqlite::{complaints, connect_read_only},
};

/// More problems than this are not told one by one: a person reads the first few, and none of them is mended by hand.
const PROBLEMS_MAX: usize = 100;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkup {
    /// The version of its tables; `None` where that can't be read.
    pub version: Option<i64>,
    /// Whose store it is; `None` where that can't be read.
    pub controller: Option<ControllerId>,
    /// Readable rows of runners.
    pub runners: usize,
    /// Readable rows of pools.
    pub pools: usize,
    /// Readable rows of jobs.
    pub jobs: usize,
    /// Readable rows of troubles.
    pub troubles: usize,
    /// What is wrong, in words, at most 101 lines. Empty: the store is in order.
    pub problems: Vec<String>,
}

impl Checkup {
    /// What to do about the problems.
    #[must_use]
    pub fn remedy() -> &'static str {
        corrupt_remedy()
    }

    /// Checks the store at `path`, also while a daemon has it: all that is told is of one moment.
    ///
    /// # Errors
    /// Where it can't be checked: `Io` (not there, empty), `ReadOnly`, `Newer`. Damage is no error, but a problem.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let name = Name::of_file(path);
        let mut checkup = Self::default();
        match checkup.look(path, &name) {
            // What SQLite itself refuses to read is what a check is for.
            Err(error) if error.kind == StoreErrorKind::Corrupt => checkup.note(error.detail),
            result => result?,
        }
        let more = checkup.problems.len().saturating_sub(PROBLEMS_MAX);
        if more > 0 {
            checkup.problems.truncate(PROBLEMS_MAX);
            checkup.problems.push(format!("and {more} more"));
        }
        Ok(checkup)
    }

    fn look(&mut self, path: &Path, name: &Name) -> Result<(), StoreError> {
        let mut connection = connect_read_only(path, name)?;
        let version = schema::version(&connection, name)?;
        self.version = Some(version);
        if version == 0 {
            let detail = "it is empty; `dayfly run` makes a store of it";
            return Err(name.error("check", StoreErrorKind::Io, detail));
        }
        let failed = name.sql("check");
        let transaction = connection.transaction().map_err(&failed)?;
        let max = u32::try_from(PROBLEMS_MAX).unwrap_or(u32::MAX);
        self.problems.extend(complaints(&transaction, max).map_err(&failed)?);
        let differences = schema::differences(&transaction, version).map_err(&failed)?;
        let sound = differences.is_empty();
        self.problems.extend(differences);
        // Rows of an older version are read once `dayfly run` has brought them up to date.
        if sound && version == schema::latest() {
            self.rows(&transaction, name)?;
            self.doubles(&transaction, name)?;
        }
        Ok(())
    }

    fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Takes the readable ones; notes the others.
    fn readable<T>(&mut self, row: Result<T, Damage>) -> Option<T> {
        row.map_err(|damage| self.note(damage.to_string())).ok()
    }

    fn rows(&mut self, connection: &Connection, name: &Name) -> Result<(), StoreError> {
        self.controller = self.readable(rows::controller(connection, name)?);
        self.readable(rows::clock(connection, name)?);
        rows::pools(connection, name, &mut |row| {
            self.pools += usize::from(self.readable(row).is_some());
            Ok(())
        })?;
        rows::runners(connection, name, &mut |row| {
            let Some(runner) = self.readable(row) else { return Ok(()) };
            self.runners += 1;
            if self.controller.is_some_and(|controller| !runner.name.is_of(controller)) {
                self.note(format!(
                    "runner {} does not bear this controller's mark in its name",
                    runner.name
                ));
            }
            Ok(())
        })?;
        rows::jobs(connection, name, &mut |row| {
            self.jobs += usize::from(self.readable(row).is_some());
            Ok(())
        })?;
        rows::workflow_jobs(connection, name, &mut |row| {
            self.jobs += usize::from(self.readable(row).is_some());
            Ok(())
        })?;
        rows::scopes(connection, name, &mut |row| {
            self.readable(row);
            Ok(())
        })?;
        rows::troubles(connection, name, &mut |row| {
            self.troubles += usize::from(self.readable(row).is_some());
            Ok(())
        })
    }

    /// What contradicts itself between rows and columns. The keys are unique by index: what has two rows all the same is
    /// found without it.
    fn doubles(&mut self, connection: &Connection, name: &Name) -> Result<(), StoreError> {
        const TWICE: [(&str, &str); 6] = [
            ("runner", "SELECT name FROM runners NOT INDEXED GROUP BY name HAVING count(*) > 1"),
            ("pool", "SELECT name FROM pools NOT INDEXED GROUP BY name HAVING count(*) > 1"),
            ("job", "SELECT id FROM jobs NOT INDEXED GROUP BY pool, id HAVING count(*) > 1"),
            (
                "workflow job",
                "SELECT CAST(id AS TEXT) FROM workflow_jobs NOT INDEXED GROUP BY id, attempt HAVING count(*) > 1",
            ),
            ("scope", "SELECT name FROM scopes NOT INDEXED GROUP BY name HAVING count(*) > 1"),
            ("trouble", "SELECT key FROM troubles NOT INDEXED GROUP BY key HAVING count(*) > 1"),
        ];
        for (what, sql) in TWICE {
            for key in texts(connection, sql).map_err(name.sql("check"))? {
                self.note(format!("{what} {key:?} has more than one row"));
            }
        }
        let strayed =
            "SELECT name FROM runners WHERE pool || '-' != substr(name, 1, length(name) - 14)";
        for key in texts(connection, strayed).map_err(name.sql("check"))? {
            self.note(format!("runner {key:?} is filed under another pool than its name tells"));
        }
        Ok(())
    }
}

/// The first column of at most [`PROBLEMS_MAX`] rows, each once, as text of at most 200 characters.
fn texts(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default())
            .chars()
            .take(200)
            .collect())
    })?;
    rows.take(PROBLEMS_MAX).collect()
}
