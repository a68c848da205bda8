//! From the values of a row to a bar.

mod date_order;
mod decoder;
mod first_rows;
mod given;
mod infer;
mod key_checks;
mod outcome;
mod plausible;
mod prices;
mod raw_bar;
mod same_key;
mod session_checks;
mod unused_cells;
pub(crate) mod yfinance_table;

pub(crate) use self::{
    decoder::BarDecoder,
    first_rows::{NamedCell, VolumeColumns},
    raw_bar::{RawBar, is_absent},
    unused_cells::UnusedCells,
};
