//! A table of fields by tickers, as yfinance downloads it: one line has a bar of each ticker.
//!
//! ```text
//! Price,Close,Close,High,High,...       fields, in any order
//! Ticker,AAPL,MSFT,AAPL,MSFT,...        of which ticker: the two lines can change places
//! Date,,,,,...
//! 2024-01-02,185.6,370.9,...
//! ```

use super::{decoder::BarDecoder, raw_bar::RawBar};
use crate::files::{
    chunk::{Chunk, ReadError},
    columns::Role,
    fields::Fields,
    file_info::Dialect,
};
use crate::text::Quoted;

const FIELDS: [Role; 5] = [Role::Open, Role::High, Role::Low, Role::Close, Role::Volume];
/// Open, high, low and close: the first of the above.
const PRICES: usize = 4;

/// The header rows of a table, as far as they are read.
pub(crate) struct Head {
    delimiter: u8,
    first: Vec<String>,
    table: Option<YfinanceTable>,
}

/// What a further line makes of the header rows.
pub(crate) enum Step {
    /// It is no such table; the line is what it is.
    NoTable,
    /// More may come.
    More(Head),
    /// The table begins with the next line.
    Table(YfinanceTable),
    /// The line is its first row.
    TableAndRow(YfinanceTable),
}

/// A table, and the line of it that is under way.
pub(crate) struct YfinanceTable {
    pub(crate) delimiter: u8,
    pub(crate) columns: usize,
    tickers: Vec<Ticker>,
    /// The two lines of fields and tickers.
    head: [String; 2],
    line: u64,
    text: String,
    /// The ticker that is next; all are done between lines.
    next: usize,
}

struct Ticker {
    symbol: String,
    /// The index of the column for each of [`FIELDS`].
    columns: [Option<usize>; FIELDS.len()],
}

impl Head {
    /// Takes the first line, if it can begin such a table.
    pub(crate) fn begin(names: &[&str], delimiter: u8) -> Option<Self> {
        let first = names.iter().map(|name| uncounted(name, names).to_owned()).collect();
        (names.len() > PRICES && is_level(names[0])).then_some(Self { delimiter, first, table: None })
    }

    /// Returns whether it is such a table, even if no row of it follows.
    pub(crate) fn is_table(&self) -> bool {
        self.table.is_some()
    }

    /// Takes the next line.
    pub(crate) fn next(mut self, names: &[&str], rows: &mut BarDecoder) -> Result<Step, ReadError> {
        if let Some(table) = self.table {
            let is_header =
                Role::of(names[0]).is_some_and(|role| matches!(role, Role::Time | Role::Date | Role::Clock));
            let is_empty = names[1..].iter().all(|name| name.is_empty());
            return Ok(if is_header && is_empty { Step::Table(table) } else { Step::TableAndRow(table) });
        }
        if names.len() != self.first.len() || !is_level(names[0]) {
            return Ok(Step::NoTable);
        }
        let first: Vec<&str> = self.first.iter().map(String::as_str).collect();
        let second: Vec<&str> = names.iter().map(|name| uncounted(name, names)).collect();
        let (fields, tickers) = match (has_all_prices(&first), has_all_prices(&second)) {
            (true, false) => (&first, &second),
            (false, true) => (&second, &first),
            _ => return Ok(Step::NoTable),
        };
        let mut table = YfinanceTable::new(fields, tickers, self.delimiter, rows).map_err(ReadError::Refused)?;
        table.head = [first.join(","), second.join(",")];
        self.table = Some(table);
        Ok(Step::More(self))
    }
}

/// Returns whether a cell names a level of columns, as pandas writes it in front of them.
fn is_level(name: &str) -> bool {
    ["", "Price", "Ticker", "Attributes", "Symbols"].contains(&name)
}

/// Returns the name of a column without the number by which pandas tells it from others of that name: `Close.1`.
fn uncounted<'a>(name: &'a str, names: &[&str]) -> &'a str {
    match name.rsplit_once('.') {
        Some((first, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && names.contains(&first) =>
        {
            first
        }
        _ => name,
    }
}

fn has_all_prices(names: &[&str]) -> bool {
    FIELDS[..PRICES].iter().all(|field| names[1..].iter().any(|name| Role::of(name) == Some(*field)))
}

impl YfinanceTable {
    fn new(fields: &[&str], tickers: &[&str], delimiter: u8, rows: &mut BarDecoder) -> Result<Self, String> {
        let mut known: Vec<Ticker> = Vec::new();
        for (index, (field, symbol)) in fields.iter().zip(tickers).enumerate().skip(1) {
            let Some(role) = Role::of(field).filter(|role| FIELDS.contains(role)) else {
                rows.ignore(field);
                continue;
            };
            let at = known.iter().position(|ticker| ticker.symbol == *symbol).unwrap_or_else(|| {
                known.push(Ticker { symbol: (*symbol).to_owned(), columns: [None; FIELDS.len()] });
                known.len() - 1
            });
            let place = FIELDS.iter().position(|known| *known == role).unwrap_or(0);
            if known[at].columns[place].replace(index).is_some() {
                return Err(format!("expected one {} column of {}, got two", role.name(), Quoted(symbol)));
            }
        }
        for Ticker { symbol, columns } in &known {
            let lacks: Vec<&str> = FIELDS
                .iter()
                .zip(columns)
                .take(PRICES)
                .filter(|(_, at)| at.is_none())
                .map(|(role, _)| role.name())
                .collect();
            if !lacks.is_empty() {
                return Err(format!("expected a column for {} of {}, got none", lacks.join(", "), Quoted(symbol)));
            }
        }
        rows.set_dialect(Dialect::Yfinance);
        let next = known.len();
        let head = [String::new(), String::new()];
        Ok(Self { delimiter, columns: fields.len(), tickers: known, head, line: 0, text: String::new(), next })
    }

    /// Says whether a line is one of a header once more, as where files were put one behind the other: none if it is a row,
    /// and else whether it is one of this table.
    pub(crate) fn is_header(&self, cells: &[&str]) -> Option<bool> {
        let is_time = Role::of(cells[0]).is_some_and(|role| matches!(role, Role::Time | Role::Date | Role::Clock));
        if is_time && cells[1..].iter().all(|cell| cell.is_empty()) {
            return Some(true);
        }
        if cells[0].is_empty() || !is_level(cells[0]) {
            return None;
        }
        let line: Vec<&str> = cells.iter().map(|cell| uncounted(cell, cells)).collect();
        Some(self.head.contains(&line.join(",")))
    }

    /// Takes a line whose cells are as many as they should be.
    pub(crate) fn line(&mut self, line: u64, text: &str) {
        text.clone_into(&mut self.text);
        (self.line, self.next) = (line, 0);
    }

    /// Returns whether bars of the line are still to come.
    pub(crate) fn is_under_way(&self) -> bool {
        self.next < self.tickers.len()
    }

    /// Hands over bars of the line, as far as the chunk has room.
    pub(crate) fn go_on(
        &mut self,
        fields: &mut Fields,
        rows: &mut BarDecoder,
        chunk: &mut Chunk,
    ) -> Result<(), ReadError> {
        let fields = match fields.split(&self.text, self.delimiter) {
            Ok(fields) => fields,
            Err(message) => {
                self.next = self.tickers.len();
                return rows.reject(self.line, message, chunk);
            }
        };
        while let Some(Ticker { symbol, columns }) = self.tickers.get(self.next)
            && !chunk.is_full()
        {
            let cell = |place: usize| columns[place].map(|index| fields.trimmed(index)).unwrap_or_default();
            let cells = RawBar {
                time: fields.trimmed(0),
                open: cell(0),
                high: cell(1),
                low: cell(2),
                close: cell(3),
                volume: cell(4),
                symbol: Some(symbol),
                ..RawBar::default()
            };
            self.next += 1;
            rows.push(self.line, &cells, "", chunk)?;
            rows.release(chunk);
        }
        Ok(())
    }
}
