//! What the options ask for.

use market_data_store::{
    Tabular,
    sink::{InvalidSelection, Selection},
};

use super::Args;
use crate::cli::by_symbol::symbol_column;

/// `COLUMN=VALUE`.
#[derive(Clone, Debug)]
pub struct Where {
    column: String,
    value: String,
}

impl Where {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (column, value) = text.split_once('=').ok_or("expected COLUMN=VALUE, such as vendor=acme")?;
        Ok(Self { column: column.trim().to_owned(), value: value.to_owned() })
    }
}

impl Args {
    /// # Errors
    /// Says which option is wrong.
    pub fn selection<T: Tabular>(&self) -> Result<Selection<T>, String> {
        let of = |option: &'static str| move |error: InvalidSelection| format!("{option} {}", error.problem);
        let mut selection = Selection::new();
        if !self.symbol.is_empty() {
            let Some(column) = symbol_column::<T>() else {
                return Err(format!("--symbol: {} have no symbol", T::KIND));
            };
            selection = selection.any_of(column, &self.symbol).map_err(of("--symbol:"))?;
        }
        for Where { column, value } in &self.conditions {
            selection = selection.any_of(column, [value]).map_err(|error| format!("--where {error}"))?;
        }
        if let Some(time) = &self.from {
            selection = selection.from(time).map_err(of("--from:"))?;
        }
        if let Some(time) = &self.to {
            selection = selection.to(time).map_err(of("--to:"))?;
        }
        Ok(match self.limit {
            Some(limit) => selection.limit(limit),
            None => selection,
        })
    }
}
