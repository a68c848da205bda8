//! The loop that one would write by hand over one connection to SQLite, and bars for it and for a store.

use std::path::Path;

use market_data_store::{Adjustment, Bar, Timeframe, Timestamp, sink::Synchronous};
use rusqlite::{Connection, TransactionBehavior, params};

/// When the first bar opens, in microseconds.
const START: i64 = 1_700_000_000_000_000;

/// Returns the bar of a minute.
pub fn bar(symbol: usize, minute: i64) -> Bar {
    let price = 100.0 + (minute % 997) as f64 / 7.0;
    Bar {
        vendor: Bar::UNKNOWN_VENDOR.into(),
        symbol: format!("SYM{symbol}").into(),
        timeframe: Timeframe::MINUTE,
        adjustment: Adjustment::Raw,
        ts: Timestamp::from_micros(START + minute * 60_000_000),
        open: price,
        high: price + 1.0,
        low: price - 1.0,
        close: price + 0.5,
        volume: Some(minute as f64),
    }
}

/// A bar without this crate.
pub struct PlainBar {
    vendor: &'static str,
    symbol: String,
    timeframe: &'static str,
    adjustment: &'static str,
    ts: i64,
    prices: [f64; 4],
    /// The number of the minute.
    pub volume: Option<f64>,
}

impl PlainBar {
    /// Returns the same bar as [`bar`].
    pub fn new(symbol: usize, minute: i64) -> Self {
        let price = 100.0 + (minute % 997) as f64 / 7.0;
        Self {
            vendor: Bar::UNKNOWN_VENDOR,
            symbol: format!("SYM{symbol}"),
            timeframe: "1m",
            adjustment: "raw",
            ts: START + minute * 60_000_000,
            prices: [price, price + 1.0, price - 1.0, price + 0.5],
            volume: Some(minute as f64),
        }
    }
}

/// One connection, one prepared statement, one transaction a batch.
pub struct Loop(Connection);

impl Loop {
    /// Opens a file in which the table is, with the pragmas that our sink sets.
    pub fn open(path: &Path, synchronous: Synchronous) -> Self {
        let connection = Connection::open(path).unwrap();
        let synchronous = match synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        let pragmas = format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA temp_store = memory; PRAGMA wal_autocheckpoint = 4000;"
        );
        connection.execute_batch(&pragmas).unwrap();
        Self(connection)
    }

    pub fn write(&mut self, batch: &[PlainBar]) {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        {
            let mut statement = transaction
                .prepare_cached(
                    "INSERT INTO bars VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                     ON CONFLICT (vendor, symbol, timeframe, adjustment, ts) DO UPDATE SET open = excluded.open,
                     high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume",
                )
                .unwrap();
            for bar in batch {
                let [open, high, low, close] = bar.prices;
                let PlainBar { vendor, symbol, timeframe, adjustment, ts, volume, .. } = bar;
                let row = params![vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume];
                statement.execute(row).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}
