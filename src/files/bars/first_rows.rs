//! What the first rows show of columns whose names do not settle it: which volume is meant, and which time.

use super::{
    raw_bar::{NamedCell, RawBar},
    volume_columns::{Volume, VolumeColumns, paid_for, volume_of},
};
use crate::{
    files::{
        column_names::{is_begin, is_end, is_of_something_else, may_be_time, word},
        columns::{ColumnMap, Role},
        times::{Reading, Times},
    },
    record::{Timeframe, Timestamp},
    text::Quoted,
};

/// So many rows are looked at.
const ROWS: u32 = 32;

/// So many rows may show nothing of the volume, before its name decides.
const OPEN_ROWS: u32 = 10_000;

/// What is known of a row beside its cells.
pub(super) struct Known<'a> {
    pub(super) symbol: &'a str,
    pub(super) timeframe: Timeframe,
    pub(super) map: &'a ColumnMap,
    /// Whether the user says which column is the volume.
    pub(super) says_volume: bool,
}

/// Looks at the first rows of a file.
pub(super) struct FirstRows {
    left: u32,
    /// No row has had all amounts yet, so that none has shown which is the volume.
    volume_is_open: bool,
    /// So many rows did not.
    open_rows: u32,
    /// Columns that look like a volume, in a file that has none.
    unknown_volumes: Vec<String>,
}

impl Default for FirstRows {
    fn default() -> Self {
        Self { left: ROWS, volume_is_open: true, open_rows: 0, unknown_volumes: Vec::new() }
    }
}

impl FirstRows {
    /// Returns whether a further row can show anything.
    pub(super) fn are_wanted(&self) -> bool {
        self.left > 0 || self.volume_is_open
    }

    /// Says that the file is taken as it is.
    pub(super) fn end(&mut self) {
        (self.left, self.volume_is_open) = (0, false);
    }

    /// Returns what to say of a file without a volume that has columns which look like one.
    pub(super) fn note(&self) -> Option<String> {
        let names: Vec<_> = self.unknown_volumes.iter().map(|name| Quoted(name).to_string()).collect();
        (!names.is_empty()).then(|| {
            format!("no volume is loaded: give --map volume=COLUMN if one of {} is the volume", names.join(", "))
        })
    }

    /// Takes a row. Returns the columns of the volume, if it shows more of them than their names.
    ///
    /// # Errors
    /// A column has two meanings, or two columns have one, and nothing tells which is meant.
    pub(super) fn look_at(
        &mut self,
        cells: &[NamedCell<'_>],
        row: &RawBar<'_>,
        known: &Known<'_>,
        times: &mut Times,
    ) -> Result<Option<VolumeColumns>, String> {
        if self.left > 0 {
            self.left -= 1;
            let rounded = times.rounded();
            if !known.map.decides(Role::Time) {
                other_times(cells, row, known.timeframe, times)?;
            } else if !times.knows_ts_is() {
                named_end(cells)?;
            }
            times.set_rounded(rounded);
        }
        if !self.volume_is_open {
            return Ok(None);
        }
        if known.says_volume {
            self.volume_is_open = false;
            return Ok(None);
        }
        let volume = match volume_of(cells, row, known.symbol)? {
            Volume::Open | Volume::OpenBy(_) if self.open_rows >= OPEN_ROWS => {
                self.volume_is_open = false;
                return Ok(None);
            }
            Volume::Open => {
                self.open_rows += 1;
                return Ok(None);
            }
            Volume::OpenBy(volume) => {
                self.open_rows += 1;
                return Ok(Some(VolumeColumns { volume, paid: None }));
            }
            Volume::ByName => cells.iter().position(|cell| cell.role == Some(Role::Volume)),
            Volume::Column(index) => Some(index),
            Volume::Unknown(names) => {
                self.unknown_volumes = names;
                None
            }
        };
        self.volume_is_open = false;
        let columns = volume.map(|volume| VolumeColumns { volume, paid: paid_for(cells, row, volume) });
        Ok(columns.filter(|columns| columns.paid.is_some() || cells[columns.volume].role != Some(Role::Volume)))
    }
}

/// Fails if the user names a column for the time that holds the ends of bars, and does not say that it does.
fn named_end(cells: &[NamedCell<'_>]) -> Result<(), String> {
    match cells.iter().find(|cell| matches!(cell.role, Some(Role::Time | Role::Date)) && is_end(cell.name)) {
        Some(end) => Err(format!(
            "time: expected when a bar begins, got the column {}, which names when it ends: give --ts-is end, or --ts-is begin if \
             it is when the bar begins",
            Quoted(end.name)
        )),
        None => Ok(()),
    }
}

/// Fails if a column that is not used holds another time than that of the row, and nothing says what it is of.
fn other_times(
    cells: &[NamedCell<'_>],
    row: &RawBar<'_>,
    timeframe: Timeframe,
    times: &mut Times,
) -> Result<(), String> {
    let session = timeframe.is_day_or_more();
    // A time of day beside a whole time is one more whole time, if it is no time of day.
    let has = |role: Role| cells.iter().any(|cell| cell.role == Some(role));
    let is_clock_unused = has(Role::Time) && !has(Role::Date);
    let candidates = cells.iter().filter(|cell| {
        let is_unused = cell.role.is_none() || is_clock_unused && cell.role == Some(Role::Clock);
        is_unused && looks_like_time(cell) && !is_of_something_else(cell.name) && !is_end(cell.name)
    });
    for other in candidates {
        let Ok(reading) = times.read(row.time, row.clock, session) else { return Ok(()) };
        let Ok(read) = times.read(other.cell, None, session) else { continue };
        let is_date = times.is_date(other.cell);
        let begins = cells.iter().any(|cell| cell.role == Some(Role::Time) && is_begin(cell.name));
        if !agree(&reading, &read, is_date, begins, timeframe) {
            let of = |role: Role| {
                let found = cells.iter().enumerate().find(|(_, cell)| cell.role == Some(role));
                found.map(|(index, cell)| (cell.name, word(cell.name, index)))
            };
            let (main, mapped) = match (of(Role::Time), of(Role::Date), of(Role::Clock)) {
                (Some((name, word)), ..) => (name, format!("ts={word}")),
                (None, Some((name, date)), Some((_, clock))) => (name, format!("date={date},time={clock}")),
                (None, Some((name, word)), None) | (None, None, Some((name, word))) => (name, format!("ts={word}")),
                (None, None, None) => ("the time", "ts=COLUMN".to_owned()),
            };
            let index = cells.iter().position(|cell| cell.name == other.name).unwrap_or_default();
            return Err(format!(
                "time: expected one moment in all columns of a time, got {} in {} and {} in {}: give --map {mapped} or --map ts={} with \
                 the one that counts, or --tz",
                Quoted([row.time, row.clock.unwrap_or_default()].join(" ").trim_end()),
                Quoted(main),
                Quoted(other.cell),
                Quoted(other.name),
                word(other.name, index)
            ));
        }
    }
    Ok(())
}

fn looks_like_time(cell: &NamedCell<'_>) -> bool {
    let text = cell.cell;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return [8, 10, 13, 16, 19].contains(&text.len()) && may_be_time(cell.name);
    }
    let marks = text.bytes().filter(|byte| b"-/.".contains(byte)).count();
    (8..=40).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_digit())
        && (marks >= 2 || text.contains(':'))
}

/// Returns whether a second time of a row is no other one than the first: the same moment, its day, or the end of the bar.
/// Beside one that says that it is the beginning (`begins`), any moment of the bar is one at which it was sent.
fn agree(reading: &Reading, other: &Reading, is_date: bool, begins: bool, timeframe: Timeframe) -> bool {
    const SENT_AFTER: i64 = 60_000_000;
    const HOUR: i64 = 3_600_000_000;
    let length = i64::try_from(timeframe.least_seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let is_epoch = matches!(reading, Reading::Known(_, None));
    let is_text = !matches!(other, Reading::Known(_, None));
    let agrees = |ts: Timestamp, other: Timestamp| {
        let after = other.as_micros() - ts.as_micros();
        after == 0
            || begins && (0..=length.saturating_add(SENT_AFTER)).contains(&after)
            || [0, 1, 1_000, 1_000_000].iter().any(|last| after == length - last)
            || is_date && !timeframe.is_day_or_more() && (-36 * HOUR..12 * 24 * HOUR).contains(&after)
            // The clocks of a text beside an epoch can stand anywhere.
            || is_epoch && is_text && after % (HOUR / 4) == 0 && after.abs() <= 14 * HOUR
    };
    let others = other.moments();
    reading.moments().into_iter().flatten().any(|ts| others.into_iter().flatten().any(|other| agrees(ts, other)))
}
