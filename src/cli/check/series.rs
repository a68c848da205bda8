//! The bars of one vendor, symbol, timeframe and adjustment, and their rows as the store has them.

use market_data_store::{Invalid, StoredRow, Timestamp};
use smol_str::SmolStr;

/// Names a series, as the store spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) vendor: SmolStr,
    pub(super) symbol: SmolStr,
    pub(super) timeframe: SmolStr,
    pub(super) adjustment: SmolStr,
}

impl Series {
    pub(super) fn of(row: &StoredRow<'_>) -> Self {
        let name = |column| row.get(column).unwrap_or_else(|_| SmolStr::new_static("?"));
        let [vendor, symbol] = ["vendor", "symbol"].map(name);
        Self { vendor, symbol, timeframe: name("timeframe"), adjustment: name("adjustment") }
    }
}

/// A row as far as its columns hold numbers. Another program may have written anything: it is no bar before it is
/// validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StoredBar {
    pub(super) ts: Timestamp,
    /// Open, high, low, close.
    pub(super) prices: [f64; 4],
    pub(super) volume: Option<f64>,
}

impl StoredBar {
    pub(super) fn of(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        let prices = [row.get("open")?, row.get("high")?, row.get("low")?, row.get("close")?];
        Ok(Self { ts: row.get("ts")?, prices, volume: row.get("volume")? })
    }
}
