//! What the time cells of a file mean: offsets, zones, session dates, and which number is the month.

mod clock_digits;
mod ends;
mod nanos;
mod options;
mod proposed_formats;
mod reading;
mod sessions;
mod written_forms;

use std::cell::Cell;

use jiff::civil::Time;

pub use self::options::{SessionStart, TimeFormat, TsIs, Zone};
use self::{
    clock_digits::ClockDigits,
    ends::{beginning, without_noise},
    options::say,
    proposed_formats::{compact_format, formats_of},
    sessions::Sessions,
    written_forms::{Numbers, decimal, zoned},
};
pub(crate) use self::{
    nanos::{NanoTimes, is_date_alone},
    options::TimeOptions,
    proposed_formats::proposed_format,
    reading::{Either, Order, Reading},
};
use super::row_error::RowError;
use crate::{
    record::{
        Timeframe,
        timestamp::{Fault, Timestamp, Written, date, instant},
    },
    text::Quoted,
};

/// Reads the time cells of one file.
pub(crate) struct Times {
    /// The zone, and which day is which.
    sessions: Sessions,
    format: Option<TimeFormat>,
    /// What times are of their bars; none if nothing says it.
    ts_is: Option<TsIs>,
    order: Option<Order>,
    clock_digits: ClockDigits,
    /// Where a date and its time of day are put together.
    joined: String,
    /// How many times were brought to a whole second.
    rounded: Cell<u64>,
}

impl Times {
    pub(crate) fn new(options: TimeOptions) -> Self {
        let TimeOptions { zone, format, session_start: start, ts_is, as_written } = options;
        Self {
            sessions: Sessions { zone, start, are_of_utc: false, as_written, are_moments: false },
            format,
            ts_is,
            order: None,
            clock_digits: ClockDigits::default(),
            joined: String::new(),
            rounded: Cell::new(0),
        }
    }

    /// Says that times are taken as they are written, those of bars of a day or more too. Where it is said when sessions
    /// begin, they are looked for all the same.
    pub(crate) fn take_as_written(&mut self) {
        if self.sessions.start.is_some() {
            return;
        }
        self.sessions.as_written = true;
        self.sessions.are_moments = true;
    }

    /// Says that times are those of the ends of bars.
    pub(crate) fn are_ends(&mut self) {
        self.ts_is.get_or_insert(TsIs::End);
    }

    /// Returns what times are of their bars.
    pub(crate) fn ts_is(&self) -> TsIs {
        self.ts_is.unwrap_or_default()
    }

    /// Returns whether it is known what times are of their bars.
    pub(crate) fn knows_ts_is(&self) -> bool {
        self.ts_is.is_some()
    }

    /// Returns how many times were brought to a whole second.
    pub(crate) fn rounded(&self) -> u64 {
        self.rounded.get()
    }

    /// Counts no more than so many: what was read only to be compared does not count.
    pub(crate) fn set_rounded(&mut self, rounded: u64) {
        self.rounded.set(rounded);
    }

    /// Returns when the bar of a reading begins, whose time is that of its end if the file's times are so.
    ///
    /// # Errors
    /// It is a date alone, which is that of the session and no end.
    pub(crate) fn begin_of(&self, reading: Reading, timeframe: Timeframe, is_date: bool) -> Result<Reading, RowError> {
        if self.ts_is() == TsIs::Begin {
            return Ok(reading);
        }
        if timeframe.is_day_or_more() {
            // The date is that of the moment before the end already.
            let problem = match (is_date, timeframe == Timeframe::DAY) {
                (true, _) => "the time at which a bar ends, got a date alone, which is that of its session",
                (false, false) => "bars of a day or less, whose ends say when they begin",
                (false, true) => return Ok(reading),
            };
            return Err(RowError::from(format!("time: expected {problem}")).of_file("leave --ts-is end out"));
        }
        let begin = |ts| beginning(ts, timeframe);
        Ok(match reading {
            Reading::Known(ts, clock) => Reading::Known(begin(ts)?, clock),
            Reading::Either(mut either) => {
                either.month_first = either.month_first.and_then(begin);
                either.day_first = either.day_first.and_then(begin);
                Reading::Either(either)
            }
        })
    }

    /// Returns whether the clocks show midnight at that time.
    pub(crate) fn is_midnight(&self, ts: Timestamp) -> bool {
        self.zone().civil(ts).is_ok_and(|at| at.time() == Time::midnight())
    }

    /// Returns `--tz`, if it was given.
    pub(crate) fn given_zone(&self) -> Option<&Zone> {
        self.sessions.zone.as_ref()
    }

    /// Returns the zone whose clocks times without an offset show.
    pub(crate) fn zone(&self) -> &Zone {
        self.sessions.zone.as_ref().unwrap_or(&Zone::UTC)
    }

    /// Says that this vendor's days are those of UTC, wherever the user's other files come from.
    pub(crate) fn days_of_utc(&mut self) {
        self.sessions.are_of_utc = true;
    }

    /// Returns whether a time that can be read is a date alone.
    pub(crate) fn is_date(&self, text: &str) -> bool {
        if let Some(format) = &self.format {
            return !format.has_clock();
        }
        text.len() <= 10
            && text.starts_with(|first: char| first.is_ascii_digit())
            && (text.len() == 8 || text.contains(['/', '-', '.']))
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"/-.".contains(&byte))
    }

    /// Says from now on which number is the month.
    pub(crate) fn settle(&mut self, order: Order) {
        self.order = Some(order);
    }

    /// Reads a time, or a date and its time of day in a cell of its own. With `session` the bar covers a day or more,
    /// and its time is the date as it was written, whatever time of day and offset stand beside it.
    pub(crate) fn read(&mut self, time: &str, clock: Option<&str>, session: bool) -> Result<Reading, RowError> {
        let clock = match clock {
            None => return self.read_cell(time, session),
            Some("") if session => return self.read_cell(time, session),
            // Midnight would be a bar that the file does not have.
            Some("") => return Err(format!("time: expected a time of day beside {}, got none", Quoted(time)).into()),
            Some(clock) => clock,
        };
        let is_number = self.format.is_none() && clock.bytes().all(|byte| byte.is_ascii_digit());
        let zeros = if is_number { self.clock_digits.zeros_for(clock)? } else { "" };
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend([time, " ", zeros, clock]);
        let read = self.read_cell(&joined, session);
        self.joined = joined;
        read
    }

    /// Reads what names the same moment as `text`, which was read as `reading`, once more, and settles by it what may have
    /// two readings. What cannot be read here says nothing.
    ///
    /// # Errors
    /// It names another moment: one of the two is no time of the bar, or the clocks of one stand elsewhere.
    pub(crate) fn agree(
        &mut self,
        reading: Reading,
        text: &str,
        (again, clock): (&str, Option<&str>),
        session: bool,
    ) -> Result<Reading, RowError> {
        if again.is_empty() {
            return Ok(reading);
        }
        let Ok(other) = self.read(again, clock, session) else { return Ok(reading) };
        // A date alone is some moment of its day, wherever its clocks stand, or of the night before a trading day, which
        // can be days before its date where there are holidays between.
        let is_day = !session && clock.is_none() && other.clock() == Some(Time::midnight()) && !again.contains(':');
        let agrees = |ts: Timestamp, other: Timestamp| {
            let hours = (ts.as_micros() - other.as_micros()).div_euclid(3_600_000_000);
            ts == other || is_day && (-12 * 24..24 + 12).contains(&hours)
        };
        let others = other.moments();
        let ts = match reading {
            Reading::Known(ts, _) if others.into_iter().flatten().any(|other| agrees(ts, other)) => return Ok(reading),
            // Beside an epoch the clocks of a text may be those of UTC, whatever `--tz` says of other files.
            Reading::Known(ts, None) if !session && self.in_utc(again, clock).contains(&Some(ts)) => {
                return Ok(reading);
            }
            Reading::Known(ts, _) => Some(ts),
            Reading::Either(_) => {
                let readings = reading.moments();
                // Both are written in one order.
                let pairs = readings.into_iter().zip(others).filter_map(|(ts, other)| ts.zip(other));
                let mut agreeing = pairs.filter(|(ts, other)| agrees(*ts, *other)).map(|(ts, _)| ts);
                match (agreeing.next(), agreeing.next()) {
                    (Some(ts), None) => return Ok(Reading::Known(ts, reading.clock())),
                    (Some(_), Some(_)) => return Ok(reading),
                    (None, _) => readings.into_iter().flatten().next(),
                }
            }
        };
        let is = |ts: Option<Timestamp>| ts.map(|ts| format!(", which is {ts}")).unwrap_or_default();
        let message = format!(
            "time: expected one moment in both columns of a time, got {}{}, and {}{}: give --map ts=COLUMN with the one that \
             counts, or --tz",
            Quoted(text),
            is(ts),
            Quoted(again),
            is(others.into_iter().flatten().next())
        );
        Err(RowError::from(message).of_file(""))
    }

    /// Reads a time as if there were no `--tz`.
    fn in_utc(&mut self, time: &str, clock: Option<&str>) -> [Option<Timestamp>; 2] {
        let zone = self.sessions.zone.take();
        let read = self.read(time, clock, false);
        self.sessions.zone = zone;
        read.map_or([None, None], |reading| reading.moments())
    }

    fn read_cell(&self, text: &str, session: bool) -> Result<Reading, RowError> {
        if let Some(format) = &self.format {
            let (written, zone) = format.read(text)?;
            return self.decide(written, zone.as_ref(), session, text).map(known);
        }
        let compact = compact_format(text);
        if let Some(format) = compact.filter(|_| text.len() < 14) {
            let otherwise = if text.len() == 10 { ", or --ts-format %s if it is in seconds" } else { "" };
            let message = format!(
                "time: expected a date or an epoch, got {}, which may be either: give --ts-format {format} if it is a date and \
                 a time{otherwise}",
                Quoted(text)
            );
            return Err(RowError::from(message).of_file(""));
        }
        match Written::parse(text) {
            Ok(written) => self.decide(written, None, session, text).map(known),
            Err(Fault::Shape) => {
                if let Some((written, zone)) = zoned(text).or_else(|| self.dashed(text)) {
                    return self.decide(written, zone.as_ref(), session, text).map(known);
                }
                if let Some(numbers) = Numbers::of(text) {
                    return self.read_numbers(numbers, session, text);
                }
                match decimal(text) {
                    Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => {
                        self.read_cell(whole, session)
                    }
                    Some((whole, _)) if [9, 10].contains(&whole.len()) => {
                        Err(RowError::from(say_shape(text)).of_file("give --ts-format %s%.f if it is in seconds"))
                    }
                    _ => Err(self.odd(text)),
                }
            }
            Err(fault @ (Fault::Digits(_) | Fault::OutOfRange)) => {
                let advice = compact.map(|format| format!("give --ts-format {format}")).unwrap_or_default();
                Err(RowError::from(say(fault, text)).of_file(advice))
            }
            Err(fault) => Err(say(fault, text).into()),
        }
    }

    /// Says what is wrong with a time that is written in none of the usual ways, and which format reads it.
    fn odd(&self, text: &str) -> RowError {
        if text.contains(['e', 'E']) && text.parse::<f64>().is_ok() {
            let advice = "a spreadsheet has cut its digits off, so take the file as it was before";
            return RowError::from(say(Fault::Shape, text)).of_file(advice);
        }
        let formats = if text.is_empty() { Vec::new() } else { formats_of(text, self.order) };
        if formats.is_empty() {
            let problem = RowError::from(say_shape(text));
            // Where there is nothing, the way in which it is written says nothing.
            return if text.is_empty() { problem } else { problem.of_file("") };
        }
        let quote = |format: &String| if format.contains(' ') { format!("'{format}'") } else { format.clone() };
        let options: Vec<_> = formats.iter().map(|format| format!("--ts-format {}", quote(format))).collect();
        RowError::from(say(Fault::Shape, text)).of_file(format!("give {}", options.join(" or ")))
    }

    /// Reads `20240102-09:30:00`, which FIX and Interactive Brokers write in UTC. That this is meant is not plain where
    /// `--tz` says otherwise.
    fn dashed(&self, text: &str) -> Option<(Written, Option<Zone>)> {
        let (date, clock) = text.split_once('-').filter(|(date, _)| date.len() == 8)?;
        if !self.zone().is_utc() {
            return None;
        }
        match Written::parse(&format!("{date} {clock}")) {
            Ok(written @ Written::Civil { offset: None, .. }) => Some((written, None)),
            _ => None,
        }
    }

    fn read_numbers(&self, numbers: Numbers<'_>, session: bool, text: &str) -> Result<Reading, RowError> {
        let on = |year, month, day| {
            let written = Written::on_date(numbers.rest, || date(year, month, day)).map_err(|fault| match fault {
                Fault::Shape => self.odd(text),
                fault => say(fault, text).into(),
            })?;
            self.decide(written, None, session, text)
        };
        let (first, second, third) = (numbers.first, numbers.second, numbers.third);
        if numbers.year_first {
            return on(first, second, third).map(known);
        }
        match self.order {
            Some(Order::MonthFirst) if first > 12 && second <= 12 => {
                Err(format!("time: expected month, day, year as elsewhere in the file, got {}", Quoted(text)).into())
            }
            Some(Order::DayFirst) if second > 12 && first <= 12 => {
                Err(format!("time: expected day, month, year as elsewhere in the file, got {}", Quoted(text)).into())
            }
            Some(Order::MonthFirst) => on(third, first, second).map(known),
            Some(Order::DayFirst) => on(third, second, first).map(known),
            None => {
                let (month_first, day_first) = (on(third, first, second), on(third, second, first));
                let clock = month_first.as_ref().or(day_first.as_ref()).ok().and_then(|(_, clock)| *clock);
                let (month_first, day_first) = match (month_first, day_first) {
                    // A date that exists in no order shows nothing, and is an error whatever the order is.
                    (Err(error), Err(_)) => {
                        let is_odd = matches!(Written::on_date(numbers.rest, || date(2000, 1, 1)), Err(Fault::Shape));
                        return Err(if is_odd { self.odd(text) } else { error });
                    }
                    readings => readings,
                };
                let ts = |read: Result<(Timestamp, _), RowError>| read.map(|(ts, _)| ts).map_err(String::from);
                let (month_first, day_first) = (ts(month_first), ts(day_first));
                let proves = match (first > 12, second > 12) {
                    (true, _) => Some(Order::DayFirst),
                    (_, true) => Some(Order::MonthFirst),
                    _ => None,
                };
                let (differs, text) = (first != second, text.to_owned());
                Ok(Reading::Either(Box::new(Either { month_first, day_first, proves, differs, clock, text })))
            }
        }
    }

    /// Returns the time that is meant, and the time of day as it was written.
    fn decide(
        &self,
        written: Written,
        zone: Option<&Zone>,
        session: bool,
        text: &str,
    ) -> Result<(Timestamp, Option<Time>), RowError> {
        let written = match without_noise(written, session, self.ts_is()).filter(|_| !self.sessions.as_written) {
            Some(whole) => {
                self.rounded.set(self.rounded.get() + u64::from(self.ts_is() == TsIs::Begin));
                whole
            }
            None => written,
        };
        match written {
            _ if session => self.sessions.of(written, zone.is_some(), self.ts_is() == TsIs::End, text),
            Written::Instant(ts) => Ok((ts, None)),
            Written::Civil { at, offset: Some(offset) } => {
                let ts = instant(at, offset).map_err(|fault| say(fault, text))?;
                Ok((ts, Some(at.time())))
            }
            Written::Civil { at, offset: None } => {
                Ok((zone.unwrap_or_else(|| self.zone()).instant(at)?, Some(at.time())))
            }
        }
    }
}

fn known((ts, clock): (Timestamp, Option<Time>)) -> Reading {
    Reading::Known(ts, clock)
}

fn say_shape(text: &str) -> String {
    format!("{}; --ts-format reads other forms", say(Fault::Shape, text))
}

#[cfg(test)]
mod tests;
