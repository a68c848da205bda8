//! `mds check`: what lies in the store, by series, with what is missing or wrong in it.
//!
//! It reads one moment of the file in the order of its primary key, one series after the other, so that its memory
//! grows with the number of series (`check/spacing.rs` bounds what it keeps of one) and not with the bars. It knows no
//! calendar: a gap is a distance that is longer than the most frequent one of its series, be it a weekend or a loss.
//! Findings are what a load leaves behind that took times or names for others; they are never what a weekend, a session
//! or a change of the clock makes of a good one.

mod day_numbers;
mod days;
mod finding;
mod length;
mod records;
mod repeats;
mod series;
mod spacing;
mod span;
mod spellings;
mod times;

use std::ops::ControlFlow;

use clap::builder::PossibleValuesParser;
use market_data_store::{
    Adjustment, Bar, DatabaseError, Invalid, Record, Settings, StoredRow, Tabular, Timeframe, Timestamp, WithKind,
    kind_names,
    sink::{DatabaseReader, Selection},
    text::Shown,
    with_kind,
};
use serde::Serialize;
use smol_str::SmolStr;

use self::{
    finding::{Finding, Kind},
    repeats::Repeats,
    series::{Series, StoredBar},
    spacing::{GAPS, Spaced, Spacing},
    span::{seconds, span},
    spellings::{Spelled, same_series},
    times::Times,
};
use super::{
    by_symbol::symbol_column,
    database::Database,
    exit::Exit,
    output::{Text, complain},
};

/// So many invalid rows are named.
const NAMED_ROWS: usize = 20;

/// Shows what lies in the database of MDS_DATABASE_URL or --database: per series first, last, count, gaps, invalid
/// rows, and of bars findings.
///
/// It reads one moment of the store and changes nothing; others can write meanwhile. A gap is a distance between two bars
/// above the most frequent one of their series; weekends are gaps, for no calendar is known. Of the other kinds it is days
/// without a record. A row is invalid if `mds ingest` would reject it, such as one whose close lies above its high. A
/// finding is what a wrong load of bars leaves behind, such as days at 05:00 or one symbol in two spellings. The exit code
/// is 65 if a row is invalid or something was found. It is 2 if the store has nothing of what is asked for.
#[derive(clap::Args)]
pub struct Args {
    /// What to look at.
    #[arg(long, value_name = "KIND", default_value = Bar::KIND, value_parser = PossibleValuesParser::new(kind_names()))]
    kind: String,
    /// Only records of this symbol; of options of this contract.
    #[arg(long, value_name = "S", value_parser = Bar::normal_symbol)]
    symbol: Option<SmolStr>,
    /// Only bars of this timeframe, such as 1m or 1d.
    #[arg(long, value_name = "T")]
    timeframe: Option<Timeframe>,
    /// Only records of this vendor.
    #[arg(long, value_name = "V", value_parser = Bar::normal_vendor)]
    vendor: Option<SmolStr>,
    /// Only bars of this adjustment: raw, split, all or unknown.
    #[arg(long, value_name = "A")]
    adjustment: Option<Adjustment>,
    #[command(flatten)]
    pub(super) database: Database,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, settings: &Settings) -> Exit {
    if args.kind != Bar::KIND {
        for (option, is_given) in
            [("--timeframe", args.timeframe.is_some()), ("--adjustment", args.adjustment.is_some())]
        {
            if is_given {
                complain(format_args!("error: {option}: expected no other kind than bars, {} have none", args.kind));
                return Exit::Usage;
            }
        }
    }
    match DatabaseReader::of_settings(settings) {
        Ok(reader) if args.kind == Bar::KIND => args.check_bars(&reader),
        Ok(reader) => {
            with_kind(&args.kind, Records { args, reader }).expect("the command line takes the names of kinds alone")
        }
        Err(error) => args.database.failed(&error),
    }
}

/// The check of any other kind.
struct Records<'a> {
    args: &'a Args,
    reader: DatabaseReader,
}

impl WithKind for Records<'_> {
    type Output = Exit;

    fn with<T: Tabular>(self) -> Exit {
        let Self { args, reader } = self;
        match records::Report::of::<T>(&reader, &args.selection()) {
            Ok(report) => args.show(&report, |text| report.table(text), report.series.is_empty(), report.invalid > 0),
            Err(error) => args.database.unreadable(error),
        }
    }
}

impl Args {
    fn check_bars(&self, reader: &DatabaseReader) -> Exit {
        let report = match Report::of(reader, &self.selection(), Timestamp::now()) {
            Ok(report) => report,
            Err(error) => return self.database.unreadable(error),
        };
        let is_faulty = report.invalid > 0 || !report.findings.is_empty();
        self.show(&report, |text| report.table(text), report.series.is_empty(), is_faulty)
    }

    /// Prints a report, and says what it means for the process.
    fn show(&self, report: &impl Serialize, table: impl FnOnce(&mut Text), is_empty: bool, is_faulty: bool) -> Exit {
        let mut text = Text::default();
        if self.json {
            text.json(report);
        } else {
            table(&mut text);
        }
        if let Err(failed) = text.print() {
            return failed;
        }
        let filters = self.filters();
        if is_empty && !filters.is_empty() {
            let kind = if self.kind == Bar::KIND { String::new() } else { format!(" --kind {}", self.kind) };
            complain(format_args!(
                "error: no series in the store is of {filters}; mds check{kind} alone shows those that are there"
            ));
            return Exit::Usage;
        }
        if is_faulty { Exit::Rejected } else { Exit::Done }
    }

    fn selection<T: Tabular>(&self) -> Selection<T> {
        let timeframe = self.timeframe.map(|timeframe| ("timeframe", SmolStr::from(timeframe.to_string())));
        let adjustment = self.adjustment.map(|adjustment| ("adjustment", SmolStr::new_static(adjustment.as_str())));
        let vendor = self.vendor.clone().map(|vendor| ("vendor", vendor));
        let symbol = symbol_column::<T>().zip(self.symbol.clone());
        [timeframe, adjustment, vendor, symbol].into_iter().flatten().fold(
            Selection::new(),
            |selection, (column, value)| {
                selection.any_of(column, [value]).expect("these are columns of the kind, and take any text")
            },
        )
    }

    /// The options that leave something out, as they could be typed.
    fn filters(&self) -> String {
        let symbol = self.symbol.as_ref().map(|symbol| format!("--symbol {symbol}"));
        let timeframe = self.timeframe.map(|timeframe| format!("--timeframe {timeframe}"));
        let vendor = self.vendor.as_ref().map(|vendor| format!("--vendor {vendor}"));
        let adjustment = self.adjustment.map(|adjustment| format!("--adjustment {adjustment}"));
        symbol.into_iter().chain(timeframe).chain(vendor).chain(adjustment).collect::<Vec<_>>().join(" ")
    }
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    bars: u64,
    invalid: u64,
    series: Vec<Found>,
    errors: Vec<InvalidRow>,
    /// In the order of the series.
    findings: Vec<Finding>,
}

/// One series.
#[derive(Debug, Serialize)]
struct Found {
    vendor: SmolStr,
    symbol: SmolStr,
    timeframe: SmolStr,
    adjustment: SmolStr,
    bars: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The most frequent distance between two bars, and which part of all distances it makes up.
    spacing_seconds: Option<f64>,
    spacing_share: Option<f64>,
    gaps: Vec<FoundGap>,
    invalid: u64,
    #[serde(skip)]
    spaced: Option<Spaced>,
}

#[derive(Debug, Serialize)]
struct FoundGap {
    after: Timestamp,
    seconds: f64,
    /// How many times the usual distance.
    multiple: f64,
}

/// A row that is no valid bar.
#[derive(Debug, Serialize)]
struct InvalidRow {
    vendor: SmolStr,
    symbol: SmolStr,
    timeframe: SmolStr,
    adjustment: SmolStr,
    ts: Option<Timestamp>,
    message: String,
}

impl Report {
    fn of(reader: &DatabaseReader, selection: &Selection<Bar>, now: Timestamp) -> Result<Self, DatabaseError> {
        let mut report = Self::default();
        let mut findings = Vec::new();
        let mut current: Option<Looking> = None;
        reader.rows(selection, |row| {
            let series = Series::of(&row);
            if current.as_ref().is_none_or(|looking| looking.series != series) {
                findings.extend(current.take().map(|looking| report.add(looking)));
            }
            let looking = current.get_or_insert_with(|| Looking::new(series, now));
            if let Some(row) = looking.observe(&row)
                && report.errors.len() < NAMED_ROWS
            {
                report.errors.push(row);
            }
            ControlFlow::Continue(())
        })?;
        findings.extend(current.map(|looking| report.add(looking)));
        for (index, finding) in report.same_series() {
            findings[index].push(finding);
        }
        report.findings = findings.into_iter().flatten().collect();
        Ok(report)
    }

    /// Adds a series, and returns what was found in it.
    fn add(&mut self, looking: Looking) -> Vec<Finding> {
        let Looking { series, spacing, times, repeats, bars, invalid, ends, .. } = looking;
        self.bars += bars;
        self.invalid += invalid;
        let spaced = spacing.finish();
        let usual = spaced.as_ref().map(|spaced| spaced.usual);
        let first = ends.map(|[first, _]| first);
        let Series { vendor, symbol, timeframe, adjustment } = series.clone();
        self.series.push(Found {
            vendor,
            symbol,
            timeframe,
            adjustment,
            bars,
            first,
            last: ends.map(|[_, last]| last),
            spacing_seconds: spaced.as_ref().map(|spaced| seconds(spaced.usual)),
            spacing_share: spaced.as_ref().map(|spaced| spaced.share),
            gaps: spaced.iter().flat_map(FoundGap::all_of).collect(),
            invalid,
            spaced,
        });
        let findings = times.map(|times| times.finish(&series, first, usual)).unwrap_or_default();
        findings.into_iter().chain(repeats.finish(&series)).collect()
    }

    /// Returns the series that are probably another one of another name, by their places.
    fn same_series(&self) -> impl Iterator<Item = (usize, Finding)> {
        let spelled = self.series.iter().enumerate().filter_map(|(index, found)| {
            let Found { vendor, symbol, timeframe, adjustment, first, last, .. } = found;
            Some(Spelled::new([vendor, symbol, adjustment], timeframe.parse().ok()?, [(*first)?, (*last)?], index))
        });
        same_series(spelled.collect()).into_iter().filter_map(|mut pair| {
            // The one with fewer bars is more probably the mistake.
            pair.sort_by_key(|&index| (self.series[index].bars, index));
            let [few, many] = pair.map(|index| &self.series[index]);
            let [name, other] = [few, many].map(|Found { vendor, symbol, timeframe, bars, .. }| {
                format!("{vendor} {symbol} {timeframe} ({bars} bars)")
            });
            let message = format!(
                "{name} and {other} overlap or follow each other; probably one is another spelling of the other: remove \
                 one of the two series, and load its files again with the names of the other (--vendor, --symbol, \
                 --timeframe)"
            );
            Some((pair[0], Finding::new(Kind::SameSeries, &few.series(), few.bars, few.first?, message)))
        })
    }

    fn table(&self, text: &mut Text) {
        const HEADS: [&str; 9] =
            ["vendor", "symbol", "timeframe", "adjustment", "bars", "first", "last", "spacing", "invalid"];
        let rows: Vec<[String; 9]> = self.series.iter().map(Found::cells).collect();
        let mut widths = HEADS.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut line = |cells: [&str; 9], notes: &[String]| {
            let cells: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.line(cells.join("  ").trim_end());
            notes.iter().for_each(|note| text.line(format_args!("  {note}")));
        };
        if !rows.is_empty() {
            line(HEADS, &[]);
        }
        let mut findings = self.findings.iter().peekable();
        for (found, cells) in self.series.iter().zip(&rows) {
            let mut notes = found.gaps_as_text();
            let series = found.series();
            while let Some(finding) = findings.next_if(|finding| finding.is_of(&series)) {
                notes.push(format!("finding: {}", finding.message));
            }
            line(cells.each_ref().map(String::as_str), &notes);
        }
        let (series, findings) = (self.series.len(), self.findings.len());
        text.line(format_args!("{} bars in {series} series, {} invalid, {findings} findings", self.bars, self.invalid));
        for InvalidRow { vendor, symbol, timeframe, adjustment, ts, message } in &self.errors {
            let ts = ts.map_or_else(|| "?".to_owned(), |ts| ts.to_string());
            text.line(format_args!("{vendor} {symbol} {timeframe} {adjustment} {ts}: {message}"));
        }
        match self.invalid - self.errors.len() as u64 {
            0 => {}
            more => text.line(format_args!("and {more} more invalid")),
        }
    }
}

impl Found {
    fn series(&self) -> Series {
        let Self { vendor, symbol, timeframe, adjustment, .. } = self;
        let [vendor, symbol, timeframe, adjustment] = [vendor, symbol, timeframe, adjustment].map(SmolStr::clone);
        Series { vendor, symbol, timeframe, adjustment }
    }

    fn cells(&self) -> [String; 9] {
        let time = |ts: Option<Timestamp>| ts.map_or_else(|| "-".to_owned(), |ts| ts.to_string());
        let spacing = self.spaced.as_ref().map_or_else(
            || "-".to_owned(),
            |Spaced { usual, share, .. }| format!("{} ({:.0} %)", span(*usual), 100.0 * share),
        );
        [
            Shown(&self.vendor).to_string(),
            Shown(&self.symbol).to_string(),
            Shown(&self.timeframe).to_string(),
            Shown(&self.adjustment).to_string(),
            self.bars.to_string(),
            time(self.first),
            time(self.last),
            spacing,
            self.invalid.to_string(),
        ]
    }

    fn gaps_as_text(&self) -> Vec<String> {
        let Some(Spaced { gaps, .. }) = &self.spaced else { return Vec::new() };
        let lines = gaps
            .iter()
            .zip(&self.gaps)
            .map(|(gap, found)| format!("gap of {} ({:.1} x) after {}", span(gap.distance), found.multiple, gap.after));
        lines.take(GAPS).collect()
    }
}

impl FoundGap {
    fn all_of(spaced: &Spaced) -> Vec<Self> {
        let found = |gap: &spacing::Gap| Self {
            after: gap.after,
            seconds: seconds(gap.distance),
            multiple: gap.distance as f64 / spaced.usual as f64,
        };
        spaced.gaps.iter().map(found).collect()
    }
}

/// A series while it is read, in bounded memory.
struct Looking {
    series: Series,
    judge: Judge,
    spacing: Spacing,
    times: Option<Times>,
    repeats: Repeats,
    bars: u64,
    invalid: u64,
    /// The first time and the last.
    ends: Option<[Timestamp; 2]>,
}

impl Looking {
    fn new(series: Series, now: Timestamp) -> Self {
        Self {
            judge: Judge::new(&series),
            spacing: Spacing::default(),
            times: series.timeframe.parse().ok().map(|timeframe| Times::new(timeframe, now)),
            repeats: Repeats::default(),
            bars: 0,
            invalid: 0,
            ends: None,
            series,
        }
    }

    /// Takes the next row, and returns it if it is invalid.
    fn observe(&mut self, row: &StoredRow<'_>) -> Option<InvalidRow> {
        self.bars += 1;
        let bar = StoredBar::of(row);
        bar.iter().for_each(|bar| self.repeats.observe(bar));
        let ts = row.get::<Timestamp>("ts").ok();
        if let Some(ts) = ts.filter(|ts| ts.has_text()) {
            self.ends = Some([self.ends.map_or(ts, |[first, _]| first), ts]);
            self.spacing.observe(ts);
            self.times.iter_mut().for_each(|times| times.observe(ts));
        }
        let message = self.judge.look_at(bar).err()?;
        self.invalid += 1;
        let Series { vendor, symbol, timeframe, adjustment } = self.series.clone();
        Some(InvalidRow { vendor, symbol, timeframe, adjustment, ts, message })
    }
}

/// Holds the rows of one series against the rules of a bar, with one bar that is used again for each.
struct Judge(Result<Bar, String>);

impl Judge {
    fn new(series: &Series) -> Self {
        let bar = || {
            let timeframe = series.timeframe.parse().map_err(|error| format!("timeframe: {error}"))?;
            let adjustment = series.adjustment.parse().map_err(|error| format!("adjustment: {error}"))?;
            let bar = Bar::new(series.symbol.as_str(), timeframe, Timestamp::default());
            Ok(bar.vendor(series.vendor.as_str()).adjustment(adjustment))
        };
        Self(bar())
    }

    fn look_at(&mut self, row: Result<StoredBar, Invalid>) -> Result<(), String> {
        let bar = self.0.as_mut().map_err(|message| message.clone())?;
        let StoredBar { ts, prices: [open, high, low, close], volume } = row.map_err(|invalid| invalid.to_string())?;
        (bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume) = (ts, open, high, low, close, volume);
        bar.validate().map_err(|invalid| invalid.to_string())
    }
}
