//! What a file holds: which tables, in which version, and whether that is a store.

use std::path::Path;

use rusqlite::Connection;

use super::{
    SqliteOpenError,
    table::{SCHEMA_VERSION, TABLES, Table},
};

/// What a file holds.
pub(super) struct State {
    version: i64,
    objects: Vec<String>,
    /// The columns of each of [`TABLES`] as found, empty where there is no such table, and as they should be.
    columns: Vec<(&'static Table, String, String)>,
}

impl State {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let objects = connection
            .prepare(
                "SELECT type || ' `' || name || '`' FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // The expected columns come from the statement that makes them, so that they are written down once.
        let model = Connection::open_in_memory()?;
        let mut columns = Vec::new();
        for table in TABLES {
            model.execute_batch(table.create)?;
            columns.push((*table, columns_of(connection, table)?, columns_of(&model, table)?));
        }
        Ok(Self { version, objects, columns })
    }

    pub(super) fn has(&self, table: &Table) -> bool {
        self.columns.iter().any(|(known, found, _)| known.name == table.name && !found.is_empty())
    }

    /// Says whether there is nothing to do, or that something is in the way.
    ///
    /// A file without a version may have the tables already: a restored dump loses its version.
    pub(super) fn is_current(&self, path: &Path) -> Result<bool, SqliteOpenError> {
        if self.version == 0 && self.objects.is_empty() {
            return Ok(false);
        }
        self.check(path)?;
        Ok(self.version == SCHEMA_VERSION)
    }

    /// Says whether the tables are there, as this version knows them.
    pub(super) fn check(&self, path: &Path) -> Result<(), SqliteOpenError> {
        if self.version > SCHEMA_VERSION {
            return Err(SqliteOpenError::NewerSchema { path: path.into(), found: self.version, known: SCHEMA_VERSION });
        }
        for (table, found, expected) in &self.columns {
            if found.is_empty() {
                let found = if self.objects.is_empty() { "nothing in it".to_owned() } else { self.objects.join(", ") };
                return Err(SqliteOpenError::OtherDatabase {
                    path: path.into(),
                    version: self.version,
                    found,
                    table: table.name,
                });
            }
            if found != expected {
                return Err(SqliteOpenError::OtherShape {
                    path: path.into(),
                    table: table.name,
                    found: found.clone(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Returns a table's columns as they would be declared, with their places in the primary key.
fn columns_of(connection: &Connection, table: &Table) -> rusqlite::Result<String> {
    let columns: Vec<String> = connection
        .prepare(
            "SELECT name || ' ' || type || iif(\"notnull\", ' NOT NULL', '') || iif(pk, ' KEY ' || pk, '')
             FROM pragma_table_info(?1)",
        )?
        .query_map([table.name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(columns.join(", "))
}
