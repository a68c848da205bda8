//! The rows of one file of a kind, in order.

use std::borrow::Cow;

use super::{
    cells::Cells,
    columns_of_file::FileColumns,
    csv_records::{Added, CsvRecords},
    json_object::{Object, cell_of},
    kind::{FileContext, Kind, Side},
    moments::Moments,
    outbox::{Outbox, Outcome},
    own_columns::{are_own, record_of},
};
use crate::{
    files::{
        chunk::{Chunk, ReadError, Rejected},
        columns::ColumnMap,
        decoder::{FileDecoder, Start},
        fields::Fields,
        file_info::{Dialect, FileInfo},
        file_name,
        format::{array::Elements, delimiter_of, json_advice, lines::Line, sniff::Format, text_of, too_long},
        given::Given,
        ignored_columns::IgnoredColumns,
        invalid_option::InvalidOption,
        missing_options::{self, MissingOptions},
        options::ReadOptions,
        row_error::RowError,
        times::NanoTimes,
    },
    record::Bar,
    text::Quoted,
};

/// So many lines may stand in front of the header.
const PREAMBLE_LINES: u64 = 5;

/// Makes records of a kind of the rows of one file, in order.
pub struct KindDecoder<T: Kind> {
    name: String,
    /// Whether the name of what is in a zip was looked at.
    has_seen_member: bool,
    /// What is wrong with the options for this file.
    refusal: Option<String>,
    map: ColumnMap,
    format: Format,
    file: FileContext,
    layout: Option<Layout<T::Form>>,
    search: Search,
    open_records: CsvRecords,
    fields: Fields,
    moments: Moments,
    outbox: Outbox<T>,
    ignored: IgnoredColumns,
}

/// What the columns of a file are.
struct Layout<F> {
    /// The names, of JSON those of the last object.
    names: Vec<String>,
    /// How many columns there are.
    count: usize,
    /// What the columns are of each record that a row holds.
    sides: Vec<Side>,
    /// Whether they are ours.
    is_own: bool,
    delimiter: u8,
    form: F,
}

/// The lines that were no header.
#[derive(Default)]
struct Search {
    lines: u64,
    /// What is wrong with the one that is most like a header, and how many of its columns are known.
    best: Option<(usize, String)>,
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
                if self.layout.is_none() && json_advice::is_begun(bytes) {
                    return refused(
                        "expected an object on each line, got one on several: put each on one, as with `jq -c .`",
                    );
                }
                if self.layout.is_none() && text.starts_with('[') {
                    return refused("expected JSON objects, got arrays, whose values have no names");
                }
                let said = error.to_string();
                let said = &said[..said.floor_char_boundary(200)];
                return self.reject(line, format!("expected a JSON object, got {}: {said}", Quoted(text)), chunk);
            }
        };
        if let Some(problem) = self.find_fields(line, &object)? {
            return self.reject(line, problem, chunk);
        }
        if self.layout.as_ref().is_some_and(|layout| layout.is_own) {
            let made = serde_json::from_str::<T>(text).map(Some).map_err(|error| RowError::from(error.to_string()));
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
        let (symbol, refusal) = match (unused, file_name::symbol_of_dump(&options)) {
            (Some((option, _)), _) => {
                (None, Some(format!("expected no {option} for {kind}: it says something of bars alone")))
            }
            (None, Err(refusal)) => (None, Some(refusal)),
            (None, Ok(symbol)) => (symbol, None),
        };
        Self {
            has_seen_member: false,
            refusal,
            map: options.map,
            format: Format::Csv,
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
            layout: None,
            search: Search::default(),
            open_records: CsvRecords::default(),
            fields: Fields::default(),
            moments: Moments::default(),
            outbox: Outbox::default(),
            ignored: IgnoredColumns::default(),
            name: options.name,
        }
    }

    fn column_map(text: &str) -> Result<ColumnMap, InvalidOption> {
        ColumnMap::of_kind(text, T::KIND, T::ROLES, T::TIMES)
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
        &self.name
    }

    fn begin(&mut self, start: &Start<'_>) -> Result<bool, ReadError> {
        self.format = start.format;
        if start.format != Format::Csv && self.map.has_numbers() {
            return Err(ReadError::numbered_fields());
        }
        Ok(true)
    }

    fn line(&mut self, line: Line<'_>, chunk: &mut Chunk<T>) -> Result<(), ReadError> {
        let (number, bytes, end) = match line {
            Line::Whole { number, bytes, is_crlf } => (number, bytes, if is_crlf { "\r\n" } else { "\n" }),
            Line::TooLong { number } => {
                self.give_up_open(chunk)?;
                if self.layout.is_none() && self.format == Format::Csv {
                    return Err(ReadError::Refused(format!("expected a header line: {}", too_long())));
                }
                return self.reject(number, too_long(), chunk);
            }
        };
        if self.format != Format::Csv {
            let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
            return if is_blank { Ok(()) } else { self.element(number, bytes, chunk) };
        }
        let text = match text_of(bytes) {
            Ok(text) => text,
            Err(error) if self.layout.is_none() => {
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
        if self.layout.is_none() && !self.find_columns(number, text)? {
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
        if self.layout.is_none()
            && let Some((_, message)) = self.search.best.take()
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
        info.dialect = match (self.format, &self.layout) {
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
        info.lines_skipped = if self.layout.is_some() { self.search.lines } else { 0 };
        info.ignored_columns = self.ignored.names();
    }

    fn warnings(&self) -> Vec<String> {
        self.ignored.names().map(|names| format!("ignored columns: {names}")).into_iter().collect()
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

    /// Looks at a line that may be the header. Returns whether it is a row already.
    fn find_columns(&mut self, number: u64, text: &str) -> Result<bool, ReadError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.contains('\r') {
            return Err(ReadError::Refused(
                "expected lines that end with LF or CRLF, got CR alone: convert the line ends first".into(),
            ));
        }
        if text.contains('\0') {
            return Err(ReadError::Refused(
                "expected CSV or JSON, got binary data (a zero byte in the first lines)".into(),
            ));
        }
        let delimiter = delimiter_of(text);
        let mut fields = Fields::default();
        let names: Vec<&str> =
            fields.split(text, delimiter).map(|fields| fields.iter().map(str::trim).collect()).unwrap_or_default();
        if self.map.is_empty() && are_own::<T>(&names) {
            self.layout = Some(Layout {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                count: names.len(),
                sides: Vec::new(),
                is_own: true,
                delimiter,
                form: T::Form::default(),
            });
            return Ok(false);
        }
        if self.map.is_empty()
            && let Some((role_of, form)) = T::without_header(&names)
        {
            let columns = FileColumns::placed(&names, T::ROLES, role_of.to_vec(), &self.map);
            self.check_symbol(&columns, &names)?;
            let sides = vec![Side { role_of: role_of.to_vec(), given: None }];
            let count = names.len();
            self.layout = Some(Layout { names: Vec::new(), count, sides, is_own: false, delimiter, form });
            return Ok(true);
        }
        let refused = |message: String| ReadError::Refused(format!("line {number}: {message}"));
        let columns = FileColumns::of(&names, T::ROLES, T::LETTERS, &self.map).map_err(refused)?;
        if columns.unused().count() < names.len()
            && let Some(column) = columns.unmapped()
        {
            let header = names.join(", ");
            return Err(refused(format!(
                "expected the column {column} that --map names, got a header with {}",
                Quoted(&header)
            )));
        }
        let lacking = columns.lacking(T::REQUIRED);
        if !lacking.is_empty() {
            let known = names.len() - columns.unused().count();
            return self.no_header(&names, known, &lacking);
        }
        self.check_symbol(&columns, &names)?;
        let form = T::form(&columns).map_err(refused)?;
        // By number the columns of a header are known as well as those of a row.
        let is_value = |cell: &str| cell.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        let mut sides = T::sides(&columns);
        let unused = unused_in(&columns, &sides);
        let role_of = columns.into_roles();
        let is_required = |role: &usize| T::REQUIRED.iter().any(|group| group.contains(role));
        let mut required = names.iter().zip(&role_of).filter(|(_, role)| role.as_ref().is_some_and(is_required));
        let is_row = self.map.has_numbers() && required.any(|(cell, _)| is_value(cell));
        if !is_row {
            unused.into_iter().for_each(|name| self.ignored.add(name));
        }
        let names = if is_row { Vec::new() } else { names.iter().map(|name| (*name).to_owned()).collect() };
        let count = role_of.len();
        if sides.is_empty() {
            sides.push(Side { role_of, given: None });
        }
        self.layout = Some(Layout { names, count, sides, is_own: false, delimiter, form });
        Ok(is_row)
    }

    /// Notes that a line is no header, or refuses the file if there is none.
    fn no_header(&mut self, names: &[&str], known: usize, lacking: &[&str]) -> Result<bool, ReadError> {
        let is_number = |name: &&str| name.parse::<f64>().is_ok();
        let is_row = known == 0 && names.len() > 1 && names.iter().any(is_number);
        let message = if is_row {
            let example: Vec<_> = T::REQUIRED
                .iter()
                .enumerate()
                .map(|(at, group)| format!("{}={}", T::ROLES[group[0]].name, at + 1))
                .collect();
            format!(
                "expected a header line, got {}: say which column is which, as in --map {}",
                Quoted(&names.join(", ")),
                example.join(",")
            )
        } else {
            format!(
                "expected a column for {}, got a header with {}: name what is there, as in --map {}=COLUMN",
                lacking.join(", ").replace("ts", "time"),
                Quoted(&names.join(", ")),
                lacking.join("=COLUMN,")
            )
        };
        self.search.lines += 1;
        let is_last = is_row || self.search.lines > PREAMBLE_LINES;
        if self.search.best.as_ref().is_none_or(|(likeness, _)| *likeness < known) {
            self.search.best = Some((known, message));
        }
        match &self.search.best {
            Some((_, message)) if is_last => Err(ReadError::Refused(message.clone())),
            _ => Ok(false),
        }
    }

    /// Fails if neither the file nor an option says what the records are of.
    fn check_symbol(&self, columns: &FileColumns<'_>, names: &[&str]) -> Result<(), ReadError> {
        if !T::NEEDS_SYMBOL || columns.has(T::SYMBOL) || self.file.symbol.fixed.is_some() {
            return Ok(());
        }
        let symbol_column = names.iter().find(|name| crate::files::columns::may_be_symbols(name));
        Err(ReadError::Missing(MissingOptions {
            symbol: Some(missing_options::proposal_of(&self.name).0),
            timeframe: None,
            symbol_column: symbol_column.map(|name| (*name).to_owned()),
        }))
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
        let Some(layout) = &self.layout else { return Ok(true) };
        let is_joined = text.contains('\n');
        let fields = match fields.split(text, layout.delimiter) {
            Ok(fields) => fields,
            Err(message) if !is_joined && !message.contains("closing quote on the same line") => {
                self.reject(number, message, chunk)?;
                return Ok(true);
            }
            Err(_) => return Ok(false),
        };
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
        // Files that were put one behind the other have a header each.
        if !layout.names.is_empty() && fields.iter().zip(&layout.names).all(|(cell, name)| cell.trim() == name) {
            return Ok(true);
        }
        if layout.is_own {
            let made = record_of(fields.iter()).map(Some).map_err(RowError::from);
            self.put(number, true, made, chunk)?;
        } else {
            self.decode(number, |at| Cow::Borrowed(fields.get(at)), chunk)?;
        }
        Ok(true)
    }

    /// Finds out what the fields of an object are, unless they are those of the one before. Returns what is wrong with it.
    fn find_fields(&mut self, line: u64, object: &Object<'_>) -> Result<Option<String>, ReadError> {
        let fields = || object.0.iter().map(|(name, _)| name.as_ref());
        if self.layout.as_ref().is_some_and(|layout| layout.names.iter().map(String::as_str).eq(fields())) {
            return Ok(None);
        }
        let names: Vec<&str> = fields().collect();
        let is_own = self.map.is_empty() && are_own::<T>(&names);
        let refused = |message: String| ReadError::Refused(format!("line {line}: {message}"));
        let columns = match FileColumns::of(&names, T::ROLES, T::LETTERS, &self.map) {
            Ok(columns) => columns,
            Err(message) if self.layout.is_none() => return Err(refused(message)),
            Err(message) => return Ok(Some(message)),
        };
        let lacking = columns.lacking(T::REQUIRED);
        if !is_own && !lacking.is_empty() {
            if self.layout.is_none() {
                let inner = object.0.iter().find(|(_, raw)| {
                    let inside = raw.get().strip_prefix('[').map(str::trim_start);
                    inside.is_some_and(|inside| inside.starts_with('{'))
                });
                if names.contains(&"hd") {
                    let message = "expected plain prices, got JSON of Databento: get the same data as CSV";
                    return Err(refused(message.into()));
                }
                if let Some((name, _)) = inner {
                    let all = if self.format == Format::Array { ".[]" } else { "" };
                    return Err(refused(format!(
                        "expected an object for each {}, got one with {} around them: take them out with `jq -c '{all}.{}[]'`",
                        T::NAME,
                        Quoted(name),
                        crate::text::Shown(name)
                    )));
                }
            }
            let known = names.len() - columns.unused().count();
            let problem = format!("expected a field for {}, got none", lacking.join(", "));
            return if self.layout.is_none() && known == 0 { Err(refused(problem)) } else { Ok(Some(problem)) };
        }
        let form = match self.layout.take() {
            Some(layout) => layout.form,
            None if is_own => T::Form::default(),
            None => {
                self.check_symbol(&columns, &names)?;
                T::form(&columns).map_err(refused)?
            }
        };
        let mut sides = T::sides(&columns);
        if !is_own {
            unused_in(&columns, &sides).into_iter().for_each(|name| self.ignored.add(name));
        }
        if sides.is_empty() {
            sides.push(Side { role_of: columns.into_roles(), given: None });
        }
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.layout = Some(Layout { count: names.len(), names, sides, is_own, delimiter: b',', form });
        Ok(None)
    }

    /// Makes the records of a row, whose cells are found by their places.
    fn decode<'c>(
        &mut self,
        line: u64,
        cell: impl Fn(usize) -> Cow<'c, str>,
        chunk: &mut Chunk<T>,
    ) -> Result<(), ReadError> {
        for at in 0..self.layout.as_ref().map_or(0, |layout| layout.sides.len()) {
            let Some(layout) = &mut self.layout else { break };
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
            let replaces = record.settle(is_own, &mut self.moments)?;
            record.validate().map_err(|invalid| invalid.to_string())?;
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

/// Returns the names that neither the file nor one of its sides uses.
fn unused_in<'a>(columns: &FileColumns<'a>, sides: &[Side]) -> Vec<&'a str> {
    let is_used = |at: usize| sides.iter().any(|side| side.role_of[at].is_some());
    columns.unused_places().filter(|(at, _)| !is_used(*at)).map(|(_, name)| name).collect()
}
