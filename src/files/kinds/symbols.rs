//! The symbol of a row that has it in two columns, as TAQ writes classes of shares: `BRK` and `B`.

use std::borrow::Cow;

use super::{cells::Cells, columns_of_file::FileColumns};
use crate::files::columns::squashed;

/// Where a kind has the symbol, and the class behind it.
#[derive(Clone, Copy)]
pub(super) struct SymbolColumns {
    pub(super) symbol: usize,
    pub(super) suffix: usize,
}

impl SymbolColumns {
    /// Returns whether the symbol is the root of several classes of shares.
    ///
    /// # Errors
    /// Nothing says which row is of which class: under one symbol they would be mixed.
    pub(super) fn have_classes(self, columns: &FileColumns<'_>) -> Result<bool, String> {
        let is_root = columns.name_of(self.symbol).is_some_and(|name| squashed(name) == "symroot");
        if !is_root || columns.has(self.suffix) {
            return Ok(is_root);
        }
        if columns.is_mapped(self.symbol) || columns.is_mapped(self.suffix) {
            return Ok(false);
        }
        Err("expected sym_suffix beside sym_root, since BRK A and BRK B have one root: export it too, or give --map \
             sym_suffix=- if all shares are of one class"
            .into())
    }

    /// Returns the symbol of a row, with its class behind a blank if there are classes; none if the file has no such column.
    pub(super) fn read<'a>(self, cells: &Cells<'a>, has_classes: bool) -> Option<Cow<'a, str>> {
        let symbol = cells.column(self.symbol)?;
        Some(match cells.text(self.suffix) {
            Some(class) if has_classes && !symbol.is_empty() => Cow::Owned(format!("{symbol} {class}")),
            _ => Cow::Borrowed(symbol),
        })
    }
}
