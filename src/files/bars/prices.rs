//! What the price cells of a file mean.

use std::collections::HashMap;

use smol_str::SmolStr;

use super::raw_bar::RawBar;
use crate::{
    files::{
        numbers::{NO_PRICE, NO_PRICE_POINTED, RATHER_BILLIONTHS, billionths, is_absent, is_rounded, number},
        row_error::RowError,
    },
    record::Bar,
    text::Quoted,
};

/// How prices are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prices {
    /// As decimal numbers.
    Plain,
    /// As decimal numbers, unless they are as large as counts of billionths.
    Doubtful,
    /// By Databento, in a way that the first row with prices is to show: 4780.25 is 4780250000000 or 4780.250000000.
    Undecided,
    /// In units of a billionth.
    Billionths,
    /// With a decimal point, each of them.
    Pointed,
}

impl Prices {
    /// Decides by a row, unless that is done. One way holds for the whole file: read in the other, a price is a billion
    /// times too large or too small.
    pub(crate) fn of(self, cells: &RawBar<'_>) -> Self {
        if self != Self::Undecided {
            return self;
        }
        let cells = [cells.open, cells.high, cells.low, cells.close];
        let decided = if cells.iter().any(|cell| cell.contains('.')) { Self::Pointed } else { Self::Billionths };
        // A row without prices shows nothing.
        if cells.into_iter().all(|cell| decided.are_absent_in(cell)) { Self::Undecided } else { decided }
    }

    pub(crate) fn are_absent_in(self, cell: &str) -> bool {
        is_absent(cell) || !matches!(self, Self::Plain | Self::Doubtful) && [NO_PRICE, NO_PRICE_POINTED].contains(&cell)
    }

    pub(crate) fn price(self, column: &str, cell: &str) -> Result<f64, RowError> {
        match self {
            Self::Plain => number(column, cell),
            Self::Doubtful => {
                let price = number(column, cell)?;
                if price.abs() < RATHER_BILLIONTHS || cell.contains(['.', 'e', 'E']) {
                    return Ok(price);
                }
                let message = format!(
                    "{column}: expected a price, got {}, which may count billionths of one as Databento's do",
                    Quoted(cell)
                );
                Err(RowError::from(message)
                    .of_file("leave Databento's columns in the file, or give --as-written if it is the price itself"))
            }
            _ if self.are_absent_in(cell) => {
                Err(format!("{column}: expected a price as the others of this row, got none ({})", Quoted(cell)).into())
            }
            Self::Pointed if cell.contains('.') => number(column, cell),
            Self::Pointed => Err(format!(
                "{column}: expected a price with a decimal point as on the first row, got {}",
                Quoted(cell)
            )
            .into()),
            Self::Billionths | Self::Undecided => billionths(cell).ok_or_else(|| {
                format!("{column}: expected a price in units of 0.000000001 as on the first row, got {}", Quoted(cell))
                    .into()
            }),
        }
    }
}

/// Of so many symbols it is known what was paid.
const SYMBOLS: usize = 4_096;

/// Reads the volumes of a file.
#[derive(Default)]
pub(super) struct Volumes {
    /// The first that was rounded, and how many were.
    rounded: Option<(String, u64)>,
    /// What was paid for one of what the volume counts, in prices of its bar, of each symbol.
    paid: HashMap<SmolStr, Paid>,
    /// The first symbol of which that is known, and another that counts in other units.
    first: Option<(SmolStr, f64)>,
    other: Option<SmolStr>,
}

/// What was paid for one of what the volume counts.
#[derive(Default)]
enum Paid {
    #[default]
    NotKnown,
    /// By one row, which can be chance.
    Once(f64),
    /// By the row before. And of a row that was rejected since.
    Known(f64, Option<f64>),
    /// It is no price of anything.
    Never,
}

impl Volumes {
    /// Reads a volume; none where the cell has none. One such as `81.96M` has lost digits, so it is none.
    pub(super) fn read(&mut self, cell: &str) -> Result<Option<f64>, RowError> {
        if is_absent(cell) {
            return Ok(None);
        }
        // Nearly all volumes are plain.
        match number("volume", cell) {
            Ok(number) => Ok(Some(number)),
            Err(_) if ["-", "--"].contains(&cell) => Ok(None),
            Err(_) if is_rounded(cell) => {
                let (_, times) = self.rounded.get_or_insert_with(|| (cell.to_owned(), 0));
                *times += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks whether a volume counts what those of the first rows count, by what was paid for it.
    pub(super) fn check(&mut self, bar: &Bar, paid: &str) -> Result<(), RowError> {
        /// Volumes are rounded, and between two rows can be a split.
        const TOLERANCE: f64 = 20.0;
        if paid.is_empty() {
            return Ok(());
        }
        let volume = bar.volume.unwrap_or_default();
        let (Ok(paid_number), true) = (paid.parse::<f64>(), volume > 0.0 && bar.low > 0.0) else { return Ok(()) };
        if paid_number <= 0.0 {
            return Ok(());
        }
        let for_one = paid_number / volume / f64::midpoint(bar.low, bar.high);
        if self.paid.len() >= SYMBOLS && !self.paid.contains_key(&bar.symbol) {
            self.paid.clear();
        }
        let state = self.paid.entry(bar.symbol.clone()).or_default();
        let (before, odd) = match *state {
            Paid::NotKnown => {
                *state = Paid::Once(for_one);
                return Ok(());
            }
            Paid::Once(first) if (0.5 * first..=2.0 * first).contains(&for_one) => {
                let (_, known) = self.first.get_or_insert_with(|| (bar.symbol.clone(), for_one));
                if !(*known / TOLERANCE..=*known * TOLERANCE).contains(&for_one) {
                    self.other.get_or_insert_with(|| bar.symbol.clone());
                }
                (for_one, None)
            }
            Paid::Once(_) => {
                *state = Paid::Never;
                return Ok(());
            }
            Paid::Known(before, odd) => (before, odd),
            Paid::Never => return Ok(()),
        };
        // Adjusted prices drift from what was paid; another unit is a jump.
        if (before / TOLERANCE..=before * TOLERANCE).contains(&for_one) {
            *state = Paid::Known(for_one, None);
            return Ok(());
        }
        *state = Paid::Known(before, Some(for_one));
        let message = format!(
            "volume: expected one that counts what those of the rows before count, got {volume} for which {} was paid, {:.3e} times as \
             much for one: it may be in lots or in the other currency",
            Quoted(paid),
            for_one / before
        );
        let error = RowError::from(message);
        // Two of a kind are no odd row.
        if odd.is_some_and(|odd| (0.5 * odd..=2.0 * odd).contains(&for_one)) {
            return Err(error.of_whole_file(
                "give --map volume=COLUMN, which takes volumes as they are, or load these rows by themselves",
            ));
        }
        Err(error)
    }

    /// Returns what to say of symbols whose volumes count other things.
    pub(super) fn units_note(&self) -> Option<String> {
        let ((first, _), other) = (self.first.as_ref()?, self.other.as_ref()?);
        Some(format!(
            "the volume of {} counts something else than that of {}, such as lots or contracts, by the amount that was paid for one",
            Quoted(other),
            Quoted(first)
        ))
    }

    /// Returns what to say of volumes that were rounded.
    pub(super) fn note(&self) -> Option<String> {
        let (first, times) = self.rounded.as_ref()?;
        let first = Quoted(first);
        Some(format!(
            "volumes such as {first} are rounded and have lost digits, so they are left out: {times} rows have no volume"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<'a>([open, high, low, close]: [&'a str; 4]) -> RawBar<'a> {
        RawBar { open, high, low, close, ..RawBar::default() }
    }

    // Red if the way is decided by a row without prices, or again by a later one.
    #[test]
    fn the_first_row_with_prices_decides_how_databento_s_are_written() {
        let none = cells(["9223372036854775807"; 4]);
        let count = cells(["4780250000000", "4781000000000", "4779500000000", "9223372036854775807"]);
        let pointed = cells(["4780.250000000", "4781.000000000", "4779.500000000", "4780.750000000"]);
        assert_eq!(Prices::Undecided.of(&none), Prices::Undecided);
        assert_eq!(Prices::Undecided.of(&count), Prices::Billionths);
        assert_eq!(Prices::Undecided.of(&pointed), Prices::Pointed);
        assert_eq!(Prices::Billionths.of(&pointed), Prices::Billionths);
        assert_eq!(Prices::Plain.of(&count), Prices::Plain);
        for (prices, cell, expected) in [
            (Prices::Billionths, "4780250000000", Ok(4780.25)),
            (Prices::Billionths, "-50000000", Ok(-0.05)),
            (Prices::Billionths, "6812500", Ok(0.006_812_5)),
            (Prices::Pointed, "4780.250000000", Ok(4780.25)),
            (
                Prices::Billionths,
                "4780.25",
                Err("open: expected a price in units of 0.000000001 as on the first row, got \"4780.25\""),
            ),
            (
                Prices::Pointed,
                "4780250000000",
                Err("open: expected a price with a decimal point as on the first row, got \"4780250000000\""),
            ),
            (
                Prices::Billionths,
                "9223372036854775807",
                Err("open: expected a price as the others of this row, got none (\"9223372036854775807\")"),
            ),
        ] {
            let price = prices.price("open", cell).map_err(|problem| problem.to_string());
            assert_eq!(price, expected.map_err(str::to_owned), "{cell}");
        }
    }
}
