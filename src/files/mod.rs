//! Readers of files: CSV, NDJSON and JSON arrays, compressed or not, into bars.
//!
//! ```text
//!  Read --> decompress --> lines --> csv    \
//!          gz, zst, zip              object  > RawBar --> BarDecoder --> Chunk { bars, rejected, skipped }
//!                                    array  /                 |
//!                     times: zones, session dates, order -----+---- prices: decimals, billionths
//! ```
//! A format only finds the values of a row; what they mean is decided in one place for all formats. A [`BarReader`] is
//! pulled: each call reads its input at most once and hands over what is complete, so a caller that submits each chunk
//! before it asks for the next never sits on records while a pipe is silent, and memory does not grow with the file.

mod bars;
mod chunk;
mod columns;
mod decompress;
mod file_info;
mod file_name;
mod format;
mod invalid_option;
mod missing_options;
mod options;
mod reader;
mod row_error;
#[cfg(test)]
mod tests;
mod times;

pub use self::{
    chunk::{CHUNK_ROWS, Chunk, MAX_LINE_BYTES, ReadError, Rejected},
    columns::ColumnMap,
    decompress::Compression,
    file_info::{Dialect, FileInfo},
    invalid_option::InvalidOption,
    missing_options::MissingOptions,
    options::ReadOptions,
    reader::BarReader,
    times::{TimeFormat, Zone},
};
