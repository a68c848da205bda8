use super::{
    PREAMBLE_LINES, check_is_text,
    header::{First, Layout, NoHeader, delimiter_of},
    lines::Line,
    text_of, too_long,
};
use crate::files::{
    bars::{
        BarDecoder,
        yfinance_table::{Head, Step, YfinanceTable},
    },
    chunk::{Chunk, ReadError},
    fields::{Fields, FieldsOf},
};

/// Reads CSV. Each line is split on its own: a quote that is never closed costs its line, not the file.
#[derive(Default)]
pub(crate) struct Csv {
    stage: Stage,
    fields: Fields,
    /// How many lines stood in front of the header.
    lines_skipped: u64,
}

/// How far the file is understood.
enum Stage {
    /// The header is still to come.
    Searching(Search),
    Rows(Layout),
    Table(Box<YfinanceTable>),
}

/// The lines that were no header.
#[derive(Default)]
struct Search {
    lines: u64,
    /// The one that looks most like one, and what is wrong with it.
    best: Option<NoHeader>,
    /// How many cells the last one has, and what is wrong with it, if it is of words alone: a header of other names.
    words: Option<(usize, String)>,
    /// Header rows of a table, of which more have to come.
    table: Option<Head>,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Searching(Search::default())
    }
}

impl Csv {
    pub(crate) fn line(&mut self, line: Line<'_>, rows: &mut BarDecoder, chunk: &mut Chunk) -> Result<(), ReadError> {
        let (number, bytes) = match line {
            Line::Whole { number, bytes, .. } => (number, bytes),
            Line::TooLong { .. } if matches!(self.stage, Stage::Searching(_)) => {
                return Err(ReadError::Refused(format!("expected a header line: {}", too_long())));
            }
            Line::TooLong { number } => return rows.reject(number, too_long(), chunk),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        // Files that were put one behind the other can have a mark each.
        let text = text_of(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        if let Stage::Searching(search) = &mut self.stage {
            let text = text.map_err(|error| ReadError::Refused(format!("expected a header line: {error}")))?;
            let before = search.lines;
            let Some((stage, is_row)) = search.line(text, rows)? else { return Ok(()) };
            self.stage = stage;
            if let Stage::Rows(layout) = &self.stage {
                rows.set_unused(layout.unused());
            }
            // The header rows of a table are no preamble.
            self.lines_skipped = if matches!(self.stage, Stage::Table(_)) { 0 } else { before };
            return if is_row { self.row(number, text, rows, chunk) } else { Ok(()) };
        }
        match text {
            Ok(text) => self.row(number, text, rows, chunk),
            Err(message) => rows.reject(number, message, chunk),
        }
    }

    fn row(&mut self, number: u64, text: &str, rows: &mut BarDecoder, chunk: &mut Chunk) -> Result<(), ReadError> {
        let (delimiter, columns) = match &self.stage {
            Stage::Rows(layout) => (layout.delimiter, layout.columns),
            Stage::Table(table) => (table.delimiter, table.columns),
            Stage::Searching(_) => return Ok(()),
        };
        let fields = match self.fields.split(text, delimiter) {
            Ok(fields) => fields,
            Err(message) => return rows.reject(number, message, chunk),
        };
        // Programs that end each cell with a comma leave it off in the header.
        let surplus = fields.len() == columns + 1 && fields.get(columns).trim().is_empty();
        if fields.len() != columns && !surplus {
            let message = format!("expected {columns} cells as the header has, got {}", fields.len());
            return rows.reject(number, message, chunk);
        }
        match &mut self.stage {
            Stage::Rows(layout) => {
                if layout.has_constant()
                    && let Err(message) = layout.check_constant(fields)
                {
                    return rows.reject(number, message, chunk);
                }
                match layout.is_header(fields) {
                    None => {}
                    Some(true) => return Ok(()),
                    Some(false) => {
                        let message =
                            "a second header, with other columns: load what comes behind it from a file of its own";
                        return Err(ReadError::Refused(format!("line {number}: {message}")));
                    }
                }
                let refused = |message: String| ReadError::Refused(format!("line {number}: {message}"));
                if !rows.have_begun() {
                    if let Some(ticker) = layout.ticker(fields) {
                        return rows.name_symbol(ticker).map_err(refused);
                    }
                    if let Some(name) = layout.take_symbols(fields) {
                        rows.propose_symbols(name);
                    }
                }
                layout.check_first(fields, rows).map_err(refused)?;
                if rows.wants_cells() {
                    look_at(number, fields, layout, rows)?;
                }
                rows.push(number, &layout.cells(fields), text, chunk)
            }
            Stage::Table(table) => {
                let cells: Vec<&str> = if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
                    fields.iter().map(str::trim).collect()
                } else {
                    Vec::new()
                };
                match (!cells.is_empty()).then(|| table.is_header(&cells)).flatten() {
                    Some(true) => return Ok(()),
                    Some(false) => {
                        return Err(ReadError::Refused(format!(
                            "line {number}: a second header, with other tickers or fields: load what comes behind it from a file of its own"
                        )));
                    }
                    None => {}
                }
                table.line(number, text);
                table.go_on(&mut self.fields, rows, chunk)
            }
            Stage::Searching(_) => Ok(()),
        }
    }

    /// Returns whether bars of the last line are still to come.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(&self.stage, Stage::Table(table) if table.is_under_way())
    }

    /// Hands over what is left of a line that has many bars.
    pub(crate) fn go_on(&mut self, rows: &mut BarDecoder, chunk: &mut Chunk) -> Result<(), ReadError> {
        match &mut self.stage {
            Stage::Table(table) => table.go_on(&mut self.fields, rows, chunk),
            _ => Ok(()),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// There was no header in it, though there were lines.
    pub(crate) fn finish(&mut self) -> Result<(), ReadError> {
        match &mut self.stage {
            Stage::Searching(search) if !search.table.as_ref().is_some_and(Head::is_table) => {
                search.best.take().map_or(Ok(()), |best| Err(ReadError::Refused(best.message)))
            }
            _ => Ok(()),
        }
    }

    /// Returns how many lines stood in front of the header.
    pub(crate) fn lines_skipped(&self) -> u64 {
        self.lines_skipped
    }
}

/// Looks at one of the first rows, for what names leave open.
#[inline(never)]
fn look_at(number: u64, fields: FieldsOf<'_>, layout: &mut Layout, rows: &mut BarDecoder) -> Result<(), ReadError> {
    let named = layout.named(fields);
    let found = rows.look_at_cells(number, &named, &layout.cells(fields))?;
    if let Some(columns) = found {
        layout.set_volume(columns);
        rows.set_unused(layout.unused());
    }
    Ok(())
}

impl Search {
    /// Takes a line; returns what follows the header once it is found, and whether the line is a row already.
    fn line(&mut self, text: &str, rows: &mut BarDecoder) -> Result<Option<(Stage, bool)>, ReadError> {
        check_is_text(text)?;
        let delimiter = delimiter_of(text);
        let mut fields = Fields::default();
        let names: Vec<&str> =
            fields.split(text, delimiter).map(|fields| fields.iter().map(str::trim).collect()).unwrap_or_default();
        if let Some(head) = self.table.take()
            && !names.is_empty()
        {
            match head.next(&names, rows)? {
                Step::NoTable => {}
                Step::More(head) => {
                    self.table = Some(head);
                    return Ok(None);
                }
                Step::Table(table) => return Ok(Some((Stage::Table(Box::new(table)), false))),
                Step::TableAndRow(table) => return Ok(Some((Stage::Table(Box::new(table)), true))),
            }
        }
        let no_header = match Layout::read(text, rows) {
            Ok(First::Header(layout)) => return Ok(Some((Stage::Rows(layout), false))),
            Ok(First::Row(layout)) => return Ok(Some((Stage::Rows(layout), true))),
            Err(no_header) => no_header,
        };
        if rows.map().is_empty() && !names.is_empty() {
            self.table = Head::begin(&names, delimiter);
        }
        self.lines += 1;
        match self.words.take() {
            Some((cells, message)) if no_header.is_row && cells == names.len() => {
                return Err(ReadError::Refused(message));
            }
            _ if names.len() > 1 && names.iter().all(|name| name.parse::<f64>().is_err()) => {
                self.words = Some((names.len(), no_header.message.clone()));
            }
            _ => {}
        }
        let is_last = no_header.is_row || self.lines > PREAMBLE_LINES;
        if self.best.as_ref().is_none_or(|best| best.likeness < no_header.likeness) {
            self.best = Some(no_header);
        }
        match &self.best {
            Some(best) if is_last => Err(ReadError::Refused(best.message.clone())),
            _ => Ok(None),
        }
    }
}
