//! From the values of a row to a bar: the rules that hold for every format.

use std::collections::VecDeque;

use smol_str::SmolStr;

use super::{
    date_order::{Settling, dated},
    given::{Given, period, record_type, timeframe},
    infer::Inference,
    outcome::{Outcome, Undated, refused},
    prices::{Prices, number},
    raw_bar::{RawBar, is_absent},
    session_checks::{Clocks, SessionChecks},
};
use crate::files::{
    chunk::{Chunk, ReadError, Rejected},
    columns::ColumnMap,
    file_info::Dialect,
    file_name,
    ignored_columns::IgnoredColumns,
    missing_options::{self, MissingOptions},
    options::ReadOptions,
    row_error::RowError,
    times::{Reading, Times, Zone},
};
use crate::{
    record::Timestamp,
    record::{Bar, Record, Timeframe},
};

/// So many rows may pass before the order of day and month is known.
const ROWS_TO_SETTLE: usize = 1_000;
/// So many rows in a row that are written in a way that is not read here show that the whole file is.
const ROWS_TO_DOUBT: usize = 3;

/// Makes bars of the rows of one file, in order.
pub(crate) struct BarDecoder {
    symbol: Given<SmolStr>,
    timeframe: Given<Timeframe>,
    vendor: Given<SmolStr>,
    times: Times,
    prices: Prices,
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
    days: SessionChecks,
    clocks: Clocks,
    /// Whether a row was a bar, so that the way in which the file is written is understood.
    understood: bool,
    /// Whether the first row has shown which columns there are.
    begun: bool,
    ignored: IgnoredColumns,
    /// A column that is not used, and seems to hold the symbols.
    symbol_column: Option<String>,
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
            symbol: Given::new("symbol", given.symbol, None, |text| {
                Bar::normal_symbol(text).map_err(|e| e.to_string())
            }),
            timeframe: Given::new("timeframe", given.timeframe, None, timeframe),
            vendor: Given::new(
                "vendor",
                options.vendor.map(|vendor| (vendor, "--vendor")),
                Some(SmolStr::new_static(Bar::UNKNOWN_VENDOR)),
                |text| Bar::normal_vendor(text).map_err(|e| e.to_string()),
            ),
            times: Times::new(options.zone, options.ts_format),
            prices: Prices::Plain,
            map: options.map,
            name: options.name,
            member: None,
            unpacking: "",
            refusal,
            dialect: None,
            stage: Stage::Open,
            days: SessionChecks::default(),
            clocks: Clocks::default(),
            understood: false,
            begun: false,
            ignored: IgnoredColumns::default(),
            symbol_column: None,
        }
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
                self.prices = Prices::Undecided;
                self.timeframe.parse = record_type;
            }
            Dialect::Stooq => self.timeframe.parse = period,
            _ => {}
        }
        if dialect.has_days_of_utc() {
            self.times.days_of_utc();
        }
    }

    /// Returns who wrote the file, once that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.dialect
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
        self.times.zone()
    }

    /// Returns the zone that the user gave.
    pub(crate) fn given_zone(&self) -> Option<&Zone> {
        self.times.given_zone()
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
        self.symbol.fixed.as_ref()
    }

    /// Returns the timeframe that holds for the whole file, and who says so.
    pub(crate) fn fixed_timeframe(&self) -> Option<&(Timeframe, &'static str)> {
        self.timeframe.fixed.as_ref()
    }

    /// Returns whether a row has come.
    pub(crate) fn have_begun(&self) -> bool {
        self.begun
    }

    /// Takes the symbol that the file names for all its rows.
    pub(crate) fn name_symbol(&mut self, name: &str) -> Result<(), String> {
        let symbol = Bar::normal_symbol(name).map_err(|error| format!("symbol: {error}"))?;
        match &self.symbol.fixed {
            Some((fixed, who)) if *fixed != symbol => {
                return Err(format!("symbol: expected {fixed} as {who} says, got {symbol}"));
            }
            Some(_) => {}
            None => self.symbol.fixed = Some((symbol, "the line below the header")),
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

    /// Takes a row.
    pub(crate) fn push(&mut self, line: u64, cells: &RawBar<'_>, chunk: &mut Chunk) -> Result<(), ReadError> {
        if !self.begun {
            self.begin(cells);
        }
        if let Stage::Guessing(guess) = &mut self.stage {
            guess.look_at(&mut self.times, cells);
            return if guess.is_enough() { self.report_missing() } else { Ok(()) };
        }
        let outcome = match self.outcome(line, cells) {
            Ok(outcome) => outcome,
            Err(problem) => match problem.into_parts() {
                (message, Some(advice)) if !self.understood => Outcome::Doubtful(Rejected { line, message }, advice),
                (message, _) => Outcome::Rejected(Rejected { line, message }),
            },
        };
        self.put(outcome, chunk)
    }

    /// Takes a line that is no row.
    pub(crate) fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.put(Outcome::Rejected(Rejected { line, message }), chunk)
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

    /// Returns whether rows that waited can be handed over.
    pub(crate) fn has_settled(&self) -> bool {
        matches!(&self.stage, Stage::Releasing(held) if !held.is_empty())
    }

    /// Decides at the end of the file what waited for more rows.
    pub(crate) fn finish(&mut self) -> Result<(), ReadError> {
        match &self.stage {
            Stage::Guessing(guess) => Err(guess.missing(&self.ignored.note())),
            Stage::Settling(_) => self.settle(),
            Stage::Doubting(held) => Err(refused(held)),
            Stage::Open | Stage::Releasing(_) => Ok(()),
        }
    }

    /// Fails if a row shows that the file is no such one as it is read for.
    fn refuse(&self, outcome: &Outcome) -> Result<(), ReadError> {
        match outcome {
            Outcome::NoClock(Rejected { line, message }) => Err(ReadError::Refused(format!(
                "line {line}: {message}: say where it is, as in --map date=COLUMN,time=COLUMN{}",
                self.ignored.note()
            ))),
            _ => self.days.refuse(outcome),
        }
    }

    /// The first row shows which columns there are, and so what is missing.
    fn begin(&mut self, cells: &RawBar<'_>) {
        self.begun = true;
        let symbol = self.symbol.fixed.is_none() && cells.symbol.is_none();
        let timeframe = self.timeframe.fixed.is_none() && cells.timeframe.is_none();
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

    fn outcome(&mut self, line: u64, cells: &RawBar<'_>) -> Result<Outcome, RowError> {
        let prices = self.prices.of(cells);
        if [cells.open, cells.high, cells.low, cells.close].into_iter().all(|cell| prices.are_absent_in(cell)) {
            return Ok(Outcome::Skipped);
        }
        self.prices = prices;
        let timeframe = self.timeframe.resolve(cells.timeframe)?;
        let mut bar = Bar {
            vendor: self.vendor.resolve(cells.vendor)?,
            symbol: self.symbol.resolve(cells.symbol)?,
            timeframe,
            ts: Timestamp::default(),
            open: prices.price("open", cells.open)?,
            high: prices.price("high", cells.high)?,
            low: prices.price("low", cells.low)?,
            close: prices.price("close", cells.close)?,
            volume: if is_absent(cells.volume) { None } else { Some(number("volume", cells.volume)?) },
        };
        let session = timeframe.is_day_or_more();
        let mut reading = self.times.read(cells.time, cells.clock, session)?;
        for again in cells.again.into_iter().flatten() {
            reading = self.times.agree(reading, cells.time, again, session)?;
        }
        if let Reading::Known(ts, _) = reading {
            bar.ts = ts;
        }
        bar.validate().map_err(|invalid| invalid.to_string())?;
        if !session {
            self.clocks.look_at(line, cells, &reading)?;
        }
        let is_date = !session && cells.clock.is_none_or(str::is_empty) && self.times.is_date(cells.time);
        Ok(match reading {
            Reading::Known(_, clock) => self.days.look_at(line, bar, clock, is_date),
            Reading::Either(either) => Outcome::Undated(Undated { line, bar, either, is_date }),
        })
    }

    fn put(&mut self, outcome: Outcome, chunk: &mut Chunk) -> Result<(), ReadError> {
        self.refuse(&outcome)?;
        self.clocks.refuse()?;
        if !self.understood {
            self.doubt(&outcome)?;
        }
        if matches!((&self.stage, &outcome), (Stage::Open, Outcome::Undated(_))) {
            self.stage = Stage::Settling(Settling::default());
        }
        match &mut self.stage {
            Stage::Open => outcome.put_into(chunk),
            // Nothing of this file will be stored, so its other faults can wait.
            Stage::Guessing(_) => {}
            Stage::Releasing(held) | Stage::Doubting(held) => held.push_back(outcome),
            Stage::Settling(settling) => {
                settling.hold(outcome);
                if settling.held.len() >= ROWS_TO_SETTLE {
                    self.settle()?;
                }
            }
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
            (Stage::Doubting(held), _) if held.len() >= ROWS_TO_SETTLE => {
                self.stage = Stage::Releasing(std::mem::take(held));
                self.understood = true;
            }
            _ => {}
        }
        self.understood |= matches!(outcome, Outcome::Bar(_) | Outcome::Undated(_));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), ReadError> {
        let Stage::Settling(settling) = std::mem::replace(&mut self.stage, Stage::Open) else { return Ok(()) };
        let order = settling.order().map_err(ReadError::Refused)?;
        self.times.settle(order);
        let mut held = VecDeque::with_capacity(settling.held.len());
        for outcome in settling.held {
            let outcome = dated(outcome, order, &mut self.days);
            self.refuse(&outcome)?;
            held.push_back(outcome);
        }
        self.stage = Stage::Releasing(held);
        Ok(())
    }
}
