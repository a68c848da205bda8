use std::{fs::File, io::Read};

use super::{
    chunk::{Chunk, ReadError},
    decoder::{FileDecoder, FileRecord, Start},
    decompress::Decompressed,
    earlier_moments::EarlierMoments,
    file_info::{Dialect, FileInfo},
    format::{
        array::{ArraySplitter, Elements},
        lines::LineBuffer,
        sniff::{self, Format},
    },
    options::ReadOptions,
};

/// Reads records of a kind from one input, and is pulled: see [`next_chunk`](Self::next_chunk).
///
/// Blank lines are no rows and are passed over, but counted as lines. A file of bars whose dates are written `1/4/1999`
/// yields nothing before a row has shown which number is the month, or its end has come; at most 100,000 rows wait. With
/// [`ts_format`](ReadOptions::ts_format) nothing is held back.
pub struct RecordReader<T: FileRecord, R: Read> {
    input: Decompressed<R>,
    pub(super) buffer: LineBuffer,
    format: Option<Parser>,
    rows: T::Decoder,
    at_end: bool,
}

/// The format of a file, once its first bytes have shown it.
enum Parser {
    /// CSV, or NDJSON.
    Lines,
    Array(ArraySplitter),
}

impl<T: FileRecord> RecordReader<T, Box<dyn Read + Send>> {
    /// Opens a file, and looks into it as far as it takes to know what is in it if it is a zip.
    ///
    /// # Errors
    /// It cannot be read, or is a zip that has no directory, or holds several files or none.
    pub fn open(file: File, options: ReadOptions) -> Result<Self, ReadError> {
        Ok(Self::with(Decompressed::open(file)?, options))
    }
}

impl<T: FileRecord, R: Read> RecordReader<T, R> {
    /// Makes a reader; nothing is read yet. Whether the input is compressed shows when it is read. A zip is refused, since
    /// its directory stands at its end: [`open`](RecordReader::open) takes one.
    pub fn new(input: R, options: ReadOptions) -> Self {
        Self::with(Decompressed::new(input), options)
    }

    /// Makes a reader of an input that fails with [`WouldBlock`](std::io::ErrorKind::WouldBlock) where it has nothing yet:
    /// then [`next_chunk`](Self::next_chunk) does too, and can be called again. Of the first four bytes it has all or
    /// none. Frames of Zstandard have windows of 8 MiB at most, and each row is read by itself:
    /// none waits for another one that shows which number is the month, or is numbered by those before it.
    #[cfg(feature = "serve")]
    pub(crate) fn of_stream(input: R, options: ReadOptions) -> Self {
        let mut reader = Self::with(Decompressed::new(input).window_log(23), options);
        reader.rows.take_each_alone();
        reader
    }

    /// Returns how many bytes came out of the input, decompressed.
    #[cfg(feature = "serve")]
    pub(crate) fn bytes_unpacked(&self) -> u64 {
        self.buffer.filled()
    }

    /// Returns the names of the columns, or fields, that were not used so far: the first 20, each fit to be shown.
    #[cfg(feature = "serve")]
    pub(crate) fn ignored(&self) -> Vec<String> {
        self.rows.ignored()
    }

    /// Returns whether a record so far has no vendor.
    #[cfg(feature = "serve")]
    pub(crate) fn lacks_vendor(&self) -> bool {
        self.rows.lacks_vendor()
    }

    fn with(input: Decompressed<R>, options: ReadOptions) -> Self {
        Self { input, buffer: LineBuffer::default(), format: None, rows: T::Decoder::new(options), at_end: false }
    }

    /// Empties `chunk` and fills it with the next rows, at most [`Chunk::MAX_ROWS`]. Returns whether there
    /// may be more.
    ///
    /// Rows that are already in memory come first; only when there are none does it read, and then once, so it can
    /// return an empty chunk. It blocks only as long as that one read blocks.
    ///
    /// # Errors
    /// The input fails, or the file is refused whole; nothing more can be read from it then. A refusal comes before any
    /// row was handed over, except where dates become unclear in the middle of a file, or something else follows the gzip
    /// data. Compressed data that are cut off or damaged are an input that fails: the rows before were handed over, but of
    /// a zip that is cut off.
    pub fn next_chunk(&mut self, chunk: &mut Chunk<T>) -> Result<bool, ReadError> {
        chunk.clear();
        let more = self.next_rows(chunk)?;
        if !chunk.records.is_empty() {
            self.rows.hand_over();
        }
        Ok(more)
    }

    fn next_rows(&mut self, chunk: &mut Chunk<T>) -> Result<bool, ReadError> {
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

    /// Returns how many bytes of the input have been read, compressed as they are.
    pub fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }

    /// Returns how many rows wait for one that shows which number of a date is the month. On a pipe that can take long, and
    /// [`ts_format`](ReadOptions::ts_format) says it at once.
    pub fn rows_waiting(&self) -> usize {
        self.rows.waiting()
    }

    /// Returns who wrote the file; none before its header is read.
    #[doc(hidden)]
    pub fn dialect(&self) -> Option<Dialect> {
        self.info().dialect
    }

    /// Returns what is known about the file: complete once its first row was handed over, but for columns that a JSON
    /// file has only later.
    #[doc(hidden)]
    pub fn info(&self) -> FileInfo {
        let mut info = FileInfo { kind: T::KIND, compression: self.input.compression(), ..FileInfo::default() };
        self.rows.describe(&mut info);
        info
    }

    /// Returns what the user should look at, since it may not be what is meant, such as the columns that are ignored: complete
    /// once the file is read, one line each.
    pub fn warnings(&self) -> Vec<String> {
        self.rows.warnings()
    }

    /// Returns whether records have numbers that this file's order gave them, as trades without an id and quotes without a
    /// `seq` do. Those of another file at the same moment get the same numbers, and take the place of these.
    #[doc(hidden)]
    pub fn has_numbered(&self) -> bool {
        self.rows.has_numbered()
    }

    /// Takes what [`into_moments`](Self::into_moments) of the file before gave: a record that may have the number of one of
    /// those files refuses this one.
    #[doc(hidden)]
    pub fn begin_behind(&mut self, earlier: EarlierMoments) {
        self.rows.begin_behind(earlier);
    }

    /// Ends the file. Returns at which moments it and those before have records that were numbered.
    #[doc(hidden)]
    pub fn into_moments(mut self) -> EarlierMoments {
        self.rows.end_moments()
    }

    /// Returns what the user should know beside the rows: complete once the file is read, one line each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.at_end && self.format.is_none() {
            notes.push("the file is empty".into());
        }
        match self.info().lines_skipped {
            0 => {}
            lines => notes.push(format!("lines in front of the header, passed over: {lines}")),
        }
        notes
    }

    /// Turns what is in memory into rows, as far as it is complete and the chunk has room.
    fn take_buffered(&mut self, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
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
                _ if self.rows.is_under_way() => self.rows.go_on(chunk).map(|()| true)?,
                _ => match self.buffer.next_line(self.at_end) {
                    Some(line) => self.rows.line(line, chunk).map(|()| true)?,
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
        // The mark stays in the buffer until the file has begun, so that what is looked at is the same each time.
        let mark = self.buffer.byte_order_mark();
        let bytes = &self.buffer.rest()[mark..];
        let Some(format) = sniff::format(bytes, self.at_end, self.rows.name())? else { return Ok(false) };
        let start = Start { format, bytes, at_end: self.at_end, compression: self.input.compression() };
        if self.rows.begin(&start)? {
            self.buffer.consume(mark);
            self.format = Some(match format {
                Format::Csv | Format::Ndjson => Parser::Lines,
                Format::Array => Parser::Array(ArraySplitter::default()),
            });
        }
        Ok(self.format.is_some())
    }

    /// Ends the file: nothing more will come, so what waited for more is decided now.
    fn finish(&mut self, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        if let Some(Parser::Array(array)) = &mut self.format {
            array.finish(&mut self.rows, chunk)?;
        }
        self.rows.finish(chunk)
    }
}
