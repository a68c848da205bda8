//! Readers of files: CSV, NDJSON and JSON arrays, compressed or not, into bars and records of the other kinds.
//!
//! ```text
//!  Read --> decompress --> lines --> csv    \
//!          gz, zst, zip              object  > RawBar --> BarDecoder --> Chunk { records, ... }
//!                                    array  /                 |
//!                     times: zones, session dates, order -----+---- prices: decimals, billionths
//!                     keys: newer versions, other things -----+---- first rows: which time, which volume
//! ```
//! A format only finds the values of a row; what they mean is decided in one place for all formats: for bars as above, for
//! the other kinds by a decoder each, which says by which names its columns are known ([`FileRecord`]). A [`RecordReader`]
//! is pulled: each call reads its input at most once and hands over what is
//! complete, so a caller that submits each chunk before it asks for the next never sits on records while a pipe is silent,
//! and memory does not grow with the file.
//!
//! ```
//! use market_data_store::Bar;
//! use market_data_store::files::{Chunk, ReadOptions, RecordReader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let csv = "date,open,high,low,close\n2024-01-02,2,4,1,3\n2024-01-03,2,4,x,3\n";
//! let options = ReadOptions { symbol: Some("ES".into()), timeframe: Some("1d".parse()?), ..ReadOptions::default() };
//! let mut reader = RecordReader::<Bar, _>::new(csv.as_bytes(), options);
//! let (mut chunk, mut bars) = (Chunk::default(), Vec::new());
//! loop {
//!     let more = reader.next_chunk(&mut chunk)?;
//!     bars.extend(chunk.records.drain(..)); // such as `handle.submit_from(&mut chunk.records).await?`
//!     for rejected in &chunk.rejected {
//!         assert_eq!(rejected.to_string(), "line 3: low: expected a plain decimal number such as 1234.5, got \"x\"");
//!     }
//!     if !more {
//!         break;
//!     }
//! }
//! assert_eq!(bars.len(), 1);
//! # Ok(())
//! # }
//! ```

mod bar_file;
mod bars;
mod by_kind;
mod chunk;
mod column_names;
mod columns;
mod decoder;
mod decompress;
mod earlier_moments;
mod fields;
mod file_info;
mod file_name;
mod format;
mod given;
mod ignored_columns;
mod kinds;
mod missing_options;
mod missing_vendor;
mod numbers;
mod options;
mod reader;
mod row_error;
mod tables;
#[cfg(test)]
mod tests;
mod times;

// How `mds` goes from the name of a kind to its type, and from one file to the next.
#[cfg(feature = "serve")]
pub(crate) use self::chunk::Sort;
#[doc(hidden)]
pub use self::{
    by_kind::{ForKind, KIND_NAMES, for_kind},
    earlier_moments::EarlierMoments,
};
pub use self::{
    chunk::{Chunk, ReadError, Rejected},
    columns::ColumnMap,
    decoder::FileRecord,
    options::ReadOptions,
    reader::RecordReader,
    times::TsIs,
};
// What the fields of `ReadOptions` and the answers of a reader are: they come from texts, and are shown.
#[doc(hidden)]
pub use self::{
    decompress::Compression,
    file_info::{Dialect, FileInfo},
    missing_options::MissingOptions,
    times::{SessionStart, TimeFormat, Zone},
};
