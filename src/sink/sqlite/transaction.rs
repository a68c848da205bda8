//! One transaction: the batches that wait, each behind a savepoint.

use std::sync::Arc;

use super::{open::Store, rows::Rows, sql::TableSql, sync::Answer, write_error::WriteError};
use crate::text::{Shown, panicked};

/// One batch, and whom to tell when it is committed.
pub(super) struct Write {
    /// Where they go.
    pub(super) sql: Arc<TableSql>,
    pub(super) rows: Box<dyn Rows>,
    pub(super) answer: Answer,
}

/// Says, after an error, whether the schema lets no record of this kind be written, as with a trigger that names a table
/// which is not there. A statement that was prepared before meets that only while it runs.
fn unprepared(store: &Store, write: &Write) -> Option<WriteError> {
    let source = Arc::new(store.connection.prepare(&write.sql.upsert).err()?);
    Some(WriteError::Unprepared { path: store.path.clone(), table: write.sql.table.name(), source })
}

/// Runs one transaction. A batch that is to blame fails alone; every other failure is one of all.
pub(super) fn transaction(store: &Store, group: &[Write]) -> Result<Vec<Result<(), WriteError>>, WriteError> {
    let at = |step| move |source| WriteError::Sqlite { path: store.path.clone(), step, source: Arc::new(source) };
    let connection = &store.connection;
    let run = |sql: &str| connection.execute_batch(sql);
    // Making a row runs the code of the record's author.
    let upsert = |write: &Write| {
        let upserted = panicked::catch(|| write.rows.upsert(connection, &write.sql));
        upserted.map_err(|problem| {
            let (path, table) = (store.path.clone(), write.sql.table.name());
            tracing::error!(path = %Shown(&path.to_string_lossy()), table, problem, "a record panicked, its batch fails");
            WriteError::RecordPanicked { path, table, problem }
        })?
        .map_err(|source| unprepared(store, write).unwrap_or_else(|| at("write")(source)))
    };

    run("BEGIN IMMEDIATE").map_err(at("begin a transaction"))?;
    let results = match group {
        // A savepoint costs, and alone a batch needs none.
        [write] => {
            upsert(write)?;
            vec![Ok(())]
        }
        _ => {
            let mut results = Vec::with_capacity(group.len());
            for write in group {
                run("SAVEPOINT batch").map_err(at("begin a batch"))?;
                let result = upsert(write);
                match &result {
                    Ok(()) => {}
                    // The savepoint is still there to go back to.
                    Err(error) if error.is_of_batch() && !connection.is_autocommit() => {
                        run("ROLLBACK TO batch").map_err(at("undo a batch"))?;
                    }
                    Err(error) => return Err(error.clone()),
                }
                run("RELEASE batch").map_err(at("end a batch"))?;
                results.push(result);
            }
            results
        }
    };
    run("COMMIT").map_err(at("commit"))?;
    Ok(results)
}
