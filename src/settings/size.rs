//! How a number of bytes is written, in variables and files of settings.

use std::fmt;

use serde::{Deserializer, de};

/// What is expected of a number of bytes.
pub(super) const EXPECTED: &str = "bytes as a whole number, or with a unit (512KiB, 64MiB, 1GiB)";

/// Reads a number of bytes: a whole number, or one with a unit of 1,024.
fn parse(text: &str) -> Option<usize> {
    let (number, unit) = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)]
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .unwrap_or((text, 1));
    let number = number.trim_end();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<usize>().ok().filter(|_| is_number)?.checked_mul(unit)
}

/// Reads a number of bytes from a text or a number.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(EXPECTED)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<usize, E> {
            parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<usize, E> {
            usize::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(bytes), &self))
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<usize, E> {
            usize::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
        }
    }

    deserializer.deserialize_any(Visitor)
}

/// Reads a number of bytes that may be left out.
pub(super) fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a unit is another, or what is no number of bytes is read as one.
    #[test]
    fn a_number_of_bytes_is_whole_or_has_a_unit() {
        for (text, bytes) in
            [("0", 0), ("1024", 1_024), ("512KiB", 524_288), ("64MiB", 67_108_864), ("1 GiB", 1_073_741_824), ("7B", 7)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "+1", "1.5MiB", "1MB", "1 m", "99999999999999GiB", "0x10"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
