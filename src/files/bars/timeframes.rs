//! Timeframes and adjustments as vendors write them.

use crate::{
    record::{Adjustment, InvalidText, Timeframe},
    text::Quoted,
};

pub(super) fn timeframe(text: &str) -> Result<Timeframe, String> {
    text.parse().map_err(|error| format!("timeframe: {error}"))
}

pub(super) fn adjustment(text: &str) -> Result<Adjustment, String> {
    text.parse().map_err(|error: InvalidText| format!("adjustment: {error}"))
}

/// Reads a timeframe as Stooq writes it: a number is one of minutes. It has no other way to write hours, so whole hours
/// are hours, and have the key that they have from other vendors.
pub(super) fn period(text: &str) -> Result<Timeframe, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return timeframe(text);
    }
    match text.parse::<u32>() {
        Ok(minutes) if minutes > 0 && minutes.is_multiple_of(60) => timeframe(&format!("{}h", minutes / 60)),
        _ => timeframe(&format!("{text}m")),
    }
}

/// Reads a timeframe as Kraken and Bybit write it: a number is one of minutes.
pub(super) fn minutes(text: &str) -> Result<Timeframe, String> {
    const UNITS: [(u32, &str); 3] = [(10_080, "w"), (1_440, "d"), (60, "h")];
    let Ok(minutes @ 1..) = text.parse::<u32>() else { return timeframe(text) };
    let unit = UNITS.iter().find(|(unit, _)| minutes.is_multiple_of(*unit)).unwrap_or(&(1, "m"));
    timeframe(&format!("{}{}", minutes / unit.0, unit.1))
}

/// Reads a timeframe from the type of a record, as Databento writes it.
pub(super) fn record_type(text: &str) -> Result<Timeframe, String> {
    match text {
        "32" => timeframe("1s"),
        "33" => timeframe("1m"),
        "34" => timeframe("1h"),
        "35" => timeframe("1d"),
        other => Err(format!("rtype: expected 32 (1s), 33 (1m), 34 (1h) or 35 (1d), got {}", Quoted(other))),
    }
}
