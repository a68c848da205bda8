//! What lies in the store of any kind but bars: by series, its ends, its number of records, its invalid rows, and days
//! without a record.
//!
//! A series is the columns of the key up to those that name one, such as vendor, venue and symbol. Where the time comes
//! next in the key, rows come in its order, and days can be told apart.

use std::ops::ControlFlow;

use market_data_store::{
    Column, ColumnType, DatabaseError, Date, Invalid, StoredRow, Tabular, Timestamp, TimestampNanos,
    sink::{DatabaseReader, Selection},
    text::Shown,
};
use serde::Serialize;
use smol_str::SmolStr;

use super::{
    NAMED_ROWS,
    days::{DayGap, Days},
};
use crate::cli::output::Text;

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kind: &'static str,
    records: u64,
    pub(super) invalid: u64,
    pub(super) series: Vec<Found>,
    errors: Vec<InvalidRow>,
    #[serde(skip)]
    columns: Vec<&'static str>,
}

/// One series.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    /// The values of its columns, by their names.
    #[serde(flatten)]
    name: std::collections::BTreeMap<&'static str, SmolStr>,
    records: u64,
    first: Option<Time>,
    last: Option<Time>,
    /// On how many days it has a record; none where rows do not come in the order of time.
    days: Option<u64>,
    gaps: Vec<DayGap>,
    invalid: u64,
}

#[derive(Debug, Serialize)]
struct InvalidRow {
    key: String,
    message: String,
}

/// The time of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
enum Time {
    Micros(Timestamp),
    Nanos(TimestampNanos),
    Date(Date),
}

impl Time {
    fn of(row: &StoredRow<'_>, column: &Column) -> Result<Self, Invalid> {
        Ok(match column.column_type() {
            ColumnType::TimestampNanos => Self::Nanos(row.get(column.name())?),
            ColumnType::Date => Self::Date(row.get(column.name())?),
            _ => Self::Micros(row.get(column.name())?),
        })
    }

    fn micros(self) -> Option<Timestamp> {
        match self {
            Self::Micros(ts) => Some(ts),
            Self::Nanos(ts) => Some(ts.floor()),
            Self::Date(_) => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Micros(ts) => ts.to_string(),
            Self::Nanos(ts) => ts.to_string(),
            Self::Date(date) => date.to_string(),
        }
    }
}

/// A series while it is read.
struct Looking {
    name: Vec<SmolStr>,
    records: u64,
    invalid: u64,
    ends: Option<[Time; 2]>,
    days: Option<Days>,
}

impl Report {
    pub(super) fn of<T: Tabular>(reader: &DatabaseReader, selection: &Selection<T>) -> Result<Self, DatabaseError> {
        let (columns, has_days) = series_columns::<T>();
        let time = T::TABLE.time_column();
        let (series, errors) = (Vec::new(), Vec::new());
        let mut report = Self { kind: T::KIND, records: 0, invalid: 0, series, errors, columns };
        let mut current: Option<Looking> = None;
        reader.rows(selection, |row| {
            let cell = |column: &&'static str| row.get(column).unwrap_or_else(|_| SmolStr::new_static("?"));
            let name: Vec<SmolStr> = report.columns.iter().map(cell).collect();
            if let Some(done) = current.take_if(|looking| looking.name != name) {
                report.add(done);
            }
            let looking = current.get_or_insert_with(|| Looking {
                name,
                records: 0,
                invalid: 0,
                ends: None,
                days: has_days.then(Days::default),
            });
            looking.records += 1;
            if let Some(ts) = time.and_then(|column| Time::of(&row, column).ok()) {
                looking.observe(ts);
            }
            if let Err(invalid) = T::from_row(&row).and_then(|mut record| record.validate()) {
                looking.invalid += 1;
                if report.errors.len() < NAMED_ROWS {
                    report.errors.push(InvalidRow { key: row.to_string(), message: invalid.to_string() });
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(done) = current {
            report.add(done);
        }
        Ok(report)
    }

    fn add(&mut self, looking: Looking) {
        let Looking { name, records, invalid, ends, days } = looking;
        self.records += records;
        self.invalid += invalid;
        let (days, gaps) = days.map(Days::finish).unzip();
        self.series.push(Found {
            name: self.columns.iter().copied().zip(name).collect(),
            records,
            first: ends.map(|[first, _]| first),
            last: ends.map(|[_, last]| last),
            days,
            gaps: gaps.unwrap_or_default(),
            invalid,
        });
    }

    pub(super) fn table(&self, text: &mut Text) {
        let heads = self.columns.iter().copied().chain(["records", "first", "last", "days", "invalid"]);
        let heads: Vec<String> = heads.map(str::to_owned).collect();
        let rows: Vec<Vec<String>> = self.series.iter().map(|found| found.cells(&self.columns)).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|at| rows.iter().chain([&heads]).map(|row| row[at].chars().count()).max().unwrap_or_default())
            .collect();
        let mut line = |cells: &[String], gaps: &[DayGap]| {
            let cells: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.line(cells.join("  ").trim_end());
            for DayGap { after, days } in gaps {
                text.line(format_args!(
                    "  {days} day{} without a record after {after}",
                    if *days == 1 { "" } else { "s" }
                ));
            }
        };
        if !rows.is_empty() {
            line(&heads, &[]);
        }
        for (cells, found) in rows.iter().zip(&self.series) {
            line(cells, &found.gaps);
        }
        let (kind, series) = (self.kind, self.series.len());
        text.line(format_args!("{} {kind} in {series} series, {} invalid", self.records, self.invalid));
        for InvalidRow { key, message } in &self.errors {
            text.line(format_args!("{key}: {message}"));
        }
        match self.invalid - self.errors.len() as u64 {
            0 => {}
            more => text.line(format_args!("and {more} more invalid")),
        }
    }
}

impl Looking {
    fn observe(&mut self, ts: Time) {
        let [first, last] = self.ends.unwrap_or([ts, ts]);
        self.ends = Some([first.min(ts), last.max(ts)]);
        if let (Some(days), Some(ts)) = (&mut self.days, ts.micros().filter(|ts| ts.has_text())) {
            days.observe(ts);
        }
    }
}

impl Found {
    fn cells(&self, columns: &[&'static str]) -> Vec<String> {
        let name = columns.iter().map(|column| Shown(&self.name[column]).to_string());
        let time = |ts: Option<Time>| ts.map_or_else(|| "-".to_owned(), Time::text);
        let days = self.days.map_or_else(|| "-".to_owned(), |days| days.to_string());
        name.chain([self.records.to_string(), time(self.first), time(self.last), days, self.invalid.to_string()])
            .collect()
    }
}

/// Returns the columns of the key that tell series apart, and whether rows of one come in the order of time: those up to
/// the last that names a series, or where none does all but the last of the key.
fn series_columns<T: Tabular>() -> (Vec<&'static str>, bool) {
    let keys: Vec<_> = T::TABLE.columns().iter().filter(|column| column.is_key()).collect();
    let last = T::TABLE.series_columns().filter_map(|named| keys.iter().position(|key| *key == named)).max();
    let count = last.map_or(keys.len() - 1, |last| last + 1);
    let next = keys.get(count).copied();
    let has_days = next.is_some_and(|key| Some(key) == T::TABLE.time_column() && key.column_type() != ColumnType::Date);
    (keys[..count].iter().map(|column| column.name()).collect(), has_days)
}
