//! A row of a file that becomes a record, as for `mds ingest`.

use market_data_store::{
    Bar,
    files::{Chunk, ReadOptions, RecordReader},
};

use crate::{data, mark};

const ROWS: usize = 10_000;
/// Read before, so that the first of everything is over.
const EARLIER: usize = 1_000;

/// A row of CSV.
pub fn csv() -> usize {
    read(&data::csv(0..EARLIER), &data::csv(EARLIER..EARLIER + ROWS))
}

/// A line of JSON.
pub fn ndjson() -> usize {
    read(&data::ndjson(0..EARLIER), &data::ndjson(EARLIER..EARLIER + ROWS))
}

fn read(earlier: &[u8], counted: &[u8]) -> usize {
    assert_eq!(records(earlier), EARLIER);
    mark();
    let read = records(counted);
    mark();
    assert_eq!(read, ROWS);
    read
}

fn records(file: &[u8]) -> usize {
    let mut reader = RecordReader::<Bar, _>::new(file, ReadOptions::default());
    let (mut chunk, mut records) = (Chunk::default(), 0);
    while reader.next_chunk(&mut chunk).unwrap() {
        records += chunk.records.len();
    }
    records + chunk.records.len()
}
