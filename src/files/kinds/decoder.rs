//! The rows of one file of a kind, in order.

use std::borrow::Cow;

use super::{
    cells::Cells,
    csv_records::{Added, CsvRecords},
    json_object::{Object, cell_of, said},
    kind::{FileContext, Kind},
    layout::FileLayout,
    moments::Moments,
    outbox::{Outbox, Outcome},
    own_columns::{record_of, record_of_object},
};
use crate::{
    files::{
        chunk::{Chunk, ReadError, Rejected},
        columns::ColumnMap,
        decoder::{FileDecoder, Start},
        earlier_moments::EarlierMoments,
        fields::Fields,
        file_info::{Dialect, FileInfo},
        file_name,
        format::{array::Elements, json_advice, lines::Line, sniff::Format, text_of, too_long},
        given::Given,
        missing_vendor::MissingVendor,
        options::ReadOptions,
        row_error::RowError,
        times::NanoTimes,
    },
    record::{Bar, InvalidText},
    text::Quoted,
};

/// Makes records of a kind of the rows of one file, in order.
pub struct KindDecoder<T: Kind> {
    columns: FileLayout<T>,
    /// Whether the name of what is in a zip was looked at.
    has_seen_member: bool,
    /// What is wrong with the options for this file.
    refusal: Option<String>,
    file: FileContext,
    open_records: CsvRecords,
    fields: Fields,
    moments: Moments,
    outbox: Outbox<T>,
    missing_vendor: MissingVendor,
    /// Whether each record is what it is by itself: none is numbered by those before it, or compared with them.
    is_each_alone: bool,
}

impl<T: Kind> Elements for KindDecoder<T> {
    type Record = T;

    fn element(&mut self, line: u64, bytes: &[u8], chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        let text = match text_of(bytes) {
            Ok(text) => text.trim(),
            Err(message) => return self.reject(line, message, chunk),
        };
        let refused = |message: &str| Err(ReadError::Refused(format!("line {line}: {message}")));
        let object = match serde_json::from_str::<Object<'_>>(text) {
            Ok(object) => object,
            Err(error) => {
                if self.columns.layout.is_none() && json_advice::is_begun(bytes) {
                    return refused(
                        "expected an object on each line, got one on several: put each on one, as with `jq -c .`",
                    );
                }
                if self.columns.layout.is_none() && text.starts_with('[') {
                    return refused("expected JSON objects, got arrays, whose values have no names");
                }
                let message = format!("expected a JSON object, got {}: {}", Quoted(text), said(&error));
                return self.reject(line, message, chunk);
            }
        };
        if let Some(problem) = self.columns.find_fields(line, &object)? {
            return self.reject(line, problem, chunk);
        }
        if self.columns.layout.as_ref().is_some_and(|layout| layout.is_own) {
            let made = record_of_object(text, &self.file.times).map(Some);
            return self.put(line, true, made, chunk);
        }
        let cells: Result<Vec<_>, String> = object
            .0
            .iter()
            .map(|(name, raw)| cell_of(raw).map_err(|error| format!("{}: {error}", Quoted(name))))
            .collect();
        match cells {
            Ok(cells) => self.decode(line, |at| Cow::Borrowed(cells[at].as_ref()), chunk),
            Err(problem) => self.reject(line, problem, chunk),
        }
    }

    fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        self.outbox.put(Outcome::Rejected(Rejected { line, message }), None, chunk)
    }

    fn has_settled(&self) -> bool {
        self.outbox.has_more() || self.open_records.has_again()
    }
}

impl<T: Kind> FileDecoder for KindDecoder<T> {
    fn new(options: ReadOptions) -> Self {
        let kind = T::KIND;
        let unused = [
            ("--timeframe", options.timeframe.is_some()),
            ("--ts-is", options.ts_is.is_some()),
            ("--session-start", options.session_start.is_some()),
            ("--adjustment", options.adjustment.is_some()),
        ];
        let unused = unused.into_iter().find(|(_, is_given)| *is_given);
        let clocks = [("--tz", options.zone.is_some()), ("--ts-format", options.ts_format.is_some())];
        let clock = clocks.into_iter().find(|(_, is_given)| *is_given && T::TIMES.is_empty());
        let unused = match (unused, clock) {
            (Some((option, _)), _) => Some(format!("expected no {option} for {kind}: it says something of bars alone")),
            (None, Some((option, _))) => {
                Some(format!("expected no {option} for {kind}: they have dates alone, written as 2024-01-02"))
            }
            (None, None) => None,
        };
        let (symbol, refusal) = match (unused, file_name::symbol_of_dump(&options)) {
            (Some(refusal), _) => (None, Some(refusal)),
            (None, Err(refusal)) => (None, Some(refusal)),
            (None, Ok(symbol)) => (symbol, None),
        };
        Self {
            columns: FileLayout::new(options.name, options.map, symbol.is_some()),
            has_seen_member: false,
            refusal,
            file: FileContext {
                times: NanoTimes::new(options.zone, options.ts_format),
                vendor: Given::new(
                    "vendor",
                    options.vendor.map(|vendor| (vendor, "--vendor")),
                    Some(Bar::UNKNOWN_VENDOR.into()),
                    |text| Bar::normal_vendor(text).map_err(|error| error.to_string()),
                ),
                symbol: Given::new(T::ROLES[T::SYMBOL].name, symbol, None, |text| {
                    Bar::normal_symbol(text).map_err(|error| error.to_string())
                }),
                as_written: options.as_written,
            },
            open_records: CsvRecords::default(),
            fields: Fields::default(),
            moments: Moments::default(),
            outbox: Outbox::default(),
            missing_vendor: MissingVendor::default(),
            is_each_alone: false,
        }
    }

    fn column_map(text: &str) -> Result<ColumnMap, InvalidText> {
        ColumnMap::of_kind(text, T::KIND, T::ROLES, T::TIMES)
    }

    fn take_each_alone(&mut self) {
        self.is_each_alone = true;
        self.columns.is_each_alone = true;
        // What the options say, a record of ours has to say too.
        self.columns.takes_partial = self.file.vendor.fixed.is_none() && self.file.symbol.fixed.is_none();
    }

    fn check_options(&mut self) -> Result<(), ReadError> {
        self.refusal.take().map_or(Ok(()), |refusal| Err(ReadError::Refused(refusal)))
    }

    fn check_member(&mut self, member: &str) -> Result<(), ReadError> {
        if !std::mem::replace(&mut self.has_seen_member, true) {
            file_name::check_member_of_dump(member, self.file.symbol.fixed.as_ref()).map_err(ReadError::Refused)?;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.columns.name
    }

    fn begin(&mut self, start: &Start<'_>) -> Result<bool, ReadError> {
        self.columns.format = start.format;
        if start.format != Format::Csv && self.columns.map.has_numbers() {
            return Err(ReadError::numbered_fields());
        }
        Ok(true)
    }

    fn line(&mut self, line: Line<'_>, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        let (number, bytes, end) = match line {
            Line::Whole { number, bytes, is_crlf } => (number, bytes, if is_crlf { "\r\n" } else { "\n" }),
            Line::TooLong { number } => {
                self.give_up_open(chunk)?;
                if self.columns.layout.is_none() && self.columns.format == Format::Csv {
                    return Err(ReadError::Refused(format!("expected a header line: {}", too_long())));
                }
                return self.reject(number, too_long(), chunk);
            }
        };
        if self.columns.format != Format::Csv {
            let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
            return if is_blank { Ok(()) } else { self.element(number, bytes, chunk) };
        }
        let text = match text_of(bytes) {
            Ok(text) => text,
            Err(error) if self.columns.layout.is_none() => {
                return Err(ReadError::Refused(format!("expected a header line: {error}")));
            }
            Err(message) => {
                self.give_up_open(chunk)?;
                return self.reject(number, message, chunk);
            }
        };
        if self.open_records.is_open() {
            return match self.open_records.add(number, text, end) {
                Added::Open => Ok(()),
                Added::GivenUp => self.give_up_open(chunk),
                Added::Closed(first, whole) => {
                    if self.row(first, &whole, chunk)? {
                        self.open_records.taken()
                    } else {
                        self.give_up_open(chunk)?
                    }
                    Ok(())
                }
            };
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        if self.columns.layout.is_none() && !self.columns.find_columns(number, text)? {
            return Ok(());
        }
        if !self.row(number, text, chunk)? {
            self.open_records.begin(number, text, end);
        }
        Ok(())
    }

    fn is_under_way(&self) -> bool {
        self.open_records.has_again()
    }

    fn go_on(&mut self, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        let Some((number, text)) = self.open_records.next_again() else { return Ok(()) };
        if text.trim().is_empty() || self.row(number, &text, chunk)? {
            return Ok(());
        }
        self.reject(number, UNCLOSED.into(), chunk)
    }

    fn release(&mut self, chunk: &mut Chunk<T>) {
        self.outbox.release(chunk);
    }

    fn finish(&mut self, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        if self.columns.layout.is_none()
            && let Some((_, message)) = self.columns.search.best.take()
        {
            return Err(ReadError::Refused(message));
        }
        self.give_up_open(chunk)?;
        if !self.open_records.has_again() {
            self.outbox.finish()?;
            self.outbox.release(chunk);
        }
        Ok(())
    }

    fn describe(&self, info: &mut FileInfo) {
        info.dialect = match (self.columns.format, &self.columns.layout) {
            (_, None) => None,
            (Format::Ndjson, _) => Some(Dialect::Ndjson),
            (Format::Array, _) => Some(Dialect::JsonArray),
            (Format::Csv, Some(layout)) if layout.is_own => Some(Dialect::Own),
            (Format::Csv, Some(layout)) => Some(match T::writer(&layout.form) {
                Some(writer) => Dialect::Known(writer),
                None if layout.names.is_empty() => Dialect::Mapped,
                None => Dialect::Csv,
            }),
        };
        info.zone = self.file.times.zone().clone();
        info.symbol = self.file.symbol.fixed.clone();
        info.lines_skipped = if self.columns.layout.is_some() { self.columns.search.lines } else { 0 };
        info.ignored_columns = self.columns.ignored.names();
    }

    fn warnings(&self) -> Vec<String> {
        let ignored = self.columns.ignored.names().map(|names| format!("ignored columns: {names}"));
        ignored.into_iter().chain(self.missing_vendor.note()).collect()
    }

    fn ignored(&self) -> Vec<String> {
        self.columns.ignored.listed()
    }

    fn lacks_vendor(&self) -> bool {
        self.missing_vendor.is_seen()
    }

    fn has_numbered(&self) -> bool {
        self.moments.has_numbered()
    }

    fn begin_behind(&mut self, earlier: EarlierMoments) {
        self.moments.begin(earlier);
    }

    fn end_moments(&mut self) -> EarlierMoments {
        self.moments.end()
    }
}

const UNCLOSED: &str = "expected a closing quote on this line or one of the next, got none";

impl<T: Kind> KindDecoder<T> {
    /// Rejects the line on which a quote is open that nothing closes; those behind it are read again.
    fn give_up_open(&mut self, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        match self.open_records.give_up() {
            Some(first) => self.reject(first, UNCLOSED.into(), chunk),
            None => Ok(()),
        }
    }

    /// Takes a line, or several that a quote holds together. Returns false if a quote is open at its end, or what was put
    /// together is no row.
    fn row(&mut self, number: u64, text: &str, chunk: &mut Chunk<T>) -> Result<bool, ReadError> {
        // They are lent to the row while it is decoded.
        let mut fields = std::mem::take(&mut self.fields);
        let is_row = self.row_of(number, text, &mut fields, chunk);
        self.fields = fields;
        is_row
    }

    fn row_of(
        &mut self,
        number: u64,
        text: &str,
        fields: &mut Fields,
        chunk: &mut Chunk<T>,
    ) -> Result<bool, ReadError> {
        let Some(layout) = &self.columns.layout else { return Ok(true) };
        let is_joined = text.contains('\n');
        let fields = match fields.split(text, layout.delimiter) {
            Ok(fields) => fields,
            Err(message) if !is_joined && !message.contains("closing quote on the same line") => {
                self.reject(number, message, chunk)?;
                return Ok(true);
            }
            Err(_) => return Ok(false),
        };
        // Files that were put one behind the other have a header each.
        if !layout.names.is_empty()
            && fields.len() == layout.count
            && fields.iter().zip(&layout.names).all(|(cell, name)| cell.trim() == name)
        {
            return Ok(true);
        }
        if !layout.is_own && self.columns.is_other_header(fields) {
            let message = "a second header, with other columns: load what comes behind it from a file of its own";
            return Err(ReadError::Refused(format!("line {number}: {message}")));
        }
        let columns = layout.count;
        // Programs that end each cell with a comma leave it off in the header.
        let surplus = fields.len() == columns + 1 && fields.get(columns).trim().is_empty();
        if fields.len() != columns && !surplus {
            if is_joined {
                return Ok(false);
            }
            let message = format!("expected {columns} cells as the header has, got {}", fields.len());
            self.reject(number, message, chunk)?;
            return Ok(true);
        }
        if layout.is_own {
            let made = record_of(fields.iter(), &self.file.times).map(Some);
            self.put(number, true, made, chunk)?;
        } else {
            self.decode(number, |at| Cow::Borrowed(fields.get(at)), chunk)?;
        }
        Ok(true)
    }

    /// Makes the records of a row, whose cells are found by their places.
    fn decode<'c>(
        &mut self,
        line: u64,
        cell: impl Fn(usize) -> Cow<'c, str>,
        chunk: &mut Chunk<T>,
    ) -> Result<(), ReadError> {
        for at in 0..self.columns.layout.as_ref().map_or(0, |layout| layout.sides.len()) {
            let Some(layout) = &mut self.columns.layout else { break };
            let side = &layout.sides[at];
            let mut values = vec![None; T::ROLES.len()];
            for (at, role) in side.role_of.iter().enumerate() {
                if let Some(role) = role {
                    values[*role] = Some(cell(at));
                }
            }
            if let Some((role, value)) = side.given {
                values[role] = Some(Cow::Borrowed(value));
            }
            let made = T::decode(&Cells::new(T::ROLES, &values), &mut layout.form, &mut self.file);
            self.put(line, false, made, chunk)?;
        }
        Ok(())
    }

    /// Takes what was made of a row.
    fn put(
        &mut self,
        line: u64,
        is_own: bool,
        made: Result<Option<T>, RowError>,
        chunk: &mut Chunk<T>,
    ) -> Result<(), ReadError> {
        let made = made.and_then(|made| {
            let Some(mut record) = made else { return Ok(Outcome::Skipped) };
            if is_own {
                self.check_given(&record)?;
            }
            let replaces = if self.is_each_alone {
                record.name_alone()?;
                false
            } else {
                record.settle(is_own, &mut self.moments)?
            };
            record.validate().map_err(|invalid| invalid.to_string())?;
            self.missing_vendor.look_at(&record);
            Ok(Outcome::Record(record, replaces))
        });
        match made {
            Ok(outcome) => self.outbox.put(outcome, None, chunk),
            Err(problem) if problem.is_of_whole_file() => {
                let (message, advice) = problem.into_parts();
                Err(ReadError::Refused(format!("line {line}: {message}: {}", advice.unwrap_or_default())))
            }
            Err(problem) => {
                let (message, advice) = problem.into_parts();
                self.outbox.put(Outcome::Rejected(Rejected { line, message }), advice, chunk)
            }
        }
    }

    /// Holds a record of a file of our own against the options.
    fn check_given(&self, record: &T) -> Result<(), String> {
        let (vendor, symbol) = record.given();
        for (name, fixed, value) in [
            ("vendor", &self.file.vendor.fixed, Some(vendor)),
            (T::ROLES[T::SYMBOL].name, &self.file.symbol.fixed, symbol),
        ] {
            if let (Some((fixed, who)), Some(value)) = (fixed, value)
                && fixed != value
            {
                return Err(format!("{name}: expected {fixed} as {who} says, got {}", Quoted(value)));
            }
        }
        Ok(())
    }
}
