//! What a table is: its name and its columns, checked while they are compiled.

use super::view::View;

/// A table of records: its name, its columns in order, which of them is the time, and which name a series.
///
/// It is made in a `const`. What no database could make of it, such as two columns of one name, is an error when it is
/// compiled.
///
/// ```
/// use market_data_store::{Column, Table};
///
/// const FUNDING: Table = Table::new(
///     "funding_rates",
///     &[
///         Column::text("symbol").key().comment("the perpetual contract"),
///         Column::timestamp("ts").key().comment("when the rate was paid"),
///         Column::float("rate"),
///         Column::float("mark_price").optional(),
///     ],
/// )
/// .time("ts")
/// .series(&["symbol"]);
/// assert_eq!(FUNDING.columns().len(), 4);
/// ```
///
/// ```compile_fail
/// # use market_data_store::{Column, Table};
/// const NO_KEY: Table = Table::new("rates", &[Column::float("rate")]);
/// # fn main() { NO_KEY; }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    name: &'static str,
    columns: &'static [Column],
    time: Option<&'static str>,
    series: &'static [&'static str],
    chunk_days: u32,
    view: Option<&'static View>,
}

impl Table {
    /// Makes a table. A name is made of lower-case ASCII letters, digits and `_`, begins with a letter, has at most 48
    /// bytes, and is no word that SQL reserves. The table's name does not end with `_readable` and has no `_by_` in it,
    /// as views and indexes are called so.
    ///
    /// # Panics
    /// For a name that is none of these, for two columns of one name, and without a column that is a key. In a `const`
    /// that is an error of the compiler.
    pub const fn new(name: &'static str, columns: &'static [Column]) -> Self {
        assert!(
            is_name(name),
            "the table's name: expected a-z, 0-9 and _, a letter first, and no reserved word of SQL"
        );
        assert!(!starts_with(name, "sqlite_"), "the table's name: SQLite keeps sqlite_ for itself");
        assert!(
            !ends_with(name, "_readable"),
            "the table's name: a view is called so, expected no _readable at the end"
        );
        assert!(!contains(name, "_by_"), "the table's name: an index is called so, expected no _by_ in it");
        let (mut at, mut has_key) = (0, false);
        while at < columns.len() {
            let column = &columns[at];
            assert!(is_name(column.name), "a column's name: expected a-z, 0-9 and _, and no reserved word of SQL");
            has_key |= column.is_key();
            let mut earlier = 0;
            while earlier < columns.len() {
                let other = &columns[earlier];
                assert!(earlier == at || !is_equal(other.name, column.name), "two columns have one name");
                assert!(
                    !matches!(column.column_type, ColumnType::TimestampNanos)
                        || !is_equal_to_both(other.name, column.name, "_ns"),
                    "a time in nanoseconds is two columns, and the second has a name that another column has"
                );
                earlier += 1;
            }
            at += 1;
        }
        assert!(has_key, "a table needs a column that is its key");
        Self { name, columns, time: None, series: &[], chunk_days: 0, view: None }
    }

    /// Sets which column is the time of a record.
    ///
    /// # Panics
    /// Unless it is a column of a time or a date.
    #[must_use]
    pub const fn time(mut self, column: &'static str) -> Self {
        let is_time = match find(self.columns, column) {
            Some(at) => self.columns[at].column_type.is_time(),
            None => false,
        };
        assert!(is_time, "the time: expected the name of a column that is a timestamp or a date");
        self.time = Some(column);
        self
    }

    /// Sets which columns name a series: reads by these columns, and by the time behind them, have an index.
    ///
    /// # Panics
    /// Unless each is the name of a column.
    #[must_use]
    pub const fn series(mut self, columns: &'static [&'static str]) -> Self {
        let mut at = 0;
        while at < columns.len() {
            assert!(find(self.columns, columns[at]).is_some(), "the series: expected names of columns");
            at += 1;
        }
        self.series = columns;
        self
    }

    /// Makes it a hypertable of TimescaleDB, where PostgreSQL has that: rows of so many days lie together.
    ///
    /// # Panics
    /// For 0 days, and unless the [time](Self::time) was set, is no date, and is of the key.
    #[must_use]
    pub const fn chunk_days(mut self, days: u32) -> Self {
        let is_key_time = match self.time {
            Some(name) => match find(self.columns, name) {
                Some(at) => self.columns[at].is_key() && !matches!(self.columns[at].column_type, ColumnType::Date),
                None => false,
            },
            None => false,
        };
        assert!(is_key_time && days > 0, "the days of a chunk: expected a time that is of the key, and 1 day or more");
        self.chunk_days = days;
        self
    }

    /// Sets a view that is made with it.
    #[must_use]
    pub(crate) const fn view(mut self, view: &'static View) -> Self {
        self.view = Some(view);
        self
    }

    /// Returns the view that is made with it.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) const fn own_view(&self) -> Option<&'static View> {
        self.view
    }

    /// Returns its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns its columns, in order.
    pub const fn columns(&self) -> &'static [Column] {
        self.columns
    }

    /// Returns the column that is the time, if one is.
    pub fn time_column(&self) -> Option<&'static Column> {
        self.columns.iter().find(|column| Some(column.name) == self.time)
    }

    /// Returns what [`chunk_days`](Self::chunk_days) said; none where nothing was said.
    pub const fn days_of_chunk(&self) -> Option<u32> {
        if self.chunk_days == 0 { None } else { Some(self.chunk_days) }
    }

    /// Returns the columns that name a series, in their order.
    pub fn series_columns(&self) -> impl Iterator<Item = &'static Column> {
        let columns = self.columns;
        self.series.iter().filter_map(move |name| columns.iter().find(|column| column.name == *name))
    }
}

/// A column of a [`Table`]: its name, its type, whether it is of the key, required or optional, and a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    column_type: ColumnType,
    presence: Presence,
    comment: &'static str,
}

/// Whether each row has a value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Key,
    Required,
    Optional,
}

/// What a column holds, and how a database keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// A text without NUL.
    Text,
    /// A list of texts, kept as JSON: `["ES","NQ"]`.
    List,
    /// A time in microseconds. SQLite has an integer: microseconds since 1970.
    Timestamp,
    /// A time in nanoseconds. It becomes two columns: `ts` as [`Timestamp`](Self::Timestamp) has it, rounded down, and
    /// `ts_ns`, an integer of nanoseconds since 1970. A CHECK ties them together.
    TimestampNanos,
    /// A finite `f64`.
    Float,
    /// An `i64`.
    Integer,
    /// A date. SQLite has a text: `2024-01-02`.
    Date,
}

impl ColumnType {
    const fn is_time(self) -> bool {
        matches!(self, Self::Timestamp | Self::TimestampNanos | Self::Date)
    }
}

impl Column {
    const fn new(name: &'static str, column_type: ColumnType) -> Self {
        Self { name, column_type, presence: Presence::Required, comment: "" }
    }

    /// Makes a required column of [`ColumnType::Text`].
    pub const fn text(name: &'static str) -> Self {
        Self::new(name, ColumnType::Text)
    }

    /// Makes a required column of [`ColumnType::List`].
    pub const fn list(name: &'static str) -> Self {
        Self::new(name, ColumnType::List)
    }

    /// Makes a required column of [`ColumnType::Timestamp`].
    pub const fn timestamp(name: &'static str) -> Self {
        Self::new(name, ColumnType::Timestamp)
    }

    /// Makes a required column of [`ColumnType::TimestampNanos`].
    pub const fn timestamp_nanos(name: &'static str) -> Self {
        Self::new(name, ColumnType::TimestampNanos)
    }

    /// Makes a required column of [`ColumnType::Float`].
    pub const fn float(name: &'static str) -> Self {
        Self::new(name, ColumnType::Float)
    }

    /// Makes a required column of [`ColumnType::Integer`].
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ColumnType::Integer)
    }

    /// Makes a required column of [`ColumnType::Date`].
    pub const fn date(name: &'static str) -> Self {
        Self::new(name, ColumnType::Date)
    }

    /// Makes it a part of the key. Two records with one key are updates of one thing, and the later one wins.
    #[must_use]
    pub const fn key(mut self) -> Self {
        self.presence = Presence::Key;
        self
    }

    /// Makes it a column that may be null.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Says what it holds, for those who read the table.
    #[must_use]
    pub const fn comment(mut self, comment: &'static str) -> Self {
        self.comment = comment;
        self
    }

    /// Returns its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what it holds.
    pub const fn column_type(&self) -> ColumnType {
        self.column_type
    }

    /// Returns whether it is a part of the key.
    pub const fn is_key(&self) -> bool {
        matches!(self.presence, Presence::Key)
    }

    /// Returns whether it may be null.
    pub const fn is_optional(&self) -> bool {
        matches!(self.presence, Presence::Optional)
    }

    /// Returns what [`comment`](Self::comment) said; empty where nothing was said.
    pub const fn comment_text(&self) -> &'static str {
        self.comment
    }
}

/// What SQLite or PostgreSQL reserves, and what the views and the upsert use: a name is written without quotes
/// everywhere.
const RESERVED: &str = " add all alter analyse analyze and any array as asc asymmetric authorization autoincrement \
    between binary both case cast check collate collation column commit concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable delete desc distinct do drop else end escape except excluded exists false fetch for foreign freeze \
    from full grant group having if ilike in index initially inner insert intersect into is isnull join lateral \
    leading left like limit localtime localtimestamp micros nanos natural not nothing notnull null offset on only or \
    order outer overlaps placing primary raise references returning right select session_user set similar some split \
    symmetric system_user table tablesample then to trailing transaction true union unique update user using values \
    variadic verbose when where window with ";

/// The longest name: PostgreSQL cuts one at 63 bytes, and those of indexes and views are longer than the table's.
const NAME_BYTES: usize = 48;

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit() || bytes[at] == b'_') {
            return false;
        }
        at += 1;
    }
    let reserved = RESERVED.as_bytes();
    let mut start = 0;
    while start + bytes.len() + 1 < reserved.len() {
        let end = start + 1 + bytes.len();
        if reserved[start] == b' ' && reserved[end] == b' ' && is_at(reserved, start + 1, bytes) {
            return false;
        }
        start += 1;
    }
    true
}

/// Whether `text` has `part` at a place where it is long enough for it.
const fn is_at(text: &[u8], place: usize, part: &[u8]) -> bool {
    let mut at = 0;
    while at < part.len() {
        if text[place + at] != part[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn starts_with(text: &str, start: &str) -> bool {
    text.len() >= start.len() && is_at(text.as_bytes(), 0, start.as_bytes())
}

const fn ends_with(text: &str, end: &str) -> bool {
    text.len() >= end.len() && is_at(text.as_bytes(), text.len() - end.len(), end.as_bytes())
}

const fn contains(text: &str, part: &str) -> bool {
    let mut at = 0;
    while at + part.len() <= text.len() {
        if is_at(text.as_bytes(), at, part.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && is_at(a.as_bytes(), 0, b.as_bytes())
}

/// Whether a text is two others, one behind the other.
const fn is_equal_to_both(text: &str, first: &str, second: &str) -> bool {
    text.len() == first.len() + second.len()
        && is_at(text.as_bytes(), 0, first.as_bytes())
        && is_at(text.as_bytes(), first.len(), second.as_bytes())
}

const fn find(columns: &[Column], name: &str) -> Option<usize> {
    let mut at = 0;
    while at < columns.len() {
        if is_equal(columns[at].name, name) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    // Red when a check of a name is left out, or a word of the list is missed at its beginning or end.
    #[test]
    fn a_name_that_sql_would_read_otherwise_is_refused() {
        let long = "x".repeat(49);
        for name in [
            "", "Bars", "1m", "_bars", "a b", "a-b", "größe", "order", "add", "with", "micros", "excluded", "if",
            "raise", &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
        for name in ["bars", "ts_ns", "a1", "orders", "an", "ction", "open", "close", "action", &long[1..]] {
            assert!(is_name(name), "{name}");
        }
    }

    // Red when one of these tables is made: a database could not, or would make something else of it.
    #[test]
    fn a_table_that_no_database_could_make_is_refused() {
        const KEY: Column = Column::text("symbol").key();
        const KEY_ALONE: &[Column] = &[KEY];
        const RESERVED: &[Column] = &[KEY, Column::float("select")];
        const NANOS_FIRST: &[Column] = &[KEY, Column::timestamp_nanos("ts"), Column::float("ts_ns")];
        const NANOS_LAST: &[Column] = &[KEY, Column::float("ts_ns"), Column::timestamp_nanos("ts")];
        let refused = |make: fn() -> Table, expected: &str| {
            let panic = catch_unwind(make).unwrap_err();
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
            assert!(text.contains(expected), "{text}");
        };
        refused(|| Table::new("sqlite_bars", KEY_ALONE), "SQLite keeps sqlite_");
        refused(|| Table::new("order", KEY_ALONE), "the table's name");
        refused(|| Table::new("bars_readable", KEY_ALONE), "a view is called so");
        refused(|| Table::new("bars_by_symbol", KEY_ALONE), "an index is called so");
        refused(|| Table::new("t", RESERVED), "a column's name");
        refused(|| Table::new("t", &[KEY, KEY]), "two columns have one name");
        refused(|| Table::new("t", NANOS_FIRST), "nanoseconds");
        refused(|| Table::new("t", NANOS_LAST), "nanoseconds");
        refused(|| Table::new("t", const { &[Column::float("price")] }), "its key");
        refused(|| Table::new("t", KEY_ALONE).time("symbol"), "the time");
        refused(|| Table::new("t", KEY_ALONE).time("ts"), "the time");
        refused(|| Table::new("t", KEY_ALONE).series(&["symbol", "venue"]), "the series");
        for name in ["readable", "bars_readable_1", "by_symbol", "bars_by"] {
            assert_eq!(Table::new(name, KEY_ALONE).name(), name);
        }
    }
}
