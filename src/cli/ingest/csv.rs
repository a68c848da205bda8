use super::{
    Chunk, Line, ReadError,
    columns::{ROLES, Role},
    rows::{Cells, Rows},
    text_of, too_long,
};
use crate::quoted::Quoted;

/// Reads CSV with a header. Each line is split on its own: a quote that is never closed costs its line, not the file.
#[derive(Default)]
pub(super) struct Csv {
    /// None before the header was read.
    header: Option<Header>,
    fields: Fields,
}

struct Header {
    delimiter: u8,
    columns: usize,
    /// The index of the column for each role.
    roles: [Option<usize>; ROLES],
}

impl Csv {
    pub(super) fn line(&mut self, line: Line<'_>, rows: &mut Rows, chunk: &mut Chunk) -> Result<(), ReadError> {
        let (number, bytes) = match line {
            Line::Whole { number, bytes } => (number, bytes),
            Line::TooLong { .. } if self.header.is_none() => {
                return Err(ReadError::Refused(format!("expected a header line: {}", too_long())));
            }
            Line::TooLong { number } => return rows.reject(number, too_long(), chunk),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Some(header) = &self.header else {
            self.header = Some(Header::read(bytes, rows).map_err(ReadError::Refused)?);
            return Ok(());
        };
        let text = match text_of(bytes) {
            Ok(text) => text,
            Err(message) => return rows.reject(number, message, chunk),
        };
        let fields = match self.fields.split(text, header.delimiter) {
            Ok(fields) => fields,
            Err(message) => return rows.reject(number, message, chunk),
        };
        if fields.len() != header.columns {
            let message = format!("expected {} cells as the header has, got {}", header.columns, fields.len());
            return rows.reject(number, message, chunk);
        }
        rows.push(number, &header.cells(fields), chunk)
    }
}

impl Header {
    fn read(bytes: &[u8], rows: &mut Rows) -> Result<Self, String> {
        let text = text_of(bytes).map_err(|error| format!("expected a header line: {error}"))?;
        if text.contains('\r') {
            return Err("expected lines that end with LF or CRLF, got CR alone: convert the line ends first".into());
        }
        let delimiter = delimiter_of(text);
        let mut fields = Fields::default();
        let fields = fields.split(text, delimiter).map_err(|error| format!("expected a header line: {error}"))?;
        let names: Vec<&str> = fields.iter().map(str::trim).collect();
        let mut roles = [None; ROLES];
        for (index, name) in names.iter().enumerate() {
            let Some(role) = Role::of(name) else { continue };
            let first = &mut roles[role as usize];
            match *first {
                None => *first = Some(index),
                // Two whole times say the same; of two prices one would be lost.
                Some(_) if role == Role::Time => {}
                Some(before) => {
                    return Err(format!(
                        "expected one {} column, got two: column {} ({}) and column {} ({})",
                        role.name(),
                        before + 1,
                        Quoted(names[before]),
                        index + 1,
                        Quoted(name)
                    ));
                }
            }
        }
        if roles.iter().all(Option::is_none) && names.iter().any(|name| name.parse::<f64>().is_ok()) {
            return Err(format!(
                "expected a header line such as date,open,high,low,close,volume, got data: {}",
                Quoted(text)
            ));
        }
        if roles[Role::Time as usize].is_some() {
            (roles[Role::Date as usize], roles[Role::Clock as usize]) = (None, None);
        } else if roles[Role::Date as usize].is_none() && roles[Role::Clock as usize].is_none() && names[0].is_empty() {
            // As pandas writes an index of times.
            roles[Role::Time as usize] = Some(0);
        }
        check_columns(&roles, &names)?;
        for (index, name) in names.iter().enumerate() {
            if !roles.contains(&Some(index)) && !name.is_empty() {
                rows.ignore(name);
            }
        }
        Ok(Self { delimiter, columns: names.len(), roles })
    }

    fn cells<'a>(&self, fields: FieldsOf<'a>) -> Cells<'a> {
        let optional = |role: Role| self.roles[role as usize].map(|index| fields.get(index).trim());
        let cell = |role: Role| optional(role).unwrap_or_default();
        let (time, clock) = match (optional(Role::Time), optional(Role::Date)) {
            (Some(time), _) => (time, ""),
            (None, Some(date)) => (date, cell(Role::Clock)),
            (None, None) => (cell(Role::Clock), ""),
        };
        Cells {
            time,
            clock,
            open: cell(Role::Open),
            high: cell(Role::High),
            low: cell(Role::Low),
            close: cell(Role::Close),
            volume: cell(Role::Volume),
            symbol: optional(Role::Symbol),
            timeframe: optional(Role::Timeframe),
            vendor: optional(Role::Vendor),
        }
    }
}

fn check_columns(roles: &[Option<usize>; ROLES], names: &[&str]) -> Result<(), String> {
    let has = |role: Role| roles[role as usize].is_some();
    let mut missing = Vec::new();
    if !has(Role::Time) && !has(Role::Date) && !has(Role::Clock) {
        missing.push("time");
    }
    missing.extend(
        [Role::Open, Role::High, Role::Low, Role::Close].into_iter().filter(|role| !has(*role)).map(Role::name),
    );
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("expected a column for {}, got a header with {}", missing.join(", "), Quoted(&names.join(", "))))
}

/// Returns the one of comma, tab and semicolon that the header has most of.
fn delimiter_of(header: &str) -> u8 {
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    // Of equals the last wins: a comma, if there is none of them.
    b";\t,".iter().copied().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// Where the fields of a line are; used again for each line.
#[derive(Default)]
struct Fields {
    ranges: Vec<(usize, usize)>,
    /// The fields of a line with quotes, without them.
    unquoted: String,
}

/// The fields of one line.
#[derive(Clone, Copy)]
struct FieldsOf<'a> {
    text: &'a str,
    ranges: &'a [(usize, usize)],
}

impl<'a> FieldsOf<'a> {
    fn len(&self) -> usize {
        self.ranges.len()
    }

    fn get(&self, index: usize) -> &'a str {
        let (start, end) = self.ranges[index];
        &self.text[start..end]
    }

    fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl Fields {
    fn split<'a>(&'a mut self, line: &'a str, delimiter: u8) -> Result<FieldsOf<'a>, String> {
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
