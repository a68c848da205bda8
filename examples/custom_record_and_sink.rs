//! A record type and a store of your own: trades, appended to a file of JSON lines.
//!
//! The store is away when the first trades come. They wait in the queue, the producer is told to stop, and once the
//! store is back everything is written, each trade once and in order.
//!
//! ```sh
//! cargo run --example custom_record_and_sink
//! ```
//!
//! In your own Cargo.toml (no feature is needed, and no actix; `tempfile` is only for this example):
//!
//! ```toml
//! market-data-store = { version = "0.1", default-features = false }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tokio = { version = "1", features = ["macros", "rt"] }
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use market_data_store::{
    Batch, Coordinator, CoordinatorSettings, Invalid, Level, MarketDataStore, Record, Refusal, Settings, Sink,
    SinkError, SinkErrorKind, SinkResultExt, Timestamp,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trade {
    symbol: String,
    /// The exchange's number of the trade. A correction comes with the same number.
    id: u64,
    ts: Timestamp,
    price: f64,
    size: f64,
}

impl Record for Trade {
    const KIND: &'static str = "trades";

    /// Trades of one symbol are written in the order in which they were submitted; those of others may overtake them.
    fn partition_key(&self) -> &str {
        &self.symbol
    }

    /// Runs before a trade is accepted. It may also bring it into a normal form.
    fn validate(&mut self) -> Result<(), Invalid> {
        if self.symbol.is_empty() {
            return Err(Invalid::new("symbol", "expected a symbol, got an empty one"));
        }
        for (field, value) in [("price", self.price), ("size", self.size)] {
            if !value.is_finite() {
                return Err(Invalid::new(field, format!("expected a finite number, got {value}")));
            }
        }
        self.symbol.make_ascii_uppercase();
        Ok(())
    }
}

/// Appends records as JSON lines. When a key occurs twice, its last line counts: so a write may be repeated, as it is
/// after an error or a crash, and a correction needs no more than another line.
struct JsonLines {
    path: PathBuf,
    /// How many bytes of the file are whole lines; none before the first write. The lock makes the workers take turns.
    whole: Mutex<Option<u64>>,
}

impl JsonLines {
    /// Does not open the file yet: a store that is away at the start is no error, it may come back.
    fn new(path: PathBuf) -> Self {
        Self { path, whole: Mutex::new(None) }
    }

    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let end = match *whole {
            Some(end) => end,
            None => whole_lines(&file)?,
        };
        // A write that failed half-way must not leave half a line in front of this one.
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(lines)?;
        // `Ok` means durable, so that a record counts as stored only when it is.
        file.sync_data()?;
        *whole = Some(end + lines.len() as u64);
        Ok(())
    }
}

fn whole_lines(mut file: &File) -> io::Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last as u64 + 1))
}

impl<T: Record> Sink<T> for JsonLines {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for record in batch {
            // Permanent: however often it is tried, this record will not become JSON. A record at fault is found in its
            // batch and becomes a dead letter, the others are stored. A dead letter is JSON too, so better see to it in
            // `validate` that every record can be written.
            serde_json::to_writer(&mut lines, record).permanent()?;
            lines.push(b'\n');
        }
        // Transient: the disk may be full, or away, but that passes, and the batch is tried again until it does. Call
        // an error permanent only if it lies in the records. Blocking is fine: workers have threads of their own.
        self.append(&lines).transient()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let volume = scratch.path().join("volume");
    let path = volume.join("trades.ndjson");

    // A sink is easily tried without a store around it. The directory is not there, as a disk that is not mounted.
    let sink = JsonLines::new(path.clone());
    let error = sink.write(&Batch::from(vec![trade(0, 1.0)])).await.expect_err("the volume is away");
    assert_eq!(error.kind(), SinkErrorKind::Transient);
    println!("{error:#}"); // with its causes

    let coordinator = Coordinator::<Trade>::new(sink).settings(CoordinatorSettings::new(1_000).batch_size(50));
    let store = MarketDataStore::builder(Settings::default()).coordinator(coordinator).spawn()?;
    let trades = store.coordinator::<Trade>()?;

    // A wrong record costs only itself, and comes back.
    let refused = trades.submit(trade(0, f64::NAN)).await.expect_err("not a price");
    assert!(matches!(refused.refusal(), Refusal::Invalid(invalid) if invalid.field == "price"));
    println!("{refused}");
    assert_eq!(refused.into_record().id, 0);

    // The volume is away: nothing can be written, so what is accepted waits, until the level says stop.
    let mut level = store.feedback().watch(trades.id());
    trades.submit_many((0..900).map(|id| trade(id, 5000.0))).await?;
    trades.submit(trade(7, 5001.0)).await?; // a correction
    let event = level.wait_for(|event| event.level == Level::Hard).await?.clone();
    println!("{}: {}, {} of {} queued", event.level, event.reason, event.queue_size, event.capacity);
    assert!(!path.exists());

    fs::create_dir(&volume)?;
    trades.flush().await?;
    level.wait_for(|event| event.level == Level::Ok).await?;
    let report = store.shutdown(store.shutdown_timeout()).await;
    assert_eq!((report.submitted(), report.stored()), (901, 901), "an outage loses nothing");

    let stored = read(&path)?;
    assert_eq!(stored.len(), 900, "one for each key");
    assert_eq!(stored[&("ES".to_owned(), 7)].price, 5001.0, "the correction, which came later, counts");
    println!("{} trades stored, one of them corrected", stored.len());
    Ok(())
}

/// Reads the file as its users have to: the last line of a key counts.
fn read(path: &Path) -> Result<BTreeMap<(String, u64), Trade>, Box<dyn Error>> {
    let trades = fs::read_to_string(path)?;
    let trades = trades.lines().map(serde_json::from_str).collect::<Result<Vec<Trade>, _>>()?;
    Ok(trades.into_iter().map(|trade| ((trade.symbol.clone(), trade.id), trade)).collect())
}

fn trade(id: u64, price: f64) -> Trade {
    Trade { symbol: "es".to_owned(), id, ts: Timestamp::from_secs(1_700_000_000), price, size: 2.0 }
}
