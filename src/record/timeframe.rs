use std::{cmp::Ordering, fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(feature = "files")]
use super::timestamp::{Timestamp, instant};
use super::{
    invalid_text::InvalidText,
    tabular::{FromValue, Value},
};

/// The span of time that a bar covers: a count and a unit, such as `5m`, `1d` or `1mo`.
///
/// Two timeframes are equal when they are written alike: `60m` is not `1h`, since vendors that offer both cut them
/// differently. The order is by length, shortest first.
///
/// It is read from the usual ways to write it, and always shown in one: `1d` is what `1D`, `1day`, `1 Day`, `daily` and
/// `D1` become. Only between minute and month does the case decide: `1m` is a minute, `1M` is `1mo`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeframe {
    count: NonZeroU32,
    unit: Unit,
}

/// The unit that a [`Timeframe`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `mo`
    Month,
    /// `y`
    Year,
}

impl Unit {
    /// Returns the unit as it is written behind the count: `s`, `m`, `h`, `d`, `w`, `mo` or `y`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "mo",
            Self::Year => "y",
        }
    }

    /// Seconds, those of a month and a year on average: for the order only.
    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
            Self::Month => 2_629_746,
            Self::Year => 31_556_952,
        }
    }
}

impl Timeframe {
    /// One day, `1d`.
    pub const DAY: Self = Self::new(NonZeroU32::MIN, Unit::Day);
    /// One minute, `1m`.
    pub const MINUTE: Self = Self::new(NonZeroU32::MIN, Unit::Minute);

    /// Makes a timeframe of `count` units.
    pub const fn new(count: NonZeroU32, unit: Unit) -> Self {
        Self { count, unit }
    }

    /// Returns how many units it spans.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// Returns what it counts.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// Returns its length in seconds, that of the shortest month or year for these.
    #[cfg(feature = "files")]
    pub(crate) const fn least_seconds(self) -> u64 {
        let unit = match self.unit {
            Unit::Month => 28 * 86_400,
            Unit::Year => 365 * 86_400,
            unit => unit.seconds(),
        };
        self.count.get() as u64 * unit
    }

    /// Returns the time one timeframe before; none before the year 1.
    #[cfg(feature = "files")]
    pub(crate) fn before(self, ts: Timestamp) -> Option<Timestamp> {
        let count = i64::from(self.count.get());
        let before = match self.unit {
            Unit::Month | Unit::Year => {
                let months = if self.unit == Unit::Year { 12 * count } else { count };
                let at = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_microsecond(ts.as_micros()).ok()?);
                let at = at.checked_sub(jiff::Span::new().try_months(months).ok()?).ok()?;
                instant(at, jiff::tz::Offset::UTC).ok()?
            }
            _ => {
                let micros = i64::try_from(self.least_seconds()).ok()?.checked_mul(1_000_000)?;
                Timestamp::from_micros(ts.as_micros().checked_sub(micros)?)
            }
        };
        before.has_text().then_some(before)
    }

    /// Returns whether its unit is a day or longer. A bar of such a timeframe carries its session's date, at 00:00 UTC;
    /// a shorter one carries the instant at which it opens.
    pub const fn is_day_or_more(self) -> bool {
        matches!(self.unit, Unit::Day | Unit::Week | Unit::Month | Unit::Year)
    }
}

impl Ord for Timeframe {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = |timeframe: &Self| u64::from(timeframe.count.get()) * timeframe.unit.seconds();
        length(self).cmp(&length(other)).then(self.unit.cmp(&other.unit))
    }
}

impl PartialOrd for Timeframe {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The one form in which it is stored: `1m`, `4h`, `1mo`.
impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.as_str())
    }
}

impl fmt::Debug for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeframe({self})")
    }
}

/// Those that nearly every bar has cost no memory: a row is made of each bar that is stored.
impl From<Timeframe> for Value<'_> {
    fn from(timeframe: Timeframe) -> Self {
        let usual = match (timeframe.count.get(), timeframe.unit) {
            (1, Unit::Second) => "1s",
            (1, Unit::Minute) => "1m",
            (5, Unit::Minute) => "5m",
            (15, Unit::Minute) => "15m",
            (30, Unit::Minute) => "30m",
            (1, Unit::Hour) => "1h",
            (4, Unit::Hour) => "4h",
            (1, Unit::Day) => "1d",
            (1, Unit::Week) => "1w",
            (1, Unit::Month) => "1mo",
            _ => return Self::from(timeframe.to_string()),
        };
        Self::from(usual)
    }
}

impl FromValue for Timeframe {
    fn from_value(value: &Value<'_>) -> Result<Self, String> {
        String::from_value(value)?.parse().map_err(|error: InvalidText| error.to_string())
    }
}

impl FromStr for Timeframe {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse(text.trim()).map_err(|expected| InvalidText::expected(expected, text))
    }
}

fn parse(text: &str) -> Result<Timeframe, &'static str> {
    const EXPECTED: &str = "a count and a unit (s, m, h, d, w, mo, y) such as 1m, 4h or 1d";
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let digits = text.bytes().take_while(|byte| is_digit(byte)).count();
    let (count, word) = if digits > 0 {
        let (count, word) = text.split_at(digits);
        (count, word.strip_prefix(['-', '_']).unwrap_or(word).trim_start())
    } else {
        // `M5`, `H4`, `MN1`: trading platforms write the unit first, and in capitals.
        let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
        let (word, count) = text.split_at(letters);
        if letters > 0 && !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) {
            let word = match word {
                "M" => "min",
                "MN" => "mo",
                "S" | "H" | "D" | "W" => word,
                _ => return Err(EXPECTED),
            };
            (count, word)
        } else {
            ("1", text)
        }
    };
    let unit = match word {
        "m" if digits == 0 => return Err("1m for a minute or 1mo for a month"),
        "m" => (Unit::Minute, 1),
        "M" => (Unit::Month, 1),
        word => unit(word).ok_or(EXPECTED)?,
    };
    let (unit, factor) = unit;
    let count = count.parse::<u32>().ok().and_then(|count| count.checked_mul(factor));
    let count = count.ok_or("a count that fits into 32 bits")?;
    Ok(Timeframe::new(NonZeroU32::new(count).ok_or("a count of at least 1")?, unit))
}

/// Returns the unit that a word names in any case, and how many of it.
fn unit(word: &str) -> Option<(Unit, u32)> {
    const WORDS: [(Unit, u32, &[&str]); 8] = [
        (Unit::Second, 1, &["s", "sec", "secs", "second", "seconds"]),
        (Unit::Minute, 1, &["min", "mins", "minute", "minutes", "minutely"]),
        (Unit::Hour, 1, &["h", "hr", "hrs", "hour", "hours", "hourly"]),
        (Unit::Day, 1, &["d", "day", "days", "daily"]),
        (Unit::Week, 1, &["w", "wk", "wks", "week", "weeks", "weekly"]),
        (Unit::Month, 1, &["mo", "mon", "mos", "month", "months", "monthly"]),
        (Unit::Month, 3, &["q", "quarter", "quarters", "quarterly"]),
        (Unit::Year, 1, &["y", "yr", "yrs", "year", "years", "yearly", "annual", "annually"]),
    ];
    WORDS
        .iter()
        .find(|(_, _, words)| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
        .map(|(unit, factor, _)| (*unit, *factor))
}

impl Serialize for Timeframe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timeframe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Timeframe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timeframe such as \"1m\" or \"1d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeframe, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Red when one of the usual ones is stored as another.
    #[test]
    fn it_is_stored_as_it_is_shown() {
        let units = [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Year];
        for (unit, count) in units.into_iter().flat_map(|unit| (1..=60).map(move |count| (unit, count))) {
            let timeframe = Timeframe::new(NonZeroU32::new(count).unwrap(), unit);
            let value = Value::from(timeframe);
            assert_eq!(value, Value::from(timeframe.to_string()));
            assert_eq!(Timeframe::from_value(&value), Ok(timeframe));
        }
        assert!(Timeframe::from_value(&Value::from("1 fortnight")).is_err());
    }

    #[test]
    fn the_usual_ways_to_write_it_become_one() {
        for (text, expected) in [
            ("1m", "1m"),
            ("1M", "1mo"),
            ("1mo", "1mo"),
            ("1MO", "1mo"),
            ("1mon", "1mo"),
            ("3 months", "3mo"),
            ("monthly", "1mo"),
            ("M", "1mo"),
            ("1min", "1m"),
            ("5Min", "5m"),
            ("15 minutes", "15m"),
            ("60m", "60m"),
            ("1h", "1h"),
            ("4H", "4h"),
            ("1Hour", "1h"),
            ("hourly", "1h"),
            ("30s", "30s"),
            ("1-minute", "1m"),
            ("1_day", "1d"),
            ("1D", "1d"),
            ("D", "1d"),
            ("d", "1d"),
            ("1 day", "1d"),
            (" daily ", "1d"),
            ("1W", "1w"),
            ("1wk", "1w"),
            ("weekly", "1w"),
            ("1Q", "3mo"),
            ("quarterly", "3mo"),
            ("1Y", "1y"),
            ("annual", "1y"),
            ("M5", "5m"),
            ("H4", "4h"),
            ("D1", "1d"),
            ("W1", "1w"),
            ("MN1", "1mo"),
            ("007d", "7d"),
            ("4294967295s", "4294967295s"),
        ] {
            assert_eq!(text.parse::<Timeframe>().map(|timeframe| timeframe.to_string()), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        let expected = "expected a count and a unit (s, m, h, d, w, mo, y) such as 1m, 4h or 1d, got ";
        for text in ["", "5", "1x", "m5", "1.5h", "-1d", "1dd", "1d1", "T5", "Q1", "1 d d", "１d", "PT1M"] {
            assert_eq!(text.parse::<Timeframe>().unwrap_err().to_string(), format!("{expected}{text:?}"), "{text}");
        }
        for (text, expected) in [
            ("0d", "expected a count of at least 1, got \"0d\""),
            ("m", "expected 1m for a minute or 1mo for a month, got \"m\""),
            ("4294967296s", "expected a count that fits into 32 bits, got \"4294967296s\""),
            ("4294967295Q", "expected a count that fits into 32 bits, got \"4294967295Q\""),
        ] {
            assert_eq!(text.parse::<Timeframe>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_order_is_by_length() {
        let mut sorted: Vec<Timeframe> =
            ["1y", "1d", "1h", "60m", "24h", "1s", "1mo", "1w", "31d", "30d"].map(|text| text.parse().unwrap()).into();
        sorted.sort();
        let sorted: Vec<String> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["1s", "60m", "1h", "24h", "1d", "1w", "30d", "1mo", "31d", "1y"]);
    }

    #[test]
    fn a_day_begins_at_the_unit_day() {
        for (text, expected) in [("1s", false), ("24h", false), ("1d", true), ("1w", true), ("1mo", true), ("1y", true)]
        {
            assert_eq!(text.parse::<Timeframe>().unwrap().is_day_or_more(), expected, "{text}");
        }
    }

    #[test]
    fn json_is_a_string() {
        let timeframe: Timeframe = serde_json::from_str("\"1D\"").unwrap();
        assert_eq!(serde_json::to_string(&timeframe).unwrap(), "\"1d\"");
        assert!(serde_json::from_str::<Timeframe>("5").is_err());
        assert_eq!(size_of::<Option<Timeframe>>(), 8);
    }

    fn any_unit() -> impl Strategy<Value = Unit> {
        use Unit::*;
        prop::sample::select(vec![Second, Minute, Hour, Day, Week, Month, Year])
    }

    proptest! {
        // Red if two units share a text, as `m` would for minute and month.
        #[test]
        fn text_reads_back_as_the_same_timeframe(count in 1_u32.., unit in any_unit()) {
            let timeframe = Timeframe::new(NonZeroU32::new(count).unwrap(), unit);
            prop_assert_eq!(timeframe.to_string().parse::<Timeframe>(), Ok(timeframe));
        }

        #[test]
        fn an_arbitrary_text_never_panics(text in r"[0-9]{0,12}[ _-]?\PC{0,8}") {
            let _ = text.parse::<Timeframe>();
        }
    }
}
