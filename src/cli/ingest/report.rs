//! What the files turned out to be, one by one.

use std::{fmt::Write, sync::Arc};

use serde::Serialize;

use super::Findings;
use crate::record::{Bar, Timeframe};

/// So many records of each file a dry run shows.
pub const SHOWN_RECORDS: usize = 3;
/// So many timeframes of a file are named.
const NAMED_TIMEFRAMES: usize = 8;

/// One input, and what was read from it: `read = accepted + rejected + skipped`. What became of the accepted is known of
/// the whole run alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReport {
    pub file: Arc<str>,
    pub read: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub skipped: u64,
    /// Why it was not read to its end.
    pub error: Option<String>,
    /// How it is written; none for an empty one.
    pub dialect: Option<String>,
    /// The zone of times without an offset.
    pub zone: String,
    /// The columns that are not used.
    pub ignored_columns: Option<String>,
    /// What the accepted are bars of, in the order in which they came.
    pub timeframes: Vec<Timeframe>,
    /// The first records, in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Bar>,
}

impl FileReport {
    pub fn new(file: Arc<str>) -> Self {
        Self {
            file,
            read: 0,
            accepted: 0,
            rejected: 0,
            skipped: 0,
            error: None,
            dialect: None,
            zone: String::new(),
            ignored_columns: None,
            timeframes: Vec::new(),
            first: Vec::new(),
        }
    }

    /// Notes what the file turned out to be.
    pub fn found(&mut self, findings: Findings) {
        let Findings { dialect, zone, ignored_columns } = findings;
        self.dialect = dialect.map(ToOwned::to_owned);
        self.zone = zone.to_string();
        self.ignored_columns = ignored_columns;
    }

    /// Counts records of these timeframes.
    pub fn accept(&mut self, records: u64, timeframes: &[Timeframe]) {
        self.accepted += records;
        self.read += records;
        for timeframe in timeframes {
            if self.timeframes.len() < NAMED_TIMEFRAMES && !self.timeframes.contains(timeframe) {
                self.timeframes.push(*timeframe);
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
        let Self { file, read, rejected, skipped, .. } = self;
        let mut line = format!("{file}: {read} read");
        // Writing to a string cannot fail.
        for (count, name) in [(rejected, "rejected"), (skipped, "skipped")] {
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

    /// Returns all that is known, on several lines, for whoever wants to see whether the file was understood.
    pub fn text(&self) -> String {
        let timeframes: Vec<_> = self.timeframes.iter().map(Timeframe::to_string).collect();
        let none = || "none".to_owned();
        let rows = [
            ("dialect", self.written().to_owned()),
            ("zone", self.zone.clone()),
            ("timeframe", if timeframes.is_empty() { none() } else { timeframes.join(", ") }),
            ("ignored columns", self.ignored_columns.clone().unwrap_or_else(none)),
        ];
        let mut text = format!("{}\n", self.file);
        for (name, value) in rows {
            let _ = writeln!(text, "  {name:15}  {value}");
        }
        for bar in &self.first {
            let Bar { vendor, symbol, timeframe, ts, open, high, low, close, volume } = bar;
            let volume = volume.map_or_else(|| "-".to_owned(), |volume| volume.to_string());
            let _ = writeln!(text, "  {vendor} {symbol} {timeframe} {ts} {open} {high} {low} {close} {volume}");
        }
        text
    }

    fn written(&self) -> &str {
        self.dialect.as_deref().unwrap_or("empty")
    }
}
