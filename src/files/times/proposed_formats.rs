//! Which `--ts-format` to propose for a time that is not read without one.

use jiff::fmt::strtime::BrokenDownTime;

use super::{options::TimeFormat, reading::Order};

/// Dates of numbers; each is tried with any of the clocks behind it.
const NUMBERED: [&str; 15] = [
    "%m/%d/%y", "%d/%m/%y", "%m-%d-%y", "%d-%m-%y", "%m.%d.%y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y",
    "%d-%m-%Y", "%m.%d.%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d",
];
/// Dates with the name of a month, and others.
const NAMED: [&str; 11] = [
    "%d-%b-%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d%b%Y",
    "%b %d, %Y",
    "%b %d %Y",
    "%Y%m%d-%H:%M:%S",
    "%d-%B-%Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%Y-%b-%d",
];
const CLOCKS: [&str; 12] = [
    "%H:%M:%S",
    "%H:%M",
    "%I:%M:%S%p",
    "%I:%M%p",
    "%I:%M:%S %p",
    "%I:%M %p",
    "%I%p",
    "%I %p",
    "%I-%p",
    "%H:%M:%S%.f",
    "%H:%M:%S%.f GMT%z",
    "%H:%M:%S %Q",
];

/// Returns the format to propose for a time that is not read without one: two where the file must say which number is
/// the month, and none where nothing fits.
pub(crate) fn formats_of(text: &str, order: Option<Order>) -> Vec<String> {
    let fits = |date: &&str| match order {
        Some(Order::MonthFirst) => !date.starts_with("%d"),
        Some(Order::DayFirst) => !date.starts_with("%m"),
        None => true,
    };
    let format_with = |date: &str| {
        let (_, length) = BrokenDownTime::parse_prefix(date, text).ok()?;
        let rest = text.get(length..)?;
        let clock = || {
            let (between, clock) = [", ", " ", "T"].into_iter().find_map(|b| Some((b, rest.strip_prefix(b)?)))?;
            let format = CLOCKS.into_iter().find(|format| BrokenDownTime::parse(format, clock).is_ok())?;
            Some(format!("{between}{format}"))
        };
        let format = format!("{date}{}", if rest.is_empty() { String::new() } else { clock()? }).parse().ok()?;
        let TimeFormat { format, .. } = &format;
        let year = BrokenDownTime::parse(format, text).ok()?.to_date().ok()?.year();
        (1900..2100).contains(&year).then(|| format.clone())
    };
    let numbered: Vec<_> = NUMBERED.into_iter().filter(fits).filter_map(format_with).collect();
    if numbered.is_empty() { NAMED.into_iter().filter_map(format_with).take(1).collect() } else { numbered }
}

/// Returns the format of digits that are a date and a time of the years 1900 to 2099 with nothing between them:
/// `YYYYMMDDHH`, with minutes or seconds behind it.
///
/// As seconds the first are moments of 2030 to 2036, one in a hundred of that time, and as milliseconds those with minutes
/// are moments of 1976: bars of these are rare, and bars of those are common. With seconds they are no epoch.
#[inline]
pub(crate) fn compact_format(text: &str) -> Option<&'static str> {
    let format = match text.len() {
        10 => "%Y%m%d%H",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => return None,
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range).map_or(0, |digits| digits.parse::<u32>().unwrap_or(0));
    let is_date = (1900..2100).contains(&number(0..4)) && (1..13).contains(&number(4..6));
    let is_time = is_date && number(8..10) <= 24 && number(10..12) < 60 && number(12..14) < 60;
    (is_time && (1..32).contains(&number(6..8))).then_some(format)
}

/// Returns the format to propose for a date such as `1/4/1999 9:30` in that order.
pub(crate) fn proposed_format(text: &str, order: Order) -> String {
    let separator = text.chars().find(|char| !char.is_ascii_digit()).unwrap_or('/');
    let (first, second) = match order {
        Order::MonthFirst => ("%m", "%d"),
        Order::DayFirst => ("%d", "%m"),
    };
    let mut format = format!("{first}{separator}{second}{separator}%Y");
    if let Some(at) = text.find([' ', 'T']) {
        format.push_str(&text[at..=at]);
        format.push_str(match text[at..].matches(':').count() {
            0 => "%H%M",
            1 => "%H:%M",
            _ if text[at..].contains('.') => "%H:%M:%S%.f",
            _ => "%H:%M:%S",
        });
    }
    format
}
