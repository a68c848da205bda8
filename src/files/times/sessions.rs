//! Which day a bar of a day or more is of.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use super::options::{NEW_YORK, SessionStart, Zone, say};
use crate::{
    files::row_error::RowError,
    record::timestamp::{Fault, Timestamp, Written, instant},
    text::Quoted,
};

/// What is known of the days of a file.
pub(super) struct Sessions {
    /// `--tz`, if it was given.
    pub(super) zone: Option<Zone>,
    /// `--session-start`.
    pub(super) start: Option<SessionStart>,
    /// The vendor's days are those of UTC.
    pub(super) are_of_utc: bool,
    /// A time of day beside a date says nothing.
    pub(super) as_written: bool,
    /// A time of day is a part of the time, as of the records of a store: no session is looked for.
    pub(super) are_moments: bool,
}

/// The time that stands for a date, and the time of day that was written beside it.
type Dated = Result<(Timestamp, Option<Time>), RowError>;

impl Sessions {
    /// Returns the session that is meant: the date as written beside midnight, and of any other moment the date in the zone of
    /// the exchange. `names_zone` says that its clocks are those of a zone that it names.
    pub(super) fn of(&self, written: Written, names_zone: bool, is_end: bool, text: &str) -> Dated {
        if is_end {
            return self.of_end(written, names_zone, text);
        }
        match written {
            Written::Civil { at, .. } if at.time() == Time::midnight() => dated(at.date(), at.time(), text),
            Written::Instant(ts) if self.are_moments => Ok((ts, None)),
            Written::Civil { at, offset: None } if self.are_moments => {
                Ok((self.zone.as_ref().unwrap_or(&Zone::UTC).instant(at)?, None))
            }
            Written::Civil { at, offset: Some(offset) } if self.are_moments => {
                Ok((instant(at, offset).map_err(|fault| say(fault, text))?, None))
            }
            Written::Civil { at, offset: None } => self.at(at, names_zone, text),
            Written::Civil { at, offset: Some(offset) } => {
                self.of_moment(instant(at, offset).map_err(|fault| say(fault, text))?, text)
            }
            Written::Instant(ts) => self.of_moment(ts, text),
        }
    }

    /// Returns the session that ends then: that of the moment before. By its end it is known which one it is, also in the
    /// evening.
    fn of_end(&self, written: Written, names_zone: bool, text: &str) -> Dated {
        let before = |at: DateTime| at.checked_sub(jiff::Span::new().microseconds(1)).unwrap_or(at);
        let here = |at: DateTime| match self.start {
            Some(start) => start
                .date_of(at)
                .map_or_else(|| Err(say(Fault::OutOfRange, text).into()), |date| dated(date, at.time(), text)),
            None => dated(at.date(), at.time(), text),
        };
        match written {
            Written::Civil { at, .. } if at.time() == Time::midnight() => here(before(at)),
            Written::Civil { at, offset: None } if names_zone || self.zone.is_some() => here(before(at)),
            Written::Civil { at, offset: None } => self.at(at, false, text),
            Written::Civil { at, offset: Some(offset) } => {
                self.of_moment_before(instant(at, offset).map_err(|fault| say(fault, text))?, here, text)
            }
            Written::Instant(ts) => self.of_moment_before(ts, here, text),
        }
    }

    fn of_moment_before(&self, ts: Timestamp, here: impl Fn(DateTime) -> Dated, text: &str) -> Dated {
        let before = Timestamp::from_micros(ts.as_micros().saturating_sub(1));
        let civil = |zone: &Zone, ts| zone.civil(ts).map_err(|fault| say(fault, text));
        let utc = civil(&Zone::UTC, ts)?;
        match &self.zone {
            _ if self.are_of_utc || utc.time() == Time::midnight() => {
                let at = civil(&Zone::UTC, before)?;
                dated(at.date(), at.time(), text)
            }
            Some(zone) => here(civil(zone, before)?),
            None => self.of_moment(ts, text),
        }
    }

    /// Returns the session that a moment belongs to. What is midnight in UTC is the date of its session; any other moment
    /// has two dates, and only the exchange's zone tells which one is the session's.
    fn of_moment(&self, ts: Timestamp, text: &str) -> Dated {
        let civil = |zone: &Zone| zone.civil(ts).map_err(|fault| say(fault, text));
        let utc = civil(&Zone::UTC)?;
        if self.are_of_utc || utc.time() == Time::midnight() {
            return dated(utc.date(), utc.time(), text);
        }
        if let Some(zone) = &self.zone {
            return self.at(civil(zone)?, true, text);
        }
        let message = format!(
            "time: expected --tz, since the date of a bar of a day or more depends on the zone, got {}, which is {ts}",
            Quoted(text)
        );
        let there = NEW_YORK.parse::<Zone>().ok().and_then(|zone| zone.civil(ts).ok());
        let advice = if there.is_some_and(|there| there.time() == Time::midnight()) {
            format!("give --tz {NEW_YORK}, where it is midnight")
        } else {
            format!(
                "give the zone of the exchange, as in --tz {NEW_YORK}, or --tz UTC, and --session-start 17:00 beside it if its \
                 sessions begin the evening before"
            )
        };
        Err(RowError::from(message).of_file(advice))
    }

    /// Returns the session that is under way when clocks show this, if they are known to be those of the exchange.
    fn at(&self, at: DateTime, is_there: bool, text: &str) -> Dated {
        if at.time() == Time::midnight() || self.as_written {
            return dated(at.date(), at.time(), text);
        }
        let problem = |expected: &str, advice: String| {
            let message = format!("time: expected {expected} for a bar of a day or more, got {}", Quoted(text));
            Err(RowError::from(message).of_file(advice))
        };
        if !is_there && self.zone.is_none() {
            return problem(
                "a date or midnight",
                format!(
                    "give the zone of the exchange, as in --tz {NEW_YORK}, and --session-start 17:00 beside it if its sessions \
                     begin the evening before, or the timeframe of the rows, such as --timeframe 1m"
                ),
            );
        }
        match self.start {
            Some(start) => match start.date_of(at) {
                Some(date) => dated(date, at.time(), text),
                None => Err(say(Fault::OutOfRange, text).into()),
            },
            // In the evening a session ends, or the one of the next day begins.
            None if at.hour() >= 12 => problem(
                "--session-start",
                format!(
                    "{} may be the evening before: give --session-start 17:00, or when else a session begins, or \
                     --session-start 00:00 if the date is that of the session",
                    at.time()
                ),
            ),
            None => dated(at.date(), at.time(), text),
        }
    }
}

fn dated(date: Date, clock: Time, text: &str) -> Dated {
    let ts = instant(date.to_datetime(Time::midnight()), Offset::UTC).map_err(|fault| say(fault, text))?;
    Ok((ts, Some(clock)))
}
