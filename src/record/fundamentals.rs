//! What a company reported for a period.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    contract::Record,
    date::Date,
    rules,
    tabular::{Column, Row, StoredRow, Table, Tabular},
    words::setters,
};
use crate::{policy::Invalid, text::Quoted};

/// What a company reported for a quarter or a year, as it was known on a date. A report that is restated is a record of
/// its own, with another date: so one sees what was known when.
///
/// ```
/// use market_data_store::Fundamentals;
///
/// let report = Fundamentals::new("AAPL", "2024Q1", "2024-05-03".parse()?).revenue(90.8e9).eps(1.53).currency("USD");
/// assert_eq!(report.eps, Some(1.53));
/// # Ok::<(), market_data_store::InvalidText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fundamentals {
    /// Who made the data. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// Whose report it is. Letters are upper case unless the symbol mixes them.
    pub symbol: SmolStr,
    /// The fiscal period: `2024Q1` or `2024FY`.
    pub period: SmolStr,
    /// The date on which this was known.
    pub asof: Date,
    /// Total assets, in whole units of `currency`.
    #[serde(default)]
    pub total_assets: Option<f64>,
    /// Total liabilities, in whole units of `currency`.
    #[serde(default)]
    pub total_liabilities: Option<f64>,
    /// Net income of the period, in whole units of `currency`; a loss is negative.
    #[serde(default)]
    pub net_income: Option<f64>,
    /// Earnings per share, in units of `currency`.
    #[serde(default)]
    pub eps: Option<f64>,
    /// Revenue of the period, in whole units of `currency`.
    #[serde(default)]
    pub revenue: Option<f64>,
    /// The currency of these amounts.
    #[serde(default)]
    pub currency: Option<SmolStr>,
}

impl Fundamentals {
    /// Makes a report of an unknown vendor, without amounts.
    pub fn new(symbol: impl Into<SmolStr>, period: impl Into<SmolStr>, asof: Date) -> Self {
        Self {
            vendor: rules::unknown_vendor(),
            symbol: symbol.into(),
            period: period.into(),
            asof,
            total_assets: None,
            total_liabilities: None,
            net_income: None,
            eps: None,
            revenue: None,
            currency: None,
        }
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    setters! {
        /// Sets the total assets.
        total_assets: f64,
        /// Sets the total liabilities.
        total_liabilities: f64,
        /// Sets the net income.
        net_income: f64,
        /// Sets the earnings per share.
        eps: f64,
        /// Sets the revenue.
        revenue: f64,
        /// Sets the currency of these amounts.
        currency: SmolStr,
    }
}

impl Record for Fundamentals {
    const KIND: &'static str = "fundamentals";

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// Brings symbol, vendor, period and currency into their normal form and -0.0 to 0.0, and checks the rest.
    ///
    /// # Errors
    /// A symbol that is empty; a symbol, vendor or currency above 64 bytes or with a control character; a period that is
    /// neither a quarter nor a year; an amount that is not finite.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::symbol("symbol", &mut self.symbol)?;
        rules::vendor(&mut self.vendor)?;
        if !is_period(&self.period) {
            let period = self.period.trim().to_ascii_uppercase();
            if !is_period(&period) {
                let problem = format!("expected a period such as 2024Q1 or 2024FY, got {}", Quoted(&self.period));
                return Err(Invalid::new("period", problem));
            }
            self.period = period.into();
        }
        rules::optional_finite([
            ("total_assets", &mut self.total_assets),
            ("total_liabilities", &mut self.total_liabilities),
            ("net_income", &mut self.net_income),
            ("eps", &mut self.eps),
            ("revenue", &mut self.revenue),
        ])?;
        rules::optional_name("currency", &mut self.currency)
    }
}

fn is_period(text: &str) -> bool {
    matches!(text.as_bytes(), [year @ .., b'Q', b'1'..=b'4'] | [year @ .., b'F', b'Y']
        if year.len() == 4 && year.iter().all(u8::is_ascii_digit))
}

impl Tabular for Fundamentals {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("symbol").key().comment("whose report it is"),
            Column::text("period").key().comment("the fiscal period: 2024Q1, 2024FY"),
            Column::date("asof").key().comment("the date on which this was known"),
            Column::float("total_assets").optional().comment("total assets"),
            Column::float("total_liabilities").optional().comment("total liabilities"),
            Column::float("net_income").optional().comment("net income of the period"),
            Column::float("eps").optional().comment("earnings per share"),
            Column::float("revenue").optional().comment("revenue of the period"),
            Column::text("currency").optional().comment("the currency of these amounts"),
        ],
    )
    .time("asof")
    .series(&["symbol"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.symbol).push(&self.period).push(self.asof).push(self.total_assets);
        row.push(self.total_liabilities).push(self.net_income).push(self.eps).push(self.revenue);
        row.push(self.currency.as_deref());
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            symbol: row.get("symbol")?,
            period: row.get("period")?,
            asof: row.get("asof")?,
            total_assets: row.get("total_assets")?,
            total_liabilities: row.get("total_liabilities")?,
            net_income: row.get("net_income")?,
            eps: row.get("eps")?,
            revenue: row.get("revenue")?,
            currency: row.get("currency")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Fundamentals {
        Fundamentals::new("AAPL", "2024Q1", "2024-05-03".parse().unwrap())
    }

    fn with(change: impl FnOnce(&mut Fundamentals)) -> Result<Fundamentals, String> {
        let mut report = report();
        change(&mut report);
        report.validate().map(|()| report).map_err(|invalid| invalid.to_string())
    }

    // Red when a setter sets another field, or a name in JSON is not the column's.
    #[test]
    fn a_report_is_made_step_by_step_and_named_in_json_as_in_the_table() {
        let report =
            report().vendor("v").total_assets(1.0).total_liabilities(2.0).net_income(-3.0).eps(-4.0).revenue(5.0);
        assert_eq!(
            serde_json::to_string(&report.currency("USD")).unwrap(),
            r#"{"vendor":"v","symbol":"AAPL","period":"2024Q1","asof":"2024-05-03","total_assets":1.0,"total_liabilities":2.0,"net_income":-3.0,"eps":-4.0,"revenue":5.0,"currency":"USD"}"#
        );
        let least = r#"{"symbol":"AAPL","period":"2024Q1","asof":"2024-05-03"}"#;
        assert_eq!(serde_json::from_str::<Fundamentals>(least).unwrap(), self::report());
    }

    // Red when a period of another form is stored: it would be another key than that of the same quarter.
    #[test]
    fn a_period_is_a_quarter_or_a_year() {
        for (period, expected) in [("2024Q4", "2024Q4"), (" 2024q1 ", "2024Q1"), ("2024fy", "2024FY")] {
            assert_eq!(with(|report| report.period = period.into()).unwrap().period, expected);
        }
        for period in ["", "2024", "2024Q5", "2024Q0", "24Q1", "Q12024", "2024 Q1", "2024H1", "12024Q1"] {
            let error = with(|report| report.period = period.into()).unwrap_err();
            assert_eq!(error, format!("period: expected a period such as 2024Q1 or 2024FY, got {period:?}"));
        }
    }

    // Red when a rule is left out, or blames another field.
    #[test]
    fn what_no_database_holds_alike_is_made_normal_or_refused() {
        let normal = with(|report| (report.eps, report.currency) = (Some(-0.0), Some(" ".into()))).unwrap();
        assert_eq!((normal.eps.map(f64::to_bits), normal.currency), (Some(0), None));
        for (change, expected) in [
            (|report: &mut Fundamentals| report.symbol = "".into(), "symbol: expected a symbol, got an empty one"),
            (|report| report.revenue = Some(f64::NAN), "revenue: expected a finite number, got NaN"),
            (|report| report.currency = Some("\0".into()), "currency: expected no control characters, got \"\\0\""),
        ] as [(fn(&mut Fundamentals), &str); 3]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
    }
}
