//! UTC time in microseconds, the one time type of records, events and the store, and how it is read from text.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::quoted::Quoted;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, negative before.
///
/// As text, and in JSON, it is RFC 3339 in UTC with as many fraction digits as needed. It is read ([`FromStr`], and
/// from JSON strings and integers) from more forms:
/// - RFC 3339 and ISO 8601, with `T` or a space, with an offset or without (then it is UTC), or the date alone:
///   `2024-01-02T14:30:00.25Z`, `2024-01-02 09:30-05:00`, `20240102T143000`, `2024-01-02`. Up to nine fraction digits;
///   what is finer than a microsecond must be zero, or the time is refused: nothing is ever cut off.
/// - integers by their number of digits: 8 are YYYYMMDD; 9 or 10 are seconds since 1970, 12 or 13 milliseconds, 15 or
///   16 microseconds, 18 or 19 nanoseconds (whole microseconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that has a text: the beginning of the year 1.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The latest time that has a text: a little before the last day of the year 9999.
    pub const MAX: Self = Self(253_402_207_199_999_999);

    /// Makes a timestamp from microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Makes a timestamp from seconds since the Unix epoch. Beyond what an `i64` of microseconds holds it is the last
    /// or first one, which no [`Bar`](crate::Bar) may have.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Makes a timestamp from milliseconds since the Unix epoch. Beyond what an `i64` of microseconds holds it is the
    /// last or first one, which no [`Bar`](crate::Bar) may have.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Makes a timestamp from nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When they are no whole microseconds: nothing is cut. Who wants them cut divides, and uses
    /// [`from_micros`](Self::from_micros).
    pub fn from_nanos(nanos: i64) -> Result<Self, InvalidTimestamp> {
        if nanos % 1_000 != 0 {
            return Err(Fault::TooFine.about(&nanos.to_string()));
        }
        Ok(Self(nanos / 1_000))
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the present time of the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns whether the time lies between [`MIN`](Self::MIN) and [`MAX`](Self::MAX), so that its text can be read
    /// back.
    pub fn has_text(self) -> bool {
        (Self::MIN..=Self::MAX).contains(&self)
    }
}

/// The microsecond in which the time lies: clocks are finer, and what is finer is left off.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let fit = |micros: u128| i64::try_from(micros).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(fit(after.as_micros())),
            // Away from zero, so that it is the beginning of the microsecond as it is after 1970.
            Err(before) => Self(-fit(before.duration().as_nanos().div_ceil(1_000))),
        }
    }
}

/// RFC 3339 in UTC, with as many fraction digits as needed: `2024-01-02T14:30:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(ts) if self.has_text() => write!(f, "{ts}"),
            _ => write!(f, "{}us", self.0),
        }
    }
}

/// Reads the forms that [`Timestamp`] lists; a time without an offset is UTC.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let instant = match Written::parse(text) {
            Ok(Written::Instant(ts)) => Ok(ts),
            Ok(Written::Civil { at, offset }) => instant(at, offset.unwrap_or(Offset::UTC)),
            Err(fault) => Err(fault),
        };
        instant.map_err(|fault| fault.about(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl de::Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as an RFC 3339 string or as an integer since 1970")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Timestamp, E> {
        integer(number.unsigned_abs(), number < 0).map_err(|fault| E::custom(fault.about(&number.to_string())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Timestamp, E> {
        integer(number, false).map_err(|fault| E::custom(fault.about(&number.to_string())))
    }
}

/// Says that a text or an integer is no time, why, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTimestamp(String);

/// What is wrong with a time, without the text: built on the fast path, put into words only for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Shape,
    NoSuchTime,
    Digits(usize),
    TooFine,
    OutOfRange,
}

impl Fault {
    pub(crate) fn about(self, text: &str) -> InvalidTimestamp {
        let text = Quoted(text);
        InvalidTimestamp(match self {
            Self::Shape => {
                format!("expected a time such as 2024-01-02, 2024-01-02T14:30:00Z or an epoch, got {text}")
            }
            Self::NoSuchTime => format!("expected a date and time that exist, got {text}"),
            Self::Digits(digits) if text.0.starts_with('-') => format!(
                "expected seconds before 1970 as an integer of 9-10 digits, or 12-13 (ms), 15-16 (us) or 18-19 (ns), got \
                 {text} with {digits}"
            ),
            Self::Digits(digits) => format!(
                "expected an integer of 8 digits (YYYYMMDD), 9-10 (seconds since 1970), 12-13 (ms), 15-16 (us) or \
                 18-19 (ns), got {text} with {digits}"
            ),
            Self::TooFine => format!("expected whole microseconds, got {text}, which is finer and is not cut"),
            Self::OutOfRange => {
                format!("expected a time from {} to {}, got {text}", Timestamp::MIN, Timestamp::MAX)
            }
        })
    }
}

/// A time as it was written: an instant, or a date and a time of day that may lack their offset. A reader of files
/// needs to know, because a time zone, or the rule for session dates, then decides which instant is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Written {
    Instant(Timestamp),
    Civil { at: DateTime, offset: Option<Offset> },
}

impl Written {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let bytes = text.as_bytes();
        let (digits, negative) = match bytes {
            [b'-', digits @ ..] => (digits, true),
            digits => (digits, false),
        };
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            // Twenty digits overflow, and no count above 19 is a time.
            let number = text[usize::from(negative)..].parse().map_err(|_| Fault::Digits(digits.len()))?;
            return match (digits.len(), negative) {
                (8, false) => Self::parse_iso(bytes),
                // Leading zeros count: the number of digits is what was written.
                (8, true) => Err(Fault::Digits(8)),
                (len, _) => Ok(Self::Instant(epoch(number, len, negative)?)),
            };
        }
        Self::parse_iso(bytes)
    }

    fn parse_iso(bytes: &[u8]) -> Result<Self, Fault> {
        let mut rest = Cursor(bytes);
        let year = rest.digits(4).ok_or(Fault::Shape)?;
        let dash = rest.take(b'-');
        let month = rest.digits(2).ok_or(Fault::Shape)?;
        if rest.take(b'-') != dash {
            return Err(Fault::Shape);
        }
        let day = rest.digits(2).ok_or(Fault::Shape)?;
        let rest = rest.0;
        Self::on_date(rest, || date(year, month, day))
    }

    /// Reads what follows a date: nothing, or `T` or a space and the time of day, perhaps with an offset. The date is
    /// asked for last, so that a text of another shape is called that and not a date that does not exist.
    pub(crate) fn on_date(rest: &[u8], date: impl FnOnce() -> Result<Date, Fault>) -> Result<Self, Fault> {
        let mut rest = Cursor(rest);
        if rest.0.is_empty() {
            return Ok(Self::Civil { at: date()?.to_datetime(Time::midnight()), offset: None });
        }
        if !(rest.take(b'T') || rest.take(b' ') || rest.take(b't')) {
            return Err(Fault::Shape);
        }
        // `9:30`, as spreadsheets write it, is as clear as `09:30`.
        let hour = if rest.0.get(1) == Some(&b':') { rest.digits(1) } else { rest.digits(2) }.ok_or(Fault::Shape)?;
        let colon = rest.take(b':');
        let minute = rest.digits(2).ok_or(Fault::Shape)?;
        let (mut second, mut nanos) = (0, 0);
        let seconds = if colon { rest.take(b':') } else { rest.0.first().is_some_and(u8::is_ascii_digit) };
        if seconds {
            second = rest.digits(2).ok_or(Fault::Shape)?;
            if rest.take(b'.') || rest.take(b',') {
                nanos = rest.fraction().ok_or(Fault::Shape)?;
            }
        }
        let offset = rest.offset()?;
        // The casts hold: each number has at most two digits, nanoseconds nine.
        let time = Time::new(hour as i8, minute as i8, second as i8, nanos as i32).map_err(|_| Fault::NoSuchTime)?;
        let at = date()?.to_datetime(time);
        if nanos % 1_000 != 0 {
            return Err(Fault::TooFine);
        }
        Ok(Self::Civil { at, offset })
    }
}

/// Returns the date, if there is one.
pub(crate) fn date(year: u32, month: u32, day: u32) -> Result<Date, Fault> {
    if year == 0 {
        return Err(Fault::OutOfRange);
    }
    // The casts hold: a year has at most four digits, month and day two.
    Date::new(year as i16, month as i8, day as i8).map_err(|_| Fault::NoSuchTime)
}

/// Returns the instant at which a clock with this offset shows that date and time.
pub(crate) fn instant(at: DateTime, offset: Offset) -> Result<Timestamp, Fault> {
    let ts = offset.to_timestamp(at).map_err(|_| Fault::OutOfRange)?;
    in_range(Timestamp(ts.as_microsecond()))
}

fn in_range(ts: Timestamp) -> Result<Timestamp, Fault> {
    if ts.has_text() { Ok(ts) } else { Err(Fault::OutOfRange) }
}

/// Reads an integer that came as a number: leading zeros are not there to be counted.
fn integer(number: u64, negative: bool) -> Result<Timestamp, Fault> {
    let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    if digits == 8 && !negative {
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        // The casts hold: the number has eight digits.
        return instant(date(year as u32, month as u32, day as u32)?.to_datetime(Time::midnight()), Offset::UTC);
    }
    epoch(number, digits, negative)
}

fn epoch(number: u64, digits: usize, negative: bool) -> Result<Timestamp, Fault> {
    let micros = match digits {
        9..=10 => number.checked_mul(1_000_000),
        12..=13 => number.checked_mul(1_000),
        15..=16 => Some(number),
        18..=19 if number.is_multiple_of(1_000) => Some(number / 1_000),
        18..=19 => return Err(Fault::TooFine),
        _ => return Err(Fault::Digits(digits)),
    };
    let micros = micros.and_then(|micros| i64::try_from(micros).ok()).ok_or(Fault::OutOfRange)?;
    in_range(Timestamp(if negative { -micros } else { micros }))
}

/// What is left to read of a text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number * 10 + u32::from(digit - b'0');
        }
        self.0 = rest;
        Some(number)
    }

    /// Reads one to nine fraction digits as nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        Some(self.digits(count)? * 10_u32.pow(9 - count as u32))
    }

    /// Reads the end of a time: nothing, `Z`, `UTC`, or an offset such as `-05:00`, perhaps after a space.
    fn offset(&mut self) -> Result<Option<Offset>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.take(b' ');
        if matches!(self.0, b"Z" | b"z" | b"UTC") {
            return Ok(Some(Offset::UTC));
        }
        let sign = if self.take(b'+') {
            1
        } else if self.take(b'-') {
            -1
        } else {
            return Err(Fault::Shape);
        };
        let hours = self.digits(2).ok_or(Fault::Shape)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.take(b':');
            self.digits(2).ok_or(Fault::Shape)?
        };
        if !self.0.is_empty() {
            return Err(Fault::Shape);
        }
        if hours > 23 || minutes > 59 {
            return Err(Fault::NoSuchTime);
        }
        // The cast holds: less than a day in seconds.
        Offset::from_seconds(sign * (hours * 3_600 + minutes * 60) as i32).map(Some).map_err(|_| Fault::NoSuchTime)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Red when a unit is mixed up, what does not fit wraps round, or a time before 1970 is rounded up.
    #[test]
    fn numbers_of_any_unit_and_the_system_time_become_times() {
        use std::time::Duration;

        let at = Timestamp::from_micros(1_700_000_000_123_000);
        assert_eq!(Timestamp::from_secs(1_700_000_000), Timestamp::from_micros(1_700_000_000_000_000));
        assert_eq!(Timestamp::from_millis(1_700_000_000_123), at);
        assert_eq!(Timestamp::from_nanos(1_700_000_000_123_000_000), Ok(at));
        assert_eq!(Timestamp::from_nanos(-1_000), Ok(Timestamp::from_micros(-1)));
        assert_eq!(
            Timestamp::from_nanos(1_001).unwrap_err().to_string(),
            "expected whole microseconds, got \"1001\", which is finer and is not cut"
        );
        assert!(!Timestamp::from_secs(i64::MAX).has_text() && !Timestamp::from_millis(i64::MIN).has_text());
        let system = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_000_999);
        assert_eq!(Timestamp::from(system), at);
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_nanos(1)), Timestamp::from_micros(-1));
    }

    #[test]
    fn every_form_is_read_as_the_time_it_names() {
        for (text, expected) in [
            ("2024-01-02T14:30:00Z", "2024-01-02T14:30:00Z"),
            ("2024-01-02t14:30:00z", "2024-01-02T14:30:00Z"),
            ("2024-01-02 14:30:00", "2024-01-02T14:30:00Z"),
            ("2024-01-02 14:30:00 UTC", "2024-01-02T14:30:00Z"),
            ("2024-01-02 14:30", "2024-01-02T14:30:00Z"),
            ("2024-01-02 9:30", "2024-01-02T09:30:00Z"),
            ("2024-01-02T09:30:00-05:00", "2024-01-02T14:30:00Z"),
            ("2024-01-02 09:30:00 -0500", "2024-01-02T14:30:00Z"),
            ("2024-01-02 09:30-05", "2024-01-02T14:30:00Z"),
            ("2024-01-02T20:00:00+05:30", "2024-01-02T14:30:00Z"),
            ("20240102T143000Z", "2024-01-02T14:30:00Z"),
            ("20240102 143000", "2024-01-02T14:30:00Z"),
            ("20240102 1430", "2024-01-02T14:30:00Z"),
            ("2024-01-02", "2024-01-02T00:00:00Z"),
            ("20240102", "2024-01-02T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2024-01-02T14:30:00.5Z", "2024-01-02T14:30:00.5Z"),
            ("2024-01-02T14:30:00.123456", "2024-01-02T14:30:00.123456Z"),
            ("2024-01-02T14:30:00,123456000", "2024-01-02T14:30:00.123456Z"),
            ("2024-01-02T14:30:00.1234560", "2024-01-02T14:30:00.123456Z"),
            ("170420580", "1975-05-27T11:03:00Z"),
            ("1704205800", "2024-01-02T14:30:00Z"),
            ("-252322200", "1962-01-02T14:30:00Z"),
            ("170420580000", "1975-05-27T11:03:00Z"),
            ("1704205800123", "2024-01-02T14:30:00.123Z"),
            ("1704205800123456", "2024-01-02T14:30:00.123456Z"),
            ("170420580012345", "1975-05-27T11:03:00.012345Z"),
            ("1704205800123456000", "2024-01-02T14:30:00.123456Z"),
            ("9999999999999999000", "2286-11-20T17:46:39.999999Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
            ("9999-12-30T21:59:59.999999Z", "9999-12-30T21:59:59.999999Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().map(|ts| ts.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        let shape = "expected a time such as 2024-01-02, 2024-01-02T14:30:00Z or an epoch, got ";
        let digits = "expected an integer of 8 digits (YYYYMMDD), 9-10 (seconds since 1970), 12-13 (ms), 15-16 (us) or \
                      18-19 (ns), got ";
        let exist = "expected a date and time that exist, got ";
        let fine = "expected whole microseconds, got ";
        let negative =
            "expected seconds before 1970 as an integer of 9-10 digits, or 12-13 (ms), 15-16 (us) or 18-19 (ns), got ";
        // Sabotage: speak of whole years, in which the last days of 9999 are.
        let range = "expected a time from 0001-01-01T00:00:00Z to 9999-12-30T21:59:59.999999Z, got ";
        for (text, expected) in [
            ("", shape),
            ("-", shape),
            ("soon", shape),
            ("1/4/1999", shape),
            ("2024-1-2", shape),
            ("2024-01-02T", shape),
            ("2024-01-02T14", shape),
            ("2024-0102", shape),
            ("2024-01-02T14:30:00.", shape),
            ("2024-01-02T14:30:00.1234567890", shape),
            ("2024-01-02T14:30:00 EST", shape),
            ("2024-01-02T14:30:00Z ", shape),
            ("2024-01-02T14:30:00+05:3", shape),
            ("2024-01-02T14:30:00+05:30:00", shape),
            ("1704205800.5", shape),
            ("+1704205800", shape),
            ("٢٠٢٤-٠١-٠٢", shape),
            ("2024-02-30", exist),
            ("2023-02-29", exist),
            ("20241301", exist),
            ("2024-01-02T24:00:00Z", exist),
            ("2024-01-02T23:59:60Z", exist),
            ("2024-01-02T14:30:00+24:00", exist),
            ("2024-01-02T14:30:00.1234567Z", fine),
            ("2024-01-02T14:30:00.123456001", fine),
            ("1704205800123456001", fine),
            ("1", digits),
            ("1234567", digits),
            ("-20240102", negative),
            ("12345678901", digits),
            ("20240102143000", digits),
            ("12345678901234567", digits),
            ("99999999999999999999", digits),
            ("0000-01-01", range),
            ("9999-12-31", range),
            ("9999-12-30T22:00:00Z", range),
        ] {
            let error = text.parse::<Timestamp>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert_eq!("123".parse::<Timestamp>().unwrap_err().to_string(), format!("{digits}\"123\" with 3"));
    }

    #[test]
    fn json_is_a_string_and_reads_strings_and_integers() {
        let ts: Timestamp = "2024-01-02T14:30:00.25Z".parse().unwrap();
        assert_eq!(serde_json::to_string(&ts).unwrap(), r#""2024-01-02T14:30:00.25Z""#);
        for json in [r#""2024-01-02 14:30:00.25""#, "1704205800250", "1704205800250000", r#""1704205800250""#] {
            assert_eq!(serde_json::from_str::<Timestamp>(json).unwrap(), ts, "{json}");
        }
        assert_eq!(serde_json::from_str::<Timestamp>("20240102").unwrap(), "2024-01-02".parse().unwrap());
        assert_eq!(serde_json::from_str::<Timestamp>("-252322200").unwrap().to_string(), "1962-01-02T14:30:00Z");
        for json in ["1704205800.5", "true", "null", "12", "-12345678", r#""x""#, "{}", "99999999999999999999"] {
            let error = serde_json::from_str::<Timestamp>(json).expect_err(json).to_string();
            assert!(error.contains("expected "), "{json}: {error}");
        }
    }

    #[test]
    fn a_time_without_text_still_displays() {
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9223372036854775807us");
        assert!(!Timestamp::from_micros(i64::MIN).has_text());
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T21:59:59.999999Z");
    }

    proptest! {
        // Red if a fraction digit is cut, or if text and value differ by an offset anywhere in the range.
        #[test]
        fn text_reads_back_as_the_same_time(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let ts = Timestamp(micros);
            prop_assert_eq!(ts.to_string().parse::<Timestamp>(), Ok(ts));
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&ts).unwrap()).unwrap(), ts);
        }

        #[test]
        fn an_arbitrary_text_never_panics(text in r"[0-9:TZ .+/-]{0,32}|\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
