//! What files of Databento have in common.

use super::{cells::Cells, columns_of_file::FileColumns, kind::FileContext};
use crate::{files::row_error::RowError, text::Quoted};

/// What Databento writes for a time that there is not.
const NO_TIME: &str = "18446744073709551615";

/// Returns whether the columns are those of Databento. Others write `ts_event` too, beside prices as they are.
pub(super) fn is_writer(columns: &FileColumns<'_>) -> bool {
    let own = ["rtype", "publisherid", "tsrecv", "tsindelta", "action", "bidpx00"];
    columns.is_named("tsevent") && own.iter().any(|name| columns.is_named(name))
}

/// Returns whether a type of record is one of BBO or CBBO of each second or minute.
pub(super) fn is_of_interval(record_type: &str) -> bool {
    ["192", "193", "195", "196"].contains(&record_type)
}

/// The one instrument of a file that names no symbols.
#[derive(Default)]
pub(super) struct Instrument {
    has_symbols: bool,
    first: Option<String>,
}

impl Instrument {
    pub(super) fn new(has_symbols: bool) -> Self {
        Self { has_symbols, first: None }
    }

    /// Without symbols only the number tells instruments apart.
    pub(super) fn check(&mut self, cell: &str) -> Result<(), RowError> {
        if self.has_symbols || cell.is_empty() {
            return Ok(());
        }
        let first = self.first.get_or_insert_with(|| cell.to_owned());
        if first == cell {
            return Ok(());
        }
        let message = format!(
            "instrument_id: expected {} as on the first row, since the file names no symbols, got {}",
            Quoted(first),
            Quoted(cell)
        );
        Err(RowError::from(message).of_whole_file("get the data with symbols, as with map_symbols"))
    }
}

/// When a record was received.
pub(super) struct Received {
    /// The columns that may say it, the first that does counts.
    pub(super) columns: [usize; 2],
    pub(super) is_databento: bool,
}

impl Received {
    pub(super) fn read(&self, cells: &Cells<'_>, file: &FileContext) -> Result<Option<i64>, RowError> {
        match self.columns.into_iter().find_map(|role| cells.text(role)) {
            None | Some("0") => Ok(None),
            Some(NO_TIME) if self.is_databento => Ok(None),
            Some(text) => file.times.read("received_ts_ns", text).map(|ts| Some(ts.as_nanos())),
        }
    }
}
