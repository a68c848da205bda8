//! What the time cells of a file mean: offsets, zones, session dates, and which number is the month.

mod options;
mod proposed_formats;
mod reading;
mod written_forms;

use jiff::{
    civil::{DateTime, Time},
    tz::Offset,
};

pub use self::options::{TimeFormat, Zone};
use self::{
    options::{NEW_YORK, say},
    proposed_formats::{compact_format, formats_of},
    written_forms::{Numbers, decimal, zoned},
};
pub(crate) use self::{
    proposed_formats::proposed_format,
    reading::{Either, Order, Reading},
};
use super::row_error::RowError;
use crate::{
    record::timestamp::{Fault, Timestamp, Written, date, instant},
    text::Quoted,
};

/// Reads the time cells of one file.
pub(crate) struct Times {
    /// `--tz`, if it was given.
    zone: Option<Zone>,
    /// Whose dates an epoch of a session is to be read by, where the vendor says it.
    sessions: Option<Zone>,
    format: Option<TimeFormat>,
    order: Option<Order>,
    /// Where a date and its time of day are put together.
    joined: String,
}

impl Times {
    pub(crate) fn new(zone: Option<Zone>, format: Option<TimeFormat>) -> Self {
        Self { zone, sessions: None, format, order: None, joined: String::new() }
    }

    /// Returns whether the clocks show midnight at that time.
    pub(crate) fn is_midnight(&self, ts: Timestamp) -> bool {
        self.zone().civil(ts).is_ok_and(|at| at.time() == Time::midnight())
    }

    /// Returns `--tz`, if it was given.
    pub(crate) fn given_zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// Returns the zone whose clocks times without an offset show.
    pub(crate) fn zone(&self) -> &Zone {
        self.zone.as_ref().unwrap_or(&Zone::UTC)
    }

    /// Says that this vendor's days are those of UTC, wherever the user's other files come from.
    pub(crate) fn days_of_utc(&mut self) {
        self.sessions = Some(Zone::UTC);
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
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend([time, " ", clock]);
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
        let zone = self.zone.take();
        let read = self.read(time, clock, false);
        self.zone = zone;
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
                let ts = |read: Result<(Timestamp, _), RowError>| read.map(|(ts, _)| ts).map_err(String::from);
                let (month_first, day_first) = (ts(month_first), ts(day_first));
                // A date that exists in no order shows nothing, and is an error whatever the order is.
                if let (Err(error), Err(_)) = (&month_first, &day_first) {
                    let is_odd = matches!(Written::on_date(numbers.rest, || date(2000, 1, 1)), Err(Fault::Shape));
                    return Err(if is_odd { self.odd(text) } else { error.clone().into() });
                }
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
        let written = match written {
            Written::Instant(ts) if session => self.session(ts, text)?,
            Written::Civil { at, .. } if session => at,
            Written::Instant(ts) => return Ok((ts, None)),
            Written::Civil { at, offset: Some(offset) } => {
                let ts = instant(at, offset).map_err(|fault| say(fault, text))?;
                return Ok((ts, Some(at.time())));
            }
            Written::Civil { at, offset: None } => {
                return Ok((zone.unwrap_or_else(|| self.zone()).instant(at)?, Some(at.time())));
            }
        };
        let ts =
            instant(written.date().to_datetime(Time::midnight()), Offset::UTC).map_err(|fault| say(fault, text))?;
        Ok((ts, Some(written.time())))
    }

    /// Returns the time whose date is that of the session that an epoch stands for. Without a zone, midnight in UTC is that
    /// date; any other time has two dates, and only the exchange's zone tells which one is the session's.
    fn session(&self, ts: Timestamp, text: &str) -> Result<DateTime, RowError> {
        let civil = |zone: &Zone| zone.civil(ts).map_err(|fault| say(fault, text));
        if let Some(zone) = self.sessions.as_ref().or(self.zone.as_ref()) {
            return Ok(civil(zone)?);
        }
        let at = civil(&Zone::UTC)?;
        if at.time() == Time::midnight() {
            return Ok(at);
        }
        let message = format!(
            "time: expected --tz, since the date of a bar of a day or more depends on the zone, got {}, which is {ts}",
            Quoted(text)
        );
        let there = NEW_YORK.parse::<Zone>().ok().and_then(|zone| zone.civil(ts).ok());
        let advice = if there.is_some_and(|there| there.time() == Time::midnight()) {
            format!("give --tz {NEW_YORK}, where it is midnight")
        } else {
            format!("give the zone of the exchange, as in --tz {NEW_YORK}, or --tz UTC")
        };
        Err(RowError::from(message).of_file(advice))
    }
}

fn known((ts, clock): (Timestamp, Option<Time>)) -> Reading {
    Reading::Known(ts, clock)
}

fn say_shape(text: &str) -> String {
    format!("{}; --ts-format reads other forms", say(Fault::Shape, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(zone: &str) -> Times {
        Times::new(Some(zone.parse().unwrap()), None)
    }

    fn known(times: &mut Times, time: &str, clock: &str, session: bool) -> Result<String, String> {
        match times.read(time, Some(clock).filter(|clock| !clock.is_empty()), session)? {
            Reading::Known(ts, _) => Ok(ts.to_string()),
            Reading::Either(either) => panic!("{either:?}"),
        }
    }

    #[test]
    fn a_time_without_offset_is_read_in_the_zone() {
        for (zone, time, clock, expected) in [
            ("UTC", "2024-01-02 09:30", "", "2024-01-02T09:30:00Z"),
            ("America/New_York", "2024-01-02 09:30", "", "2024-01-02T14:30:00Z"),
            ("America/New_York", "2024-07-02 09:30", "", "2024-07-02T13:30:00Z"),
            ("America/New_York", "2024-07-02 09:30Z", "", "2024-07-02T09:30:00Z"),
            ("America/New_York", "1704205800", "", "2024-01-02T14:30:00Z"),
            ("UTC", "2024-01-02", "09:30:01.5", "2024-01-02T09:30:01.5Z"),
            ("UTC", "20240102", "093000", "2024-01-02T09:30:00Z"),
            ("Europe/Berlin", "2024/1/2", "9:30", "2024-01-02T08:30:00Z"),
            ("UTC", "2024.01.02 09:30", "", "2024-01-02T09:30:00Z"),
            ("UTC", "2024-1-2", "", "2024-01-02T00:00:00Z"),
            ("UTC", "20240102  09:30:00", "", "2024-01-02T09:30:00Z"),
            ("UTC", "20240702 09:30:00 US/Eastern", "", "2024-07-02T13:30:00Z"),
            ("UTC", "20240102 15:30:00 Europe/Berlin", "", "2024-01-02T14:30:00Z"),
            ("UTC", "2024-01-02 09:30:00 US/Eastern", "", "2024-01-02T14:30:00Z"),
            ("UTC", "2024/01/02 09:30:00 US/Eastern", "", "2024-01-02T14:30:00Z"),
            // As Interactive Brokers writes the zones of exchanges, and UTC.
            ("America/New_York", "20240702 15:30:00 MET", "", "2024-07-02T13:30:00Z"),
            ("America/New_York", "20240702 15:30:00 GB-Eire", "", "2024-07-02T14:30:00Z"),
            ("America/New_York", "20240702 15:30:00 Japan", "", "2024-07-02T06:30:00Z"),
            ("America/New_York", "20240702 15:30:00 Hongkong", "", "2024-07-02T07:30:00Z"),
            ("America/New_York", "20240702 15:30:00 GMT", "", "2024-07-02T15:30:00Z"),
            ("America/New_York", "20240702 15:30:00 UTC", "", "2024-07-02T15:30:00Z"),
            ("UTC", "20240702 15:30:00 EST5EDT", "", "2024-07-02T19:30:00Z"),
            ("UTC", "20240702-15:30:00", "", "2024-07-02T15:30:00Z"),
        ] {
            assert_eq!(known(&mut times(zone), time, clock, false).as_deref(), Ok(expected), "{time} {clock} {zone}");
        }
    }

    #[test]
    fn a_session_is_the_date_as_written_and_of_an_epoch_the_date_in_the_zone() {
        for (zone, time, expected) in [
            ("America/New_York", "2024-01-02", "2024-01-02T00:00:00Z"),
            ("UTC", "1999-01-04 00:00:00-05:00", "1999-01-04T00:00:00Z"),
            ("Asia/Tokyo", "2024-01-02T23:59:59Z", "2024-01-02T00:00:00Z"),
            // Midnight in New York, as Yahoo stamps a session.
            ("America/New_York", "1704171600", "2024-01-02T00:00:00Z"),
            ("Asia/Tokyo", "1704121200000", "2024-01-02T00:00:00Z"),
            ("UTC", "1704121200000", "2024-01-01T00:00:00Z"),
            // Skipped by the clocks of this zone, but a session has no clock.
            ("America/New_York", "2024-03-10 02:30:00", "2024-03-10T00:00:00Z"),
        ] {
            assert_eq!(known(&mut times(zone), time, "", true).as_deref(), Ok(expected), "{time} {zone}");
        }
    }

    // Sabotage: take them for the winter's offset that the time zone database has under such a name.
    #[test]
    fn an_abbreviation_that_is_used_in_summer_too_is_no_zone() {
        for name in ["EST", "MST", "HST", "est", "EDT", "Somewhere", "am"] {
            let text = format!("20240702 09:30:00 {name}");
            assert!(times("UTC").read(&text, None, false).is_err(), "{text}");
        }
        // UTC by its form, and not by the option.
        let problem = times("America/New_York").read("20240702-09:30:00", None, false).unwrap_err().into_parts();
        assert_eq!(problem.1.as_deref(), Some("give --ts-format %Y%m%d-%H:%M:%S"));
    }

    // Red if an epoch that is no midnight is dated in UTC because no zone is given: it would be the day before for
    // all that lies east of London.
    #[test]
    fn a_session_s_epoch_needs_a_zone_unless_it_is_midnight_in_utc() {
        let mut times = Times::new(None, None);
        assert_eq!(known(&mut times, "1704153600000", "", true).as_deref(), Ok("2024-01-02T00:00:00Z"));
        assert_eq!(known(&mut times, "1704171600000", "", false).as_deref(), Ok("2024-01-02T05:00:00Z"));
        for (text, message, advice) in [
            (
                "1704171600000000000",
                "time: expected --tz, since the date of a bar of a day or more depends on the zone, got \
                 \"1704171600000000000\", which is 2024-01-02T05:00:00Z",
                "give --tz America/New_York, where it is midnight",
            ),
            (
                "1704121200",
                "time: expected --tz, since the date of a bar of a day or more depends on the zone, got \"1704121200\", \
                 which is 2024-01-01T15:00:00Z",
                "give the zone of the exchange, as in --tz America/New_York, or --tz UTC",
            ),
        ] {
            let problem = times.read(text, None, true).unwrap_err().into_parts();
            assert_eq!(problem, (message.to_owned(), Some(advice.to_owned())));
        }
        times.days_of_utc();
        assert_eq!(known(&mut times, "1704121200", "", true).as_deref(), Ok("2024-01-01T00:00:00Z"));
    }

    #[test]
    fn a_time_that_the_clocks_skip_or_repeat_is_refused_with_both_readings() {
        let mut times = times("America/New_York");
        assert_eq!(
            known(&mut times, "2024-03-10 02:30", "", false).unwrap_err(),
            "time: expected a time with an offset, got 2024-03-10T02:30:00, which does not exist in America/New_York, \
             where the clocks change: it is 2024-03-10T07:30:00Z at offset -05 or 2024-03-10T06:30:00Z at offset -04"
        );
        assert_eq!(
            known(&mut times, "2024-11-03 01:30", "", false).unwrap_err(),
            "time: expected a time with an offset, got 2024-11-03T01:30:00, which occurs twice in America/New_York, \
             where the clocks change: it is 2024-11-03T05:30:00Z at offset -04 or 2024-11-03T06:30:00Z at offset -05"
        );
    }

    #[test]
    fn a_format_reads_what_is_odd() {
        for (format, text, session, expected) in [
            ("%m/%d/%Y", "1/4/1999", true, "1999-01-04T00:00:00Z"),
            ("%d/%m/%Y", "1/4/1999", true, "1999-04-01T00:00:00Z"),
            ("%d-%b-%y", "04-Jan-99", true, "1999-01-04T00:00:00Z"),
            ("%b %d, %Y", "Jan 04, 1999", true, "1999-01-04T00:00:00Z"),
            ("%m/%d/%Y %I:%M %p", "1/4/1999 9:30 PM", false, "1999-01-05T02:30:00Z"),
            ("%Y%m%d%H%M%S", "19990104093000", false, "1999-01-04T14:30:00Z"),
            ("%Y-%m-%dT%H:%M:%S%z", "1999-01-04T09:30:00+0100", false, "1999-01-04T08:30:00Z"),
            ("%F %T %Q", "1999-01-04 09:30:00 Europe/Berlin", false, "1999-01-04T08:30:00Z"),
            ("%s", "915442200", false, "1999-01-04T09:30:00Z"),
        ] {
            let mut times = Times::new(Some("America/New_York".parse().unwrap()), Some(format.parse().unwrap()));
            assert_eq!(known(&mut times, text, "", session).as_deref(), Ok(expected), "{format}");
        }
        let mut times = Times::new(None, Some("%m/%d/%Y".parse().unwrap()));
        let error = known(&mut times, "13/1/1999", "", true).unwrap_err();
        assert!(
            error.starts_with(r#"time: expected a time as --ts-format "%m/%d/%Y" says, got "13/1/1999": "#),
            "{error}"
        );
        let mut times = Times::new(None, Some("%F %T%.f".parse().unwrap()));
        let error = known(&mut times, "2024-01-02 09:30:00.123456789", "", false).unwrap_err();
        assert!(error.starts_with("time: expected whole microseconds"), "{error}");
    }

    #[test]
    fn wrong_options_name_the_value_and_what_is_expected() {
        assert_eq!(
            "Mars/Base".parse::<Zone>().unwrap_err().to_string(),
            r#"expected a time zone by its IANA name such as America/New_York, got "Mars/Base""#
        );
        assert_eq!("utc".parse::<Zone>().unwrap().to_string(), "UTC");
        assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
        for format in ["%H:%M", "%!", "%m/%d", "%", "no format", "%c"] {
            let error = format.parse::<TimeFormat>().expect_err(format).to_string();
            assert!(error.starts_with("expected a strptime format such as "), "{error}");
        }
    }

    #[test]
    fn a_date_with_two_readings_keeps_both_until_one_is_proven() {
        let mut times = times("UTC");
        for (text, proves, differs) in [
            ("1/4/1999", None, true),
            ("1/1/1999", None, false),
            ("1/13/1999", Some(Order::MonthFirst), true),
            ("13.1.1999", Some(Order::DayFirst), true),
            ("13-01-1999 9:30", Some(Order::DayFirst), true),
        ] {
            let Reading::Either(either) = times.read(text, None, false).unwrap() else { panic!("{text}") };
            assert_eq!((either.proves, either.differs), (proves, differs), "{text}");
        }
        for text in ["13/13/1999", "1/4/99", "1/4-1999", "1/4/1999/", "1/4/1999 noon", "1/4", "//1999", "1/0/1999"] {
            let error = times.read(text, None, false).expect_err(text).to_string();
            assert!(error.starts_with("time: expected "), "{error}");
        }
        times.settle(Order::MonthFirst);
        assert_eq!(known(&mut times, "1/4/1999", "", true).as_deref(), Ok("1999-01-04T00:00:00Z"));
        assert_eq!(
            known(&mut times, "13/1/1999", "", true).unwrap_err(),
            r#"time: expected month, day, year as elsewhere in the file, got "13/1/1999""#
        );
        times.settle(Order::DayFirst);
        assert_eq!(known(&mut times, "1/4/1999", "", true).as_deref(), Ok("1999-04-01T00:00:00Z"));
    }

    #[test]
    fn the_proposed_format_reads_the_date_it_was_made_from() {
        for text in
            ["1/4/1999", "01.04.1999", "1-4-1999 9:30", "1/4/1999 09:30:00", "1/4/1999 09:30:00.5", "1/4/1999T0930"]
        {
            for (order, expected) in [(Order::MonthFirst, "1999-01-04"), (Order::DayFirst, "1999-04-01")] {
                let format = proposed_format(text, order);
                let mut times = Times::new(None, Some(format.parse().unwrap()));
                assert_eq!(known(&mut times, text, "", true).unwrap(), format!("{expected}T00:00:00Z"), "{format}");
            }
        }
    }
}
