//! What the files turned out to be, one by one.

use std::{fmt::Write, sync::Arc};

use market_data_store::{
    Row, Tabular, Timeframe, Value,
    files::{Compression, Dialect, FileInfo, TsIs},
    text::Shown,
};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::cli::output::Text;

/// So many records of each file a dry run shows.
pub const SHOWN_RECORDS: usize = 3;
/// So many timeframes of a file are named.
const NAMED_TIMEFRAMES: usize = 8;

/// One input, and what was read from it: `read = accepted + rejected + skipped`. What became of the accepted is known of
/// the whole run alone.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub file: Arc<str>,
    pub read: u64,
    pub accepted: u64,
    /// How many of the accepted a later row of the file took the place of.
    pub replaced: u64,
    pub rejected: u64,
    pub skipped: u64,
    /// Why it was not read to its end.
    pub error: Option<String>,
    /// What it is packed in; none if it is not.
    pub packing: Option<&'static str>,
    /// How it is written, or who writes so; none for an empty one.
    pub dialect: Option<&'static str>,
    /// The zone of times without an offset.
    pub zone: String,
    /// What the time of a row is of its bar: `begin` or `end`; none for other kinds.
    pub ts_is: Option<&'static str>,
    /// How many lines in front of the header were passed over.
    pub lines_skipped: u64,
    /// The columns that are not used.
    pub ignored_columns: Option<String>,
    /// What the accepted are bars of, in the order in which they came; none for other kinds.
    pub timeframes: Option<Vec<Timeframe>>,
    /// The first records, in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<ShownRecord>,
}

/// A record that a dry run shows.
#[derive(Clone, Debug)]
pub struct ShownRecord {
    json: Box<RawValue>,
    /// Its values, in the order of the columns.
    line: String,
}

impl ShownRecord {
    pub fn new<T: Tabular>(record: &T) -> Self {
        let row = Row::of(record);
        let values: Vec<_> = row.values().iter().map(shown).collect();
        // What is read from a file has a JSON: texts and finite numbers.
        let json = to_raw_value(record).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { json, line: values.join(" ") }
    }
}

impl Serialize for ShownRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) if text.is_empty() => "-".to_owned(),
        Value::Text(text) => Shown(text).to_string(),
        Value::Timestamp(ts) => ts.to_string(),
        Value::TimestampNanos(ts) => ts.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Date(date) => date.to_string(),
        _ => "-".to_owned(),
    }
}

impl FileReport {
    pub fn new(file: Arc<str>, has_timeframes: bool) -> Self {
        Self {
            file,
            read: 0,
            accepted: 0,
            replaced: 0,
            rejected: 0,
            skipped: 0,
            error: None,
            packing: None,
            dialect: None,
            zone: String::new(),
            ts_is: has_timeframes.then_some("begin"),
            lines_skipped: 0,
            ignored_columns: None,
            timeframes: has_timeframes.then(Vec::new),
            first: Vec::new(),
        }
    }

    /// Notes what the file turned out to be.
    pub fn found(&mut self, info: FileInfo) {
        let FileInfo { compression, dialect, zone, lines_skipped, ignored_columns, ts_is, .. } = info;
        self.packing = compression.map(Compression::as_str);
        self.dialect = dialect.map(Dialect::as_str);
        self.zone = zone.to_string();
        self.ts_is = self.ts_is.map(|_| if ts_is == TsIs::End { "end" } else { "begin" });
        self.lines_skipped = lines_skipped;
        self.ignored_columns = ignored_columns;
    }

    /// Counts records of these timeframes.
    pub fn accept(&mut self, records: u64, timeframes: &[Timeframe]) {
        self.accepted += records;
        self.read += records;
        let Some(known) = &mut self.timeframes else { return };
        for timeframe in timeframes {
            if known.len() < NAMED_TIMEFRAMES && !known.contains(timeframe) {
                known.push(*timeframe);
            }
        }
    }

    pub fn skip(&mut self, rows: u64) {
        self.skipped += rows;
        self.read += rows;
    }

    pub fn reject(&mut self) {
        self.rejected += 1;
        self.read += 1;
    }

    /// Returns one line: the counts, and how the file is written.
    pub fn line(&self) -> String {
        let Self { file, read, replaced, rejected, skipped, .. } = self;
        let mut line = format!("{file}: {read} read");
        // Writing to a string cannot fail.
        for (count, name) in [(replaced, "replaced"), (rejected, "rejected"), (skipped, "skipped")] {
            if *count > 0 {
                let _ = write!(line, ", {count} {name}");
            }
        }
        let _ = write!(line, ", {}", self.written());
        if self.error.is_some() {
            line.push_str(", not to its end");
        }
        line
    }

    /// Adds all that is known, on several lines, which show whether the file was understood.
    pub fn lines(&self, text: &mut Text) {
        let none = || "none".to_owned();
        let timeframes = self.timeframes.as_ref().map(|timeframes| {
            let timeframes: Vec<_> = timeframes.iter().map(Timeframe::to_string).collect();
            if timeframes.is_empty() { none() } else { timeframes.join(", ") }
        });
        let rows = [
            ("dialect", Some(self.written())),
            ("zone", Some(self.zone.clone())),
            ("times are when", self.ts_is.map(|ts_is| format!("bars {ts_is}"))),
            ("timeframe", timeframes),
            ("ignored columns", Some(self.ignored_columns.clone().unwrap_or_else(none))),
        ];
        text.line(&self.file);
        for (name, value) in rows {
            if let Some(value) = value {
                text.line(format_args!("  {name:15}  {value}"));
            }
        }
        for record in &self.first {
            text.line(format_args!("  {}", record.line));
        }
        text.line("");
    }

    fn written(&self) -> String {
        let dialect = self.dialect.unwrap_or("empty");
        self.packing.map_or_else(|| dialect.to_owned(), |packing| format!("{dialect} in {packing}"))
    }
}
