//! Numbers as files write them: decimals, and integers of billionths.

use super::row_error::RowError;
use crate::text::Quoted;

/// What Databento writes for a price that there is not.
pub(crate) const NO_PRICE: &str = "9223372036854775807";
pub(crate) const NO_PRICE_POINTED: &str = "9223372036.854775807";

/// From here a price without a point is rather a count of billionths: of 0.10 it is 100,000,000.
pub(crate) const RATHER_BILLIONTHS: f64 = 1e8;

/// Up to here an integer is its own nearest `f64`, so that a division by an exact power of ten rounds once.
const EXACT: u64 = 1 << 53;
const BILLION: f64 = 1e9;

/// Returns whether a cell is one of the usual ways to write that there is nothing.
pub(crate) fn is_absent(cell: &str) -> bool {
    cell.is_empty()
        || (cell.len() <= 4 && ["nan", "null", "n/a", "na"].iter().any(|none| none.eq_ignore_ascii_case(cell)))
}

/// Returns whether a number is written in thousands, millions or billions.
pub(crate) fn is_rounded(cell: &str) -> bool {
    let number = cell.strip_suffix(['K', 'k', 'M', 'm', 'B', 'b', 'T', 't']);
    number.is_some_and(|number| {
        number.parse::<f64>().is_ok_and(f64::is_finite) && number.contains(|c: char| c.is_ascii_digit())
    })
}

/// Returns the `f64` that is nearest to a number of billionths.
pub(crate) fn billionths(cell: &str) -> Option<f64> {
    let count: i64 = cell.parse().ok()?;
    if count.unsigned_abs() <= EXACT {
        return Some(count as f64 / BILLION);
    }
    // Beyond, the integer itself would be rounded before the division: the decimal text rounds once.
    let (whole, rest) = (count / 1_000_000_000, count.unsigned_abs() % 1_000_000_000);
    format!("{whole}.{rest:09}").parse().ok()
}

/// Reads a decimal number.
#[inline]
pub(crate) fn number(column: &str, cell: &str) -> Result<f64, RowError> {
    if let Some(number) = plain(cell.as_bytes()) {
        return Ok(number);
    }
    // The standard parser also knows `inf`, `infinity` and `nan`, and makes infinity of what is too large.
    match cell.parse::<f64>() {
        Ok(number) if number.is_finite() && number != 0.0 => Ok(number),
        Ok(zero) if zero == 0.0 => written_as_zero(column, cell).map(|()| zero),
        _ => Err(no_number(column, cell)),
    }
}

/// Reads a number of at most 15 digits, with a point or without, as nearly all are: its digits are an integer that an `f64`
/// holds exactly, and so does the power of ten by which it is divided, so that the division alone rounds. None for all else.
#[inline]
fn plain(cell: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (cell, is_negative) = match cell {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    // At most one more than the digits.
    if cell.len() > 16 {
        return None;
    }
    let (mut whole, mut point) = (0_u64, None);
    for (at, byte) in cell.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = 10 * whole + u64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    let (count, behind) = match point {
        Some(at) => (cell.len() - 1, cell.len() - 1 - at),
        None => (cell.len(), 0),
    };
    if !(1..=15).contains(&count) {
        return None;
    }
    let number = whole as f64 / POWERS[behind];
    Some(if is_negative { -number } else { number })
}

/// Fails for a number other than 0 that the standard parser makes 0, such as 1e-400.
#[inline(never)]
fn written_as_zero(column: &str, cell: &str) -> Result<(), RowError> {
    let mut digits = cell.bytes().take_while(|byte| !b"eE".contains(byte));
    if digits.any(|byte| (b'1'..=b'9').contains(&byte)) {
        let expected = "expected 0 or a number that is not too close to it, at least 5e-324";
        return Err(format!("{column}: {expected}, got {}", Quoted(cell)).into());
    }
    Ok(())
}

#[cold]
fn no_number(column: &str, cell: &str) -> RowError {
    let problem =
        RowError::from(format!("{column}: expected a plain decimal number such as 1234.5, got {}", Quoted(cell)));
    match advice(cell) {
        Some(advice) => problem.of_file(advice),
        None => problem,
    }
}

/// Says what to do with a file of numbers such as this.
fn advice(cell: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite) && text.contains(|c: char| c.is_ascii_digit());
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    if let Some((whole, fraction)) = unsigned.rsplit_once(',')
        && digits(fraction)
    {
        if digits(whole) {
            // 1,234 can be either; the one who exported it knows.
            return Some(
                "export it with decimal points and without thousands separators, or convert decimal commas as \
                         in `tr , . < FILE | mds ingest ... -` where commas separate nothing else",
            );
        }
        if whole.split(['.', ' ', '\'', '\u{a0}', '\u{202f}', ',']).all(digits) {
            return Some("export it with decimal points and without thousands separators");
        }
    }
    if unsigned.split_once('.').is_some_and(|(whole, fraction)| whole.split(',').all(digits) && digits(fraction)) {
        return Some("export it without thousands separators");
    }
    if is_rounded(unsigned) {
        return Some("numbers with K, M or B are rounded, export it with all digits");
    }
    let bare = unsigned.trim_matches(|c| "$€£¥₹%".contains(c));
    (bare.len() < unsigned.len() && number(bare.trim())).then_some("export it without currency and percent signs")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Red if the fast way takes nothing, or takes what is no plain number.
    #[test]
    fn plain_numbers_are_read_the_fast_way_and_no_others() {
        for (text, expected) in [
            ("10.25", Some(10.25)),
            ("-0", Some(-0.0)),
            ("4.", Some(4.0)),
            (".5", Some(0.5)),
            ("999999999999999", Some(999_999_999_999_999.0)),
            ("0.123456789012345", None),
            ("9999999999999999", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1.2.3", None),
            ("+1", None),
            ("1e5", None),
            ("1,5", None),
            (" 1", None),
        ] {
            assert_eq!(plain(text.as_bytes()).map(f64::to_bits), expected.map(f64::to_bits), "{text}");
        }
    }

    // Red if a number that an f64 cannot hold becomes 0 or infinity, or 0 is refused for the way in which it is written.
    #[test]
    fn a_number_too_close_to_0_or_too_large_is_refused_by_its_value() {
        for zero in ["0", "-0.0", "0e5", "0.000E-400", "+0"] {
            assert_eq!(number("open", zero).map_err(String::from), Ok(0.0), "{zero}");
        }
        assert_eq!(number("open", "5e-324").map_err(String::from), Ok(f64::from_bits(1)));
        let tiny = format!("0.{}1", "0".repeat(400));
        for other in ["1e-400", "-1E-400", "0.5e-324", ".1e-999999", &tiny] {
            let error = number("open", other).map_err(String::from).expect_err(other);
            let expected = "open: expected 0 or a number that is not too close to it, at least 5e-324, got \"";
            assert!(error.starts_with(expected) && error.contains(&other[..4]), "{error}");
        }
        for large in ["1e400", "-1e400"] {
            let error = number("open", large).map_err(String::from).expect_err(large);
            assert!(error.ends_with(&format!("got \"{large}\"")), "{error}");
        }
    }

    #[test]
    fn what_to_do_with_odd_numbers_is_said() {
        for (cell, expected) in [
            ("1,5", Some("export it with decimal points and without thousands separators, or convert")),
            ("1.234,5", Some("export it with decimal points and without thousands separators")),
            ("1 234,50", Some("export it with decimal points and without thousands separators")),
            ("1,234,567", Some("export it with decimal points and without thousands separators")),
            ("1,234.5", Some("export it without thousands separators")),
            ("12.5M", Some("numbers with K, M or B are rounded")),
            ("-3k", Some("numbers with K, M or B are rounded")),
            ("$1.2", Some("export it without currency and percent signs")),
            ("1.2 €", Some("export it without currency and percent signs")),
            ("0.5%", Some("export it without currency and percent signs")),
            ("x", None),
            ("inf", None),
            ("$", None),
            (",", None),
            ("M", None),
        ] {
            let advice = advice(cell);
            assert_eq!(advice.is_some(), expected.is_some(), "{cell}: {advice:?}");
            assert!(advice.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{cell}: {advice:?}");
        }
    }

    proptest! {
        // Red if a digit is lost, a point is counted from the other side, or a sign of zero goes.
        #[test]
        fn plain_numbers_are_those_of_the_standard_parser(text in "-?[0-9]{0,12}\\.?[0-9]{0,9}") {
            if let Some(number) = plain(text.as_bytes()) {
                prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
            }
        }

        // Red if the integer is rounded before it is divided, or multiplied by the double nearest to a billionth.
        #[test]
        fn billionths_become_the_double_nearest_to_the_decimal(count in any::<i64>(), shift in 0..40_u32) {
            let count: i64 = count >> shift;
            let sign = if count < 0 { "-" } else { "" };
            let (whole, rest) = (count.unsigned_abs() / 1_000_000_000, count.unsigned_abs() % 1_000_000_000);
            let decimal: f64 = format!("{sign}{whole}.{rest:09}").parse().unwrap();
            prop_assert_eq!(billionths(&count.to_string()), Some(decimal));
        }
    }
}
