//! A store under load, with the test's own books of what it acknowledged.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Health, MarketDataStore, Outcome, Receipt, Settings, Timeframe, Timestamp, WriteHandle, dead_letter,
};
use tokio::sync::watch;

use super::server::TestDatabase;
use crate::support::{PATIENCE, within};

/// How many bars are updated.
const KEYS: u64 = 100;

/// Longer than a fault lasts, with all that follows from it.
const LONG: Duration = Duration::from_secs(180);

/// What bars go into a store.
#[derive(Clone, Copy, PartialEq)]
pub enum Bars {
    /// Every other one is an update of one of a few, and the others are bars of their own.
    Mixed,
    /// Each is one of its own.
    New,
}

/// A store into which bars go without a pause.
///
/// The volume of a bar is its version: the number of its submission.
pub struct Load {
    kind: Bars,
    store: MarketDataStore,
    bars: WriteHandle<Bar>,
    acknowledged: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
    producer: JoinHandle<u64>,
    books: JoinHandle<()>,
    dead_letters: tempfile::TempDir,
}

impl Bars {
    /// Says whether a bar of this version is one that later ones update.
    fn updates(self, version: u64) -> bool {
        self == Self::Mixed && version.is_multiple_of(2)
    }

    fn symbol(self, version: u64) -> String {
        if self.updates(version) { format!("K{}", version / 2 % KEYS) } else { format!("S{}", version / 2 % 7) }
    }

    /// The bar of a version.
    pub fn bar(self, version: u64) -> Bar {
        let minute = if self.updates(version) { 0 } else { version };
        let ts = Timestamp::from_micros(60_000_000 * minute as i64);
        let bar = Bar::new(self.symbol(version), Timeframe::MINUTE, ts);
        bar.ohlc(1.0, 1.0, 1.0, 1.0).volume(version as f64)
    }
}

/// The settings of a store that tries again soon, with further variables.
pub fn settings(url: &str, dead_letters: &Path, with: &[(&str, &str)]) -> Settings {
    let variables = [
        ("MDS_DATABASE_URL", url),
        ("MDS_DLQ_PATH", dead_letters.to_str().unwrap()),
        ("MDS_COORDINATOR_CAPACITY", "1000"),
        ("MDS_COORDINATOR_BATCH_SIZE", "50"),
        ("MDS_COORDINATOR_FLUSH_INTERVAL", "0.005"),
        ("MDS_COORDINATOR_WORKERS", "4"),
        ("MDS_RETRY_INITIAL_BACKOFF_MS", "2"),
        ("MDS_RETRY_MAX_BACKOFF_MS", "20"),
        ("MDS_SINK_SLOW_AFTER", "0.5"),
    ];
    let mut settings = Settings::from_vars(variables.iter().chain(with).copied()).unwrap();
    settings.circuit.half_open_after = Duration::from_millis(20);
    settings
}

impl Load {
    /// Starts a store whose database is at a URL, with further variables.
    pub fn start(url: &str, with: &[(&str, &str)]) -> Self {
        Self::start_with(Bars::Mixed, url, with)
    }

    pub fn start_with(kind: Bars, url: &str, with: &[(&str, &str)]) -> Self {
        let dead_letters = tempfile::tempdir().unwrap();
        let store = MarketDataStore::spawn(settings(url, dead_letters.path(), with)).unwrap();
        let bars = store.coordinator::<Bar>().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (receipts, to_books) = mpsc::channel::<(u64, Receipt)>();
        let producer = thread::spawn({
            let (bars, stop) = (bars.clone(), Arc::clone(&stop));
            move || {
                let mut version = 0;
                while !stop.load(Ordering::Acquire) {
                    let receipt = block_on(bars.submit_with_receipt(kind.bar(version))).unwrap();
                    receipts.send((version, receipt)).unwrap();
                    version += 1;
                }
                version
            }
        });
        let (count, acknowledged) = watch::channel(0);
        let books = thread::spawn(move || {
            for (version, receipt) in to_books {
                assert_eq!(block_on(receipt).unwrap(), Outcome::Stored, "version {version}");
                count.send_modify(|count| *count += 1);
            }
        });
        Self { kind, store, bars, acknowledged, stop, producer, books, dead_letters }
    }

    /// Waits until so many more are acknowledged: more than were on their way when this is called.
    pub fn goes_on(&self) {
        // The capacity, what workers have taken, and one.
        let more = *self.acknowledged.borrow() + 1_000 + 4 * 50 + 1;
        let mut acknowledged = self.acknowledged.clone();
        let reached = block_on(within(LONG, acknowledged.wait_for(|count| *count >= more)));
        reached.expect("a receipt was another one, or is lost");
    }

    /// Waits until some more are acknowledged.
    pub fn advances(&self, by: u64) {
        let more = *self.acknowledged.borrow() + by;
        let mut acknowledged = self.acknowledged.clone();
        let reached = block_on(within(LONG, acknowledged.wait_for(|count| *count >= more)));
        reached.expect("a receipt was another one, or is lost");
    }

    /// Waits for a state of the store.
    pub fn wait_until(&self, what: &str, is: impl Fn(&Health) -> bool) -> Health {
        let begun = std::time::Instant::now();
        loop {
            let health = self.health();
            if is(&health) {
                return health;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {health:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn health(&self) -> Health {
        block_on(within(PATIENCE, self.bars.health()))
    }

    /// Ends the load. All that was accepted is stored, once, the newest of each bar; and nothing is dead-lettered.
    pub fn check(self, database: &TestDatabase) -> u64 {
        self.stop.store(true, Ordering::Release);
        let submitted = self.producer.join().unwrap();
        let report = block_on(within(LONG, self.store.finish(LONG)));
        self.books.join().unwrap();
        assert_eq!(*self.acknowledged.borrow(), submitted);
        assert_eq!((report.submitted(), report.stored()), (submitted, submitted));
        assert_eq!(dead_letter::list(self.dead_letters.path()).unwrap().count(), 0, "dead letters");
        let mut client = database.admin();
        let rows = client.query("SELECT symbol, volume FROM bars", &[]).unwrap();
        let stored: HashSet<(String, u64)> = rows.iter().map(|row| (row.get(0), row.get::<_, f64>(1) as u64)).collect();
        // A bar of its own is one row, and of the others the newest.
        let first_newest = submitted.saturating_sub(2 * KEYS);
        let expected: Vec<u64> =
            (0..submitted).filter(|version| !self.kind.updates(*version) || *version >= first_newest).collect();
        let missing: Vec<_> =
            expected.iter().filter(|version| !stored.contains(&(self.kind.symbol(**version), **version))).collect();
        assert!(missing.is_empty(), "acknowledged and not stored: {missing:?}");
        assert_eq!(rows.len(), expected.len());
        submitted
    }
}

/// Has the database itself count updates that take the place of a newer one. The table has to be there.
pub fn watch_inversions(database: &TestDatabase) {
    database.run(
        "CREATE TABLE inversions (old double precision, new double precision);
         CREATE FUNCTION note_inversion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN INSERT INTO inversions VALUES (OLD.volume, NEW.volume); RETURN NEW; END $$;
         CREATE TRIGGER inverted BEFORE UPDATE ON bars FOR EACH ROW WHEN (OLD.volume > NEW.volume)
         EXECUTE FUNCTION note_inversion()",
    );
}

/// How many there were. An older one that is written now is seen.
pub fn inversions(database: &TestDatabase) -> i64 {
    let found = database.number("SELECT count(*) FROM inversions");
    database.run("UPDATE bars SET volume = volume - 1 WHERE symbol = (SELECT symbol FROM bars LIMIT 1)");
    assert!(database.number("SELECT count(*) FROM inversions") > found, "an older one was not seen");
    found
}
