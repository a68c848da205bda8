//! A value of a row that an option, the file's name or a column says: symbol, timeframe, vendor and adjustment.

use std::fmt;

use crate::{
    record::{Adjustment, InvalidWord, Timeframe},
    text::Quoted,
};

/// A value that an option or the file's name fixes, a column names, or both. Remembers the last cell, since most rows
/// repeat it.
pub(super) struct Given<T> {
    name: &'static str,
    /// With who says so.
    pub(super) fixed: Option<(T, &'static str)>,
    default: Option<T>,
    pub(super) parse: fn(&str) -> Result<T, String>,
    last: Option<(String, T)>,
}

impl<T: Clone + PartialEq + fmt::Display> Given<T> {
    pub(super) fn new(
        name: &'static str,
        fixed: Option<(T, &'static str)>,
        default: Option<T>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        Self { name, fixed, default, parse, last: None }
    }

    pub(super) fn resolve(&mut self, cell: Option<&str>) -> Result<T, String> {
        let cell = cell.unwrap_or_default();
        if let Some((last, value)) = &self.last
            && last == cell
        {
            return Ok(value.clone());
        }
        if cell.is_empty() || NO_NAMES.contains(&cell) {
            let otherwise = self.fixed.as_ref().map(|(value, _)| value).or(self.default.as_ref());
            let written = if cell.is_empty() { String::new() } else { format!(" ({})", Quoted(cell)) };
            return otherwise.cloned().ok_or_else(|| format!("{0}: expected a {0}, got none{written}", self.name));
        }
        let value = (self.parse)(cell)?;
        if let Some((fixed, who)) = &self.fixed
            && *fixed != value
        {
            return Err(format!("{}: expected {fixed} as {who} says, got {value}", self.name));
        }
        self.last = Some((cell.to_owned(), value.clone()));
        Ok(value)
    }
}

pub(super) fn timeframe(text: &str) -> Result<Timeframe, String> {
    text.parse().map_err(|error| format!("timeframe: {error}"))
}

pub(super) fn adjustment(text: &str) -> Result<Adjustment, String> {
    text.parse().map_err(|error: InvalidWord| format!("adjustment: {error}"))
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

/// What programs write where there is no name. Other than for a number the letters count: NAN, NULL and NA are tickers.
const NO_NAMES: [&str; 8] = ["NaN", "nan", "null", "None", "<NA>", "N/A", "n/a", "#N/A"];
