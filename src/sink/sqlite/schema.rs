//! What a file holds: which tables, in which version, and whether that is a store.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::{SqliteOpenError, older, sql::TableSql};
use crate::record::{Bar, Tabular};

/// The version of what all tables have in common, in `PRAGMA user_version`, with a step below that brings older files to
/// it: 2 has the index `bars_by_symbol`, 3 the column `adjustment` in the key of bars. A table is made when its kind is
/// first written, and changes no version.
const SCHEMA_VERSION: i64 = 3;
/// `PRAGMA application_id` of a store, the letters `mds1`: so that a file without bars is known for one. Files from before
/// have none, and bars.
const APPLICATION_ID: i64 = 0x6d64_7331;

/// Whether there is such a view of a table as we make for each. A dump has it, and has no mark.
const HAS_VIEWS: &str = "SELECT EXISTS (
    SELECT 1 FROM sqlite_schema AS v JOIN sqlite_schema AS t ON v.name = t.name || '_readable'
    WHERE v.type = 'view' AND t.type = 'table' AND v.sql GLOB '*WITH split AS (SELECT [*]*')";

/// What a file holds.
pub(super) struct State {
    version: i64,
    is_marked: bool,
    objects: Vec<String>,
    /// Bars in their shape, or that of older versions: no other program has these.
    has_bars: bool,
    has_old_bars: bool,
    /// A table with the view of its times that we make: of another kind, perhaps one of an embedder.
    has_views: bool,
    tables: Vec<TableState>,
}

/// The columns of a table as found, empty where there is no such table, and as they should be.
struct TableState {
    sql: Arc<TableSql>,
    found: String,
    expected: String,
}

impl State {
    /// Looks at a file for the sake of these tables; what else is in it is of no account.
    pub(super) fn of(connection: &Connection, tables: &[Arc<TableSql>]) -> rusqlite::Result<Self> {
        let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let objects = connection
            .prepare(
                "SELECT type || ' `' || name || '`' FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // The expected columns come from the statement that makes them, so that they are written down once.
        let model = Connection::open_in_memory()?;
        let look = |sql: &Arc<TableSql>| -> rusqlite::Result<TableState> {
            let name = sql.table.name();
            model.execute_batch(&sql.create)?;
            let (found, expected) = (columns_of(connection, name)?, columns_of(&model, name)?);
            model.execute_batch(&format!("DROP TABLE {name}"))?;
            Ok(TableState { sql: Arc::clone(sql), found, expected })
        };
        let bars = look(&Arc::new(TableSql::new(Bar::TABLE)))?;
        let has_old_bars = bars.found == older::BARS;
        Ok(Self {
            version: number("user_version")?,
            is_marked: number("application_id")? == APPLICATION_ID,
            objects,
            has_bars: bars.found == bars.expected || has_old_bars,
            has_old_bars,
            has_views: connection.query_row(HAS_VIEWS, [], |row| row.get(0))?,
            tables: tables.iter().map(look).collect::<Result<_, _>>()?,
        })
    }

    /// Says whether there is nothing to do, or that something is in the way.
    ///
    /// A file without a version may have the tables already: a restored dump loses its version.
    pub(super) fn is_current(&self, path: &Path) -> Result<bool, SqliteOpenError> {
        if self.version == 0 && self.objects.is_empty() {
            return Ok(false);
        }
        self.check(path)?;
        let is_whole = self.missing().chain(self.without_views()).next().is_none();
        Ok(self.version == SCHEMA_VERSION && !self.has_old_bars && is_whole)
    }

    /// Says whether bars are those of an older version.
    pub(super) fn has_old_bars(&self) -> bool {
        self.has_old_bars
    }

    /// Returns the tables that are not there.
    fn missing(&self) -> impl Iterator<Item = &Arc<TableSql>> {
        self.tables.iter().filter(|table| table.found.is_empty()).map(|table| &table.sql)
    }

    /// Returns the tables that lack a view. A dump can leave views out, and a later version can bring one.
    fn without_views(&self) -> impl Iterator<Item = &Arc<TableSql>> {
        let is_there = |view: &String| self.objects.iter().any(|object| *object == format!("view `{view}`"));
        self.tables.iter().map(|table| &table.sql).filter(move |sql| !sql.views().iter().all(is_there))
    }

    /// Says whether the file is a store, as this version knows them, and the tables that are there are as it knows them.
    fn check(&self, path: &Path) -> Result<(), SqliteOpenError> {
        if self.version > SCHEMA_VERSION {
            return Err(SqliteOpenError::NewerSchema { path: path.into(), found: self.version, known: SCHEMA_VERSION });
        }
        let is_other = |table: &&TableState| !["", &*table.expected].contains(&&*table.found);
        let is_old = |table: &TableState| self.has_old_bars && table.sql.table == Bar::TABLE;
        if let Some(other) = self.tables.iter().find(|table| is_other(table) && !is_old(table)) {
            return Err(SqliteOpenError::OtherShape {
                path: path.into(),
                table: other.sql.table.name(),
                found: other.found.clone(),
                expected: other.expected.clone(),
            });
        }
        // A table in this very shape was made by us, whatever became of the version and the mark.
        let is_ours = self.is_marked
            || self.has_bars
            || self.has_views
            || self.tables.iter().any(|table| !table.found.is_empty());
        if !is_ours {
            let found = if self.objects.is_empty() { "nothing in it".to_owned() } else { self.objects.join(", ") };
            return Err(SqliteOpenError::OtherDatabase {
                path: path.into(),
                version: self.version,
                found,
                table: self.tables.first().map_or(Bar::TABLE.name(), |table| table.sql.table.name()),
            });
        }
        Ok(())
    }

    /// Says whether all these tables can be read.
    pub(super) fn check_readable(&self, path: &Path) -> Result<(), SqliteOpenError> {
        self.check(path)?;
        match self.missing().next() {
            Some(sql) => Err(SqliteOpenError::NoTable { path: path.into(), table: sql.table.name() }),
            None => Ok(()),
        }
    }

    /// Makes what is missing, and brings an older file to this version. The error names the step.
    pub(super) fn bring_up(&self, connection: &Connection) -> Result<(), (&'static str, rusqlite::Error)> {
        let is_older = self.version != SCHEMA_VERSION;
        for sql in self.missing() {
            connection.execute_batch(&sql.create).map_err(|error| ("make a table", error))?;
        }
        if self.has_old_bars {
            older::migrate_bars(connection).map_err(|error| ("give bars an adjustment", error))?;
        }
        let bars = (is_older && self.has_bars).then(|| Arc::new(TableSql::new(Bar::TABLE)));
        for sql in self.without_views().chain(&bars) {
            connection.execute_batch(&sql.create_rest).map_err(|error| ("make an index or a view", error))?;
        }
        for (pragma, value) in [("user_version", SCHEMA_VERSION), ("application_id", APPLICATION_ID)] {
            connection.pragma_update(None, pragma, value).map_err(|error| ("set the schema version", error))?;
        }
        Ok(())
    }
}

/// Returns a table's columns as they would be declared, with their places in the primary key.
fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<String> {
    let columns: Vec<String> = connection
        .prepare(
            "SELECT name || ' ' || type || iif(\"notnull\", ' NOT NULL', '') || iif(pk, ' KEY ' || pk, '')
             FROM pragma_table_info(?1, 'main')",
        )?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(columns.join(", "))
}
