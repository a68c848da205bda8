//! The rows of one file in order: what waits, what goes out, and when the file is refused.

use std::collections::VecDeque;

use smol_str::SmolStr;

use super::{
    date_order::{Held, Settling, ShownOrder},
    first_rows::{FirstRows, Known},
    infer::Inference,
    key_checks::{KeyChecks, Verdict},
    outcome::{Outcome, refused},
    prices::Prices,
    raw_bar::{NamedCell, RawBar},
    recognized::{Recognized, recognized},
    row_decoder::RowDecoder,
    timeframes::{minutes, period, record_type},
    unused_cells::UnusedCells,
    volume_columns::VolumeColumns,
};
use crate::files::{
    chunk::{Chunk, ReadError, Rejected},
    columns::{ColumnMap, Role},
    file_info::Dialect,
    file_name,
    ignored_columns::IgnoredColumns,
    missing_options::{self, MissingOptions},
    options::ReadOptions,
    times::{TsIs, Zone},
};
use crate::record::{Bar, Timeframe};

/// So many rows may pass that are broken or empty before the way in which a file is written counts as understood.
const BROKEN_ROWS: usize = 1_000;
/// So many rows in a row that are written in a way that is not read here show that the whole file is.
const ROWS_TO_DOUBT: usize = 3;

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

/// What happens to a row.
enum Stage {
    /// It goes out at once.
    Open,
    /// It waits until one shows that the file is written in a way that is read here.
    Doubting(VecDeque<Outcome>),
    /// Something is missing, and the rows are only looked at for a guess of the timeframe.
    Guessing(Inference),
    /// It waits until the order of day and month is known.
    Settling(Settling),
    /// The order is known; the rows that waited go out first.
    Releasing(VecDeque<Outcome>),
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

    /// Takes a row; `text` is the whole of it as it was written.
    pub(crate) fn push(
        &mut self,
        line: u64,
        cells: &RawBar<'_>,
        text: &str,
        chunk: &mut Chunk,
    ) -> Result<(), ReadError> {
        if !self.begun {
            self.begin(cells);
        }
        if let Stage::Guessing(guess) = &mut self.stage {
            guess.look_at(&mut self.row.times, cells, text, &self.keys.unused);
            return if guess.is_enough() { self.report_missing() } else { Ok(()) };
        }
        let outcome = match self.row.outcome(line, cells) {
            Ok(outcome) => outcome,
            Err(problem) if problem.is_of_whole_file() => {
                let (message, advice) = problem.into_parts();
                return Err(ReadError::Refused(format!("line {line}: {message}: {}", advice.unwrap_or_default())));
            }
            Err(problem) => match problem.into_parts() {
                (message, Some(advice)) if !self.understood => Outcome::Doubtful(Rejected { line, message }, advice),
                (message, _) => Outcome::Rejected(Rejected { line, message }),
            },
        };
        self.put(line, outcome, text, chunk)
    }

    /// Takes a line that is no row.
    pub(crate) fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.put(line, Outcome::Rejected(Rejected { line, message }), "", chunk)
    }

    /// Fails if something is missing and the rows seen so far allow a guess.
    pub(crate) fn report_missing(&mut self) -> Result<(), ReadError> {
        match &self.stage {
            Stage::Guessing(guess) if guess.is_enough_to_wait_for_no_more() => Err(guess.missing(&self.ignored.note())),
            _ => Ok(()),
        }
    }

    /// Hands over rows that waited, as far as the chunk has room.
    pub(crate) fn release(&mut self, chunk: &mut Chunk) {
        let Stage::Releasing(held) = &mut self.stage else { return };
        while !chunk.is_full() {
            match held.pop_front() {
                Some(outcome) => outcome.put_into(chunk),
                None => {
                    self.stage = Stage::Open;
                    return;
                }
            }
        }
    }

    /// Returns how many rows wait for the order of day and month.
    pub(crate) fn waiting(&self) -> usize {
        match &self.stage {
            Stage::Settling(settling) => settling.held.len(),
            _ => 0,
        }
    }

    /// Returns whether rows that waited can be handed over.
    pub(crate) fn has_settled(&self) -> bool {
        matches!(&self.stage, Stage::Releasing(held) if !held.is_empty())
    }

    /// Decides at the end of the file what waited for more rows.
    pub(crate) fn finish(&mut self) -> Result<(), ReadError> {
        match &self.stage {
            Stage::Guessing(guess) => Err(guess.missing(&self.ignored.note())),
            Stage::Settling(_) => {
                self.settle(true)?;
                self.row.plausible.finish().map_or(Ok(()), |problem| Err(ReadError::Refused(problem)))
            }
            Stage::Doubting(held) => Err(refused(held)),
            Stage::Open | Stage::Releasing(_) => {
                self.row.plausible.finish().map_or(Ok(()), |problem| Err(ReadError::Refused(problem)))
            }
        }
    }

    /// Fails if a row shows that the file is no such one as it is read for.
    fn refuse(&self, outcome: &Outcome) -> Result<(), ReadError> {
        match outcome {
            Outcome::NoClock(Rejected { line, message }) => Err(ReadError::Refused(format!(
                "line {line}: {message}: say where it is, as in --map date=COLUMN,time=COLUMN{}",
                self.ignored.note()
            ))),
            _ => self.row.days.refuse(outcome),
        }
    }

    /// The first row shows which columns there are, and so what is missing.
    fn begin(&mut self, cells: &RawBar<'_>) {
        self.begun = true;
        let symbol = self.row.symbol.fixed.is_none() && cells.symbol.is_none();
        let timeframe = self.row.timeframe.fixed.is_none() && cells.timeframe.is_none();
        if symbol || timeframe {
            // A zip is often named after nothing.
            let name = self.member.as_deref().filter(|member| file_name::tells(member)).unwrap_or(&self.name);
            let (proposed, named) = missing_options::proposal_of(name);
            let missing = MissingOptions {
                symbol: symbol.then_some(proposed),
                timeframe: timeframe.then(String::new),
                symbol_column: self.symbol_column.clone().filter(|_| symbol),
            };
            self.stage = Stage::Guessing(Inference::new(missing, named));
        }
    }

    fn put(&mut self, line: u64, outcome: Outcome, text: &str, chunk: &mut Chunk) -> Result<(), ReadError> {
        let outcome = match (outcome, &mut self.alone) {
            (Outcome::Undated(undated), Some(shown)) => {
                let order = shown.of(&undated).map_err(ReadError::Refused)?;
                self.row.dated(undated, order)
            }
            (outcome, _) => outcome,
        };
        self.refuse(&outcome)?;
        self.row.clocks.refuse()?;
        if !self.understood {
            self.doubt(&outcome)?;
        }
        if matches!((&self.stage, &outcome), (Stage::Open, Outcome::Undated(_))) {
            self.stage = Stage::Settling(Settling::default());
        }
        if let Stage::Settling(settling) = &mut self.stage {
            // What goes out before it is not known yet.
            settling.hold(line, outcome, text);
            return if settling.is_full() { self.settle(false) } else { Ok(()) };
        }
        let mut outcome = outcome;
        self.by_key(&mut outcome, line, text)?;
        match &mut self.stage {
            Stage::Releasing(held) | Stage::Doubting(held) => held.push_back(outcome),
            // Of a file that is guessed about nothing will be stored, so its other faults can wait.
            Stage::Guessing(_) => {}
            Stage::Open | Stage::Settling(_) => outcome.put_into(chunk),
        }
        Ok(())
    }

    /// Looks whether a bar that is to go out has the key of one before.
    #[inline]
    fn by_key(&mut self, outcome: &mut Outcome, line: u64, text: &str) -> Result<(), ReadError> {
        let Outcome::Bar(bar) = &*outcome else { return Ok(()) };
        match self.keys.check(bar, line, text, &mut self.row.plausible).map_err(ReadError::Refused)? {
            Verdict::New => {}
            Verdict::Newer => *outcome = Outcome::Newer(bar.clone()),
            Verdict::Rejected(rejected) => *outcome = Outcome::Rejected(rejected),
        }
        Ok(())
    }

    /// Looks whether the first rows are written in a way that is read here.
    fn doubt(&mut self, outcome: &Outcome) -> Result<(), ReadError> {
        match (&mut self.stage, outcome) {
            (Stage::Open, Outcome::Doubtful(..)) => self.stage = Stage::Doubting(VecDeque::new()),
            (Stage::Doubting(held), Outcome::Doubtful(..))
                if held.iter().filter(|held| matches!(held, Outcome::Doubtful(..))).count() + 1 >= ROWS_TO_DOUBT =>
            {
                return Err(refused(held));
            }
            (Stage::Doubting(held), Outcome::Bar(_)) => self.stage = Stage::Releasing(std::mem::take(held)),
            (Stage::Doubting(held), Outcome::Undated(_)) => {
                self.stage = Stage::Settling(Settling::of(std::mem::take(held)));
            }
            // Broken in other ways, or empty: that says nothing, up to a bound.
            (Stage::Doubting(held), _) if held.len() >= BROKEN_ROWS => {
                self.stage = Stage::Releasing(std::mem::take(held));
                self.understood = true;
            }
            _ => {}
        }
        self.understood |= matches!(outcome, Outcome::Bar(_) | Outcome::Undated(_));
        Ok(())
    }

    fn settle(&mut self, is_end: bool) -> Result<(), ReadError> {
        let Stage::Settling(settling) = std::mem::replace(&mut self.stage, Stage::Open) else { return Ok(()) };
        let order = settling.order(is_end).map_err(ReadError::Refused)?;
        self.row.times.settle(order);
        let mut held = VecDeque::with_capacity(settling.held.len());
        for Held { line, outcome, text } in settling.held {
            let outcome = match outcome {
                Outcome::Undated(undated) => self.row.dated(undated, order),
                known => known,
            };
            self.refuse(&outcome)?;
            let mut outcome = outcome;
            self.by_key(&mut outcome, line, &text)?;
            held.push_back(outcome);
        }
        self.stage = Stage::Releasing(held);
        Ok(())
    }
}
