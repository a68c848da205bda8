//! From the values of a row to a record of any kind but bars, which have rules of their own.
//!
//! A kind says by which names its columns are known, what a file needs, and what a row means ([`Kind`]). All else is the
//! same for all kinds and in [`KindDecoder`]: headers, JSON fields, `--map`, lines that wait, and files that are refused.

mod cells;
mod columns_of_file;
mod contract;
mod csv_records;
mod databento;
mod decoder;
mod fundamentals;
mod json_object;
mod kind;
mod layout;
mod moments;
mod news;
mod options;
mod outbox;
mod own_columns;
mod prices;
mod quotes;
mod symbols;
#[cfg(test)]
mod tests;
mod times;
mod trades;
