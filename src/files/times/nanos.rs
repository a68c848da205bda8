//! Times in nanoseconds, of kinds whose order within a microsecond counts.

use std::cell::Cell;

use jiff::{civil::DateTime, fmt::strtime::BrokenDownTime, tz::Offset};

use super::{
    options::{TimeFormat, Zone},
    proposed_formats::{compact_format, formats_of},
};
use crate::{
    files::row_error::RowError,
    record::{
        TimestampNanos,
        timestamp::{Fault, WrittenNanos, about_nanos, nanos_at, nanos_of_digits},
    },
    text::Quoted,
};

/// Reads the times of one file, each of which is a moment.
pub(crate) struct NanoTimes {
    zone: Option<Zone>,
    format: Option<TimeFormat>,
    /// How many digits the first time of day has that is a number; 0 before it.
    clock_digits: Cell<usize>,
}

impl NanoTimes {
    pub(crate) fn new(zone: Option<Zone>, format: Option<TimeFormat>) -> Self {
        Self { zone, format, clock_digits: Cell::new(0) }
    }

    /// Returns whether an option says how times are read.
    pub(crate) fn are_said(&self) -> bool {
        self.zone.is_some() || self.format.is_some()
    }

    /// Returns the zone whose clocks times without an offset show.
    pub(crate) fn zone(&self) -> &Zone {
        self.zone.as_ref().unwrap_or(&Zone::UTC)
    }

    /// Reads a time; `name` is that of its column.
    pub(crate) fn read(&self, name: &str, text: &str) -> Result<TimestampNanos, RowError> {
        let nanos = match &self.format {
            Some(format) => self.read_as(format, name, text),
            None => self.read_usual(name, text),
        };
        nanos.map(TimestampNanos::from_nanos)
    }

    /// Reads a date and its time of day in a cell of its own.
    pub(crate) fn read_both(&self, name: &str, date: &str, clock: &str) -> Result<TimestampNanos, RowError> {
        if clock.is_empty() {
            return Err(format!("{name}: expected a time of day beside {}, got none", Quoted(date)).into());
        }
        if self.format.is_none() && clock.bytes().all(|byte| byte.is_ascii_digit()) {
            if ![4, 6].contains(&clock.len()) {
                let message = format!("{name}: expected a time of day such as 09:30:00.123, got {}", Quoted(clock));
                return Err(RowError::from(message).of_file(""));
            }
            // 1530 among numbers of six digits lacks its first zeros, and is 00:15:30.
            let digits = match self.clock_digits.get() {
                0 => clock.len(),
                digits => digits,
            };
            self.clock_digits.set(digits);
            if digits != clock.len() {
                let expected = format!("expected a time of day of {digits} digits as on the first row");
                return Err(format!("{name}: {expected}, got {}", Quoted(clock)).into());
            }
        }
        self.read(name, &format!("{date} {clock}"))
    }

    fn read_usual(&self, name: &str, text: &str) -> Result<i64, RowError> {
        let say = |fault: Fault| format!("{name}: {}", about_nanos(fault, text));
        let compact = compact_format(text);
        if let Some(format) = compact.filter(|_| text.len() < 14) {
            let otherwise = if text.len() == 10 { ", or --ts-format %s if it is in seconds" } else { "" };
            let message = format!(
                "{name}: expected a date or an epoch, got {}, which may be either: give --ts-format {format} if it is a date \
                 and a time{otherwise}",
                Quoted(text)
            );
            return Err(RowError::from(message).of_file(""));
        }
        match WrittenNanos::parse(text) {
            Ok(WrittenNanos::Instant(nanos)) => Ok(nanos),
            Ok(WrittenNanos::Civil { at, offset: Some(offset) }) => nanos_at(at, offset).map_err(|f| say(f).into()),
            Ok(WrittenNanos::Civil { at, offset: None }) => self.instant(self.zone(), at, name),
            Err(Fault::Shape) => match decimal(text) {
                Some(Ok(nanos)) => Ok(nanos),
                Some(Err(fault)) => Err(say(fault).into()),
                None => Err(odd(text, say(Fault::Shape))),
            },
            Err(fault @ (Fault::Digits(_) | Fault::OutOfRange)) => {
                let advice = compact.map(|format| format!("give --ts-format {format}")).unwrap_or_default();
                Err(RowError::from(say(fault)).of_file(advice))
            }
            Err(fault) => Err(say(fault).into()),
        }
    }

    fn read_as(&self, format: &TimeFormat, name: &str, text: &str) -> Result<i64, RowError> {
        let complain = |problem: &dyn std::fmt::Display| {
            format!(
                "{name}: expected a time as --ts-format {} says, got {}: {problem}",
                Quoted(&format.format),
                Quoted(text)
            )
        };
        let say = |fault: Fault| format!("{name}: {}", about_nanos(fault, text));
        let read = BrokenDownTime::parse(&format.format, text).map_err(|error| complain(&error))?;
        if let Some(ts) = read.timestamp() {
            let fraction = i64::from(read.subsec_nanosecond().unwrap_or(0));
            // The fraction of -0.25 counts downwards, and its zero has lost the sign.
            if fraction != 0 && text.contains('-') {
                return Err(complain(&"seconds before 1970 must be whole").into());
            }
            let whole = i64::try_from(ts.as_nanosecond()).map_err(|_| say(Fault::OutOfRange))?;
            return whole.checked_add(fraction).ok_or_else(|| say(Fault::OutOfRange).into());
        }
        let at = read.to_datetime().map_err(|error| complain(&error))?;
        match (read.offset(), read.iana_time_zone()) {
            (Some(offset), _) => nanos_at(at, offset).map_err(|fault| say(fault).into()),
            (None, Some(zone)) => {
                let zone = zone.parse().map_err(|error: crate::record::InvalidText| complain(&error))?;
                self.instant(&zone, at, name)
            }
            (None, None) => self.instant(self.zone(), at, name),
        }
    }

    /// Returns the moment at which clocks of a zone show a time.
    fn instant(&self, zone: &Zone, at: DateTime, name: &str) -> Result<i64, RowError> {
        if zone.is_utc() {
            return nanos_at(at, Offset::UTC)
                .map_err(|fault| format!("{name}: {}", about_nanos(fault, &at.to_string())).into());
        }
        // Clocks change at whole seconds, so what is finer than a microsecond stays as it is.
        let fine = at.subsec_nanosecond() % 1_000;
        let coarse = at.with().subsec_nanosecond(at.subsec_nanosecond() - fine).build();
        let ts = coarse.map_err(|error| error.to_string()).and_then(|at| zone.instant(at))?;
        let nanos = ts.as_micros().checked_mul(1_000).and_then(|nanos| nanos.checked_add(fine.into()));
        nanos.ok_or_else(|| format!("{name}: {}", about_nanos(Fault::OutOfRange, &at.to_string())).into())
    }
}

/// Reads an epoch with a point in it: the digits in front of it say the unit. None if it is no such number.
fn decimal(text: &str) -> Option<Result<i64, Fault>> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').filter(|(whole, fraction)| is_number(whole) && is_number(fraction))?;
    let Some(unit) = nanos_of_digits(whole.len()) else { return Some(Err(Fault::Digits(whole.len()))) };
    let places = unit.ilog10() as usize;
    let (used, rest) = fraction.split_at(fraction.len().min(places));
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    // At most nine digits, filled up with zeros.
    let used: i64 = format!("{used:0<places$}").parse().unwrap_or(0);
    Some(number.checked_mul(unit).and_then(|nanos| nanos.checked_add(used)).ok_or(Fault::OutOfRange))
}

/// Says what is wrong with a time that is written in none of the usual ways, and which format reads it.
fn odd(text: &str, message: String) -> RowError {
    if text.is_empty() {
        return message.into();
    }
    if text.contains(['e', 'E']) && text.parse::<f64>().is_ok() {
        return RowError::from(message)
            .of_file("a spreadsheet has cut its digits off, so take the file as it was before");
    }
    let quote = |format: &String| if format.contains(' ') { format!("'{format}'") } else { format.clone() };
    let formats: Vec<_> =
        formats_of(text, None).iter().map(|format| format!("--ts-format {}", quote(format))).collect();
    let advice = if formats.is_empty() {
        "--ts-format reads other forms".into()
    } else {
        format!("give {}", formats.join(" or "))
    };
    RowError::from(message).of_file(advice)
}

/// Returns whether a text is a date alone, which says nothing of the time of day.
pub(crate) fn is_date_alone(text: &str) -> bool {
    text.len() <= 10
        && (text.len() == 8 || text.contains(['/', '-', '.']))
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"/-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: Option<&str>, format: Option<&str>) -> Result<String, String> {
        let times =
            NanoTimes::new(zone.map(|zone| zone.parse().unwrap()), format.map(|format| format.parse().unwrap()));
        times.read("ts", text).map(|ts| ts.to_string()).map_err(String::from)
    }

    // Red when a nanosecond is cut, a unit is mixed up, or the clocks of a zone are those of UTC.
    #[test]
    fn a_moment_keeps_its_nanoseconds_in_every_form() {
        for (text, zone, format, expected) in [
            ("2024-01-02T14:30:00.123456789Z", None, None, "2024-01-02T14:30:00.123456789Z"),
            ("2024-01-02 09:30:00.123456789", Some("America/New_York"), None, "2024-01-02T14:30:00.123456789Z"),
            ("2024-01-02 09:30:00.123456789-05:00", Some("Asia/Tokyo"), None, "2024-01-02T14:30:00.123456789Z"),
            ("1704205800123456789", Some("Asia/Tokyo"), None, "2024-01-02T14:30:00.123456789Z"),
            ("1704205800123456", None, None, "2024-01-02T14:30:00.123456Z"),
            ("1704205800123", None, None, "2024-01-02T14:30:00.123Z"),
            ("1704205800", None, None, "2024-01-02T14:30:00Z"),
            ("1704205800.1", None, None, "2024-01-02T14:30:00.1Z"),
            ("1704205800.123456789", None, None, "2024-01-02T14:30:00.123456789Z"),
            ("1704205800.1234567890", None, None, "2024-01-02T14:30:00.123456789Z"),
            ("1704205800123.456789", None, None, "2024-01-02T14:30:00.123456789Z"),
            ("1704205800123456789.0", None, None, "2024-01-02T14:30:00.123456789Z"),
            ("02.01.2024 14:30:00.000000001", None, Some("%d.%m.%Y %H:%M:%S%.f"), "2024-01-02T14:30:00.000000001Z"),
            ("1704205800.000000001", None, Some("%s%.f"), "2024-01-02T14:30:00.000000001Z"),
        ] {
            assert_eq!(read(text, zone, format).as_deref(), Ok(expected), "{text}");
        }
    }

    // Red when a time that may be another one is taken.
    #[test]
    fn what_may_be_another_moment_is_refused() {
        for (text, zone, expected) in [
            ("1704205800.1234567891", None, "ts: expected a time such as"),
            ("17042058.25", None, "ts: expected an integer of 8 digits"),
            ("2024010214", None, "ts: expected a date or an epoch, got \"2024010214\", which may be either"),
            ("20240102143000", None, "ts: expected an integer of 8 digits"),
            ("18446744073709551615", None, "ts: expected an integer of 8 digits"),
            ("1.7042058E+12", None, "ts: expected a time such as"),
            ("1/4/2024 9:30", None, "ts: expected a time such as"),
            ("2024-03-10 02:30:00.5", Some("America/New_York"), "time: expected a time with an offset"),
            ("2300-01-01", None, "ts: expected a time from 1677"),
            ("", None, "ts: expected a time such as"),
        ] {
            let error = read(text, zone, None).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
