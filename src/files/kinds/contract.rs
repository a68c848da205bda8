//! Symbols of option contracts that say what they are of: those of OCC, and those of venues of crypto.

use smol_str::{SmolStr, format_smolstr};

use crate::record::{Date, OptionType};

/// What a symbol says of its contract.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contract<'a> {
    /// The root of OCC, which is the underlying but for weekly and adjusted contracts; at venues of crypto the underlying.
    pub(super) root: &'a str,
    pub(super) expiry: Date,
    pub(super) option_type: OptionType,
    pub(super) strike: f64,
}

impl<'a> Contract<'a> {
    /// Reads `AAPL  240119C00150000` with blanks or without, with `O:` in front of it as Polygon writes it, and
    /// `BTC-29MAR24-50000-C` or `BTC-USD-240329-50000-C`. None for any other symbol.
    pub(super) fn parse(symbol: &'a str) -> Option<Self> {
        Self::of_occ(symbol.strip_prefix("O:").unwrap_or(symbol)).or_else(|| Self::of_venue(symbol))
    }

    fn of_occ(symbol: &'a str) -> Option<Self> {
        let at = symbol.len().checked_sub(15)?;
        let (root, rest) = symbol.split_at_checked(at)?;
        let root = root.trim_end_matches(' ');
        let is_root = (1..=6).contains(&root.len())
            && root.starts_with(|first: char| first.is_ascii_alphabetic())
            && root.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        let (date, rest) = rest.split_at_checked(6)?;
        let (option_type, strike) = rest.split_at_checked(1)?;
        if !is_root || !is_number(date) || !is_number(strike) {
            return None;
        }
        // Exact: eight digits, and three places as a decimal is rounded once.
        let strike: f64 = format!("{strike}e-3").parse().ok()?;
        Some(Self { root, expiry: yymmdd(date)?, option_type: type_of(option_type)?, strike })
    }

    fn of_venue(symbol: &'a str) -> Option<Self> {
        let (rest, option_type) = symbol.rsplit_once('-')?;
        let (rest, strike) = rest.rsplit_once('-')?;
        let (root, date) = rest.rsplit_once('-')?;
        let is_strike = strike.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let expiry = if is_number(date) && date.len() == 6 { yymmdd(date)? } else { ddmmmyy(date)? };
        let strike = Some(strike).filter(|_| is_strike)?.parse().ok()?;
        (!root.is_empty()).then_some(Self { root, expiry, option_type: type_of(option_type)?, strike })
    }

    /// Returns OCC's symbol; none for what it has no symbol for.
    pub(super) fn occ_symbol(root: &str, expiry: Date, option_type: OptionType, strike: f64) -> Option<SmolStr> {
        let thousandths = strike * 1_000.0;
        let is_root = (1..=6).contains(&root.len()) && root.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_strike = thousandths.fract() == 0.0 && (1.0..1e8).contains(&thousandths);
        if !is_root || !is_strike || !(2000..2100).contains(&expiry.year()) {
            return None;
        }
        let (year, month, day) = (expiry.year() % 100, expiry.month(), expiry.day());
        Some(format_smolstr!("{root:<6}{year:02}{month:02}{day:02}{option_type}{thousandths:08}"))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn yymmdd(text: &str) -> Option<Date> {
    format!("20{text}").parse().ok()
}

/// Reads `5JAN24` and `29MAR24`.
fn ddmmmyy(text: &str) -> Option<Date> {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let (rest, year) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let (day, month) = rest.split_at_checked(rest.len().checked_sub(3)?)?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    if !is_number(year) || !is_number(day) || day.len() > 2 {
        return None;
    }
    // The casts hold: two digits each.
    Date::new(2000 + year.parse::<i16>().ok()?, month as i8 + 1, day.parse().ok()?)
}

/// Reads the word for a call or a put.
pub(super) fn type_of(word: &str) -> Option<OptionType> {
    match word.to_ascii_lowercase().as_str() {
        "c" | "call" | "calls" => Some(OptionType::Call),
        "p" | "put" | "puts" => Some(OptionType::Put),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a digit of the strike is lost, day and month change places, or an ordinary symbol is taken for a contract.
    #[test]
    fn a_symbol_says_what_its_contract_is_of() {
        for (symbol, expected) in [
            ("AAPL  240119C00150000", "AAPL 2024-01-19 C 150"),
            ("AAPL240119C00150000", "AAPL 2024-01-19 C 150"),
            ("O:SPXW240119P04780500", "SPXW 2024-01-19 P 4780.5"),
            ("F     250117P00012340", "F 2025-01-17 P 12.34"),
            ("BTC-29MAR24-50000-C", "BTC 2024-03-29 C 50000"),
            ("BTC-5JAN24-50000-P", "BTC 2024-01-05 P 50000"),
            ("BTC-USD-240329-50000-C", "BTC-USD 2024-03-29 C 50000"),
        ] {
            let Contract { root, expiry, option_type, strike } = Contract::parse(symbol).expect(symbol);
            assert_eq!(format!("{root} {expiry} {option_type} {strike}"), expected);
        }
        for symbol in ["AAPL", "ESH4", "BTC-PERPETUAL", "AAPL240119X00150000", "AAPL241319C00150000", "240119C00150000"]
        {
            assert_eq!(Contract::parse(symbol), None, "{symbol}");
        }
        let expiry = "2024-01-19".parse().unwrap();
        let symbol = |root, strike| Contract::occ_symbol(root, expiry, OptionType::Call, strike);
        assert_eq!(symbol("AAPL", 150.0).as_deref(), Some("AAPL  240119C00150000"));
        assert_eq!(symbol("AAPL", 0.5).as_deref(), Some("AAPL  240119C00000500"));
        assert_eq!((symbol("TOOLONG", 1.0), symbol("A", 1.0001), symbol("A", 1e6)), (None, None, None));
    }
}
