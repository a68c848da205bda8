//! A day of the calendar.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::invalid_text::InvalidText;

/// A date from the year 1 to 9999, without a time and a time zone. As text, and in JSON, it is `2024-01-02`; it is read
/// from `20240102` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(jiff::civil::Date);

impl Date {
    /// Makes a date of year, month and day; none if there is no such day.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        (year > 0).then_some(Self(date))
    }

    /// Returns the year.
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// Returns the month, from 1.
    pub fn month(self) -> i8 {
        self.0.month()
    }

    /// Returns the day of the month, from 1.
    pub fn day(self) -> i8 {
        self.0.day()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Date {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let digits = match text.as_bytes() {
            [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => [y, &[*m1, *m2, *d1, *d2]].concat(),
            other => other.to_vec(),
        };
        let wrong = |expected| InvalidText::expected(expected, text);
        if digits.len() != 8 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(wrong("a date such as 2024-01-02"));
        }
        let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0, |n, d| n * 10 + i16::from(d - b'0'));
        // The casts hold: two digits.
        Self::new(number(0..4), number(4..6) as i8, number(6..8) as i8).ok_or_else(|| wrong("a date that exists"))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a day that does not exist passes, or a text of another form.
    #[test]
    fn a_date_is_read_from_its_two_forms_and_no_other() {
        for (text, expected) in [("2024-02-29", "2024-02-29"), ("20240229", "2024-02-29"), ("0001-01-01", "0001-01-01")]
        {
            let date: Date = text.parse().unwrap();
            assert_eq!(date.to_string(), expected);
            assert_eq!(serde_json::to_string(&date).unwrap(), format!("\"{expected}\""));
            assert_eq!(serde_json::from_str::<Date>(&format!("\"{text}\"")).unwrap(), date);
        }
        let no_day = "expected a date that exists, got ";
        let no_form = "expected a date such as 2024-01-02, got ";
        for (text, expected) in [
            ("2023-02-29", no_day),
            ("20241301", no_day),
            ("0000-01-01", no_day),
            ("2024-1-2", no_form),
            ("2024-01-02T00:00:00Z", no_form),
            ("2024-0102", no_form),
            ("+2024-01-1", no_form),
            ("", no_form),
        ] {
            let error = text.parse::<Date>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
