//! From the values of a row to a bar.

mod date_order;
mod decoder;
mod given;
mod infer;
mod outcome;
mod prices;
mod raw_bar;
mod session_checks;
pub(crate) mod yfinance_table;

pub(crate) use self::{
    decoder::BarDecoder,
    raw_bar::{RawBar, is_absent},
};
