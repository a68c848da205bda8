//! Who wrote a file, where that decides what its cells mean.

use super::raw_bar::NamedCell;
use crate::files::columns::ColumnMap;

/// Who wrote a file, where that decides what its cells mean.
pub(super) enum Recognized {
    /// We did: all is what it says.
    Ours,
    /// BitMEX, whose times are those of the ends of bars.
    TimesOfEnds,
    /// Kraken or Bybit, whose intervals count minutes.
    TimeframesInMinutes,
}

/// Recognizes a file by the names of all its columns.
pub(super) fn recognized(cells: &[NamedCell<'_>], map: &ColumnMap) -> Option<Recognized> {
    const OURS: [&str; 9] = ["vendor", "symbol", "timeframe", "ts", "open", "high", "low", "close", "volume"];
    let has = |name: &str| cells.iter().any(|cell| cell.name.eq_ignore_ascii_case(name));
    if map.is_empty() && cells.iter().map(|cell| cell.name).eq(OURS) {
        Some(Recognized::Ours)
    } else if has("homeNotional") && has("foreignNotional") {
        Some(Recognized::TimesOfEnds)
    } else if has("interval_begin") || ["interval", "start", "end", "confirm"].into_iter().all(has) {
        Some(Recognized::TimeframesInMinutes)
    } else {
        None
    }
}
