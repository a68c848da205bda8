//! From the values of one row to a bar: the rules that hold for every format.

use jiff::civil::Time;
use smol_str::SmolStr;

use super::{
    outcome::{Outcome, Undated},
    plausible::Plausible,
    prices::{Prices, Volumes},
    raw_bar::RawBar,
    session_checks::{Clocks, SessionChecks},
    timeframes::{adjustment, timeframe},
};
use crate::{
    files::{
        chunk::Rejected,
        file_name::Settled,
        given::Given,
        missing_vendor::MissingVendor,
        options::ReadOptions,
        row_error::RowError,
        times::{Order, Reading, TimeOptions, Times, TsIs},
    },
    record::{Adjustment, Bar, Record, Timeframe, Timestamp},
};

/// How a column says that it does not know the adjustment.
const UNKNOWN: &str = Adjustment::Unknown.as_str();

/// Makes a bar of the cells of a row, by what the options and the rows before say.
pub(super) struct RowDecoder {
    pub(super) symbol: Given<SmolStr>,
    pub(super) timeframe: Given<Timeframe>,
    vendor: Given<SmolStr>,
    pub(super) missing_vendor: MissingVendor,
    adjustment: Given<Adjustment>,
    pub(super) times: Times,
    pub(super) prices: Prices,
    pub(super) volumes: Volumes,
    pub(super) days: SessionChecks,
    pub(super) clocks: Clocks,
    pub(super) plausible: Plausible,
}

impl RowDecoder {
    pub(super) fn new(options: &ReadOptions, given: Settled) -> Self {
        Self {
            symbol: Given::new("symbol", given.symbol, None, |text| {
                Bar::normal_symbol(text).map_err(|e| e.to_string())
            }),
            timeframe: Given::new("timeframe", given.timeframe, None, timeframe),
            vendor: Given::new(
                "vendor",
                options.vendor.clone().map(|vendor| (vendor, "--vendor")),
                Some(SmolStr::new_static(Bar::UNKNOWN_VENDOR)),
                |text| Bar::normal_vendor(text).map_err(|e| e.to_string()),
            ),
            missing_vendor: MissingVendor::default(),
            adjustment: Given::new(
                "adjustment",
                options.adjustment.map(|adjustment| (adjustment, "--adjustment")),
                Some(Adjustment::Unknown),
                adjustment,
            ),
            times: Times::new(TimeOptions {
                zone: options.zone.clone(),
                format: options.ts_format.clone(),
                session_start: options.session_start,
                ts_is: options.ts_is,
                as_written: options.as_written,
            }),
            prices: Prices::Plain,
            volumes: Volumes::default(),
            days: SessionChecks::default(),
            clocks: Clocks::default(),
            plausible: Plausible::new(options.as_written, Timestamp::now()),
        }
    }

    /// Takes a row.
    pub(super) fn outcome(&mut self, line: u64, cells: &RawBar<'_>) -> Result<Outcome, RowError> {
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
            // The word says what a missing cell says.
            adjustment: self.adjustment.resolve(cells.adjustment.filter(|cell| *cell != UNKNOWN))?,
            ts: Timestamp::default(),
            open: prices.price("open", cells.open)?,
            high: prices.price("high", cells.high)?,
            low: prices.price("low", cells.low)?,
            close: prices.price("close", cells.close)?,
            volume: self.volumes.read(cells.volume)?,
        };
        self.missing_vendor.look_at(&bar);
        self.volumes.check(&bar, cells.paid)?;
        let session = timeframe.is_day_or_more();
        let mut reading = self.times.read(cells.time, cells.clock, session)?;
        let rounded = self.times.rounded();
        for again in cells.again.into_iter().flatten() {
            reading = self.times.agree(reading, cells.time, again, session)?;
        }
        self.times.set_rounded(rounded);
        // Nearly all times show that they are more than a date.
        let may_be_date = match &reading {
            Reading::Known(_, clock) => *clock == Some(Time::midnight()) || session && self.times.ts_is() == TsIs::End,
            Reading::Either(_) => true,
        };
        let is_date = may_be_date && cells.clock.is_none_or(str::is_empty) && self.times.is_date(cells.time);
        let reading = self.times.begin_of(reading, timeframe, is_date)?;
        if let Reading::Known(ts, _) = reading {
            bar.ts = ts;
            self.plausible.check(&bar)?;
        }
        bar.validate().map_err(|invalid| invalid.to_string())?;
        if !session {
            self.clocks.look_at(line, cells, &reading)?;
        }
        let is_date = is_date && !session;
        Ok(match reading {
            Reading::Known(_, clock) => self.days.look_at(line, bar, clock, is_date),
            Reading::Either(either) => Outcome::Undated(Undated { line, bar, either, is_date }),
        })
    }

    /// Gives a bar whose date has two readings the one that is in this order.
    pub(super) fn dated(&mut self, undated: Undated, order: Order) -> Outcome {
        let Undated { line, mut bar, either, is_date } = undated;
        let clock = either.clock;
        let ts = either.in_order(order).and_then(|ts| {
            bar.ts = ts;
            self.plausible.check(&bar).map_err(String::from)
        });
        match ts {
            Ok(()) => self.days.look_at(line, bar, clock, is_date),
            Err(message) => Outcome::Rejected(Rejected { line, message }),
        }
    }
}
