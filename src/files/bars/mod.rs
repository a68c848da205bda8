//! From the values of a row to a bar.

mod decoder;
mod infer;
mod prices;
mod raw_bar;
mod session_checks;
pub(crate) mod yfinance_table;

pub(crate) use self::{
    decoder::BarDecoder,
    raw_bar::{RawBar, is_absent},
};
