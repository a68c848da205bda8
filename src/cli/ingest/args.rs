//! The options of `mds ingest`.

use std::{ffi::OsString, path::PathBuf};

use market_data_store::{
    Adjustment, Bar, CoordinatorSettings, InvalidText, Record as _, Timeframe,
    files::{FileRecord, KIND_NAMES, ReadError, ReadOptions, SessionStart, TimeFormat, TsIs, Zone},
};
use smol_str::SmolStr;

use super::{corrected::corrected, input::Input};
use crate::cli::{database::Database, outage::OutageTimeout, output::complain};

/// Loads records from CSV, NDJSON and JSON files, compressed or not, into the database of MDS_DATABASE_URL or
/// --database.
///
/// A line that holds no valid record costs only itself and is named at the end. Of two rows of a file for the same bar the
/// later wins if it is plainly a newer version of the bar, and is rejected if it is not. On a pipe it writes by MDS_COORDINATOR_FLUSH_INTERVAL, and the pipe fills up when the store is slow.
#[derive(clap::Args)]
pub struct Args {
    /// What the files hold. Options that say something of bars alone are refused for other kinds.
    #[arg(long, value_name = "K", default_value = Bar::KIND, value_parser = clap::builder::PossibleValuesParser::new(KIND_NAMES))]
    pub(in crate::cli) kind: String,
    /// What was traded, where the files do not say; of options the underlying.
    #[arg(long, value_name = "S", value_parser = Bar::normal_symbol)]
    symbol: Option<SmolStr>,
    /// Take the symbol from each file's name: BRK.B.csv.gz holds BRK.B.
    #[arg(long, conflicts_with = "symbol")]
    symbol_from_name: bool,
    /// The time that a bar covers, such as 1m, 4h, 1d or 1mo, where the files do not say.
    #[arg(long, value_name = "T")]
    timeframe: Option<Timeframe>,
    /// Who made the data, where the files do not say.
    #[arg(long, value_name = "V", value_parser = Bar::normal_vendor)]
    vendor: Option<SmolStr>,
    /// What prices are adjusted for, where the files do not say in a column named adjustment: raw is nothing, split is
    /// splits, all is splits and dividends. It is a part of the key: a file that was loaded without it and is loaded again
    /// with it is two series.
    #[arg(long, value_name = "raw|split|all")]
    adjustment: Option<Adjustment>,
    /// The time zone of times without an offset, such as America/New_York. UTC if it is not given.
    #[arg(long, value_name = "ZONE")]
    tz: Option<Zone>,
    /// How times are written, such as %d.%m.%Y %H:%M, if not in a usual way.
    #[arg(long, value_name = "F")]
    ts_format: Option<TimeFormat>,
    /// Whether the time of a row is when its bar begins or when it ends; a bar that is stored has the time at which it
    /// begins. begin if it is not given, but for files of vendors that are known to write the end.
    #[arg(long, value_name = "begin|end")]
    ts_is: Option<TsIs>,
    /// When sessions begin by the clocks of --tz, where a bar of a day or more begins the evening before its date: 17:00. With
    /// 00:00 a day is one of the calendar.
    #[arg(long, value_name = "HH:MM")]
    session_start: Option<SessionStart>,
    /// Take times as they are, also before 1900, after tomorrow, off the grid of the timeframe or closer together than it.
    #[arg(long)]
    as_written: bool,
    /// Which column is what, by its name or its number from 1, where the names in the file do not say it or there are
    /// none: ts=1,open=2,high=3,low=4,close=5,volume=6. Names of bars are ts, date, time, open, high, low, close, volume,
    /// symbol, timeframe, vendor, adjustment; those of other kinds are the columns of their tables, date and time.
    #[arg(long, value_name = "NAME=COLUMN,...")]
    map: Option<String>,
    /// Leave out the directories below a directory that is named.
    #[arg(long)]
    pub(super) no_recursive: bool,
    #[command(flatten)]
    pub(in crate::cli) database: Database,
    #[command(flatten)]
    pub(super) outage_timeout: OutageTimeout,
    /// Read and check, but store nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Files to load, directories with those below them, or patterns such as 'data/*.csv'; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// The queue of a loader where none of its sizes is set: large enough for batches that pay.
pub const CAPACITY: usize = 20_000;

/// More in one commit gains nothing, and would be written again whole after a failure.
const MOST_IN_A_BATCH: usize = 5_000;

/// Returns the batch size of a loader where none is set: the largest with which the workers do not take a full queue down
/// to its low watermark at once. A file brings more than any queue holds, and each commit waits for the disk, so fewer and
/// larger ones pay; where little comes, the flush interval ends a batch all the same.
pub fn batch_size(settings: &CoordinatorSettings) -> usize {
    // Watermarks that are out of order are an error of their own.
    let low = settings.checked_watermarks().map_or(0, |marks| marks.low());
    ((settings.capacity - low).saturating_sub(1) / settings.workers).clamp(1, MOST_IN_A_BATCH)
}

impl Args {
    /// Returns what the options say of files of that kind.
    ///
    /// # Errors
    /// The value of `--map`.
    pub(super) fn options<T: FileRecord>(&self) -> Result<ReadOptions, InvalidText> {
        Ok(ReadOptions {
            symbol: self.symbol.clone(),
            timeframe: self.timeframe,
            vendor: self.vendor.clone(),
            adjustment: self.adjustment,
            zone: self.tz.clone(),
            ts_format: self.ts_format.clone(),
            ts_is: self.ts_is,
            session_start: self.session_start,
            as_written: self.as_written,
            map: self.map.as_deref().map(T::column_map).transpose()?.unwrap_or_default(),
            symbol_from_name: self.symbol_from_name,
            name: String::new(),
        })
    }

    /// Says what is wrong with an input, and how to say what is missing.
    pub(super) fn complain_about(&self, input: &Input, error: &ReadError) {
        complain(format_args!("error: {}: {error}", input.name));
        if let ReadError::Missing(missing) = error {
            complain(format_args!("  try: {}", corrected(missing, &self.words_for(input))));
        }
    }

    /// The command line as it was typed, for one of its files: what is missing is missing in each of them by itself.
    fn words_for(&self, input: &Input) -> Vec<String> {
        let words = std::env::args_os().skip(1).filter_map(|word| {
            if *word == *input.word.as_os_str() {
                return Some(input.path.clone().into_os_string());
            }
            (!self.files.iter().any(|file| *file == word)).then_some(word)
        });
        [OsString::from("mds")].into_iter().chain(words).map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if the workers can take a full queue down to its low watermark at once, or a large queue makes batches without end.
    #[test]
    fn a_loader_s_batches_leave_the_queue_above_its_low_watermark() {
        for (capacity, workers, expected) in [(10_000, 4, 1_249), (1_000, 4, 124), (100_000, 1, 5_000), (1, 1_024, 1)] {
            let settings = CoordinatorSettings::new(capacity).workers(workers);
            assert_eq!(batch_size(&settings), expected, "{capacity} and {workers}");
        }
    }
}
