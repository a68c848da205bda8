//! What the first rows show of a symbol and a timeframe that no option gives.

use jiff::civil::Time;

use super::{raw_bar::RawBar, unused_cells::UnusedCells};
use crate::files::{
    chunk::ReadError,
    missing_options::{self, MissingOptions},
    times::{Order, Reading, Times},
};
use crate::{record::Timeframe, record::Timestamp, text::Quoted};

/// From so many rows a timeframe is guessed, if they are at hand.
const ROWS_TO_GUESS: usize = 64;
/// So few suffice if reading more could block.
const ROWS_TO_GUESS_AT_LEAST: usize = 3;
/// So many rows of one time, as files of many symbols have, are looked at for a guess.
const ROWS_LOOKED_AT: usize = 4_096;

pub(crate) struct Inference {
    missing: MissingOptions,
    /// The timeframe in the file's name.
    named: Option<Timeframe>,
    month_first: Vec<Timestamp>,
    day_first: Vec<Timestamp>,
    proven: Option<Order>,
    /// Whether a row had a time of day, so that the file is hardly one of days.
    has_clocks: bool,
    /// The rows by their times, if a symbol is missing: of one symbol there is one a time.
    seen: Vec<(Timestamp, String)>,
    /// A time that came again, as it was written, in a row that differs.
    repeated_time: Option<String>,
    /// The last date without a time of day, with what its series is named by.
    date: Option<[String; 5]>,
    /// How often such a date came, but for a row of the same series right before, and how often right behind one.
    dates: usize,
    repeated: usize,
    /// Rows of a time of their own, and all.
    rows: usize,
    rows_looked_at: usize,
}

impl Inference {
    pub(crate) fn new(missing: MissingOptions, named: Option<Timeframe>) -> Self {
        Self {
            missing,
            named,
            month_first: Vec::new(),
            day_first: Vec::new(),
            proven: None,
            has_clocks: false,
            seen: Vec::new(),
            repeated_time: None,
            date: None,
            dates: 0,
            repeated: 0,
            rows: 0,
            rows_looked_at: 0,
        }
    }

    /// Rows of the same time, such as those of many symbols, show nothing about a timeframe.
    pub(crate) fn is_enough(&self) -> bool {
        self.rows >= ROWS_TO_GUESS || self.rows_looked_at >= ROWS_LOOKED_AT
    }

    /// The same where more rows are not at hand, and reading them could block. Without a timeframe to guess, the first row
    /// is enough.
    pub(crate) fn is_enough_to_wait_for_no_more(&self) -> bool {
        self.rows >= if self.missing.timeframe.is_some() { ROWS_TO_GUESS_AT_LEAST } else { 1 }
    }

    pub(crate) fn look_at(&mut self, times: &mut Times, cells: &RawBar<'_>, text: &str, unused: &UnusedCells) {
        self.rows_looked_at += 1;
        if self.missing.symbol.is_some()
            && let Ok(reading) = times.read(cells.time, cells.clock, cells.clock == Some(""))
            && let Some(ts) = reading.moments().into_iter().flatten().next()
        {
            match self.seen.iter().find(|(seen, _)| *seen == ts) {
                Some((_, before)) if before != text => {
                    self.repeated_time.get_or_insert_with(|| cells.time.to_owned());
                    if self.missing.symbol_column.is_none() {
                        self.missing.symbol_column = unused.naming_things(before, text);
                    }
                }
                None if self.seen.len() < ROWS_TO_GUESS => self.seen.push((ts, text.to_owned())),
                _ => {}
            }
        }
        if cells.clock.is_none_or(str::is_empty) && times.is_date(cells.time) {
            let series = [cells.vendor, cells.symbol, cells.timeframe, cells.adjustment, Some(cells.time)];
            let date = series.map(|cell| cell.unwrap_or_default().to_owned());
            let is_repeated = self.date.as_ref() == Some(&date);
            *if is_repeated { &mut self.repeated } else { &mut self.dates } += 1;
            self.date = Some(date);
        }
        let before = self.month_first.last().copied();
        // Without a time of day beside it, a date can only be one of days.
        match times.read(cells.time, cells.clock, cells.clock == Some("")) {
            Ok(Reading::Known(ts, _)) if before == Some(ts) && self.missing.timeframe.is_some() => return,
            Ok(Reading::Known(ts, clock)) => {
                self.has_clocks |= clock.map_or_else(|| !times.is_midnight(ts), |clock| clock != Time::midnight());
                self.month_first.push(ts);
                self.day_first.push(ts);
            }
            Ok(Reading::Either(either)) => {
                self.proven = self.proven.or(either.proves);
                self.has_clocks |= either.clock.is_some_and(|clock| clock != Time::midnight());
                self.month_first.extend(either.month_first);
                self.day_first.extend(either.day_first);
            }
            Err(_) => {}
        }
        self.rows += 1;
    }

    /// Returns whether more rows share a date than have one of their own, and no time of day: they are not of days, or not
    /// of one symbol.
    fn lacks_clocks(&self) -> bool {
        self.repeated > 0
            && self.repeated >= self.dates
            && self.missing.timeframe.is_some()
            && self.missing.symbol_column.is_none()
    }

    /// Says what is missing, unless a column that is not known seems to be the cause; `unused` names those.
    pub(crate) fn missing(&self, unused: &str) -> ReadError {
        match &self.date {
            Some([.., date]) if self.lacks_clocks() => ReadError::Refused(format!(
                "expected a timeframe, and one row a date or a time of day, got several rows of {} without one: say where the \
                 time of day is, as in --map date=COLUMN,time=COLUMN, {}or give --timeframe 1d if the last row of a date \
                 counts{unused}",
                Quoted(date),
                self.missing.symbol.as_ref().map_or("", |_| "or the symbol, as in --map symbol=COLUMN, "),
            )),
            _ if self.missing.symbol_column.is_none() => match &self.repeated_time {
                // Under one symbol, all but one of them would be lost.
                Some(time) => ReadError::Refused(format!(
                    "expected a symbol, and one row of it a time, got several rows of {}: say which column tells them apart, as in \
                     --map symbol=COLUMN, or load those of each symbol from a file of their own{unused}",
                    Quoted(time)
                )),
                None => ReadError::Missing(self.proposal()),
            },
            _ => ReadError::Missing(self.proposal()),
        }
    }

    fn proposal(&self) -> MissingOptions {
        let times = if self.proven == Some(Order::DayFirst) { &self.day_first } else { &self.month_first };
        let guess = || {
            let otherwise = if self.has_clocks { "TIMEFRAME" } else { "1d" };
            let named = || self.named.map(|timeframe| timeframe.to_string());
            missing_options::timeframe_of(times).or_else(named).unwrap_or_else(|| otherwise.into())
        };
        MissingOptions { timeframe: self.missing.timeframe.as_ref().map(|_| guess()), ..self.missing.clone() }
    }
}
