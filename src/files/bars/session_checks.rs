//! What rows show only together: a day that comes twice, or a time of day that some have and others lack.

use std::collections::HashMap;

use jiff::civil::Time;
use smol_str::SmolStr;

use super::{outcome::Outcome, raw_bar::RawBar};
use crate::files::{
    chunk::{ReadError, Rejected},
    times::Reading,
};
use crate::{
    record::Timestamp,
    record::{Adjustment, Bar, Timeframe},
    text::Quoted,
};

/// Of so many symbols the last day is remembered, to see whether it comes again.
const SYMBOLS_REMEMBERED: usize = 4_096;

/// The last day of each symbol whose bars cover a day or more, or have no time of day.
///
/// Only the date of such a bar is stored, so minutes that are loaded as days would all overwrite each other, and so would
/// those whose time of day stands in a column that is not known.
#[derive(Default)]
pub(crate) struct SessionChecks {
    last: HashMap<(SmolStr, SmolStr, Timeframe, Adjustment), (Timestamp, Time)>,
    /// How often a symbol went on to another day, and how often it had a row of the same day at another time.
    other: u64,
    same: u64,
    /// Whether a bar of less than a day had a time of day: then a date alone is midnight, as R writes it.
    has_clocks: bool,
}

/// Whether rows have a time of day, in a file whose rows say themselves which fields they have: midnight would be a bar that
/// the file does not have.
#[derive(Default)]
pub(crate) struct Clocks {
    /// The line of the first row with one.
    with: Option<u64>,
    /// The line of the first bar of less than a day that has only a date.
    bare: Option<u64>,
}

impl SessionChecks {
    /// Takes a bar that has its time, and the time of day that was written beside its date unless it is a date alone.
    pub(crate) fn look_at(&mut self, line: u64, bar: Bar, clock: Option<Time>, is_date: bool) -> Outcome {
        let session = bar.timeframe.is_day_or_more();
        self.has_clocks |= !session && !is_date;
        let Some(clock) = clock.filter(|_| session || is_date) else { return Outcome::Bar(bar) };
        let key = (bar.vendor.clone(), bar.symbol.clone(), bar.timeframe, bar.adjustment);
        if self.last.len() >= SYMBOLS_REMEMBERED && !self.last.contains_key(&key) {
            self.last.clear();
        }
        match self.last.insert(key, (bar.ts, clock)) {
            Some((ts, before)) if ts == bar.ts && if session { before != clock } else { !self.has_clocks } => {
                let symbol = Quoted(&bar.symbol).to_string();
                let (symbol, timeframe) = (symbol.trim_matches('"'), bar.timeframe);
                if !session {
                    let message = format!(
                        "time: expected a time of day in rows of {timeframe}, got two of {symbol} on one date without one"
                    );
                    return Outcome::NoClock(Rejected { line, message });
                }
                self.same += 1;
                let day = bar.ts.to_string();
                let day = day.split('T').next().unwrap_or_default();
                let message = format!(
                    "time: expected one row of {symbol} for {day} as {timeframe} says, got two, at {before} and {clock}"
                );
                return Outcome::SameDay(Rejected { line, message });
            }
            Some((ts, _)) if session && ts != bar.ts => self.other += 1,
            _ => {}
        }
        Outcome::Bar(bar)
    }

    /// Fails if more rows share a day than have one of their own: the file is one of hours or less. Where a file of days
    /// has such a row, as for a day that is not over, that costs only the row.
    pub(crate) fn refuse(&self, outcome: &Outcome) -> Result<(), ReadError> {
        match outcome {
            Outcome::SameDay(Rejected { line, message }) if self.same > self.other => Err(ReadError::Refused(format!(
                "line {line}: {message}: give the timeframe of the rows, such as --timeframe 1m"
            ))),
            _ => Ok(()),
        }
    }
}

impl Clocks {
    /// Takes a row of a bar of less than a day, and rejects one that has only a date where others have a time of day.
    pub(crate) fn look_at(&mut self, line: u64, cells: &RawBar<'_>, reading: &Reading) -> Result<(), String> {
        let clock = match reading {
            Reading::Known(_, clock) => *clock,
            Reading::Either(either) => either.clock,
        };
        if !cells.is_bare {
            self.with.get_or_insert(line);
        } else if clock == Some(Time::midnight()) {
            if let Some(with) = self.with {
                let date = Quoted(cells.time);
                return Err(format!("time: expected a time of day beside {date} as on line {with}, got none"));
            }
            self.bare.get_or_insert(line);
        }
        Ok(())
    }

    /// Fails if the first rows have only a date and a later one has more: they were taken for midnight.
    pub(crate) fn refuse(&self) -> Result<(), ReadError> {
        match (self.bare, self.with) {
            (Some(bare), Some(with)) if bare < with => Err(ReadError::Refused(format!(
                "line {with}: time: expected only a date as on line {bare}, got a time of day too: give each row one, or load \
                 those of the one kind from a file of their own"
            ))),
            _ => Ok(()),
        }
    }
}
