//! No room for the database and none for the dead letters, at once: pages are limited, and files are made on /dev/full.

use std::{
    collections::BTreeSet,
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use rusqlite::Connection;

use super::*;
use crate::{
    dead_letter::{self, DeadLetters},
    policy::{BreakerConfig, Cause, Outcome, Overflow, RetryPolicy, Watermarks},
    record::Timestamp,
    record::{Bar, Timeframe},
    sink::{Batch, BoxSink, Sink, SinkError, SqliteOptions, SqliteSink},
};

const BARS: u64 = 600;
/// One bar in so many is refused by the database.
const ONE_IN: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(30);

fn bar(id: u64) -> Bar {
    let (symbol, volume) = match id % ONE_IN {
        // One of the partitions has them all, and others too.
        0 => ("UNLUCKY".to_owned(), 13.0),
        _ => (format!("S{}", id % 13), 1.0),
    };
    Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(id as i64)).ohlc(1.0, 1.0, 1.0, 1.0).volume(volume)
}

/// The database, and how many writes it has failed.
struct Counted(SqliteSink, Arc<AtomicUsize>);

impl Sink<Bar> for Counted {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        let result = self.0.write(batch).await;
        self.1.fetch_add(usize::from(result.is_err()), Ordering::Release);
        result
    }
}

/// What became of the records so far, by their receipts.
#[derive(Default)]
struct Accounting {
    open: Vec<(u64, Receipt)>,
    stored: BTreeSet<u64>,
    dead_lettered: BTreeSet<u64>,
}

impl Accounting {
    /// Takes in what was acknowledged, and fails for what is not where it says.
    fn check(&mut self, database: &Path, letters: &Path) {
        for (id, mut receipt) in std::mem::take(&mut self.open) {
            // So many in a row would otherwise have to wait for each other.
            match tokio::task::unconstrained(&mut receipt).now_or_never() {
                None => self.open.push((id, receipt)),
                Some(Ok(Outcome::Stored)) => assert!(self.stored.insert(id)),
                Some(Ok(Outcome::DeadLettered)) => assert!(self.dead_lettered.insert(id)),
                Some(other) => panic!("{id}: {other:?}"),
            }
        }
        let other = Connection::open(database).unwrap();
        other.busy_timeout(PATIENCE).unwrap();
        let mut rows = other.prepare("SELECT ts FROM bars").unwrap();
        let rows: BTreeSet<u64> =
            rows.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|id| id.unwrap() as u64).collect();
        assert!(rows.is_superset(&self.stored), "acknowledged as stored and not there");
        let entries = dead_letter::list(letters).unwrap().map(|found| found.unwrap().entry.unwrap());
        let entries: BTreeSet<u64> = entries
            .map(|entry| serde_json::from_str::<Bar>(entry.record.get()).unwrap().ts.as_micros() as u64)
            .collect();
        assert!(entries.is_superset(&self.dead_lettered), "acknowledged as dead letters and not there");
        assert!(entries.iter().all(|id| id % ONE_IN == 0), "given up although they are good: {entries:?}");
    }
}

/// Waits until the coordinator is so.
async fn until(handle: &WriteHandle<Bar>, reached: impl Fn(&Health) -> bool) {
    let begun = Instant::now();
    loop {
        let health = handle.health().await;
        if reached(&health) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it is never so: {health:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn is_full_twice(health: &Health) -> bool {
    [Cause::CircuitOpen, Cause::DeadLettersUnwritable].iter().all(|cause| health.causes.contains(cause))
}

// Sabotage: answer before the commit, or before the sync of the dead letters, or take the failed append for one that
// worked: red. So it is where a full database is held against its batches, or one of the two waits for the other.
#[actix::test]
async fn with_no_room_for_the_database_and_none_for_the_dead_letters_nothing_is_acknowledged_and_nothing_lost() {
    for returns_first in ["the letters", "the database", "both"] {
        let dir = tempfile::tempdir().unwrap();
        let (database, letters) = (dir.path().join("bars.db"), dir.path().join("letters"));
        SqliteSink::open::<Bar>(SqliteOptions::new(&database)).unwrap().close().await;
        let other = Connection::open(&database).unwrap();
        other.busy_timeout(PATIENCE).unwrap();
        let sql = "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.volume = 13
                   BEGIN SELECT RAISE(ABORT, 'unlucky'); END;
                   CREATE TABLE ballast AS SELECT zeroblob(400000)";
        other.execute_batch(sql).unwrap();
        let pages: u32 = other.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let mut options = SqliteOptions::new(&database);
        options.max_pages = NonZeroU32::new(pages + 2);
        let sink = SqliteSink::open::<Bar>(options).unwrap();

        let failed = Arc::new(AtomicUsize::new(0));
        let sink = Counted(sink, Arc::clone(&failed));
        let (dead_letters, disk) = DeadLetters::open_on_full_disk(&letters);
        let ms = Duration::from_millis;
        let config = CoordinatorConfig {
            id: "bars".into(),
            source: "test".into(),
            capacity: NonZeroUsize::new(BARS as usize).unwrap(),
            capacity_bytes: None,
            watermarks: Watermarks::for_capacity(BARS as usize),
            workers: NonZeroUsize::new(4).unwrap(),
            batch_size: NonZeroUsize::new(10).unwrap(),
            flush_interval: ms(1),
            overflow: Overflow::Block,
            retry: RetryPolicy { initial_backoff: ms(5), max_backoff: ms(20), ..RetryPolicy::default() },
            sink_timeout: Duration::ZERO,
            slow_after: Duration::MAX,
            breaker: BreakerConfig { half_open_after: ms(20), ..BreakerConfig::default() },
        };
        let hosts = ActorHosts { control: ActorHost::Current, workers: vec![ActorHost::Current; 4] };
        let signal = StopSignal::new();
        let handle = running::start_actors(config, BoxSink::new(sink), dead_letters, hosts, None, signal);
        let address = handle.addr();

        let mut accounting = Accounting::default();
        for id in 0..BARS {
            accounting.open.push((id, handle.submit_with_receipt(bar(id)).await.unwrap()));
        }
        until(&handle, is_full_twice).await;
        // Several probes more, and several tries of the dead letter.
        let before = [&failed, &disk.tries].map(|count| count.load(Ordering::Acquire));
        until(&handle, |_| {
            [&failed, &disk.tries].iter().zip(before).all(|(count, before)| count.load(Ordering::Acquire) >= before + 3)
        })
        .await;
        accounting.check(&database, &letters);
        assert_eq!(accounting.dead_lettered.len(), 0, "there was no room");
        assert!(accounting.stored.len() < BARS as usize / 2, "the database was never full");
        until(&handle, is_full_twice).await;

        let room = || other.execute_batch("DROP TABLE ballast").unwrap();
        match returns_first {
            "the letters" => {
                disk.is_full.store(false, Ordering::Release);
                until(&handle, |health| !health.causes.contains(&Cause::DeadLettersUnwritable)).await;
                accounting.check(&database, &letters);
                room();
            }
            "the database" => {
                room();
                // What waits for no dead letter is stored.
                let before = accounting.stored.len() as u64;
                until(&handle, |health| health.causes == [Cause::DeadLettersUnwritable] && health.stored > before)
                    .await;
                accounting.check(&database, &letters);
                assert_eq!(accounting.dead_lettered.len(), 0, "there was no room");
                disk.is_full.store(false, Ordering::Release);
            }
            _ => {
                disk.is_full.store(false, Ordering::Release);
                room();
            }
        }
        tokio::time::timeout(PATIENCE, handle.flush()).await.expect("all is settled").unwrap();
        until(&handle, |health| health.causes.is_empty()).await;
        accounting.check(&database, &letters);
        let expected = |is_bad: bool| (0..BARS).filter(move |id| (id % ONE_IN == 0) == is_bad);
        assert!(accounting.open.is_empty(), "{returns_first}: each has its end");
        assert!(accounting.stored.iter().copied().eq(expected(false)), "{returns_first}: {}", accounting.stored.len());
        assert!(
            accounting.dead_lettered.iter().copied().eq(expected(true)),
            "{returns_first}: {:?}",
            accounting.dead_lettered
        );
        address.send(Drain { deadline: PATIENCE, announce: true, dead_letters: PATIENCE }).await.unwrap();
    }
}
