use super::{
    Chunk, Line, ReadError,
    header::{First, Layout, NoHeader, delimiter_of},
    rows::Rows,
    text_of, too_long,
    wide::{Head, Step, Wide},
};
use crate::text::quoted::Quoted;

/// So many lines may stand in front of the header.
const PREAMBLE_LINES: u64 = 5;

/// Reads CSV. Each line is split on its own: a quote that is never closed costs its line, not the file.
#[derive(Default)]
pub(super) struct Csv {
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
    Table(Box<Wide>),
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
    pub(super) fn line(&mut self, line: Line<'_>, rows: &mut Rows, chunk: &mut Chunk) -> Result<(), ReadError> {
        let (number, bytes) = match line {
            Line::Whole { number, bytes } => (number, bytes),
            Line::TooLong { .. } if matches!(self.stage, Stage::Searching(_)) => {
                return Err(ReadError::Refused(format!("expected a header line: {}", too_long())));
            }
            Line::TooLong { number } => return rows.reject(number, too_long(), chunk),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let text = text_of(bytes);
        if let Stage::Searching(search) = &mut self.stage {
            let text = text.map_err(|error| ReadError::Refused(format!("expected a header line: {error}")))?;
            let before = search.lines;
            let Some((stage, is_row)) = search.line(text, rows)? else { return Ok(()) };
            self.stage = stage;
            // The header rows of a table are no preamble.
            self.lines_skipped = if matches!(self.stage, Stage::Table(_)) { 0 } else { before };
            return if is_row { self.row(number, text, rows, chunk) } else { Ok(()) };
        }
        match text {
            Ok(text) => self.row(number, text, rows, chunk),
            Err(message) => rows.reject(number, message, chunk),
        }
    }

    fn row(&mut self, number: u64, text: &str, rows: &mut Rows, chunk: &mut Chunk) -> Result<(), ReadError> {
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
                rows.push(number, &layout.cells(fields), chunk)
            }
            Stage::Table(table) => {
                table.line(number, text);
                table.go_on(&mut self.fields, rows, chunk)
            }
            Stage::Searching(_) => Ok(()),
        }
    }

    /// Returns whether bars of the last line are still to come.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(&self.stage, Stage::Table(table) if table.is_under_way())
    }

    /// Hands over what is left of a line that has many bars.
    pub(super) fn go_on(&mut self, rows: &mut Rows, chunk: &mut Chunk) -> Result<(), ReadError> {
        match &mut self.stage {
            Stage::Table(table) => table.go_on(&mut self.fields, rows, chunk),
            _ => Ok(()),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// There was no header in it, though there were lines.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        match &mut self.stage {
            Stage::Searching(search) if !search.table.as_ref().is_some_and(Head::is_table) => {
                search.best.take().map_or(Ok(()), |best| Err(ReadError::Refused(best.message)))
            }
            _ => Ok(()),
        }
    }

    /// Returns how many lines stood in front of the header.
    pub(super) fn lines_skipped(&self) -> u64 {
        self.lines_skipped
    }
}

impl Search {
    /// Takes a line; returns what follows the header once it is found, and whether the line is a row already.
    fn line(&mut self, text: &str, rows: &mut Rows) -> Result<Option<(Stage, bool)>, ReadError> {
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

/// Where the fields of a line are; used again for each line.
#[derive(Default)]
pub(super) struct Fields {
    ranges: Vec<(usize, usize)>,
    /// The fields of a line with quotes, without them.
    unquoted: String,
}

/// The fields of one line.
#[derive(Clone, Copy)]
pub(super) struct FieldsOf<'a> {
    text: &'a str,
    ranges: &'a [(usize, usize)],
}

impl<'a> FieldsOf<'a> {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn get(&self, index: usize) -> &'a str {
        let (start, end) = self.ranges[index];
        &self.text[start..end]
    }

    pub(super) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl Fields {
    pub(super) fn split<'a>(&'a mut self, line: &'a str, delimiter: u8) -> Result<FieldsOf<'a>, String> {
        self.ranges.clear();
        if memchr::memchr(b'"', line.as_bytes()).is_some() {
            self.split_quoted(line, char::from(delimiter))?;
            return Ok(FieldsOf { text: &self.unquoted, ranges: &self.ranges });
        }
        let mut start = 0;
        for end in memchr::memchr_iter(delimiter, line.as_bytes()) {
            self.ranges.push((start, end));
            start = end + 1;
        }
        self.ranges.push((start, line.len()));
        Ok(FieldsOf { text: line, ranges: &self.ranges })
    }

    fn split_quoted(&mut self, line: &str, delimiter: char) -> Result<(), String> {
        const UNCLOSED: &str = "expected a closing quote on the same line, got none";
        self.unquoted.clear();
        let mut rest = line;
        loop {
            let start = self.unquoted.len();
            let trimmed = rest.trim_start_matches(' ');
            if let Some(mut quoted) = trimmed.strip_prefix('"') {
                loop {
                    let (inside, behind) = quoted.split_once('"').ok_or(UNCLOSED)?;
                    self.unquoted.push_str(inside);
                    match behind.strip_prefix('"') {
                        Some(behind) => {
                            self.unquoted.push('"');
                            quoted = behind;
                        }
                        None => {
                            rest = behind.trim_start_matches(' ');
                            break;
                        }
                    }
                }
                if !rest.is_empty() && !rest.starts_with(delimiter) {
                    return Err(format!("expected a delimiter behind a closing quote, got {}", Quoted(rest)));
                }
            } else {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                self.unquoted.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            self.ranges.push((start, self.unquoted.len()));
            match rest.strip_prefix(delimiter) {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, String> {
        let mut fields = Fields::default();
        let fields = fields.split(line, b',')?;
        Ok(fields.iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_line_is_split_at_delimiters_outside_of_quotes() {
        for (line, expected) in [
            ("a,b,c", &["a", "b", "c"][..]),
            ("a,,", &["a", "", ""]),
            ("", &[""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"a, "b""c" ,"",d"#, &["a", "b\"c", "", "d"]),
            (r#""""","x","#, &["\"", "x", ""]),
            (r#"6" pipe,b"#, &["6\" pipe", "b"]),
        ] {
            assert_eq!(
                split(line).as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{line}"
            );
        }
        assert_eq!(split(r#"a,"b"#).unwrap_err(), "expected a closing quote on the same line, got none");
        assert_eq!(split(r#""a"b,c"#).unwrap_err(), r#"expected a delimiter behind a closing quote, got "b,c""#);
    }
}
