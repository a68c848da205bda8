//! What a database holds of a table, and what has to be done that a kind can be stored there.

use std::sync::Arc;

use tokio_postgres::{Client, error::SqlState, types::Type};

use super::{
    error::{PostgresError, ServerError},
    options::PostgresOptions,
    sql::{self, MARK, VERSION},
};
use crate::record::{Column, Table};

/// The key of the lock under which schemas are changed: `mds sche` in ASCII.
const LOCK: i64 = 0x6d64_7320_7363_6865;

/// How long a change waits for those who use the table. Then it is tried again with a later batch.
const LOCK_TIMEOUT: &str = "2s";

/// The database's encoding, and the schema of the tables if it is there; `$1` is its name, or empty.
const PLACE: &str = "SELECT pg_encoding_to_char(encoding)::text, \
    CASE $1 WHEN '' THEN current_schema() ELSE (SELECT nspname FROM pg_namespace WHERE nspname = $1) END::text \
    FROM pg_database WHERE datname = current_database()";

/// A row a column, with what is known of the table; no row where there is no table. Its place in the key counts from 0.
const COLUMNS: &str = "SELECT c.relkind::text, obj_description(c.oid, 'pg_class'), a.attname::text, \
    format_type(a.atttypid, a.atttypmod) || CASE co.collname WHEN 'C' THEN ' COLLATE \"C\"' ELSE '' END, \
    a.attnotnull, array_position(i.indkey::int2[], a.attnum), \
    has_table_privilege(c.oid, 'SELECT'), \
    has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE'), current_user::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_collation co ON co.oid = a.attcollation \
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum";

/// Sees to it that a kind can be stored: looks, and makes what is missing, under a lock that excludes other processes.
/// Returns the schema that the table is in.
///
/// # Errors
/// The table is another one, or must not be made, or the server does not answer.
pub(super) async fn make_ready(
    client: &Client,
    database: &Arc<str>,
    options: &PostgresOptions,
    table: &Table,
    may_make: bool,
) -> Result<String, PostgresError> {
    let look = Look { client, database, options, table, writes: true };
    // The first look takes no lock.
    let (schema, missing) = look.missing().await?;
    if missing.is_empty() {
        return Ok(schema);
    }
    if !options.migrates {
        return Err(look.not_migrated(&missing, "MDS_PG_MIGRATE is never".to_owned()));
    }
    if !may_make {
        // Another program has dropped it, and may be about to restore it.
        let reason = "it was there before, so this process does not make it again".to_owned();
        return Err(look.failed_for_now(look.not_migrated(&missing, reason)));
    }
    look.run("BEGIN").await.map_err(|error| look.failed("begin a transaction", error))?;
    let made = look.make().await;
    if made.is_err() {
        // Without an answer the connection is dropped, which does the same.
        let _ = look.run("ROLLBACK").await;
    }
    made
}

/// Looks whether a kind can be read. Returns the schema that its table is in.
///
/// # Errors
/// The table is not there or another one, or the server does not answer.
pub(super) async fn find(
    client: &Client,
    database: &Arc<str>,
    options: &PostgresOptions,
    table: &Table,
) -> Result<String, PostgresError> {
    let (schema, missing) = Look { client, database, options, table, writes: false }.missing().await?;
    if missing.is_empty() {
        return Ok(schema);
    }
    Err(PostgresError::NoTable { database: database.to_string(), table: table.name() })
}

struct Look<'a> {
    client: &'a Client,
    database: &'a Arc<str>,
    options: &'a PostgresOptions,
    table: &'a Table,
    /// Or it is only read.
    writes: bool,
}

impl Look<'_> {
    async fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    fn failed(&self, step: &'static str, error: tokio_postgres::Error) -> PostgresError {
        PostgresError::Server { database: self.database.to_string(), step, source: ServerError(error).into() }
    }

    /// Makes of an error that is for good one that may pass.
    fn failed_for_now(&self, error: PostgresError) -> PostgresError {
        PostgresError::Server { database: self.database.to_string(), step: "find a table", source: error.into() }
    }

    fn not_migrated(&self, missing: &[String], reason: String) -> PostgresError {
        let problem = format!("the table {} or a column of it is missing", self.table.name());
        PostgresError::NotMigrated {
            database: self.database.to_string(),
            problem,
            reason,
            // On one line, as every error is.
            sql: missing.join("; ").split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }

    /// Makes what is missing, within a transaction.
    async fn make(&self) -> Result<String, PostgresError> {
        let lock = format!("SELECT pg_advisory_xact_lock({LOCK})");
        self.run(&lock).await.map_err(|error| self.failed("lock the schema", error))?;
        // Another process may have made it meanwhile.
        let (schema, missing) = self.missing().await?;
        if !missing.is_empty() {
            // One that waits for a table holds up all that come behind it, readers too.
            let wait = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'");
            self.run(&wait).await.map_err(|error| self.failed("begin a transaction", error))?;
            if let Err(error) = self.run(&missing.join(";\n")).await {
                return Err(match error.code() {
                    Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                        self.not_migrated(&missing, ServerError(error).to_string())
                    }
                    // No other process of this program makes it meanwhile.
                    Some(code) if [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT].contains(code) => {
                        PostgresError::NameTaken {
                            database: self.database.to_string(),
                            table: sql::place(self.table, Some(&schema)),
                            problem: ServerError(error).to_string(),
                        }
                    }
                    _ => self.failed("make a table", error),
                });
            }
            let statements = missing.len();
            tracing::info!(database = &**self.database, table = self.table.name(), statements, "a table was made");
        }
        self.run("COMMIT").await.map_err(|error| self.failed("commit the schema", error))?;
        Ok(schema)
    }

    fn not_granted(&self, schema: &str, role: &str) -> PostgresError {
        let table = sql::place(self.table, Some(schema));
        let (rights, what) =
            if self.writes { ("SELECT, INSERT, UPDATE", "read and write it") } else { ("SELECT", "read it") };
        PostgresError::NotMigrated {
            database: self.database.to_string(),
            sql: format!("GRANT {rights} ON {table} TO {}", sql::quoted(role)),
            problem: format!("the table {table} is there"),
            reason: format!("the role {role} may not {what}"),
        }
    }

    /// Returns the schema, and the statements that make what is missing.
    async fn missing(&self) -> Result<(String, Vec<String>), PostgresError> {
        let database = || self.database.to_string();
        let at = |error| self.failed("read the schema", error);
        let wanted = self.options.schema.as_deref().unwrap_or_default();
        let place = self.client.query_typed_one(PLACE, &[(&wanted, Type::TEXT)]).await.map_err(at)?;
        let encoding: String = place.try_get(0).map_err(at)?;
        if encoding != "UTF8" {
            return Err(PostgresError::Encoding { database: database(), found: encoding });
        }
        let found: Option<String> = place.try_get(1).map_err(at)?;
        let mut missing = Vec::new();
        let schema = match (found, wanted) {
            (Some(schema), _) => schema,
            (None, "") => return Err(PostgresError::NoSchema { database: database() }),
            (None, wanted) => {
                missing.push(sql::create_schema(wanted));
                wanted.to_owned()
            }
        };
        let name = self.table.name();
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&schema, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.client.query_typed(COLUMNS, &parameters).await.map_err(at)?;
        let Some(first) = rows.first() else {
            missing.extend(sql::create(self.table, Some(&schema)));
            return Ok((schema, missing));
        };
        let table = || format!("{schema}.{name}");
        let (kind, comment): (String, Option<String>) = (first.try_get(0).map_err(at)?, first.try_get(1).map_err(at)?);
        let version = comment.as_deref().and_then(|comment| comment.strip_prefix(MARK));
        let version = version.map(|rest| rest.split(':').next().unwrap_or_default().to_owned());
        match version {
            // Also one that its owner has parted.
            Some(version) if version == VERSION.to_string() && matches!(&*kind, "r" | "p") => {}
            Some(found) if found.parse::<u32>().is_ok_and(|found| found > VERSION) => {
                return Err(PostgresError::NewerSchema { database: database(), table: table(), found, known: VERSION });
            }
            _ => return Err(PostgresError::ForeignTable { database: database(), table: table() }),
        }
        let (may_read, may_write): (bool, bool) = (first.try_get(6).map_err(at)?, first.try_get(7).map_err(at)?);
        if !may_read || self.writes && !may_write {
            let role: String = first.try_get(8).map_err(at)?;
            return Err(self.not_granted(&schema, &role));
        }
        let mut columns = Vec::new();
        for row in &rows {
            columns.push(Found {
                name: row.try_get(2).map_err(at)?,
                declared: row.try_get(3).map_err(at)?,
                is_required: row.try_get(4).map_err(at)?,
                place_in_key: row.try_get(5).map_err(at)?,
            });
        }
        match compare(self.table, &columns) {
            Ok(added) => missing.extend(added.iter().flat_map(|column| sql::add(self.table, &schema, column))),
            Err(difference) => {
                return Err(PostgresError::OtherShape { database: database(), table: table(), difference });
            }
        }
        Ok((schema, missing))
    }
}

/// A column that is there.
#[derive(Clone, Debug)]
struct Found {
    name: String,
    declared: String,
    is_required: bool,
    place_in_key: Option<i32>,
}

/// Returns the columns that are to be added, or says in what else the table differs.
fn compare(table: &Table, found: &[Found]) -> Result<Vec<&'static Column>, String> {
    let expected = sql::sql_columns(table);
    let mut added: Vec<&'static Column> = Vec::new();
    for column in &expected {
        let (name, declared) = (&column.name, column.declared());
        let Some(there) = found.iter().find(|there| there.name == *name) else {
            if !column.of.is_optional() {
                return Err(format!("has no column {name}: expected {name} {declared} NOT NULL"));
            }
            if !added.contains(&column.of) {
                added.push(column.of);
            }
            continue;
        };
        if there.declared != declared {
            return Err(format!("has the column {name} {}: expected {name} {declared}", there.declared));
        }
        if there.is_required == column.of.is_optional() {
            let (is, should) = if there.is_required { ("NOT NULL", "NULL") } else { ("NULL", "NOT NULL") };
            return Err(format!("has the column {name} {declared} {is}: expected {should}"));
        }
    }
    // Half of a time in nanoseconds was taken away.
    if let Some(half) =
        expected.iter().find(|column| added.contains(&column.of) && found.iter().any(|there| there.name == column.name))
    {
        return Err(format!("has the column {} alone of two: expected its other one too", half.name));
    }
    if let Some(other) = found.iter().find(|there| expected.iter().all(|column| column.name != there.name)) {
        let names: Vec<&str> = expected.iter().map(|column| &*column.name).collect();
        return Err(format!("has the column {}: expected no others than {}", other.name, names.join(", ")));
    }
    let mut key: Vec<&Found> = found.iter().filter(|there| there.place_in_key.is_some()).collect();
    key.sort_by_key(|there| there.place_in_key);
    let key: Vec<&str> = key.iter().map(|there| &*there.name).collect();
    let expected = sql::key(table);
    if key != expected {
        return Err(format!("has the primary key ({}): expected ({})", key.join(", "), expected.join(", ")));
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Quote, Tabular};

    /// The columns of quotes as they are made.
    fn made() -> Vec<Found> {
        let key = sql::key(&Quote::TABLE);
        let columns = sql::sql_columns(&Quote::TABLE).into_iter().map(|column| Found {
            place_in_key: key.iter().position(|name| *name == column.name).map(|at| at as i32),
            declared: column.declared(),
            is_required: !column.of.is_optional(),
            name: column.name,
        });
        columns.collect()
    }

    fn with(change: impl FnOnce(&mut Vec<Found>)) -> Result<Vec<&'static str>, String> {
        let mut found = made();
        change(&mut found);
        Ok(compare(&Quote::TABLE, &found)?.into_iter().map(Column::name).collect())
    }

    // Red when a difference passes, under which columns are written that mean something else, or one that is none stops a
    // store.
    #[test]
    fn optional_columns_are_added_and_every_other_difference_is_named() {
        let at = |found: &mut Vec<Found>, name: &str| found.iter().position(|one| one.name == name).unwrap();
        assert_eq!(with(|_| ()), Ok(vec![]));
        assert_eq!(with(|found| found.reverse()), Ok(vec![]), "in another order");
        let removed = with(|found| found.retain(|one| one.name != "bid" && one.name != "conditions"));
        assert_eq!(removed, Ok(vec!["bid", "conditions"]));
        let error = with(|found| found.retain(|one| one.name != "seq")).unwrap_err();
        assert_eq!(error, "has no column seq: expected seq bigint NOT NULL");
        let error = with(|found| found.retain(|one| one.name != "ts_ns")).unwrap_err();
        assert_eq!(error, "has no column ts_ns: expected ts_ns bigint NOT NULL");
        let error = with(|found| {
            let at = at(found, "bid");
            found[at].declared = "numeric".to_owned();
        });
        assert_eq!(error.unwrap_err(), "has the column bid numeric: expected bid double precision");
        let error = with(|found| {
            let at = at(found, "symbol");
            found[at].declared = "text".to_owned();
        });
        assert_eq!(error.unwrap_err(), "has the column symbol text: expected symbol text COLLATE \"C\"");
        let error = with(|found| {
            let at = at(found, "bid");
            found[at].is_required = true;
        });
        assert_eq!(error.unwrap_err(), "has the column bid double precision NOT NULL: expected NULL");
        let error = with(|found| {
            let mut other = found[0].clone();
            other.name = "theirs".to_owned();
            found.push(other);
        });
        assert!(error.unwrap_err().starts_with("has the column theirs: expected no others than vendor, venue, symbol"));
        let error = with(|found| found.iter_mut().for_each(|one| one.place_in_key = None));
        assert_eq!(error.unwrap_err(), "has the primary key (): expected (vendor, venue, symbol, ts, ts_ns, seq)");
    }
}
