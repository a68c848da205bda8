//! A row on its way into a database, as a worker writes it.

use futures::executor::block_on;
use market_data_store::{Bar, Batch, Database, Sink};

use crate::{data::bars, mark, server::Server};

const BATCH: usize = 500;
/// Written between the marks.
const BATCHES: usize = 12;
/// Written before: PostgreSQL's connection copies once a batch has shown that rows are new, and its statements are
/// prepared.
const EARLIER: usize = 2;

/// Bars with keys of their own.
fn batches(count: usize) -> Vec<Batch<Bar>> {
    (0..count).map(|number| bars(number * BATCH..(number + 1) * BATCH).into()).collect()
}

/// Writes batches, the last of which count.
fn write(database: &Database, batches: &[Batch<Bar>]) -> usize {
    let (earlier, counted) = batches.split_at(EARLIER);
    let write = |batch: &Batch<Bar>| block_on(database.write(batch)).unwrap();
    earlier.iter().for_each(write);
    mark();
    counted.iter().for_each(write);
    mark();
    counted.len() * BATCH
}

/// A new row of a file.
pub fn sqlite() -> usize {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::connect(&format!("sqlite://{}", dir.path().join("bars.db").display())).unwrap();
    database.prepare::<Bar>().unwrap();
    let written = write(&database, &batches(EARLIER + BATCHES));
    block_on(database.close());
    written
}

/// A new row of a server.
pub fn postgres_copy() -> usize {
    on_server(|database| write(database, &batches(EARLIER + BATCHES)))
}

/// A row that the server has.
pub fn postgres_upsert() -> usize {
    on_server(|database| {
        let batches = batches(EARLIER + BATCHES);
        for batch in &batches {
            block_on(database.write(batch)).unwrap();
        }
        write(database, &batches)
    })
}

/// Looks at what this process does: the server is another one.
fn on_server(write: impl FnOnce(&Database) -> usize) -> usize {
    let server = Server::start("");
    let at = server.database();
    let database = Database::connect(&at.url()).unwrap();
    database.prepare::<Bar>().unwrap();
    let written = write(&database);
    block_on(database.close());
    written
}
