//! The records that all operations have in common.

use std::{fmt::Write, ops::Range};

use market_data_store::{Adjustment, Bar, Timeframe, Timestamp};

/// Enough that each partition of the store has some.
pub const SYMBOLS: usize = 40;

/// Bars of several symbols in turn, minute by minute, each with a key of its own.
pub fn bars(numbers: Range<usize>) -> Vec<Bar> {
    let bar = |number: usize| {
        let minute = (number / SYMBOLS) as i64;
        // Quarters, as futures are quoted.
        let open = 4_000.0 + (minute % 400) as f64 / 4.0;
        Bar {
            vendor: "acme".into(),
            symbol: format!("SYM{}", number % SYMBOLS).into(),
            timeframe: Timeframe::MINUTE,
            adjustment: Adjustment::Raw,
            ts: Timestamp::from_micros(1_700_000_000_000_000 + minute * 60_000_000),
            open,
            high: open + 1.5,
            low: open - 1.25,
            close: open + 0.25,
            volume: Some((number % 5_000) as f64),
        }
    };
    numbers.map(bar).collect()
}

/// The same as CSV in the columns of our own.
pub fn csv(numbers: Range<usize>) -> Vec<u8> {
    let mut text = "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n".to_owned();
    for bar in bars(numbers) {
        let Bar { vendor, symbol, ts, open, high, low, close, .. } = bar;
        let volume = bar.volume.unwrap_or_default();
        writeln!(text, "{vendor},{symbol},1m,raw,{ts},{open:.2},{high:.2},{low:.2},{close:.2},{volume}").unwrap();
    }
    text.into()
}

/// The same as JSON, one a line.
pub fn ndjson(numbers: Range<usize>) -> Vec<u8> {
    bars(numbers).iter().map(|bar| serde_json::to_string(bar).unwrap() + "\n").collect::<String>().into()
}
