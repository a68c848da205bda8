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
    // The adjustment came later.
    const OURS: [&str; 10] =
        ["vendor", "symbol", "timeframe", "adjustment", "ts", "open", "high", "low", "close", "volume"];
    let is_ours = |has_adjustment: bool| {
        let ours = OURS.into_iter().filter(|name| has_adjustment || *name != "adjustment");
        cells.iter().map(|cell| cell.name).eq(ours)
    };
    let has = |name: &str| cells.iter().any(|cell| cell.name.eq_ignore_ascii_case(name));
    if map.is_empty() && (is_ours(true) || is_ours(false)) {
        Some(Recognized::Ours)
    } else if has("homeNotional") && has("foreignNotional") {
        Some(Recognized::TimesOfEnds)
    } else if has("interval_begin") || ["interval", "start", "end", "confirm"].into_iter().all(has) {
        Some(Recognized::TimeframesInMinutes)
    } else {
        None
    }
}
