//! UTC time in microseconds, the time type of records, events and the store; and in nanoseconds, for kinds that need
//! them.

mod nanos;
mod written;

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::nanos::TimestampNanos;
use self::written::integer;
pub(crate) use self::written::{Fault, Written, instant};
#[cfg(feature = "files")]
pub(crate) use self::{
    nanos::about as about_nanos,
    written::{WrittenNanos, date, nanos_at, nanos_of_digits},
};
use super::invalid_text::InvalidText;

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
    /// When they are no whole microseconds: nothing is cut. To cut them, divide and use
    /// [`from_micros`](Self::from_micros).
    pub fn from_nanos(nanos: i64) -> Result<Self, InvalidText> {
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
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
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
        // Red when the message speaks of whole years, in which the last days of 9999 are.
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
