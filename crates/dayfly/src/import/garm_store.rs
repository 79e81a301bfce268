//! The pools and scale sets of GARM, which it keeps in its database (its `database/sql/models.go`). Only SQLite is read, and
//! nothing of it that is a secret.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// A pool or a scale set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GarmPool {
    /// Of a pool its id, of a scale set its name.
    pub name: String,
    pub is_scale_set: bool,
    /// `OWNER/REPOSITORY`, `ORGANIZATION` or `enterprises/NAME`, with GitHub's address before it where it is not github.com.
    pub url: String,
    /// The name of its credential.
    pub credential: Option<String>,
    pub provider: String,
    pub labels: Vec<String>,
    pub group: Option<String>,
    pub image: String,
    pub flavor: String,
    pub os_type: String,
    pub min_idle: u32,
    pub max: u32,
    pub enabled: bool,
    pub priority: i64,
    pub extra_specs: bool,
}

/// GARM's tables of entities, and how one is addressed below its GitHub.
const ENTITIES: [(&str, &str, &str); 3] = [
    ("repositories", "repo_id", "e.owner || '/' || e.name"),
    ("organizations", "org_id", "e.name"),
    ("enterprises", "enterprise_id", "'enterprises/' || e.name"),
];

/// Reads every pool and scale set.
///
/// # Errors
/// Where it is no database of GARM's, or can't be read.
pub fn pools(path: &Path) -> Result<Vec<GarmPool>, String> {
    let failed = |error: rusqlite::Error| format!("GARM's database {}: {error}", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    let mut pools = Vec::new();
    for (table, sets) in [("pools", false), ("scale_sets", true)] {
        // Before GARM 0.2 there were no scale sets.
        if sets && !has(&connection, table, "id").map_err(failed)? {
            continue;
        }
        for (entities, key, address) in ENTITIES {
            pools.extend(of(&connection, table, entities, key, address, sets).map_err(failed)?);
        }
    }
    Ok(pools)
}

fn of(
    connection: &Connection,
    table: &str,
    entities: &str,
    key: &str,
    address: &str,
    sets: bool,
) -> rusqlite::Result<Vec<GarmPool>> {
    let column = |column: &str, otherwise: &str| -> rusqlite::Result<String> {
        Ok(if has(connection, table, column)? {
            format!("p.{column}")
        } else {
            otherwise.to_owned()
        })
    };
    let priority = column("priority", "0")?;
    let group = column("git_hub_runner_group", "''")?;
    let extra = column("extra_specs", "NULL")?;
    let base = if has(connection, entities, "endpoint_name")? {
        "(SELECT base_url FROM github_endpoints g WHERE g.name = e.endpoint_name)"
    } else {
        "NULL"
    };
    let name = if sets { "p.name" } else { "p.id" };
    let sql = format!(
        "SELECT {name}, coalesce({base}, 'https://github.com') || '/' || {address}, e.credentials_name, p.provider_name, \
         {group}, p.image, p.flavor, p.os_type, p.min_idle_runners, p.max_runners, p.enabled, {priority}, \
         {extra}, CAST(p.id AS TEXT) FROM {table} p JOIN {entities} e ON e.id = p.{key} WHERE p.deleted_at IS NULL \
         AND e.deleted_at IS NULL ORDER BY p.created_at"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let id: String = row.get(13)?;
        Ok((pool(row, sets)?, id))
    })?;
    let mut pools = Vec::new();
    for row in rows {
        let (mut pool, id) = row?;
        if !sets {
            let mut tags = connection.prepare_cached(
                "SELECT t.name FROM pool_tags x JOIN tags t ON t.id = x.tag_id WHERE x.pool_id = ? ORDER BY t.name",
            )?;
            pool.labels = tags.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
        }
        pools.push(pool);
    }
    Ok(pools)
}

fn pool(row: &Row<'_>, is_scale_set: bool) -> rusqlite::Result<GarmPool> {
    let text = |index: usize| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(index)?.unwrap_or_default())
    };
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let extra: Option<Vec<u8>> = match row.get_ref(12)? {
        rusqlite::types::ValueRef::Null => None,
        value => value.as_bytes().ok().map(<[u8]>::to_vec),
    };
    let extra = extra.as_deref().unwrap_or_default().trim_ascii();
    Ok(GarmPool {
        name: text(0)?,
        is_scale_set,
        url: text(1)?,
        credential: filled(text(2)?),
        provider: text(3)?,
        labels: Vec::new(),
        group: filled(text(4)?),
        image: text(5)?,
        flavor: text(6)?,
        os_type: text(7)?,
        min_idle: row.get(8)?,
        max: row.get(9)?,
        enabled: row.get(10)?,
        priority: row.get(11)?,
        extra_specs: !matches!(extra, b"" | b"null" | b"{}"),
    })
}

fn has(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM pragma_table_info(?) WHERE name = ?";
    connection.query_row(sql, [table, column], |row| row.get(0))
}
