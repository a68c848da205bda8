//! The moment of a row.

use super::{cells::Cells, kind::FileContext};
use crate::{
    files::{row_error::RowError, times::is_date_alone},
    record::TimestampNanos,
    text::Quoted,
};

/// Reads the time of a row: a whole one, or a date with its time of day. A date alone says nothing of the moment.
pub(super) fn moment_of(
    cells: &Cells<'_>,
    columns: [usize; 3],
    file: &FileContext,
) -> Result<TimestampNanos, RowError> {
    let (time, clock) = time_cells(cells, columns);
    if clock.is_none() && is_date_alone(time) && !file.as_written {
        let message = format!("ts: expected a date and a time of day, got {}", Quoted(time));
        return Err(RowError::from(message).of_file(
            "say where the time of day is, as in --map date=COLUMN,time=COLUMN, or give --as-written if there is none",
        ));
    }
    match clock {
        Some(clock) => file.times.read_both("ts", time, clock),
        None => file.times.read("ts", time),
    }
}

/// Reads the time of a row where a date alone is enough: its midnight.
pub(super) fn moment_or_date_of(
    cells: &Cells<'_>,
    columns: [usize; 3],
    file: &FileContext,
) -> Result<TimestampNanos, RowError> {
    match time_cells(cells, columns) {
        (time, Some(clock)) => file.times.read_both("ts", time, clock),
        (time, None) => file.times.read("ts", time),
    }
}

/// Returns the cell of the time, and that of its time of day if it has one.
fn time_cells<'a>(cells: &Cells<'a>, [ts, date, clock]: [usize; 3]) -> (&'a str, Option<&'a str>) {
    match (cells.column(ts), cells.column(date), cells.column(clock)) {
        (Some(time), ..) | (None, None, Some(time)) | (None, Some(time), None) => (time, None),
        (None, Some(date), Some(clock)) => (date, Some(clock)),
        (None, None, None) => ("", None),
    }
}
