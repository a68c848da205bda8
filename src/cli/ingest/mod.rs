//! `mds ingest`: reads bars from files, CSV, NDJSON and JSON arrays, and submits them.
//!
//! The command (`command.rs`) starts a store and a thread (`feed.rs`) that reads one chunk after the other and submits
//! it. The thread's counts (`tally.rs`), the coordinator's, and the level changes that a subscriber saw (`levels.rs`)
//! make the books at the end (`summary.rs`). All other files here read:
//!
//! ```text
//!  Read --> Unpacked --> LineBuffer --> csv.rs   \
//!          gz, zst, zip                  ndjson    > Cells --> Rows --> Chunk { bars, rejected, skipped }
//!                                        array.rs /             |
//!                        times.rs: zones, session dates, order -+- prices.rs: decimals, billionths
//! ```
//! A format only finds the cells of a row; what they mean is decided in one place for all formats. A [`BarReader`] is
//! pulled: each call reads its input at most once and hands over what is complete, so a caller that submits each chunk
//! before it asks for the next never sits on records while a pipe is silent, and memory does not grow with the file.

mod array;
mod columns;
mod command;
mod csv;
mod days;
mod feed;
mod findings;
mod frames;
mod guess;
mod header;
mod inputs;
mod levels;
mod lines;
mod members;
mod missing;
mod named;
mod object;
mod prices;
mod problem;
mod report;
mod rows;
mod sniff;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod time_formats;
mod time_options;
mod times;
mod unpack;
mod wide;
mod zipped;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
};

use smol_str::SmolStr;

pub(super) use self::command::{complain_of_lost, complain_of_lost_letters, exit_of};
use self::{
    array::ArraySplitter,
    csv::Csv,
    lines::{Line, LineBuffer},
    rows::Rows,
    sniff::Format,
    unpack::Unpacked,
};
pub use self::{
    columns::ColumnMap,
    command::{Args, batch_size, run},
    findings::{Dialect, Findings},
    missing::{Missing, shell_quote},
    time_options::{InvalidOption, TimeFormat, Zone},
    unpack::Packing,
};
use crate::record::{Bar, Timeframe};

/// The most rows that one chunk takes.
pub const CHUNK_ROWS: usize = 1_024;
/// The longest line, or element of a JSON array, that is read. A longer one is rejected without being held.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What the command line says about the files.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// `--symbol` in its normal form ([`Bar::normal_symbol`]); a row that names another one is rejected.
    pub symbol: Option<SmolStr>,
    /// `--timeframe`; a row that names another one is rejected.
    pub timeframe: Option<Timeframe>,
    /// `--vendor` in its normal form ([`Bar::normal_vendor`]); a row that names another one is rejected.
    pub vendor: Option<SmolStr>,
    /// `--tz`: where the clocks stand whose times have no offset; UTC if it is none. The date of a bar of a day or more
    /// that has an epoch is taken there too, and without a zone is not known unless the epoch is midnight in UTC.
    pub zone: Option<Zone>,
    /// `--ts-format`: how times are written, if not in one of the usual ways.
    pub ts_format: Option<TimeFormat>,
    /// `--map`: which column is what.
    pub map: ColumnMap,
    /// `--symbol-from-name`: the symbol is the name of the file without its endings.
    pub symbol_from_name: bool,
    /// The file's name, `-` for standard input. `BTCUSDT-1m-2024-01.zip` says symbol and timeframe; from another one a
    /// symbol is proposed if none is given.
    pub name: String,
}

/// A line that holds no valid bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The physical line, from 1; of a JSON element the line on which it begins.
    pub line: u64,
    /// What is wrong, naming the column, the value and what was expected.
    pub message: String,
}

/// Rows that were complete after one read, each counted in exactly one of the three.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Bars that passed [`validate`](crate::Record::validate), in the order of the file.
    pub bars: VecDeque<Bar>,
    /// Lines that hold no valid bar.
    pub rejected: Vec<Rejected>,
    /// Rows whose prices are all empty.
    pub skipped: u64,
}

impl Chunk {
    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty() && self.rejected.is_empty() && self.skipped == 0
    }

    /// Leaves room for one more, since the end of an array can bring two rows at once.
    fn is_full(&self) -> bool {
        1 + self.bars.len() + self.rejected.len() + self.skipped as usize >= CHUNK_ROWS
    }
}

/// Why reading a file ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input itself failed.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The file is refused whole: it is not what is read here, or cannot be understood with the options given.
    #[error("{0}")]
    Refused(String),
    /// Neither the file nor the options say what the bars are of.
    #[error("{0}")]
    Missing(Missing),
}

/// Reads bars from one input.
///
/// Blank lines are no rows and are passed over, but counted as lines. A file whose dates are written `1/4/1999` yields
/// nothing before its first 1,000 such rows, or its end, have shown which number is the month; with
/// [`ts_format`](ReadOptions::ts_format) nothing is held back.
pub struct BarReader<R: Read> {
    input: Unpacked<R>,
    buffer: LineBuffer,
    format: Option<Parser>,
    rows: Rows,
    at_end: bool,
}

/// The format of a file, once its first bytes have shown it.
enum Parser {
    Csv(Box<Csv>),
    Ndjson,
    Array(ArraySplitter),
}

impl BarReader<Box<dyn Read + Send>> {
    /// Opens a file, and looks into it as far as it takes to know what is in it if it is a zip.
    ///
    /// # Errors
    /// It cannot be read, or is a zip of several files or none.
    pub fn open(file: File, options: ReadOptions) -> Result<Self, ReadError> {
        Ok(Self::with(Unpacked::open(file)?, options))
    }
}

impl<R: Read> BarReader<R> {
    /// Makes a reader; nothing is read yet. Whether the input is packed shows when it is read.
    pub fn new(input: R, options: ReadOptions) -> Self {
        Self::with(Unpacked::new(input), options)
    }

    fn with(input: Unpacked<R>, options: ReadOptions) -> Self {
        Self { input, buffer: LineBuffer::default(), format: None, rows: Rows::new(options), at_end: false }
    }

    /// Empties `chunk` and fills it with the next rows, at most [`CHUNK_ROWS`]. Returns whether there may be more.
    ///
    /// Rows that are already in memory come first; only when there are none does it read, and then once, so it can
    /// return an empty chunk. It blocks only as long as that one read blocks.
    ///
    /// # Errors
    /// The input fails, or the file is refused whole; nothing more can be read from it then. A refusal comes before any
    /// row was handed over, except where dates become unclear in the middle of a file, or a second file follows in a
    /// zip that can be read only once, or something else follows the gzip data. Packed data that are cut off or damaged are
    /// an input that fails: the rows before were handed over.
    pub fn next_chunk(&mut self, chunk: &mut Chunk) -> Result<bool, ReadError> {
        chunk.bars.clear();
        chunk.rejected.clear();
        chunk.skipped = 0;
        self.rows.check_options()?;
        self.take_buffered(chunk)?;
        if chunk.is_empty() && !self.at_end {
            // The next read can block for long: better a guess from a few rows now than a better one some day.
            self.rows.report_missing()?;
            self.at_end = self.buffer.fill(&mut self.input)? == 0;
            if let Some(member) = self.input.member() {
                self.rows.check_member(member)?;
            }
            self.take_buffered(chunk)?;
        }
        if !self.at_end || chunk.is_full() {
            return Ok(true);
        }
        self.finish(chunk)?;
        if self.rows.has_settled() {
            return Ok(true);
        }
        match self.input.rubbish() {
            None => Ok(false),
            // What was whole goes first.
            Some(_) if !chunk.is_empty() => Ok(true),
            Some(error) => Err(error),
        }
    }

    /// Returns how many bytes of the input have been read, packed as they are.
    pub fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }

    /// Returns who wrote the file; none before its header is read.
    pub fn dialect(&self) -> Option<Dialect> {
        self.rows.dialect()
    }

    /// Returns what is known about the file: complete once its first row was handed over, but for columns that a JSON
    /// file has only later.
    pub fn findings(&self) -> Findings {
        Findings {
            packing: self.input.packing(),
            dialect: self.dialect(),
            zone: self.rows.zone().clone(),
            symbol: self.rows.fixed_symbol().cloned(),
            timeframe: self.rows.fixed_timeframe().copied(),
            lines_skipped: self.lines_skipped(),
            ignored_columns: self.rows.ignored_columns(),
        }
    }

    /// Returns what the user should know beside the rows, such as the columns that were ignored: complete once the file
    /// is read, one line each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::from_iter(self.rows.ignored_columns().map(|names| format!("ignored columns: {names}")));
        if self.at_end && self.format.is_none() {
            notes.push("the file is empty".into());
        }
        match self.lines_skipped() {
            0 => {}
            lines => notes.push(format!("lines in front of the header, passed over: {lines}")),
        }
        notes
    }

    fn lines_skipped(&self) -> u64 {
        match &self.format {
            Some(Parser::Csv(csv)) => csv.lines_skipped(),
            _ => 0,
        }
    }

    /// Turns what is in memory into rows, as far as it is complete and the chunk has room.
    fn take_buffered(&mut self, chunk: &mut Chunk) -> Result<(), ReadError> {
        if self.format.is_none() && !self.find_format()? {
            return Ok(());
        }
        self.rows.release(chunk);
        while !chunk.is_full() {
            let more = match &mut self.format {
                Some(Parser::Array(array)) => {
                    let taken = array.feed(self.buffer.rest(), &mut self.rows, chunk)?;
                    self.buffer.consume(taken);
                    taken > 0
                }
                Some(Parser::Csv(csv)) if csv.is_under_way() => csv.go_on(&mut self.rows, chunk).map(|()| true)?,
                Some(Parser::Csv(csv)) => match self.buffer.next_line(self.at_end) {
                    Some(line) => csv.line(line, &mut self.rows, chunk).map(|()| true)?,
                    None => false,
                },
                _ => match self.buffer.next_line(self.at_end) {
                    Some(line) => object::line(line, &mut self.rows, chunk).map(|()| true)?,
                    None => false,
                },
            };
            self.rows.release(chunk);
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn find_format(&mut self) -> Result<bool, ReadError> {
        let Some(format) = sniff::format(self.buffer.rest(), self.at_end, self.rows.name())? else { return Ok(false) };
        self.buffer.skip_byte_order_mark();
        self.format = Some(match format {
            Format::Csv => Parser::Csv(Box::default()),
            Format::Ndjson => Parser::Ndjson,
            Format::Array => Parser::Array(ArraySplitter::default()),
        });
        match format {
            Format::Csv => return Ok(true),
            Format::Ndjson => self.rows.set_dialect(Dialect::Ndjson),
            Format::Array => self.rows.set_dialect(Dialect::JsonArray),
        }
        if self.rows.map().has_numbers() {
            return Err(ReadError::Refused(
                "expected names of fields in --map for JSON, whose fields have no numbers, got a number".into(),
            ));
        }
        Ok(true)
    }

    /// Ends the file: nothing more will come, so what waited for more is decided now.
    fn finish(&mut self, chunk: &mut Chunk) -> Result<(), ReadError> {
        if let Some(Parser::Array(array)) = &mut self.format {
            array.finish(&mut self.rows, chunk)?;
        }
        if let Some(Parser::Csv(csv)) = &mut self.format {
            csv.finish()?;
        }
        self.rows.finish()?;
        self.rows.release(chunk);
        Ok(())
    }
}

/// What every format makes of a line that it cannot look into.
fn too_long() -> String {
    format!("expected at most {MAX_LINE_BYTES} bytes in a line, got more")
}

/// Returns the line's text, or what is wrong with its bytes.
fn text_of(line: &[u8]) -> Result<&str, String> {
    str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        format!("expected UTF-8, got byte 0x{:02x} at column {}", line[at], at + 1)
    })
}
