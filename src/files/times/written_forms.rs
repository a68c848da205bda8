//! Forms of times beyond those that a [`Timestamp`](crate::Timestamp) is parsed from.

use super::options::Zone;
use crate::record::timestamp::{self, Written};

/// A date of three numbers with `/`, `-` or `.` between them, one of the outer ones a year of four digits.
pub(super) struct Numbers<'a> {
    pub(super) first: u32,
    pub(super) second: u32,
    pub(super) third: u32,
    pub(super) year_first: bool,
    pub(super) rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut rest = text.as_bytes();
        let mut number = || {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, behind) = rest.split_at(digits);
            rest = behind;
            let value = number.iter().take(4).fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
            let separator = rest.first().copied();
            if separator.is_some_and(|byte| b"/-.".contains(&byte)) {
                rest = &rest[1..];
                (value, digits, separator)
            } else {
                (value, digits, None)
            }
        };
        let (first, first_digits, separator) = number();
        let (second, second_digits, again) = number();
        let (third, third_digits, end) = number();
        let year_first = first_digits == 4;
        let shapes = [(1..=2).contains(&second_digits), separator.is_some(), separator == again, end.is_none()];
        let outer = matches!((first_digits, third_digits), (4, 1..=2) | (1..=2, 4));
        (outer && shapes.into_iter().all(|shape| shape)).then_some(Self { first, second, third, year_first, rest })
    }
}

/// Reads a time with the name of its zone behind it, as in `20240102 09:30:00 US/Eastern`, or one with two spaces in
/// it, as Interactive Brokers writes them.
pub(super) fn zoned(text: &str) -> Option<(Written, Option<Zone>)> {
    let is_name = |name: &str| name.starts_with(|first: char| first.is_ascii_alphabetic());
    let (time, zone) = match text.rsplit_once(' ') {
        // These are used in summer too, and mean another offset then than the one of the zone with that name.
        Some((_, name)) if ["EST", "MST", "HST"].iter().any(|known| known.eq_ignore_ascii_case(name)) => return None,
        Some((time, name)) if is_name(name) => (time, Some(name.parse::<Zone>().ok()?)),
        _ => (text, None),
    };
    if zone.is_none() && !time.contains("  ") {
        return None;
    }
    let (date, clock) = time.split_once(' ')?;
    let time = format!("{date} {}", clock.trim_start());
    let read = Written::parse(&time).or_else(|fault| match Numbers::of(&time) {
        Some(Numbers { first, second, third, year_first: true, rest }) => {
            Written::on_date(rest, || timestamp::date(first, second, third))
        }
        _ => Err(fault),
    });
    match read {
        Ok(written @ Written::Civil { offset: None, .. }) => Some((written, zone)),
        Ok(written) if zone.is_none() => Some((written, None)),
        _ => None,
    }
}

/// Splits an epoch with a point in it, as programs write it that know no integers.
pub(super) fn decimal(text: &str) -> Option<(&str, &str)> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').filter(|(whole, fraction)| whole.len() >= 8 && is_number(whole) && is_number(fraction))
}
