//! What the options say of times: `--tz`, `--ts-format`, `--session-start` and `--ts-is`.

use std::{fmt, str::FromStr};

use jiff::{
    civil::{Date, DateTime, Time},
    fmt::strtime::{self, BrokenDownTime},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::{
    record::{
        InvalidText,
        timestamp::{Fault, Timestamp, Written, instant},
    },
    text::Quoted,
};

/// All that the options say of times.
#[derive(Default)]
pub(crate) struct TimeOptions {
    pub(crate) zone: Option<Zone>,
    pub(crate) format: Option<TimeFormat>,
    pub(crate) session_start: Option<SessionStart>,
    pub(crate) ts_is: Option<TsIs>,
    pub(crate) as_written: bool,
}

/// Where the clocks stand whose times have no offset: UTC, or a zone by its IANA name.
#[derive(Clone, Default)]
pub struct Zone(Option<TimeZone>);

impl FromStr for Zone {
    type Err = InvalidText;

    fn from_str(name: &str) -> Result<Self, InvalidText> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self(None));
        }
        TimeZone::get(name).map(|zone| Self(Some(zone))).map_err(|_| {
            InvalidText::new(format!(
                "expected a time zone by its IANA name such as America/New_York, got {}",
                Quoted(name)
            ))
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().and_then(TimeZone::iana_name).unwrap_or("UTC"))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

/// What a zone is proposed by: most daily bars with an epoch are stamped with midnight in New York.
pub(crate) const NEW_YORK: &str = "America/New_York";

impl Zone {
    pub(crate) const UTC: Self = Self(None);

    /// Returns whether it is UTC.
    pub(crate) fn is_utc(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn instant(&self, at: DateTime) -> Result<Timestamp, String> {
        let Some(zone) = &self.0 else { return instant(at, Offset::UTC).map_err(|fault| say(fault, &at.to_string())) };
        let (problem, before, after) = match zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                return instant(at, offset).map_err(|fault| say(fault, &at.to_string()));
            }
            AmbiguousOffset::Gap { before, after } => ("does not exist", before, after),
            AmbiguousOffset::Fold { before, after } => ("occurs twice", before, after),
        };
        let reading = |offset| instant(at, offset).map(|ts| ts.to_string()).unwrap_or_default();
        Err(format!(
            "time: expected a time with an offset, got {at}, which {problem} in {self}, where the clocks change: it is \
             {} at offset {before} or {} at offset {after}",
            reading(before),
            reading(after),
        ))
    }

    /// Returns what the clocks show at that time.
    pub(crate) fn civil(&self, ts: Timestamp) -> Result<DateTime, Fault> {
        let at = jiff::Timestamp::from_microsecond(ts.as_micros()).map_err(|_| Fault::OutOfRange)?;
        Ok(self.0.as_ref().map_or(Offset::UTC.to_datetime(at), |zone| zone.to_datetime(at)))
    }
}

/// `--session-start`: when the session of a day begins by the clocks of `--tz`, where that is the evening before its date,
/// as with futures and currencies: `17:00`, `18:00`. `00:00` says that a day is one of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStart(Time);

impl FromStr for SessionStart {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let complain = || {
            InvalidText::new(format!(
                "expected a time from 12:00 to 23:59 such as 17:00, or 00:00 where a session begins with its date, got {}",
                Quoted(text)
            ))
        };
        let (hour, minute) = text.split_once(':').ok_or_else(complain)?;
        let number = |digits: &str| digits.parse::<i8>().ok().filter(|_| (1..=2).contains(&digits.len()));
        let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(complain)?;
        let start = Time::new(hour, minute, 0, 0).map_err(|_| complain())?;
        if start != Time::midnight() && start.hour() < 12 {
            return Err(complain());
        }
        Ok(Self(start))
    }
}

impl SessionStart {
    /// Returns the date of the session that is under way when clocks show this.
    pub(super) fn date_of(self, at: DateTime) -> Option<Date> {
        if self.0 == Time::midnight() || at.time() < self.0 { Some(at.date()) } else { at.date().tomorrow().ok() }
    }
}

/// `--ts-is`: what the time of a row is of its bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsIs {
    /// When the bar opens. It is what most vendors write.
    #[default]
    Begin,
    /// When the bar ends, or its last moment: the bar is stored under its beginning, one timeframe before.
    End,
}

impl FromStr for TsIs {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        match text {
            "begin" => Ok(Self::Begin),
            "end" => Ok(Self::End),
            _ => Err(InvalidText::new(format!("expected begin or end, got {}", Quoted(text)))),
        }
    }
}

/// A format as strptime knows it, such as `%d-%b-%Y %H:%M`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    pub(crate) format: String,
    /// Whether it names an hour, or seconds since 1970.
    has_clock: bool,
}

impl FromStr for TimeFormat {
    type Err = InvalidText;

    /// Takes a format that can both be written and read, and that names at least a day.
    fn from_str(format: &str) -> Result<Self, InvalidText> {
        let complain = |problem: &dyn fmt::Display| {
            InvalidText::new(format!(
                "expected a strptime format such as %d-%b-%Y or '%m/%d/%Y %H:%M', got {}: {problem}",
                Quoted(format)
            ))
        };
        let sample = jiff::civil::date(2001, 2, 3).at(16, 5, 6, 0).to_zoned(TimeZone::UTC);
        let sample = sample.and_then(|sample| strtime::format(format, &sample)).map_err(|error| complain(&error))?;
        let read = BrokenDownTime::parse(format, &sample).map_err(|error| complain(&error))?;
        if read.timestamp().is_none() && read.to_datetime().is_err() {
            return Err(complain(&"it names no day of a year"));
        }
        let has_clock = read.hour().is_some() || read.timestamp().is_some();
        Ok(Self { format: format.into(), has_clock })
    }
}

impl TimeFormat {
    /// Returns whether it reads a time of day.
    pub(crate) fn has_clock(&self) -> bool {
        self.has_clock
    }

    pub(crate) fn read(&self, text: &str) -> Result<(Written, Option<Zone>), String> {
        let complain = |problem: &dyn fmt::Display| {
            format!(
                "time: expected a time as --ts-format {} says, got {}: {problem}",
                Quoted(&self.format),
                Quoted(text)
            )
        };
        let read = BrokenDownTime::parse(&self.format, text).map_err(|error| complain(&error))?;
        if let Some(ts) = read.timestamp() {
            let nanos = i64::from(read.subsec_nanosecond().unwrap_or(0));
            // The fraction of -0.25 counts downwards, and its zero has lost the sign.
            if nanos != 0 && text.contains('-') {
                return Err(complain(&"seconds before 1970 must be whole"));
            }
            if nanos % 1_000 != 0 {
                return Err(say(Fault::TooFine, text));
            }
            return Ok((Written::Instant(Timestamp::from_micros(ts.as_microsecond() + nanos / 1_000)), None));
        }
        let at = read.to_datetime().map_err(|error| complain(&error))?;
        if at.subsec_nanosecond() % 1_000 != 0 {
            return Err(say(Fault::TooFine, text));
        }
        let zone = match (read.offset(), read.iana_time_zone()) {
            (None, Some(name)) => Some(name.parse().map_err(|error: InvalidText| complain(&error))?),
            _ => None,
        };
        Ok((Written::Civil { at, offset: read.offset() }, zone))
    }
}

/// Says of a time what is wrong with it.
pub(crate) fn say(fault: Fault, text: &str) -> String {
    format!("time: {}", fault.about(text))
}
