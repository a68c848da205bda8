//! Fundamentals: tables with a row for each report.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use smol_str::{SmolStr, format_smolstr};

use super::{
    cells::Cells,
    columns_of_file::FileColumns,
    decoder::KindDecoder,
    kind::{FileContext, Kind, roles},
    moments::Moments,
};
use crate::{
    files::{
        columns::{RoleNames, squashed},
        decoder::FileRecord,
        row_error::RowError,
    },
    record::{Date, Fundamentals},
    text::Quoted,
};

roles! {
    Symbol = "symbol", "ticker", "sym", "tic";
    /// The whole period, or a quarter beside a year.
    Period = "period", "fiscalperiod", "fp", "quarter", "fiscalquarter", "fqtr";
    Year = "fiscal_year", "year", "fy", "calendaryear", "fyear", "fyearq";
    Asof = "asof", "filed", "filingdate", "fileddate", "fillingdate", "dateknown", "accepteddate", "datekey",
        "publishdate", "reportedat", "rdq";
    TotalAssets = "total_assets", "assets";
    TotalLiabilities = "total_liabilities", "liabilities";
    NetIncome = "net_income", "netincomeloss", "netprofit";
    Eps = "eps", "earningspershare", "reportedeps";
    Revenue = "revenue", "revenues", "totalrevenue", "totalrevenues", "sales";
    Currency = "currency", "reportedcurrency", "currencycode";
    Vendor = "vendor";
}

impl FileRecord for Fundamentals {
    type Decoder = KindDecoder<Self>;
}

impl Kind for Fundamentals {
    type Form = ();

    const NAME: &'static str = "report";
    const ROLES: &'static [RoleNames] = ROLES;
    const TIMES: &'static [usize] = &[];
    const REQUIRED: &'static [&'static [usize]] = &[&[Period as usize, Year as usize], &[Asof as usize]];
    const SYMBOL: usize = Symbol as usize;

    fn form(columns: &FileColumns<'_>) -> Result<(), String> {
        // A filing repeats the years before it, under its own fy and fp, also where its facts stand side by side.
        let has_filing_s = columns.name_of(Period as usize).is_some_and(|name| squashed(name) == "fp");
        let beside = ["fy", "end", "form"].iter().any(|name| columns.is_named(name));
        let is_fact = ["accn", "frame", "uom"].iter().any(|name| columns.is_named(name));
        if (is_fact || has_filing_s && beside) && !columns.is_mapped(Period as usize) {
            return Err(
                "expected the period of each value, got facts of EDGAR, whose fy and fp are those of the filing and \
                        not of the value, so that those of earlier years have them too: make a column of the period that \
                        end, or frame, says, such as 2023FY, and give --map period=COLUMN,fiscal_year=-, or leave the \
                        rows of each filing's own period alone, and give --map period=fp"
                    .into(),
            );
        }
        let amounts = [TotalAssets, TotalLiabilities, NetIncome, Eps, Revenue];
        if !amounts.into_iter().any(|role| columns.has(role as usize)) {
            let is_long = ["metric", "concept", "tag", "item", "field"].iter().any(|name| columns.is_named(name));
            return Err(if is_long {
                "expected a column for each amount, got a row for each: make it wide first, as with pandas' pivot_table"
                    .into()
            } else {
                "expected a column for total_assets, total_liabilities, net_income, eps or revenue, got none: name what is \
                 there, as in --map revenue=COLUMN"
                    .into()
            });
        }
        Ok(())
    }

    fn decode(cells: &Cells<'_>, (): &mut (), file: &mut FileContext) -> Result<Option<Self>, RowError> {
        let symbol = file.symbol.resolve(cells.column(Symbol as usize))?;
        let mut report = Self::new(symbol, period_of(cells)?, asof_of(cells)?);
        report.vendor = file.vendor.resolve(cells.column(Vendor as usize))?;
        report.total_assets = cells.number(TotalAssets as usize)?;
        report.total_liabilities = cells.number(TotalLiabilities as usize)?;
        report.net_income = cells.number(NetIncome as usize)?;
        report.eps = cells.number(Eps as usize)?;
        report.revenue = cells.number(Revenue as usize)?;
        report.currency = cells.text(Currency as usize).map(SmolStr::new);
        Ok(Some(report))
    }

    fn settle(&mut self, is_own: bool, moments: &mut Moments) -> Result<bool, RowError> {
        let Self { vendor, symbol, period, asof, .. } = &*self;
        let series = format_smolstr!("{vendor}\0{symbol}");
        let (before, is_same) = moments.compare(&series, 0, &format_smolstr!("{period} {asof}"), content_of(self))?;
        if before > 0 && !is_same && !is_own {
            let message = format!(
                "period: expected one report of {symbol} for {period} and {asof}, got another with other amounts: leave out \
                 those of other lengths, such as a year's beside a quarter's, and those of years before"
            );
            return Err(message.into());
        }
        Ok(before > 0)
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, Some(&self.symbol))
    }
}

/// Returns a number made of what a report says beside its key.
fn content_of(report: &Fundamentals) -> u64 {
    let Fundamentals { total_assets, total_liabilities, net_income, eps, revenue, currency, .. } = report;
    let amounts = [total_assets, total_liabilities, net_income, eps, revenue].map(|amount| amount.map(f64::to_bits));
    let mut hasher = DefaultHasher::new();
    (amounts, currency).hash(&mut hasher);
    hasher.finish()
}

/// Returns the fiscal period as `2024Q1` or `2024FY`.
fn period_of(cells: &Cells<'_>) -> Result<SmolStr, RowError> {
    let (period, year) = (cells.get(Period as usize), cells.get(Year as usize));
    let year = year.strip_suffix(".0").unwrap_or(year);
    let plain: String = period.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase();
    let is_year = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_part = |text: &str| matches!(text, "Q1" | "Q2" | "Q3" | "Q4" | "FY");
    let whole = match plain.split_at_checked(4) {
        Some((year, part)) if is_year(year) && is_part(part) => Some((year, part)),
        _ => match plain.split_at_checked(2) {
            Some((part, year)) if is_year(year) && is_part(part) => Some((year, part)),
            _ => None,
        },
    };
    match whole {
        Some((named, _)) if !year.is_empty() && named != year => {
            Err(format!("period: expected one of {year} as fiscal_year says, got {}", Quoted(period)).into())
        }
        Some((year, part)) => Ok(format_smolstr!("{year}{part}")),
        None if is_year(year) && is_part(&plain) => Ok(format_smolstr!("{year}{plain}")),
        None if is_year(year) && matches!(plain.as_str(), "1" | "2" | "3" | "4") => {
            Ok(format_smolstr!("{year}Q{plain}"))
        }
        None => {
            let expected = "expected a period such as 2024Q1 or 2024FY, or a quarter or FY beside a fiscal_year";
            Err(format!("period: {expected}, got {} and {}", Quoted(period), Quoted(year)).into())
        }
    }
}

/// Reads the date on which a report was known: a date, or one with a time of day behind it.
fn asof_of(cells: &Cells<'_>) -> Result<Date, RowError> {
    let text = cells.get(Asof as usize);
    let has_clock = text.get(10..).is_some_and(|rest| rest.starts_with([' ', 'T']));
    let date = if has_clock { &text[..10] } else { text };
    date.parse().map_err(|error| RowError::from(format!("asof: {error}")).of_file("write it as 2024-01-02"))
}
