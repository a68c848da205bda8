//! `--symbol`, whatever a kind calls it.

use market_data_store::{ColumnType, Tabular};

/// Returns the column: what names a series, of options the contract; or, as of news, the list of what a record is about.
pub fn symbol_column<T: Tabular>() -> Option<&'static str> {
    let list = T::TABLE.columns().iter().find(|column| column.column_type() == ColumnType::List);
    T::TABLE.series_columns().next().or(list).map(|column| column.name())
}
