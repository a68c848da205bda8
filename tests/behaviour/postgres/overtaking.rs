//! A write that was cut off, its retry, and a newer update of the same key: the newest stands, whenever the first one
//! comes to its end.

use std::{
    io::Write,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Database, Health, MarketDataStore, Outcome, Receipt, Sink, Timeframe, Timestamp, WriteHandle,
    coordinator::FaultyActor,
};

use super::{
    load::{inversions, settings, watch_inversions},
    proxy::Proxy,
    server::{Server, TestDatabase},
};
use crate::{
    mds::ingest,
    support::{PATIENCE, size_of_test, within},
};

/// The one bar, in its versions.
fn version(version: u64) -> Bar {
    let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::from_micros(60_000_000));
    bar.ohlc(1.0, 1.0, 1.0, 1.0).volume(version as f64)
}

struct Rig {
    database: TestDatabase,
    proxy: Proxy,
    store: MarketDataStore,
    bars: WriteHandle<Bar>,
    _dead_letters: tempfile::TempDir,
}

impl Rig {
    /// A store of one worker, whose writes are cut off after a while, and the first version stored.
    fn start() -> Self {
        let database = Server::shared().database();
        let proxy = Proxy::start(database.port());
        let dead_letters = tempfile::tempdir().unwrap();
        let with = [
            ("MDS_COORDINATOR_WORKERS", "1"),
            ("MDS_COORDINATOR_FLUSH_INTERVAL", "0.001"),
            ("MDS_SINK_TIMEOUT", "0.25"),
        ];
        let settings = settings(&database.url_at(proxy.port()), dead_letters.path(), &with);
        let store = MarketDataStore::spawn(settings).unwrap();
        let bars = store.coordinator::<Bar>().unwrap();
        let rig = Self { database, proxy, store, bars, _dead_letters: dead_letters };
        rig.is_stored(rig.submit(0));
        watch_inversions(&rig.database);
        rig
    }

    fn health(&self) -> Health {
        block_on(within(PATIENCE, self.bars.health()))
    }

    fn submit(&self, number: u64) -> Receipt {
        block_on(within(PATIENCE, self.bars.submit_with_receipt(version(number)))).unwrap()
    }

    fn is_stored(&self, receipt: Receipt) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, receipt).await });
        let outcome =
            outcome.unwrap_or_else(|_| panic!("never stored: {:#?}\n{}", self.health(), self.database.activity()));
        assert_eq!(outcome.unwrap(), Outcome::Stored);
    }

    /// Waits until a query has a positive number.
    fn wait_for(&self, what: &str, sql: &str) -> i64 {
        let (begun, mut client) = (Instant::now(), self.database.admin());
        loop {
            let number: i64 = client.query_one(sql, &[]).unwrap().get(0);
            if number > 0 {
                return number;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {:#?}\n{}", self.health(), self.database.activity());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until no connection of the store does anything, and looks which version is there.
    fn stands(&self, number: u64) {
        let busy = "SELECT 1 - least(1, count(*)) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name <> 'test' AND backend_type = 'client backend' AND state <> 'idle'";
        self.wait_for("idle", busy);
        assert_eq!(self.database.number("SELECT volume::bigint FROM bars"), number as i64);
        assert_eq!(self.database.number("SELECT count(*) FROM inversions"), 0);
    }

    fn end(self) {
        assert!(block_on(within(PATIENCE, self.store.shutdown(PATIENCE))).is_complete());
        assert_eq!(inversions(&self.database), 0);
    }
}

/// One of the store's that waits for a row, or 0.
const WAITING: &str = "SELECT coalesce(max(pid), 0)::bigint FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name <> 'test' AND wait_event_type = 'Lock'";

// Red when a write that was cut off behind a row lock commits after its retry and a newer update.
#[test]
fn a_write_cut_off_behind_a_row_lock_does_not_overtake() {
    let rounds = size_of_test("MDS_TEST_POSTGRES_OVERTAKING", 6) as u64;
    let rig = Rig::start();
    let mut other = rig.database.admin();
    let mut cut = [0; 3];
    for round in 0..rounds {
        let [first, newer] = [2 * round + 1, 2 * round + 2];
        // An update rather than a lock: those that wait for it look at the row anew, in any order.
        other.batch_execute("BEGIN; UPDATE bars SET close = close").unwrap();
        let first = rig.submit(first);
        let waits = rig.wait_for("waiting for the row", WAITING);
        let newer_receipt = rig.submit(newer);
        match round % 3 {
            // It is cut off by its time.
            0 => {}
            1 => rig.bars.fault(FaultyActor::Worker(0)).strike(),
            _ => {
                rig.proxy.cut();
                rig.proxy.open();
            }
        }
        cut[round as usize % 3] += 1;
        rig.wait_for("tried again", &format!("{WAITING} AND pid <> {waits}"));
        other.batch_execute("COMMIT").unwrap();
        rig.is_stored(first);
        rig.is_stored(newer_receipt);
        rig.stands(newer);
    }
    println!("cut off by the time, with their worker, and with their connection: {cut:?}");
    assert!(rounds < 3 || cut.iter().all(|&cut| cut > 0));
    rig.end();
}

// Red when a write that was cut off on its way to the server is done when it comes there, after a newer update.
#[test]
fn a_write_that_comes_late_to_the_server_does_not_overtake() {
    let rounds = size_of_test("MDS_TEST_POSTGRES_LATE", 3) as u64;
    let rig = Rig::start();
    for round in 0..rounds {
        let [first, newer] = [2 * round + 1, 2 * round + 2];
        assert_eq!(rig.proxy.connections(), 1);
        rig.proxy.hold_old_connections();
        rig.is_stored(rig.submit(first));
        rig.is_stored(rig.submit(newer));
        rig.proxy.open();
        rig.proxy.wait_until_closed(1);
        rig.stands(newer);
    }
    rig.end();
}

// Red when what a process that was killed has under way, behind a lock, is done once the lock is free: by then another
// process may have written what is newer.
#[test]
fn a_write_of_a_process_that_was_killed_is_given_up_by_the_server() {
    let database = Server::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let start = |volume: u64| {
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "-"]);
        command.env("MDS_DATABASE_URL", database.url()).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let rows = format!("ts,open,high,low,close,volume\n2024-01-02T00:01:00Z,1,1,1,1,{volume}\n");
        process.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
        process
    };
    assert!(start(1).wait().unwrap().success());
    let mut other = database.admin();
    other.batch_execute("BEGIN; UPDATE bars SET close = close").unwrap();
    let mut killed = start(2);
    let begun = Instant::now();
    let waits = || database.number(WAITING) > 0;
    while !waits() {
        assert!(begun.elapsed() < PATIENCE, "it does not wait for the row");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let begun = Instant::now();
    while waits() {
        // By itself it would after the twenty seconds that a statement may take.
        assert!(begun.elapsed() < Duration::from_secs(10), "the server does not give it up");
    }
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(database.number("SELECT volume::bigint FROM bars"), 1);
}

// The control: red when a server would not do what comes late, so that the test above shows nothing.
#[test]
fn a_write_that_comes_late_overtakes_where_nobody_sees_to_it() {
    let database = Server::shared().database();
    let proxy = Proxy::start(database.port());
    let write = |database: &Database, number| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let batch = Batch::from(vec![version(number)]);
        runtime.block_on(within(PATIENCE, database.write(&batch))).unwrap();
    };
    let through = Database::connect(&database.url_at(proxy.port())).unwrap();
    write(&through, 0);
    proxy.hold_old_connections();
    let late = thread::spawn(move || write(&through, 1));
    // Another process, which knows nothing of the first.
    let straight = Database::connect(&database.url()).unwrap();
    write(&straight, 2);
    proxy.open();
    late.join().unwrap();
    assert_eq!(database.number("SELECT volume::bigint FROM bars"), 1);
}
