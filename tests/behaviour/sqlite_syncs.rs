//! What the SQLite sink does with syncs, and with the log, on threads of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Sink, Timeframe, Timestamp,
    sink::{SinkErrorKind, SqliteSink},
};
use rusqlite::Connection;

fn bars(vendor: &str, symbol: &str, n: i64) -> Batch<Bar> {
    let bar = |n| Bar {
        vendor: vendor.into(),
        ..Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(n * 60_000_000)).ohlc(1.0, 1.0, 1.0, 1.0)
    };
    Batch::from((0..n).map(bar).collect::<Vec<_>>())
}

fn symbols(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT DISTINCT symbol FROM bars ORDER BY symbol").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Waits for what another thread does.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The syncs of a child process are in the test's hand.
#[cfg(target_os = "linux")]
mod in_hand {
    use std::{pin::pin, process::Command};

    use futures::FutureExt;

    use super::*;
    use crate::syncs;

    /// What makes a process the child.
    const CHILD: &str = "MDS_TEST_SYNCS_FILE";

    /// Runs a test once more, as a child with a store, whose syncs fail or wait while a file is there. Returns the path of
    /// the store and of that file in the child, and none in its parent, once the child has passed.
    fn child(test: &str, flag: &str) -> Option<(PathBuf, PathBuf)> {
        if let Some(path) = std::env::var_os(CHILD) {
            return Some((path.into(), std::env::var_os(flag).unwrap().into()));
        }
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&format!("sqlite_syncs::in_hand::{test}"), "--exact", "--nocapture"])
            .env(CHILD, dir.path().join("bars.db"))
            .env(flag, dir.path().join("flag"))
            .env("LD_PRELOAD", syncs::library(dir.path()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        None
    }

    // Red when a batch is acknowledged before its sync, or the writer waits for the sync of the batch before.
    #[test]
    fn the_writer_goes_on_while_a_sync_lasts_and_nothing_is_acknowledged_before_it_ends() {
        let test = "the_writer_goes_on_while_a_sync_lasts_and_nothing_is_acknowledged_before_it_ends";
        let Some((path, hold)) = child(test, syncs::HOLD) else { return };
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        // With a new log SQLite itself syncs.
        block_on(sink.write(&bars("v", "A", 1))).unwrap();

        fs::write(&hold, "").unwrap();
        let (b, c, d) = (bars("v", "B", 1), bars("v", "C", 1), bars("v", "D", 1));
        let (mut first, mut third) = (pin!(sink.write(&b)), pin!(sink.write(&d)));
        let mut second = Box::pin(sink.write(&c));
        assert!(first.as_mut().now_or_never().is_none());
        wait_until("B is not committed", || symbols(&path) == ["A", "B"]);
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        wait_until("C and D are not committed", || symbols(&path) == ["A", "B", "C", "D"]);
        assert!(first.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        // One that is cut off now leaves the others as they are.
        drop(second);
        fs::remove_file(&hold).unwrap();
        block_on(first).unwrap();
        block_on(third).unwrap();
    }

    // Sabotage: acknowledge before the sync: batches are acknowledged that the disk refused. Count it as permanent, or
    // keep the connection: red.
    #[test]
    fn a_sync_that_fails_acknowledges_nothing_of_its_group() {
        let Some((path, fail)) = child("a_sync_that_fails_acknowledges_nothing_of_its_group", syncs::FAIL) else {
            return;
        };
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        for round in 0..20 {
            block_on(sink.write(&bars("v", &format!("GOOD{round}"), 2))).unwrap();
            fs::write(&fail, "").unwrap();
            let batches: Vec<_> = (0..8).map(|n| bars("v", &format!("LATER{round}-{n}"), 2)).collect();
            let results = block_on(futures::future::join_all(batches.iter().map(|batch| sink.write(batch))));
            for result in results {
                let error = result.expect_err("the disk never had it");
                assert!(error.kind() == SinkErrorKind::Transient && error.is_outage(), "{error:#}");
            }
            fs::remove_file(&fail).unwrap();
            // What it was told to try again.
            for batch in &batches {
                block_on(sink.write(batch)).unwrap();
            }
        }
        assert_eq!(symbols(&path).len(), 20 * (1 + 8));
    }

    // Red when anything is written behind what a sync could not write: the loss of power would take it along, since the
    // log is read no further than it is whole.
    #[test]
    fn after_a_sync_that_failed_the_log_begins_anew() {
        let Some((path, fail)) = child("after_a_sync_that_failed_the_log_begins_anew", syncs::FAIL) else { return };
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        block_on(sink.write(&bars("v", "A", 1))).unwrap();
        fs::write(&fail, "").unwrap();
        let error = block_on(sink.write(&bars("v", "B", 1))).unwrap_err();
        assert!(format!("{error:#}").contains("cannot sync the log"), "{error:#}");
        fs::remove_file(&fail).unwrap();

        // A reader needs the log as it is.
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM bars").unwrap();
        let error = block_on(sink.write(&bars("v", "C", 1))).unwrap_err();
        assert!(error.is_outage() && format!("{error:#}").contains("cannot empty the log after a sync"), "{error:#}");
        reader.execute_batch("COMMIT").unwrap();
        let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
        let before = log();
        block_on(sink.write(&bars("v", "C", 1))).unwrap();
        assert!(log() < before, "{} bytes, and before {before}", log());
    }
}

// Red when the log is not copied before the writer has to: the file gets nothing.
#[test]
fn the_log_is_copied_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let size = || fs::metadata(&path).unwrap().len();
    let before = size();
    for n in 0..20 {
        block_on(sink.write(&bars("v", &format!("S{n}"), 500))).unwrap();
    }
    wait_until("nothing is copied", || size() > before + 500_000);
    for n in 0..20 {
        block_on(sink.write(&bars("v", &format!("T{n}"), 500))).unwrap();
    }
    block_on(sink.close());
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["bars.db"]);
    assert_eq!(symbols(&path).len(), 40);
}

// Red when the writer leaves all to the other thread, which never comes to the end of a log that grows meanwhile.
#[test]
fn the_log_has_a_limit_though_the_writer_never_rests() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    // Three rows a page.
    let vendor = "v".repeat(1_000);
    let log = path.with_extension("db-wal");
    let mut longest = 0;
    for n in 0..60 {
        block_on(sink.write(&bars(&vendor, &format!("S{n}"), 500))).unwrap();
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    assert!(longest < 3 << 24, "{longest} bytes");
}
