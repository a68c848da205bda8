//! From the first line of a CSV to a layout: which column is what.

use crate::files::{
    bars::{BarDecoder, NamedCell, RawBar, UnusedCells, VolumeColumns},
    column_names::{Amount, is_begin},
    columns::{Column, ROLES, Role, is_period, may_be_symbols},
    fields::{Fields, FieldsOf},
    file_info::Dialect,
    numbers::is_absent,
};
use crate::{
    record::{Timeframe, Unit},
    text::Quoted,
};

/// From so many numbers in a line it is a row.
const NUMBERS_OF_A_ROW: usize = 4;
const KLINE_COLUMNS: usize = 12;
/// The columns of a kline by place; the rest is of no interest.
const KLINE: [Role; 6] = [Role::Time, Role::Open, Role::High, Role::Low, Role::Close, Role::Volume];
const KLINE_CLOSE_TIME: usize = 6;
/// Of these, beside `ts_event`, one says that a file is of Databento. Others number instruments too.
pub(crate) const DATABENTO: [&str; 2] = ["rtype", "publisher_id"];
const TIMES: [Role; 3] = [Role::Time, Role::Date, Role::Clock];
const PRICES: [Role; 4] = [Role::Open, Role::High, Role::Low, Role::Close];

/// Where the cells of a row are.
pub(crate) struct Layout {
    pub(crate) delimiter: u8,
    pub(crate) columns: usize,
    /// The index of the column for each role.
    roles: [Option<usize>; ROLES],
    /// Columns that must say the same on each row.
    constant: Vec<Constant>,
    /// The column that says when a kline ends, until the first row was looked at.
    close_time: Option<usize>,
    /// The column that may hold the symbols, though nothing says so, until the first row was looked at.
    symbols: Option<usize>,
    /// The names in the header; none where there is no header.
    names: Vec<String>,
}

/// A column that tells rows of different things apart, in a file that does not name them: under one symbol they would
/// overwrite each other.
struct Constant {
    name: &'static str,
    index: usize,
    value: Option<String>,
}

/// What a line is that may be the header.
pub(crate) enum First {
    Header(Layout),
    /// There is no header: the line is the first row already.
    Row(Layout),
}

/// Why a line is no header.
pub(crate) struct NoHeader {
    pub(crate) message: String,
    /// How much it looks like one: a preamble not at all.
    pub(crate) likeness: usize,
    /// It is a row, so no header follows.
    pub(crate) is_row: bool,
}

impl NoHeader {
    fn new(message: impl Into<String>, likeness: usize) -> Self {
        Self { message: message.into(), likeness, is_row: false }
    }
}

impl Layout {
    /// Reads a line that may be the header.
    pub(crate) fn read(text: &str, rows: &mut BarDecoder) -> Result<First, NoHeader> {
        let delimiter = delimiter_of(text);
        let mut fields = Fields::default();
        let fields = fields
            .split(text, delimiter)
            .map_err(|error| NoHeader::new(format!("expected a header line: {error}"), 2))?;
        let names: Vec<&str> = fields.iter().map(str::trim).collect();
        if names.len() == 1 && is_spaced(names[0]) {
            let message = "expected commas, tabs, semicolons or | between cells, got spaces: convert them first, as in \
                           `tr -s ' ' , < FILE | mds ingest ... -`";
            // A remark can have as many numbers.
            return Err(NoHeader::new(message, usize::MAX));
        }
        if rows.map().needs_no_header() {
            return by_number(&names, delimiter, rows);
        }
        if is_kline(&names) && rows.map().is_empty() {
            check_span(names[0], names[KLINE_CLOSE_TIME], rows).map_err(|message| NoHeader {
                message: format!("{message}: {}", Quoted(&names.join(","))),
                likeness: usize::MAX,
                is_row: true,
            })?;
            rows.set_dialect(Dialect::Klines);
            let mut roles = [None; ROLES];
            KLINE.iter().enumerate().for_each(|(index, role)| roles[*role as usize] = Some(index));
            return Ok(First::Row(Self::without_header(delimiter, KLINE_COLUMNS, roles)));
        }
        by_name(&names, delimiter, rows).map(First::Header)
    }

    fn without_header(delimiter: u8, columns: usize, roles: [Option<usize>; ROLES]) -> Self {
        Self { delimiter, columns, roles, constant: Vec::new(), close_time: None, symbols: None, names: Vec::new() }
    }

    pub(crate) fn has_constant(&self) -> bool {
        !self.constant.is_empty()
    }

    /// Says what is wrong with a row that cannot be told from those of another thing.
    pub(crate) fn check_constant(&mut self, fields: FieldsOf<'_>) -> Result<(), String> {
        for Constant { name, index, value } in &mut self.constant {
            let cell = fields.get(*index);
            match value {
                None => *value = Some(cell.to_owned()),
                Some(value) if value == cell => {}
                Some(value) => {
                    return Err(format!(
                        "{name}: expected {value} as on the first row, got {}: nothing in the file tells them apart",
                        Quoted(cell)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Returns the ticker that the line below the header names in each of its columns, as yfinance writes it.
    pub(crate) fn ticker<'a>(&self, fields: FieldsOf<'a>) -> Option<&'a str> {
        let cell = |role: Role| self.roles[role as usize].map(|index| fields.get(index).trim());
        let ticker = cell(Role::Open)?;
        let is_named = PRICES.into_iter().all(|price| cell(price) == Some(ticker));
        let has_time = TIMES.into_iter().filter_map(cell).any(|time| !time.is_empty());
        (is_named && !has_time && is_word(ticker) && self.roles[Role::Symbol as usize].is_none()).then_some(ticker)
    }

    /// Returns the name of the column that seems to hold the symbols by its name and the first row.
    pub(crate) fn take_symbols(&mut self, fields: FieldsOf<'_>) -> Option<&str> {
        let index = self.symbols.take().filter(|index| has_letters(fields.get(*index).trim()))?;
        self.names.get(index).map(String::as_str)
    }

    /// Looks whether the first row is as long as the timeframe says, where rows say how long they are.
    pub(crate) fn check_first(&mut self, fields: FieldsOf<'_>, rows: &BarDecoder) -> Result<(), String> {
        let (Some(close), Some(open)) = (self.close_time.take(), self.roles[Role::Time as usize]) else {
            return Ok(());
        };
        check_span(fields.get(open).trim(), fields.get(close).trim(), rows)
    }

    /// Says whether a row is a header once more, as where files were put one behind the other: none if it is a row, and
    /// else whether it is the first one to the letter. One column that is another would be read as what it was.
    pub(crate) fn is_header(&self, fields: FieldsOf<'_>) -> Option<bool> {
        let cell = |index: usize| fields.trimmed(index);
        let is_price = |role: Role| {
            let name = cell(self.roles[role as usize]?);
            // Nearly all rows end here.
            let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic());
            is_word.then(|| Role::of(name)).flatten().filter(|found| PRICES.contains(found))
        };
        if !PRICES.into_iter().all(|role| is_price(role).is_some()) {
            return None;
        }
        Some(self.names.iter().enumerate().all(|(index, name)| name == cell(index)) && !self.names.is_empty())
    }

    /// Returns all cells of a row with their columns; none where there is no header.
    pub(crate) fn named<'a>(&'a self, fields: FieldsOf<'a>) -> Vec<NamedCell<'a>> {
        let role_of =
            |index: usize| (0..ROLES).find(|role| self.roles[*role] == Some(index)).map(|role| Role::ALL[role]);
        let cells = self.names.iter().enumerate();
        cells.map(|(index, name)| NamedCell { name, cell: fields.trimmed(index), role: role_of(index) }).collect()
    }

    /// Takes columns for the volume, and for what was paid for it.
    pub(crate) fn set_volume(&mut self, columns: VolumeColumns) {
        self.roles[Role::Volume as usize] = Some(columns.volume);
        self.roles[Role::Paid as usize] = columns.paid;
    }

    /// Returns where the cells are that are not used.
    pub(crate) fn unused(&self) -> UnusedCells {
        let is_unused = |index: &usize| !self.roles.contains(&Some(*index));
        let name = |index: usize| match self.names.get(index) {
            Some(name) => name.clone(),
            None => format!("column {}", index + 1),
        };
        let columns: Vec<_> = (0..self.columns).filter(is_unused).map(|index| (index, name(index))).collect();
        if columns.is_empty() { UnusedCells::None } else { UnusedCells::Columns { delimiter: self.delimiter, columns } }
    }

    #[inline]
    pub(crate) fn cells<'a>(&self, fields: FieldsOf<'a>) -> RawBar<'a> {
        RawBar::of(|role| self.roles[role as usize].map(|index| fields.trimmed(index)))
    }
}

/// Takes the columns as `--map` numbers them. A header is a line without a number among its prices.
fn by_number(names: &[&str], delimiter: u8, rows: &mut BarDecoder) -> Result<First, NoHeader> {
    let mut roles = [None; ROLES];
    for (role, column) in rows.map().iter() {
        let Column::Number(number) = column else { continue };
        if *number > names.len() {
            let message = format!("expected column {number}, which --map names, got a line of {}", names.len());
            return Err(NoHeader::new(message, 0));
        }
        roles[*role as usize] = Some(number - 1);
    }
    let mut prices = PRICES.into_iter().filter_map(|role| roles[role as usize]).map(|index| names[index]);
    let is_header = prices.all(|cell| !is_absent(cell) && cell.parse::<f64>().is_err());
    if is_header {
        return by_name(names, delimiter, rows).map(First::Header);
    }
    rows.set_dialect(Dialect::Mapped);
    Ok(First::Row(Layout::without_header(delimiter, names.len(), roles)))
}

fn by_name(names: &[&str], delimiter: u8, rows: &mut BarDecoder) -> Result<Layout, NoHeader> {
    let mut roles = [None; ROLES];
    let mut likeness = 0;
    let numbered = |index: usize| {
        let is_here = |column: &Column| matches!(column, Column::Number(number) if *number == index + 1);
        rows.map().iter().find(|(_, column)| is_here(column)).map(|(role, _)| *role)
    };
    for (index, name) in names.iter().enumerate() {
        let Some(role) = numbered(index).or_else(|| rows.map().role_of(name)) else {
            if let Some(first) = counted_again(name).filter(|first| names.contains(first) && rows.map().is_empty()) {
                let message = format!(
                    "expected one {first} column, got {} too, as of a table of several symbols whose second header is gone: load each \
                     symbol from a file of its own, or say which columns count, as in --map close={first}",
                    Quoted(name)
                );
                return Err(NoHeader::new(message, names.len()));
            }
            continue;
        };
        likeness += 1;
        let first = &mut roles[role as usize];
        match *first {
            None => *first = Some(index),
            // In klines `T` is the end, beside `t` for the beginning.
            Some(before) if role == Role::Time && names[before] == "T" => *first = Some(index),
            // What says that it is the beginning goes before what does not, which may be the end: its rows show that.
            Some(before) if role == Role::Time && is_begin(name) && !is_begin(names[before]) => *first = Some(index),
            Some(before) if role == Role::Time && is_begin(names[before]) && !is_begin(name) => {}
            // And `T` is the end where `t` came first. Any other whole time has to say the same.
            Some(_) if role == Role::Time => {
                let other = &mut roles[Role::OtherTime as usize];
                *other = other.or(Some(index).filter(|_| *name != "T"));
            }
            // Of two letters that differ in their case the small one is the bar's.
            Some(before) if names[before].len() == 1 && name.len() == 1 && names[before].eq_ignore_ascii_case(name) => {
                if name.bytes().all(|letter| letter.is_ascii_lowercase()) {
                    *first = Some(index);
                }
            }
            // Of two prices one would be lost.
            Some(before) => {
                let message = format!(
                    "expected one {} column, got two: column {} ({}) and column {} ({})",
                    role.name(),
                    before + 1,
                    Quoted(names[before]),
                    index + 1,
                    Quoted(name)
                );
                return Err(NoHeader::new(message, names.len()));
            }
        }
    }
    if likeness == 0 && names.iter().filter(|name| name.parse::<f64>().is_ok()).count() >= NUMBERS_OF_A_ROW {
        let message = format!(
            "expected a header line such as date,open,high,low,close,volume, got data: {}: say which column is which, as \
             in --map ts=1,open=2,high=3,low=4,close=5,volume=6 for Kraken and ccxt, or \
             ts=1,low=2,high=3,open=4,close=5,volume=6 for Coinbase",
            Quoted(&names.join(&char::from(delimiter).to_string()))
        );
        return Err(NoHeader { message, likeness: 1, is_row: true });
    }
    check_map(&roles, names, rows).map_err(|message| NoHeader::new(message, likeness))?;
    if TIMES.into_iter().all(|role| roles[role as usize].is_none()) && names[0].is_empty() {
        // As pandas writes an index of times.
        roles[Role::Time as usize] = Some(0);
    }
    let volume_has_currency = roles[Role::Volume as usize].is_none()
        && names.iter().any(|name| matches!(Amount::of(name), Some(Amount::Of(_))));
    check_columns(&roles, names).map_err(|message| NoHeader::new(message, likeness))?;
    let dialect = dialect_of(names, volume_has_currency);
    rows.set_dialect(dialect);
    if dialect != Dialect::Databento && names.iter().any(|name| name.eq_ignore_ascii_case("ts_event")) {
        rows.doubt_prices();
    }
    let has_time = roles[Role::Time as usize].is_some();
    for (index, name) in names.iter().enumerate() {
        // What only has to agree with the time is not used either.
        let agrees = [Role::OtherTime, Role::Date, Role::Clock].iter().any(|role| roles[*role as usize] == Some(index));
        if (!roles.contains(&Some(index)) || has_time && agrees) && !name.is_empty() {
            rows.ignore(name);
        }
    }
    let constant = if dialect == Dialect::Databento { constant_columns(names, &roles) } else { Vec::new() };
    let close_time = names.iter().position(|name| name.eq_ignore_ascii_case("close_time"));
    let close_time = close_time.filter(|_| dialect == Dialect::Klines);
    let symbols = names.iter().position(|name| may_be_symbols(name)).filter(|_| roles[Role::Symbol as usize].is_none());
    let columns = names.len();
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Ok(Layout { delimiter, columns, roles, constant, close_time, symbols, names })
}

/// Returns the name of the column that pandas has found once more: `Close.1` comes behind `Close`.
pub(crate) fn counted_again(name: &str) -> Option<&str> {
    let (first, number) = name.rsplit_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Role::of(first).filter(|role| is_number && PRICES.contains(role)).map(|_| first)
}

fn dialect_of(names: &[&str], volume_has_currency: bool) -> Dialect {
    let has = |known: &str| names.iter().any(|name| name.eq_ignore_ascii_case(known));
    // Others write `ts_event` too, beside prices as they are.
    if has("ts_event") && DATABENTO.iter().any(|own| has(own)) {
        Dialect::Databento
    } else if has("window_start") {
        Dialect::Polygon
    } else if names.iter().any(|name| is_period(name)) {
        Dialect::Stooq
    } else if has("open_time") && has("close_time") {
        Dialect::Klines
    } else if volume_has_currency && has("unix") {
        Dialect::CryptoDataDownload
    } else {
        Dialect::Csv
    }
}

/// Of each venue Databento has bars of its own, and without symbols the number tells the instruments apart.
fn constant_columns(names: &[&str], roles: &[Option<usize>; ROLES]) -> Vec<Constant> {
    let has_symbols = roles[Role::Symbol as usize].is_some();
    let constant = [("publisher_id", true), ("instrument_id", !has_symbols)].into_iter().filter(|(_, is)| *is);
    let index_of = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
    constant.filter_map(|(name, _)| Some(Constant { name, index: index_of(name)?, value: None })).collect()
}

/// Returns whether a line is a kline of Binance: twelve numbers, of which the first and the seventh are when it begins
/// and ends, in milli- or microseconds. Other files of twelve numbers have no such two.
fn is_kline(names: &[&str]) -> bool {
    let epoch = |name: &str| name.parse::<u64>().ok().filter(|_| [13, 16].contains(&name.len()));
    names.len() == KLINE_COLUMNS
        && names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite))
        && names[0].len() == names[KLINE_CLOSE_TIME].len()
        && epoch(names[0]).zip(epoch(names[KLINE_CLOSE_TIME])).is_some_and(|(open, close)| open < close)
}

/// Looks whether a kline ends as long after its beginning as its timeframe says: minutes loaded as hours would be lost
/// to each other's keys.
fn check_span(open: &str, close: &str, rows: &BarDecoder) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| [13, 16].contains(&text.len()));
    let Some((begins, ends)) = number(open).zip(number(close)).filter(|_| open.len() == close.len()) else {
        return Ok(());
    };
    let a_second = if open.len() == 16 { 1_000_000 } else { 1_000 };
    // The last instant belongs to the kline.
    let span = (ends + 1).saturating_sub(begins) / a_second;
    match rows.fixed_timeframe() {
        Some((timeframe, who)) if seconds(*timeframe).is_some_and(|seconds| seconds != span) => {
            Err(format!("expected klines of {timeframe} as {who} says, got one of {span} seconds"))
        }
        _ => Ok(()),
    }
}

/// Returns the length of a timeframe, if it always has the same.
fn seconds(timeframe: Timeframe) -> Option<u64> {
    let unit = match timeframe.unit() {
        Unit::Second => 1,
        Unit::Minute => 60,
        Unit::Hour => 3_600,
        Unit::Day => 86_400,
        Unit::Week => 604_800,
        Unit::Month | Unit::Year => return None,
    };
    Some(u64::from(timeframe.count().get()) * unit)
}

/// Looks whether the columns that `--map` names are there.
fn check_map(roles: &[Option<usize>; ROLES], names: &[&str], rows: &BarDecoder) -> Result<(), String> {
    let lacking = rows.map().iter().find(|(role, _)| roles[*role as usize].is_none());
    let Some((_, column)) = lacking else { return Ok(()) };
    let column = match column {
        Column::Name(name) => Quoted(name).to_string(),
        Column::Number(number) => number.to_string(),
    };
    Err(format!("expected the column {column} that --map names, got a header with {}", Quoted(&names.join(", "))))
}

fn check_columns(roles: &[Option<usize>; ROLES], names: &[&str]) -> Result<(), String> {
    let has = |role: Role| roles[role as usize].is_some();
    let mut missing = Vec::new();
    if !TIMES.into_iter().any(has) {
        missing.push("ts");
    }
    missing.extend(PRICES.into_iter().filter(|role| !has(*role)).map(Role::name));
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "expected a column for {}, got a header with {}: name what is there, as in --map {}=COLUMN",
        missing.join(", ").replace("ts", "time"),
        Quoted(&names.join(", ")),
        missing.join("=COLUMN,"),
    ))
}

/// Returns whether a cell can be a symbol: 600000.SH is one, and 42 says nothing.
fn has_letters(cell: &str) -> bool {
    cell.contains(|char: char| char.is_alphabetic()) && !is_absent(cell)
}

fn is_word(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_absent(cell)
}

/// Returns whether a line is a header, or a row, with nothing but blanks between its cells.
fn is_spaced(line: &str) -> bool {
    let words = || line.split_whitespace();
    let is_named = |price: Role| words().any(|word| Role::of(word) == Some(price));
    // A remark in front of the header begins with another word.
    let is_header = words().next().and_then(Role::of).is_some() && PRICES.into_iter().all(is_named);
    is_header || words().filter(|word| word.parse::<f64>().is_ok()).count() >= NUMBERS_OF_A_ROW
}

/// Returns the one of comma, tab, semicolon and bar that the header has most of.
pub(crate) fn delimiter_of(header: &str) -> u8 {
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    // Of equals the last wins: a comma, if there is none of them.
    b"|;\t,".iter().copied().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}
