//! Brings a file to the point where it can be written: found, recognised, with its schema, in WAL mode.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{
    SqliteOpenError, SqliteOptions, Synchronous,
    checkpoint::LOG_PAGES,
    place::{self, Identity},
    schema::State,
    sql::TableSql,
    sync::Log,
};
use crate::text::Shown;

/// An open file with its schema.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) identity: Option<Identity>,
    /// The tables that are known to be there.
    pub(super) tables: Vec<Arc<TableSql>>,
    /// What has to be synced before a commit is durable; none where it need not be.
    pub(super) log: Option<Arc<Log>>,
}

/// Opens the file at an absolute path, makes the tables that are missing, brings an older file to this version, and sets
/// the connection up. Waits for locks as long as the busy timeout.
pub(super) fn connect(options: &SqliteOptions, tables: &[Arc<TableSql>]) -> Result<Store, SqliteOpenError> {
    connect_while(options, tables, || {}).map_err(|error| match &error {
        SqliteOpenError::Sqlite { path, source, .. } if may_be_denied(source) => place::denied(path).unwrap_or(error),
        _ => error,
    })
}

fn may_be_denied(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Connects; `meanwhile` happens each time that a file has been opened, and once more before the end.
fn connect_while(
    options: &SqliteOptions,
    tables: &[Arc<TableSql>],
    mut meanwhile: impl FnMut(),
) -> Result<Store, SqliteOpenError> {
    let path = options.path.clone();
    place::check_place(&path)?;
    place::make_private(&path);
    let at = |step| failed(&path, step);

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || Connection::open_with_flags(&path, flags).map_err(at("open the database"));
    // SQLite does not say which file it has opened: the one that was at the path before and still is afterwards.
    let (mut before, mut connection) = (place::identity(&path), open()?);
    for _ in 0..2 {
        meanwhile();
        let after = place::identity(&path);
        if before == after {
            break;
        }
        drop(connection);
        (before, connection) = (after, open()?);
    }
    if place::is_readonly(&path)
        && let Some(denied) = place::denied(&path)
    {
        return Err(denied);
    }
    connection.busy_timeout(options.busy_timeout).map_err(at("open the database"))?;

    make_tables(&mut connection, &path, tables)?;

    // Takes no lock where the mode is `wal` already.
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(at("switch to the journal mode wal"))?;
    if mode != "wal" {
        return Err(SqliteOpenError::NoWal { path, found: mode });
    }
    // Whatever the options say: `sync` is for the rest.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(at("set `synchronous`"))?;
    let log = match options.synchronous {
        Synchronous::Normal => None,
        Synchronous::Full => {
            // SQLite makes the log when it first reads in this mode.
            let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
            read.map_err(at("read the schema"))?;
            let log = Log::open(&path).map_err(|source| SqliteOpenError::Log { path: path.clone(), source })?;
            Some(Arc::new(log))
        }
    };
    let set = connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()));
    set.map_err(at("set `wal_autocheckpoint`"))?;
    // Two a table, and more tables than there are kinds.
    connection.set_prepared_statement_cache_capacity(64);
    // What a savepoint needs to undo a batch: in memory rather than in a temporary file.
    connection.pragma_update(None, "temp_store", "memory").map_err(at("set `temp_store`"))?;

    if let Some(pages) = options.max_pages {
        // As a query, for it answers with the limit that is now in force.
        let sql = format!("PRAGMA max_page_count = {pages}");
        connection.query_row(&sql, [], |_| Ok(())).map_err(at("limit the pages"))?;
    }

    meanwhile();
    // All of this may have gone to a file that is not at the path any more.
    let is_gone = cfg!(unix) && before.is_none();
    if is_gone || place::identity(&path) != before {
        return Err(SqliteOpenError::Replaced { path });
    }
    Ok(Store { connection, path, identity: before, tables: tables.to_vec(), log })
}

/// Copies the whole log into the file and begins it anew, so that nothing in it is needed any more.
pub(super) fn empty_log(store: &Store) -> Result<(), SqliteOpenError> {
    let is_busy = store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    let emptied = match is_busy {
        Ok(false) => Ok(()),
        Ok(true) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
        Err(error) => Err(error),
    };
    emptied.map_err(failed(&store.path, "empty the log after a sync that failed"))
}

/// Makes those of the tables that are missing, and brings an older file to this version.
pub(super) fn make_tables(
    connection: &mut Connection,
    path: &Path,
    tables: &[Arc<TableSql>],
) -> Result<(), SqliteOpenError> {
    let at = |step| failed(path, step);
    // The first look takes no write lock, so that a current file can be opened while another writes it.
    if State::of(connection, tables).map_err(at("read the schema"))?.is_current(path)? {
        return Ok(());
    }
    // A table that is made anew must not take with it what refers to it. In a transaction this cannot be changed.
    let had_foreign_keys: bool =
        connection.pragma_query_value(None, "foreign_keys", |row| row.get(0)).map_err(at("read `foreign_keys`"))?;
    connection.pragma_update(None, "foreign_keys", false).map_err(at("set `foreign_keys`"))?;
    let made = bring_up(connection, path, tables);
    connection.pragma_update(None, "foreign_keys", had_foreign_keys).map_err(at("set `foreign_keys`"))?;
    made
}

fn bring_up(connection: &mut Connection, path: &Path, tables: &[Arc<TableSql>]) -> Result<(), SqliteOpenError> {
    let at = |step| failed(path, step);
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(at("lock the database for making the schema"))?;
    // The second look is under the lock: another process may have made the schema meanwhile.
    let state = State::of(&transaction, tables).map_err(at("read the schema"))?;
    if !state.is_current(path)? {
        let began = Instant::now();
        let shown = path.to_string_lossy();
        if state.has_old_bars() {
            tracing::info!(path = %Shown(&shown), "the bars of an older version get an adjustment, which takes a while");
        }
        state.bring_up(&transaction).map_err(|(step, source)| failed(path, step)(source))?;
        if state.has_old_bars() {
            tracing::info!(path = %Shown(&shown), seconds = began.elapsed().as_secs_f64(), "the bars have an adjustment");
        }
    }
    transaction.commit().map_err(at("commit the schema"))
}

/// Says in which step the file failed.
pub(super) fn failed(path: &Path, step: &'static str) -> impl FnOnce(rusqlite::Error) -> SqliteOpenError {
    let path = path.to_path_buf();
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => SqliteOpenError::NotADatabase { path },
        _ => SqliteOpenError::Sqlite { path, step, source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        record::{Bar, Tabular},
        sink::Synchronous,
    };

    fn connect(options: &SqliteOptions) -> Result<Store, SqliteOpenError> {
        super::connect(options, &[Arc::new(TableSql::new(Bar::TABLE))])
    }

    // Sabotage: begin with `BEGIN IMMEDIATE`: red.
    #[test]
    fn a_current_file_opens_while_another_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(dir.path().join("bars.db"));
        connect(&options).unwrap();
        let other = Connection::open(&options.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; DELETE FROM bars").unwrap();
        connect(&options).unwrap();
    }

    // Red when the default is another one, or `Normal` waits for syncs that need not be.
    #[test]
    fn the_log_is_synced_as_the_options_say() {
        let dir = tempfile::tempdir().unwrap();
        for (synchronous, is_synced) in [(Synchronous::Full, true), (Synchronous::Normal, false)] {
            let mut options = SqliteOptions::new(dir.path().join("bars.db"));
            assert_eq!(options.synchronous, Synchronous::Full);
            options.synchronous = synchronous;
            let store = connect(&options).unwrap();
            let found: i64 = store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!((found, store.log.is_some()), (1, is_synced));
        }
    }

    // Sabotage: take the file's identity at the end alone: what is written goes to the old file, unnoticed.
    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_while_it_is_opened_is_not_taken_for_the_other() {
        // Right after it was opened: it is opened again. Or later: the try has failed.
        for at in 1..=2 {
            let dir = tempfile::tempdir().unwrap();
            let options = SqliteOptions::new(dir.path().join("bars.db"));
            connect(&options).unwrap();
            let other = SqliteOptions::new(dir.path().join("other.db"));
            connect(&other).unwrap();
            let mut times = 0;
            let connected = connect_while(&options, &[Arc::new(TableSql::new(Bar::TABLE))], || {
                times += 1;
                if times == at {
                    fs::rename(&other.path, &options.path).unwrap();
                }
            });
            assert_eq!(connected.is_ok(), at == 1);
            match connected {
                Ok(store) => {
                    store.connection.execute_batch("CREATE TABLE mark (x)").unwrap();
                    drop(store);
                    assert!(connect(&options).unwrap().connection.prepare("SELECT * FROM mark").is_ok(), "at {at}");
                }
                Err(error) => {
                    assert!(error.is_outage() && error.to_string().ends_with("while it was opened"), "{error}");
                    connect(&options).unwrap();
                }
            }
        }
    }
}
