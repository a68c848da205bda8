//! What is known of one file: by its options, its name, its header and its first rows.

mod stages;

use smol_str::SmolStr;

use self::stages::Stage;
use super::{
    date_order::ShownOrder,
    first_rows::{FirstRows, Known},
    key_checks::KeyChecks,
    prices::Prices,
    raw_bar::{NamedCell, RawBar},
    recognized::{Recognized, recognized},
    row_decoder::RowDecoder,
    timeframes::{minutes, period, record_type},
    unused_cells::UnusedCells,
    volume_columns::VolumeColumns,
};
use crate::files::{
    chunk::ReadError,
    columns::{ColumnMap, Role},
    file_info::Dialect,
    file_name,
    ignored_columns::IgnoredColumns,
    options::ReadOptions,
    times::{TsIs, Zone},
};
use crate::record::{Bar, Timeframe};

/// Makes bars of the rows of one file, in order.
pub(crate) struct BarDecoder {
    row: RowDecoder,
    /// Whether the user says that values are meant as they are.
    as_written: bool,
    map: ColumnMap,
    name: String,
    /// The name of what is in a zip, once it was looked at.
    member: Option<String>,
    /// The command that unpacks the file; empty if it is not packed.
    unpacking: &'static str,
    /// What is wrong with the options for this file.
    refusal: Option<String>,
    dialect: Option<Dialect>,
    stage: Stage,
    first_rows: FirstRows,
    /// Whether the user says which column is the volume.
    says_volume: bool,
    keys: KeyChecks,
    /// Whether a row was a bar, so that the way in which the file is written is understood.
    understood: bool,
    /// Whether the first row has shown which columns there are.
    begun: bool,
    ignored: IgnoredColumns,
    /// A column that is not used, and seems to hold the symbols.
    symbol_column: Option<String>,
    /// Where each row is taken alone, the order of day and month that dates have shown.
    alone: Option<ShownOrder>,
}

impl BarDecoder {
    pub(crate) fn new(options: ReadOptions) -> Self {
        let (given, refusal) = match file_name::settle(&options) {
            Ok(given) => (given, None),
            Err(refusal) => (file_name::Settled::default(), Some(refusal)),
        };
        Self {
            row: RowDecoder::new(&options, given),
            says_volume: options.map.decides(Role::Volume),
            as_written: options.as_written,
            map: options.map,
            name: options.name,
            member: None,
            unpacking: "",
            refusal,
            dialect: None,
            stage: Stage::Open,
            first_rows: FirstRows::default(),
            keys: KeyChecks::default(),
            understood: false,
            begun: false,
            ignored: IgnoredColumns::default(),
            symbol_column: None,
            alone: None,
        }
    }

    /// Makes that a date which does not show by itself which number is the month is refused, instead of held.
    pub(crate) fn take_each_alone(&mut self) {
        self.alone = Some(ShownOrder::default());
    }

    /// Fails if the options contradict the file's name.
    pub(crate) fn check_options(&mut self) -> Result<(), ReadError> {
        self.refusal.take().map_or(Ok(()), |refusal| Err(ReadError::Refused(refusal)))
    }

    /// Fails if the name of what is in a zip contradicts the zip's own, or the options.
    pub(crate) fn check_member(&mut self, member: &str) -> Result<(), ReadError> {
        if self.member.is_none() {
            file_name::check_member(member, self.fixed_symbol(), self.fixed_timeframe()).map_err(ReadError::Refused)?;
            self.member = Some(member.to_owned());
        }
        Ok(())
    }

    /// Says who wrote the file, before its first row: from then on its cells mean what they mean there.
    pub(crate) fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = Some(dialect);
        match dialect {
            Dialect::Databento => {
                self.row.prices = Prices::Undecided;
                self.row.timeframe.parse = record_type;
            }
            Dialect::Stooq => self.row.timeframe.parse = period,
            _ => {}
        }
        if dialect.has_days_of_utc() {
            self.row.times.days_of_utc();
        }
    }

    /// Says that prices may be counts of billionths, though nothing but the name of their time says so.
    pub(crate) fn doubt_prices(&mut self) {
        if self.row.prices == Prices::Plain && !self.as_written {
            self.row.prices = Prices::Doubtful;
        }
    }

    /// Returns who wrote the file, once that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Says where the cells of a row are that are not used.
    pub(crate) fn set_unused(&mut self, unused: UnusedCells) {
        self.keys.unused = unused;
    }

    /// Says that the bars so far went out.
    pub(crate) fn hand_over(&mut self) {
        self.keys.handed_over = true;
    }

    /// Returns what times are of their bars.
    pub(crate) fn ts_is(&self) -> TsIs {
        self.row.times.ts_is()
    }

    /// Returns what the user should know, since it may not be what is meant: one line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let ignored = self.ignored.names().map(|names| format!("ignored columns: {names}"));
        let rounded = Some(self.row.times.rounded()).filter(|rounded| *rounded > 0);
        let rounded = rounded.map(|rounded| {
            format!("times less than 100 us from a whole second, taken for it, as of days in floating point: {rounded}")
        });
        let notes = ignored
            .into_iter()
            .chain(self.row.missing_vendor.note())
            .chain(self.first_rows.note())
            .chain(self.row.volumes.note())
            .chain(rounded);
        notes.chain(self.row.volumes.units_note()).chain(self.keys.note()).chain(self.row.plausible.notes()).collect()
    }

    /// Returns the names of the first columns that are not used, one by one.
    pub(crate) fn ignored(&self) -> Vec<String> {
        self.ignored.listed()
    }

    /// Returns whether a bar has no vendor.
    pub(crate) fn lacks_vendor(&self) -> bool {
        self.row.missing_vendor.is_seen()
    }

    /// Returns whether the cells of the next row may show what names leave open.
    pub(crate) fn wants_cells(&self) -> bool {
        self.first_rows.are_wanted() && !matches!(self.stage, Stage::Guessing(_))
    }

    /// Looks at the cells of one of the first rows, which comes next. Returns the columns of the volume, if the row
    /// shows more of them than their names.
    pub(crate) fn look_at_cells(
        &mut self,
        line: u64,
        cells: &[NamedCell<'_>],
        row: &RawBar<'_>,
    ) -> Result<Option<VolumeColumns>, ReadError> {
        if !self.begun {
            match recognized(cells, &self.map) {
                Some(Recognized::Ours) => {
                    self.row.times.take_as_written();
                    self.row.plausible.turn_off();
                    self.first_rows.end();
                }
                Some(Recognized::TimesOfEnds) => self.row.times.are_ends(),
                Some(Recognized::TimeframesInMinutes) => self.row.timeframe.parse = minutes,
                None => {}
            }
        }
        let symbol = self.row.symbol.resolve(row.symbol);
        let (Ok(symbol), Ok(timeframe)) = (symbol, self.row.timeframe.resolve(row.timeframe)) else { return Ok(None) };
        if !self.wants_cells() {
            return Ok(None);
        }
        let known = Known { symbol: &symbol, timeframe, map: &self.map, says_volume: self.says_volume };
        let found = self.first_rows.look_at(cells, row, &known, &mut self.row.times);
        let found = found.map_err(|problem| ReadError::Refused(format!("line {line}: {problem}")))?;
        if let Some(VolumeColumns { volume, paid }) = found {
            // What bears the name of a volume may be another one.
            cells.iter().filter(|cell| cell.role == Some(Role::Volume)).for_each(|cell| self.ignored.add(cell.name));
            self.ignored.remove(cells[volume].name);
            self.map.set(Role::Volume, cells[volume].name);
            if let Some(paid) = paid {
                self.map.set(Role::Paid, cells[paid].name);
            }
        }
        Ok(found)
    }

    /// Returns what the user says about columns.
    pub(crate) fn map(&self) -> &ColumnMap {
        &self.map
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the zone of times without an offset.
    pub(crate) fn zone(&self) -> &Zone {
        self.row.times.zone()
    }

    /// Returns the zone that the user gave.
    pub(crate) fn given_zone(&self) -> Option<&Zone> {
        self.row.times.given_zone()
    }

    /// Notes the command that unpacks the file, for what an error proposes.
    pub(crate) fn set_unpacking(&mut self, command: &'static str) {
        self.unpacking = command;
    }

    /// Returns the command that unpacks the file; empty if it is not packed.
    pub(crate) fn unpacking(&self) -> &'static str {
        self.unpacking
    }

    /// Returns the symbol that holds for the whole file, and who says so.
    pub(crate) fn fixed_symbol(&self) -> Option<&(SmolStr, &'static str)> {
        self.row.symbol.fixed.as_ref()
    }

    /// Returns the timeframe that holds for the whole file, and who says so.
    pub(crate) fn fixed_timeframe(&self) -> Option<&(Timeframe, &'static str)> {
        self.row.timeframe.fixed.as_ref()
    }

    /// Returns whether a row has come.
    pub(crate) fn have_begun(&self) -> bool {
        self.begun
    }

    /// Takes the symbol that the file names for all its rows.
    pub(crate) fn name_symbol(&mut self, name: &str) -> Result<(), String> {
        let symbol = Bar::normal_symbol(name).map_err(|error| format!("symbol: {error}"))?;
        match &self.row.symbol.fixed {
            Some((fixed, who)) if *fixed != symbol => {
                return Err(format!("symbol: expected {fixed} as {who} says, got {symbol}"));
            }
            Some(_) => {}
            None => self.row.symbol.fixed = Some((symbol, "the line below the header")),
        }
        self.set_dialect(Dialect::Yfinance);
        Ok(())
    }

    /// Notes a column that is not used, and seems to hold the symbols.
    pub(crate) fn propose_symbols(&mut self, column: &str) {
        self.symbol_column = Some(column.to_owned());
    }

    /// Notes a column that is not used, once.
    pub(crate) fn ignore(&mut self, column: &str) {
        self.ignored.add(column);
    }

    /// Returns the names of the ignored columns, fit to be shown; the last says if there are more.
    pub(crate) fn ignored_columns(&self) -> Option<String> {
        self.ignored.names()
    }
}
