//! From the values of a row to a bar.

mod date_order;
mod decoder;
mod first_rows;
mod infer;
mod key_checks;
mod outcome;
mod plausible;
mod prices;
mod raw_bar;
mod recognized;
mod row_decoder;
mod same_key;
mod session_checks;
mod timeframes;
mod unused_cells;
mod volume_columns;
pub(crate) mod yfinance_table;

pub(crate) use self::{
    decoder::BarDecoder,
    raw_bar::{NamedCell, RawBar},
    unused_cells::UnusedCells,
    volume_columns::VolumeColumns,
};
