//! Prices of a file: decimals, or integers in units of a billionth.

use super::cells::Cells;
use crate::{
    files::{
        numbers::{NO_PRICE, NO_PRICE_POINTED, RATHER_BILLIONTHS, billionths, is_absent, number},
        row_error::RowError,
    },
    text::Quoted,
};

/// How the prices of a file are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Prices {
    /// As decimal numbers.
    #[default]
    Plain,
    /// As Databento writes them, in a way that the first price shows: 4780.25 is 4780250000000 or 4780.250000000.
    Undecided,
    Billionths,
    /// With a decimal point, each of them.
    Pointed,
}

impl Prices {
    /// Reads a price; none where there is none.
    pub(super) fn read(&mut self, cells: &Cells<'_>, role: usize, as_written: bool) -> Result<Option<f64>, RowError> {
        let (name, cell) = (cells.name(role), cells.get(role));
        if is_absent(cell) || ["None", NO_PRICE, NO_PRICE_POINTED].contains(&cell) {
            return Ok(None);
        }
        if *self == Self::Plain {
            let price = number(name, cell)?;
            let is_pointed = cell.contains(['.', 'e', 'E']);
            if price.abs() >= RATHER_BILLIONTHS && !is_pointed && !as_written {
                let message = format!(
                    "{name}: expected a price, got {}, which may count billionths of one as Databento's do",
                    Quoted(cell)
                );
                return Err(RowError::from(message)
                    .of_file("give --as-written if it is the price itself, or divide the prices first if it is not"));
            }
            return Ok(Some(price));
        }
        if *self == Self::Undecided {
            *self = if cell.contains('.') { Self::Pointed } else { Self::Billionths };
        }
        let expected = match self {
            Self::Pointed if cell.contains('.') => return number(name, cell).map(Some),
            Self::Pointed => "a price with a decimal point as the first of the file",
            _ => match billionths(cell) {
                Some(price) => return Ok(Some(price)),
                None => "a price in units of 0.000000001 as the first of the file",
            },
        };
        Err(format!("{name}: expected {expected}, got {}", Quoted(cell)).into())
    }

    /// Reads a price that has to be there.
    pub(super) fn required(&mut self, cells: &Cells<'_>, role: usize, as_written: bool) -> Result<f64, RowError> {
        self.read(cells, role, as_written)?.ok_or_else(|| cells.none(role))
    }
}
