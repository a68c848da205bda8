use smol_str::SmolStr;

use super::{
    columns::ColumnMap,
    times::{SessionStart, TimeFormat, TsIs, Zone},
};
use crate::record::{Adjustment, Timeframe};

/// What is known about the files beside what stands in them. Errors name these options as those of `mds ingest`.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// `--symbol`: what was traded, in its normal form ([`Bar::normal_symbol`](crate::Bar::normal_symbol)). A row that
    /// names another one is rejected.
    pub symbol: Option<SmolStr>,
    /// `--timeframe`: the time that a bar covers. A row that names another one is rejected.
    pub timeframe: Option<Timeframe>,
    /// `--vendor`: who made the data, in its normal form ([`Bar::normal_vendor`](crate::Bar::normal_vendor)). A row that
    /// names another one is rejected.
    pub vendor: Option<SmolStr>,
    /// `--adjustment`: what prices are adjusted for. A row that names another one is rejected; `unknown` names none.
    pub adjustment: Option<Adjustment>,
    /// `--tz`: where the clocks stand whose times have no offset, `"America/New_York".parse()`; UTC if it is none. The date of a bar of a day or more
    /// that has an epoch is taken there too, and without a zone is not known unless the epoch is midnight in UTC.
    pub zone: Option<Zone>,
    /// `--ts-format`: how times are written, if not in one of the usual ways, as strptime knows it: `"%d-%b-%Y %H:%M".parse()`.
    pub ts_format: Option<TimeFormat>,
    /// `--ts-is`: whether the time of a row is when its bar opens or when it ends. If it is none, it is when it opens, but in
    /// files of vendors that are known to write the end.
    pub ts_is: Option<TsIs>,
    /// `--session-start`: when the session of a day begins, if that is the evening before its date: `"17:00".parse()`.
    pub session_start: Option<SessionStart>,
    /// `--as-written`: times are taken as they are, also those that are hardly meant: off the grid of their timeframe, before
    /// 1900, after tomorrow, or closer together than the timeframe says.
    pub as_written: bool,
    /// `--map`: which column is what.
    pub map: ColumnMap,
    /// `--symbol-from-name`: the symbol is the name of the file without its endings.
    pub symbol_from_name: bool,
    /// The file's name, `-` for standard input. `BTCUSDT-1m-2024-01.zip` says symbol and timeframe; from another one a
    /// symbol is proposed if none is given.
    pub name: String,
}
