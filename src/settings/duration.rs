//! How a duration is written, in variables, options and files of settings.

use std::{fmt, time::Duration};

use serde::{Deserializer, de};

/// Returned for a text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected seconds as a number (0.25) or a number with a unit (250ms, 90s, 10m, 12h, 7d)")]
#[non_exhaustive]
pub struct InvalidDuration;

/// Reads a duration: a number of seconds, or a number with one of the units `ms`, `s`, `m`, `h`, `d`. This is how every
/// variable and every option of `mds` is read.
///
/// ```
/// use std::time::Duration;
/// use market_data_store::settings::parse_duration;
///
/// assert_eq!(parse_duration("0.25"), Ok(Duration::from_millis(250)));
/// assert_eq!(parse_duration("250ms"), parse_duration("0.25"));
/// assert_eq!(parse_duration("1.5d"), Ok(Duration::from_secs(36 * 3_600)));
/// ```
///
/// # Errors
/// When the text is anything else: a sign and an exponent are refused too.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    // `ms` before `s`, which ends it.
    let (number, seconds) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .unwrap_or((text, 1.0));
    let number = number.trim_end();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(InvalidDuration);
    }
    let value: f64 = number.parse().map_err(|_| InvalidDuration)?;
    // Milliseconds divide rather than multiply, so that `250ms` is exactly the same as `0.25`.
    let value = if seconds < 1.0 { value / 1000.0 } else { value * seconds };
    Duration::try_from_secs_f64(value).map_err(|_| InvalidDuration)
}

/// Reads a duration from a text, as [`parse_duration`] does, or from a number of seconds.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("seconds as a number (0.25), or a text with a unit (\"250ms\")")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }

        fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds).map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            let whole = u64::try_from(seconds);
            whole.map(Duration::from_secs).map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
        }
    }

    deserializer.deserialize_any(Visitor)
}

/// Reads a duration that may be left out.
pub(super) fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a unit is another, or what is no duration is read as one.
    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, millis) in [
            ("0.25", 250),
            ("250ms", 250),
            ("2s", 2_000),
            ("2 s", 2_000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "ms", "d", "-1", "inf", "nan", "1e3", "1w", "1 2", "0x10", ".", "99999999999999999999999s"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
        }
    }
}
