//! What a reader found out about a file before its rows.

use std::fmt;

use smol_str::SmolStr;

use super::{
    decompress::Compression,
    times::{TsIs, Zone},
};
use crate::{
    record::{Bar, Record, Timeframe},
    text::Shown,
};

/// Who writes files in this way, or what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// A header with the usual names.
    Csv,
    /// Columns by number, as `--map` says, and no header.
    Mapped,
    /// Fields by tickers, under two or three header rows.
    Yfinance,
    /// Klines of Binance, with a header or without.
    Klines,
    /// Aggregates of Polygon (Massive).
    Polygon,
    /// OHLCV records of Databento.
    Databento,
    /// Volumes by currency, and an epoch beside the date.
    CryptoDataDownload,
    /// A period column: a number is one of minutes.
    Stooq,
    /// Our own columns, as `mds query` writes them.
    Own,
    /// Another form of a vendor's, by its name.
    Known(&'static str),
    /// One JSON object a line.
    Ndjson,
    /// One JSON array of objects.
    JsonArray,
}

impl Dialect {
    /// Returns what it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Mapped => "CSV without a header, by --map",
            Self::Yfinance => "yfinance table of tickers",
            Self::Klines => "Binance klines",
            Self::Polygon => "Polygon aggregates",
            Self::Databento => "Databento OHLCV",
            Self::CryptoDataDownload => "CryptoDataDownload",
            Self::Stooq => "Stooq",
            Self::Own => "CSV of our own columns",
            Self::Known(name) => name,
            Self::Ndjson => "NDJSON",
            Self::JsonArray => "JSON array",
        }
    }

    /// Returns whether the days of this vendor are those of UTC. Their epochs would be the day before in a zone of the
    /// Americas, which another file of the same run may need.
    pub(crate) const fn has_days_of_utc(self) -> bool {
        matches!(self, Self::Klines | Self::Databento | Self::CryptoDataDownload)
    }
}

/// What a reader found out about a file: complete once its first row was handed over.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FileInfo {
    /// What its records are, such as `bars`.
    pub kind: &'static str,
    /// What it is compressed with; none if it is not.
    pub compression: Option<Compression>,
    /// Who wrote it; none before its header is read.
    pub dialect: Option<Dialect>,
    /// The zone of times without an offset.
    pub zone: Zone,
    /// The symbol of the whole file, and whether an option or the file's name says so; none where a column does.
    pub symbol: Option<(SmolStr, &'static str)>,
    /// The timeframe of the whole file, likewise.
    pub timeframe: Option<(Timeframe, &'static str)>,
    /// How many lines in front of the header were passed over.
    pub lines_skipped: u64,
    /// The names of the columns that are not used, with commas between them.
    pub ignored_columns: Option<String>,
    /// What the time of a row is of its bar.
    pub ts_is: TsIs,
}

/// One line, such as `zip, Binance klines; BTCUSDT by the file's name, 1m by the file's name; times without offset in
/// UTC`.
impl fmt::Display for FileInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(compression) = self.compression {
            write!(f, "{}, ", compression.as_str())?;
        }
        f.write_str(self.dialect.map_or("nothing", Dialect::as_str))?;
        match &self.symbol {
            Some((symbol, who)) => write!(f, "; {} by {who}", Shown(symbol))?,
            None => f.write_str("; symbols by column")?,
        }
        match &self.timeframe {
            Some((timeframe, who)) => write!(f, ", {timeframe} by {who}")?,
            None if self.kind == Bar::KIND => f.write_str(", timeframes by column")?,
            None => {}
        }
        write!(f, "; times without offset in {}", self.zone)?;
        if self.ts_is == TsIs::End {
            f.write_str("; times are those at which bars end")?;
        }
        if self.lines_skipped > 0 {
            write!(f, "; lines in front of the header: {}", self.lines_skipped)?;
        }
        if let Some(ignored) = &self.ignored_columns {
            write!(f, "; ignored columns: {ignored}")?;
        }
        Ok(())
    }
}
