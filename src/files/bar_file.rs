//! A file of bars: what its format finds goes to the decoder of bars.

use super::{
    bars::BarDecoder,
    chunk::{Chunk, ReadError},
    columns::ColumnMap,
    decoder::{FileDecoder, FileRecord, Start},
    decompress::Compression,
    file_info::{Dialect, FileInfo},
    format::{array::Elements, csv::Csv, json_advice, json_shape::FirstValue, lines::Line, object, sniff::Format},
    options::ReadOptions,
};
use crate::record::{Bar, InvalidText, Timeframe};

impl FileRecord for Bar {
    type Decoder = BarFile;

    fn timeframe(&self) -> Option<Timeframe> {
        Some(self.timeframe)
    }
}

/// Makes bars of the lines or the elements of a file.
pub struct BarFile {
    /// None for JSON.
    csv: Option<Box<Csv>>,
    /// How far a JSON document was looked at that is not known to be one of bars.
    first: FirstValue,
    rows: BarDecoder,
}

impl Elements for BarFile {
    type Record = Bar;

    fn element(&mut self, line: u64, bytes: &[u8], chunk: &mut Chunk) -> Result<(), ReadError> {
        object::element(line, bytes, &mut self.rows, chunk)
    }

    fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.rows.reject(line, message, chunk)
    }

    fn has_settled(&self) -> bool {
        self.rows.has_settled()
    }
}

impl FileDecoder for BarFile {
    fn new(options: ReadOptions) -> Self {
        Self { csv: None, first: FirstValue::default(), rows: BarDecoder::new(options) }
    }

    fn column_map(text: &str) -> Result<ColumnMap, InvalidText> {
        text.parse()
    }

    fn take_each_alone(&mut self) {
        self.rows.take_each_alone();
    }

    fn check_options(&mut self) -> Result<(), ReadError> {
        self.rows.check_options()
    }

    fn check_member(&mut self, member: &str) -> Result<(), ReadError> {
        self.rows.check_member(member)
    }

    fn name(&self) -> &str {
        self.rows.name()
    }

    fn begin(&mut self, start: &Start<'_>) -> Result<bool, ReadError> {
        match start.format {
            Format::Csv => {
                self.csv = Some(Box::default());
                return Ok(true);
            }
            Format::Ndjson => self.rows.set_dialect(Dialect::Ndjson),
            Format::Array => self.rows.set_dialect(Dialect::JsonArray),
        }
        self.rows.set_unpacking(start.compression.map_or("", Compression::unpacking));
        if json_advice::look(&mut self.first, start.bytes, start.at_end, &self.rows)?.is_none() {
            return Ok(false);
        }
        if self.rows.map().has_numbers() {
            return Err(ReadError::numbered_fields());
        }
        Ok(true)
    }

    fn line(&mut self, line: Line<'_>, chunk: &mut Chunk) -> Result<(), ReadError> {
        match &mut self.csv {
            Some(csv) => csv.line(line, &mut self.rows, chunk),
            None => object::line(line, &mut self.rows, chunk),
        }
    }

    fn is_under_way(&self) -> bool {
        self.csv.as_ref().is_some_and(|csv| csv.is_under_way())
    }

    fn go_on(&mut self, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.csv.as_mut().map_or(Ok(()), |csv| csv.go_on(&mut self.rows, chunk))
    }

    fn release(&mut self, chunk: &mut Chunk) {
        self.rows.release(chunk);
    }

    fn report_missing(&mut self) -> Result<(), ReadError> {
        self.rows.report_missing()
    }

    fn hand_over(&mut self) {
        self.rows.hand_over();
    }

    fn waiting(&self) -> usize {
        self.rows.waiting()
    }

    fn finish(&mut self, chunk: &mut Chunk) -> Result<(), ReadError> {
        if let Some(csv) = &mut self.csv {
            csv.finish()?;
        }
        self.rows.finish()?;
        self.rows.release(chunk);
        Ok(())
    }

    fn describe(&self, info: &mut FileInfo) {
        info.dialect = self.rows.dialect();
        info.zone = self.rows.zone().clone();
        info.symbol = self.rows.fixed_symbol().cloned();
        info.timeframe = self.rows.fixed_timeframe().copied();
        info.lines_skipped = self.csv.as_ref().map_or(0, |csv| csv.lines_skipped());
        info.ignored_columns = self.rows.ignored_columns();
        info.ts_is = self.rows.ts_is();
    }

    fn warnings(&self) -> Vec<String> {
        self.rows.warnings()
    }

    fn ignored(&self) -> Vec<String> {
        self.rows.ignored()
    }

    fn lacks_vendor(&self) -> bool {
        self.rows.lacks_vendor()
    }
}
