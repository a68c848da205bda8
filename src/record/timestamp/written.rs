//! How a time is read from a text or an integer.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use super::{super::invalid_text::InvalidText, Timestamp};
use crate::text::Quoted;

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
    pub(crate) fn about(self, text: &str) -> InvalidText {
        let text = Quoted(text);
        InvalidText::new(match self {
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
        iso(bytes)?.in_micros()
    }

    /// Reads what follows a date: nothing, or `T` or a space and the time of day, perhaps with an offset. The date is
    /// asked for last, so that a text of another shape is called that and not a date that does not exist.
    #[cfg(feature = "files")]
    pub(crate) fn on_date(rest: &[u8], date: impl FnOnce() -> Result<Date, Fault>) -> Result<Self, Fault> {
        Civil::on_date(rest, date)?.in_micros()
    }
}

/// A date and a time of day with all its digits.
struct Civil {
    at: DateTime,
    offset: Option<Offset>,
}

impl Civil {
    fn in_micros(self) -> Result<Written, Fault> {
        let Self { at, offset } = self;
        if at.subsec_nanosecond() % 1_000 != 0 {
            return Err(Fault::TooFine);
        }
        Ok(Written::Civil { at, offset })
    }

    fn on_date(rest: &[u8], date: impl FnOnce() -> Result<Date, Fault>) -> Result<Self, Fault> {
        let mut rest = Cursor(rest);
        if rest.0.is_empty() {
            return Ok(Self { at: date()?.to_datetime(Time::midnight()), offset: None });
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
        Ok(Self { at: date()?.to_datetime(time), offset })
    }
}

fn iso(bytes: &[u8]) -> Result<Civil, Fault> {
    let mut rest = Cursor(bytes);
    let year = rest.digits(4).ok_or(Fault::Shape)?;
    let dash = rest.take(b'-');
    let month = rest.digits(2).ok_or(Fault::Shape)?;
    if rest.take(b'-') != dash {
        return Err(Fault::Shape);
    }
    let day = rest.digits(2).ok_or(Fault::Shape)?;
    Civil::on_date(rest.0, || date(year, month, day))
}

/// Reads the same forms as nanoseconds since 1970; what has no offset is UTC.
pub(super) fn nanos(text: &str) -> Result<i64, Fault> {
    match WrittenNanos::parse(text)? {
        WrittenNanos::Instant(nanos) => Ok(nanos),
        WrittenNanos::Civil { at, offset } => nanos_at(at, offset.unwrap_or(Offset::UTC)),
    }
}

/// A time as it was written, with its nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WrittenNanos {
    Instant(i64),
    Civil { at: DateTime, offset: Option<Offset> },
}

impl WrittenNanos {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (digits, negative) = match text.strip_prefix('-') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || (digits.len() == 8 && !negative) {
            let Civil { at, offset } = iso(text.as_bytes())?;
            return Ok(Self::Civil { at, offset });
        }
        let unit = nanos_of_digits(digits.len()).ok_or(Fault::Digits(digits.len()))?;
        let number: i128 = digits.parse().map_err(|_| Fault::Digits(digits.len()))?;
        let number = number * i128::from(unit) * if negative { -1 } else { 1 };
        i64::try_from(number).map(Self::Instant).map_err(|_| Fault::OutOfRange)
    }
}

/// Returns how many nanoseconds the unit of an epoch with so many digits has.
pub(crate) fn nanos_of_digits(digits: usize) -> Option<i64> {
    match digits {
        9..=10 => Some(1_000_000_000),
        12..=13 => Some(1_000_000),
        15..=16 => Some(1_000),
        18..=19 => Some(1),
        _ => None,
    }
}

/// Returns the instant at which a clock with this offset shows that date and time, in nanoseconds.
pub(crate) fn nanos_at(at: DateTime, offset: Offset) -> Result<i64, Fault> {
    let ts = offset.to_timestamp(at).map_err(|_| Fault::OutOfRange)?;
    i64::try_from(ts.as_nanosecond()).map_err(|_| Fault::OutOfRange)
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
pub(super) fn integer(number: u64, negative: bool) -> Result<Timestamp, Fault> {
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
