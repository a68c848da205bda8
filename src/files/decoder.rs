//! What a reader asks of the decoder of a kind.

use super::{
    chunk::{Chunk, ReadError},
    columns::ColumnMap,
    decompress::Compression,
    earlier_moments::EarlierMoments,
    file_info::FileInfo,
    format::{array::Elements, lines::Line, sniff::Format},
    options::ReadOptions,
};
use crate::record::{InvalidText, Tabular, Timeframe};

/// A kind of record that is read from files by a [`RecordReader`](super::RecordReader).
pub trait FileRecord: Tabular {
    /// Makes records of the rows of a file.
    #[doc(hidden)]
    type Decoder: FileDecoder<Record = Self> + Send;

    /// Returns the time that the record covers; none where its kind has no such thing.
    #[doc(hidden)]
    fn timeframe(&self) -> Option<Timeframe> {
        None
    }

    /// Reads the value of `--map` for files of this kind, such as `ts=1,price=2` or `price=Last`.
    ///
    /// # Errors
    /// It names something that no record of this kind has, or one thing twice.
    fn column_map(text: &str) -> Result<ColumnMap, InvalidText> {
        Self::Decoder::column_map(text)
    }
}

/// Makes records of the lines, or the elements, of one file, in order.
pub trait FileDecoder: Elements + Sized {
    /// Makes a decoder for the file that the options name.
    fn new(options: ReadOptions) -> Self;

    /// Reads the value of `--map`.
    fn column_map(text: &str) -> Result<ColumnMap, InvalidText>;

    /// Makes that a row is read by itself: it is not held until another one shows which number is the month, and not
    /// numbered by those before it.
    fn take_each_alone(&mut self);

    /// Fails if the options contradict each other, or the file's name.
    fn check_options(&mut self) -> Result<(), ReadError>;

    /// Fails if the name of what is in a zip contradicts the zip's own, or the options.
    fn check_member(&mut self, member: &str) -> Result<(), ReadError>;

    /// Returns the name of the file.
    fn name(&self) -> &str;

    /// Takes the format that the first bytes show. Returns whether they are enough to begin.
    fn begin(&mut self, start: &Start<'_>) -> Result<bool, ReadError>;

    /// Takes a line of CSV or NDJSON.
    fn line(&mut self, line: Line<'_>, chunk: &mut Chunk<Self::Record>) -> Result<(), ReadError>;

    /// Returns whether records of the last line are still to come.
    fn is_under_way(&self) -> bool {
        false
    }

    /// Hands over what is left of a line that has many records.
    fn go_on(&mut self, _: &mut Chunk<Self::Record>) -> Result<(), ReadError> {
        Ok(())
    }

    /// Hands over rows that waited, as far as the chunk has room.
    fn release(&mut self, chunk: &mut Chunk<Self::Record>);

    /// Fails if something is missing that a guess from the rows so far can name.
    fn report_missing(&mut self) -> Result<(), ReadError> {
        Ok(())
    }

    /// Says that the records so far went out.
    fn hand_over(&mut self) {}

    /// Returns how many rows wait for one that shows how to read them.
    fn waiting(&self) -> usize {
        0
    }

    /// Decides at the end of the file what waited for more rows.
    fn finish(&mut self, chunk: &mut Chunk<Self::Record>) -> Result<(), ReadError>;

    /// Adds what is known of the file.
    fn describe(&self, info: &mut FileInfo);

    /// Returns what the user should know, since it may not be what is meant: one line each.
    fn warnings(&self) -> Vec<String>;

    /// Returns the names of the columns, or fields, that are not used: the first of them, each fit to be shown.
    fn ignored(&self) -> Vec<String>;

    /// Returns whether a record has no vendor.
    fn lacks_vendor(&self) -> bool;

    /// Says whether records were numbered, since nothing else tells those of one moment apart.
    fn has_numbered(&self) -> bool {
        false
    }

    /// Takes at which moments files before have records that were numbered.
    fn begin_behind(&mut self, _: EarlierMoments) {}

    /// Returns at which moments this file and those before have records that were numbered.
    fn end_moments(&mut self) -> EarlierMoments {
        EarlierMoments::default()
    }
}

/// How a file begins.
pub struct Start<'a> {
    pub(super) format: Format,
    /// The first bytes, as many as are there.
    pub(super) bytes: &'a [u8],
    pub(super) at_end: bool,
    pub(super) compression: Option<Compression>,
}
