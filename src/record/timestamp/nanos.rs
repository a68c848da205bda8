//! UTC time in nanoseconds, for kinds whose order within a microsecond counts.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    super::invalid_text::InvalidText,
    Timestamp,
    written::{self, Fault},
};
use crate::text::Quoted;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262.
///
/// As text, and in JSON, it is RFC 3339 in UTC with as many fraction digits as needed. It is read from the forms that
/// [`Timestamp`] lists, with up to nine fraction digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampNanos(i64);

impl TimestampNanos {
    /// The earliest time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time.
    pub const MAX: Self = Self(i64::MAX);

    /// Makes a timestamp from nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the microsecond in which it lies.
    pub const fn floor(self) -> Timestamp {
        Timestamp::from_micros(self.0.div_euclid(1_000))
    }

    /// Returns the present time of the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

/// Beyond what an `i64` of nanoseconds holds it is the last or first time.
impl From<SystemTime> for TimestampNanos {
    fn from(time: SystemTime) -> Self {
        let nanos = |nanos: u128| i64::try_from(nanos).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(nanos(after.as_nanos())),
            Err(before) => Self(-nanos(before.duration().as_nanos())),
        }
    }
}

impl TryFrom<Timestamp> for TimestampNanos {
    type Error = InvalidText;

    fn try_from(ts: Timestamp) -> Result<Self, InvalidText> {
        ts.as_micros().checked_mul(1_000).map(Self).ok_or_else(|| about(Fault::OutOfRange, &ts.to_string()))
    }
}

/// RFC 3339 in UTC, with as many fraction digits as needed: `2024-01-02T14:30:00.000000001Z`.
impl fmt::Display for TimestampNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(self.0.into()) {
            Ok(ts) => write!(f, "{ts}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

/// Reads the forms that [`Timestamp`] lists, with up to nine fraction digits; a time without an offset is UTC.
impl FromStr for TimestampNanos {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        written::nanos(text).map(Self).map_err(|fault| about(fault, text))
    }
}

/// Says what is wrong with a text; the range is a shorter one than that of microseconds.
pub(crate) fn about(fault: Fault, text: &str) -> InvalidText {
    match fault {
        Fault::OutOfRange => InvalidText::new(format!(
            "expected a time from {} to {}, got {}",
            TimestampNanos::MIN,
            TimestampNanos::MAX,
            Quoted(text)
        )),
        fault => fault.about(text),
    }
}

impl Serialize for TimestampNanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimestampNanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = TimestampNanos;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as an RFC 3339 string or as an integer since 1970")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TimestampNanos, E> {
        text.parse().map_err(E::custom)
    }

    // By the number of its digits, as in a text.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<TimestampNanos, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<TimestampNanos, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Red when a digit is cut, a unit is mixed up, or a fraction of ten digits passes.
    #[test]
    fn every_form_of_a_time_is_read_with_its_nanoseconds() {
        for (text, expected) in [
            ("2024-01-02T14:30:00.123456789Z", "2024-01-02T14:30:00.123456789Z"),
            ("2024-01-02 09:30:00.000000001-05:00", "2024-01-02T14:30:00.000000001Z"),
            ("2024-01-02", "2024-01-02T00:00:00Z"),
            ("20240102", "2024-01-02T00:00:00Z"),
            ("1704205800", "2024-01-02T14:30:00Z"),
            ("1704205800123", "2024-01-02T14:30:00.123Z"),
            ("1704205800123456", "2024-01-02T14:30:00.123456Z"),
            ("1704205800123456789", "2024-01-02T14:30:00.123456789Z"),
            ("-170420580012345678", "1964-08-07T12:56:59.987654322Z"),
        ] {
            assert_eq!(text.parse::<TimestampNanos>().map(|ts| ts.to_string()), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(
            serde_json::from_str::<TimestampNanos>("1704205800123456789").unwrap().as_nanos(),
            1_704_205_800_123_456_789
        );
        let range = "expected a time from 1677-09-21T00:12:43.145224192Z to 2262-04-11T23:47:16.854775807Z, got ";
        for (text, expected) in [
            ("1600-01-01", range),
            ("2263-01-01", range),
            ("9300000000000000000", range),
            ("2024-01-02T14:30:00.1234567890", "expected a time such as "),
            ("2023-02-29", "expected a date and time that exist"),
        ] {
            let error = text.parse::<TimestampNanos>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(TimestampNanos::try_from(Timestamp::MAX).is_err());
    }

    proptest! {
        // Red if text and value differ anywhere in the range, or a time before 1970 is rounded up.
        #[test]
        fn text_reads_back_as_the_same_time_and_the_microsecond_is_the_one_it_lies_in(nanos in any::<i64>()) {
            let ts = TimestampNanos(nanos);
            prop_assert_eq!(ts.to_string().parse::<TimestampNanos>(), Ok(ts));
            prop_assert_eq!(serde_json::from_str::<TimestampNanos>(&serde_json::to_string(&ts).unwrap()).unwrap(), ts);
            let micros = i128::from(ts.floor().as_micros()) * 1_000;
            prop_assert!((micros..micros + 1_000).contains(&i128::from(nanos)));
        }
    }
}
