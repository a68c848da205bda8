//! The prices and greeks of an option contract.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    contract::Record,
    date::Date,
    rules,
    tabular::{Column, Row, StoredRow, Table, Tabular},
    timestamp::TimestampNanos,
    words::{setters, words},
};
use crate::policy::{ConflationKey, Invalid};

/// What one option contract was quoted at, at one moment, with its greeks, from one vendor.
///
/// ```
/// use market_data_store::{OptionQuote, OptionType};
///
/// let (ts, expiry) = ("2024-01-02T14:30:00Z".parse()?, "2024-01-19".parse()?);
/// let quote = OptionQuote::new("AAPL  240119C00150000", ts, "AAPL", expiry, OptionType::Call, 150.0);
/// let quote = quote.bid(36.1, 12.0).ask(36.4, 7.0).iv(0.41).delta(0.98);
/// assert_eq!((quote.strike, quote.delta), (150.0, Some(0.98)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionQuote {
    /// Who made the data. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// The contract: its OCC symbol, or that of the venue.
    pub contract: SmolStr,
    /// When it was quoted.
    pub ts: TimestampNanos,
    /// The symbol of the underlying.
    pub underlying: SmolStr,
    /// The last day on which it can be exercised.
    pub expiry: Date,
    /// Whether it is a call or a put.
    pub option_type: OptionType,
    /// The price at which it can be exercised, above 0, as a plain decimal in the quote currency, as all prices here.
    pub strike: f64,
    /// The best bid: the highest price of a buyer, for one unit of the underlying as vendors quote it.
    #[serde(default)]
    pub bid: Option<f64>,
    /// The amount at the best bid, from 0, in contracts.
    #[serde(default)]
    pub bid_size: Option<f64>,
    /// The best ask: the lowest price of a seller, in the unit of `bid`.
    #[serde(default)]
    pub ask: Option<f64>,
    /// The amount at the best ask, from 0, in contracts.
    #[serde(default)]
    pub ask_size: Option<f64>,
    /// The price of the last trade, in the unit of `bid`.
    #[serde(default)]
    pub last: Option<f64>,
    /// The implied volatility of a year: 0.41 is 41 %.
    #[serde(default)]
    pub iv: Option<f64>,
    /// Delta, the change of the price for 1 of the underlying's: from -1 to 1 where the vendor does not scale it.
    #[serde(default)]
    pub delta: Option<f64>,
    /// Gamma, the change of delta for 1 of the underlying's price.
    #[serde(default)]
    pub gamma: Option<f64>,
    /// Theta, in the vendor's unit.
    #[serde(default)]
    pub theta: Option<f64>,
    /// Vega, in the vendor's unit.
    #[serde(default)]
    pub vega: Option<f64>,
    /// How many contracts are open.
    #[serde(default)]
    pub open_interest: Option<f64>,
    /// How many contracts were traded.
    #[serde(default)]
    pub volume: Option<f64>,
    /// The price of the underlying.
    #[serde(default)]
    pub spot: Option<f64>,
}

words! {
    /// Whether an option is a call or a put.
    OptionType: "C or P" {
        /// A right to buy.
        Call = "C",
        /// A right to sell.
        Put = "P",
    }
}

impl OptionQuote {
    /// Makes a quote of an unknown vendor, without prices.
    pub fn new(
        contract: impl Into<SmolStr>,
        ts: TimestampNanos,
        underlying: impl Into<SmolStr>,
        expiry: Date,
        option_type: OptionType,
        strike: f64,
    ) -> Self {
        Self {
            vendor: rules::unknown_vendor(),
            contract: contract.into(),
            ts,
            underlying: underlying.into(),
            expiry,
            option_type,
            strike,
            bid: None,
            bid_size: None,
            ask: None,
            ask_size: None,
            last: None,
            iv: None,
            delta: None,
            gamma: None,
            theta: None,
            vega: None,
            open_interest: None,
            volume: None,
            spot: None,
        }
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Sets the best bid and the amount at it.
    #[must_use]
    pub fn bid(mut self, price: f64, size: f64) -> Self {
        (self.bid, self.bid_size) = (Some(price), Some(size));
        self
    }

    /// Sets the best ask and the amount at it.
    #[must_use]
    pub fn ask(mut self, price: f64, size: f64) -> Self {
        (self.ask, self.ask_size) = (Some(price), Some(size));
        self
    }

    setters! {
        /// Sets the price of the last trade.
        last: f64,
        /// Sets the implied volatility.
        iv: f64,
        /// Sets delta.
        delta: f64,
        /// Sets gamma.
        gamma: f64,
        /// Sets theta.
        theta: f64,
        /// Sets vega.
        vega: f64,
        /// Sets how many contracts are open.
        open_interest: f64,
        /// Sets how many contracts were traded.
        volume: f64,
        /// Sets the price of the underlying.
        spot: f64,
    }
}

impl Record for OptionQuote {
    const KIND: &'static str = "options";

    /// A newer quote of a contract is what counts.
    const CONFLATES: bool = true;

    fn partition_key(&self) -> &str {
        &self.contract
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// By vendor and contract.
    fn conflation_key(&self) -> ConflationKey {
        ConflationKey::new([self.vendor.as_str(), self.contract.as_str()])
    }

    /// Brings contract, underlying and vendor into their normal form and -0.0 to 0.0, and checks the rest.
    ///
    /// # Errors
    /// A contract or underlying that is empty; one of them or a vendor above 64 bytes or with a control character; a
    /// strike that is not above 0; a price or a greek that is not finite; a size, an open interest or a volume that is
    /// negative or not finite.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::symbol("contract", &mut self.contract)?;
        rules::symbol("underlying", &mut self.underlying)?;
        rules::vendor(&mut self.vendor)?;
        if !(self.strike > 0.0 && self.strike.is_finite()) {
            return Err(Invalid::new("strike", format!("expected a finite number above 0, got {}", self.strike)));
        }
        rules::optional_finite([
            ("bid", &mut self.bid),
            ("ask", &mut self.ask),
            ("last", &mut self.last),
            ("iv", &mut self.iv),
            ("delta", &mut self.delta),
            ("gamma", &mut self.gamma),
            ("theta", &mut self.theta),
            ("vega", &mut self.vega),
            ("spot", &mut self.spot),
        ])?;
        rules::optional_amount([
            ("bid_size", &mut self.bid_size),
            ("ask_size", &mut self.ask_size),
            ("open_interest", &mut self.open_interest),
            ("volume", &mut self.volume),
        ])
    }
}

impl Tabular for OptionQuote {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("contract").key().comment("the contract's OCC symbol, or that of the venue"),
            Column::timestamp_nanos("ts").key().comment("when it was quoted"),
            Column::text("underlying").comment("symbol of the underlying"),
            Column::date("expiry").comment("the last day on which it can be exercised"),
            Column::text("option_type").comment("C, a call, or P, a put"),
            Column::float("strike").comment("strike price"),
            Column::float("bid").optional().comment("best bid"),
            Column::float("bid_size").optional().comment("size at the best bid, in contracts"),
            Column::float("ask").optional().comment("best ask"),
            Column::float("ask_size").optional().comment("size at the best ask, in contracts"),
            Column::float("last").optional().comment("price of the last trade"),
            Column::float("iv").optional().comment("implied volatility of a year: 0.41 is 41 %"),
            Column::float("delta").optional().comment("delta, for 1 of the underlying's price"),
            Column::float("gamma").optional().comment("gamma, for 1 of the underlying's price"),
            Column::float("theta").optional().comment("theta, in the vendor's unit"),
            Column::float("vega").optional().comment("vega, in the vendor's unit"),
            Column::float("open_interest").optional().comment("open interest, in contracts"),
            Column::float("volume").optional().comment("volume, in contracts"),
            Column::float("spot").optional().comment("price of the underlying"),
        ],
    )
    .time("ts")
    .series(&["contract"])
    .chunk_days(1);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.contract).push(self.ts).push(&self.underlying).push(self.expiry);
        row.push(self.option_type).push(self.strike).push(self.bid).push(self.bid_size).push(self.ask);
        row.push(self.ask_size).push(self.last).push(self.iv).push(self.delta).push(self.gamma).push(self.theta);
        row.push(self.vega).push(self.open_interest).push(self.volume).push(self.spot);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            contract: row.get("contract")?,
            ts: row.get("ts")?,
            underlying: row.get("underlying")?,
            expiry: row.get("expiry")?,
            option_type: row.get("option_type")?,
            strike: row.get("strike")?,
            bid: row.get("bid")?,
            bid_size: row.get("bid_size")?,
            ask: row.get("ask")?,
            ask_size: row.get("ask_size")?,
            last: row.get("last")?,
            iv: row.get("iv")?,
            delta: row.get("delta")?,
            gamma: row.get("gamma")?,
            theta: row.get("theta")?,
            vega: row.get("vega")?,
            open_interest: row.get("open_interest")?,
            volume: row.get("volume")?,
            spot: row.get("spot")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote() -> OptionQuote {
        let expiry = "2024-01-19".parse().unwrap();
        OptionQuote::new("C1", TimestampNanos::from_nanos(1), "AAPL", expiry, OptionType::Put, 150.0)
    }

    fn with(change: impl FnOnce(&mut OptionQuote)) -> Result<OptionQuote, String> {
        let mut quote = quote();
        change(&mut quote);
        quote.validate().map(|()| quote).map_err(|invalid| invalid.to_string())
    }

    // Red when a setter sets another field, or a name in JSON is not the column's.
    #[test]
    fn an_option_is_made_step_by_step_and_named_in_json_as_in_the_table() {
        let quote = quote().vendor("v").bid(1.0, 2.0).ask(3.0, 4.0).last(5.0).iv(6.0).delta(7.0).gamma(8.0).theta(9.0);
        let quote = quote.vega(10.0).open_interest(11.0).volume(12.0).spot(13.0);
        assert_eq!(
            serde_json::to_string(&quote).unwrap(),
            r#"{"vendor":"v","contract":"C1","ts":"1970-01-01T00:00:00.000000001Z","underlying":"AAPL","expiry":"2024-01-19","option_type":"P","strike":150.0,"bid":1.0,"bid_size":2.0,"ask":3.0,"ask_size":4.0,"last":5.0,"iv":6.0,"delta":7.0,"gamma":8.0,"theta":9.0,"vega":10.0,"open_interest":11.0,"volume":12.0,"spot":13.0}"#
        );
        let least = r#"{"contract":"C1","ts":"1970-01-01T00:00:00.000000001Z","underlying":"AAPL","expiry":"20240119","option_type":"p","strike":150}"#;
        assert_eq!(serde_json::from_str::<OptionQuote>(least).unwrap(), self::quote());
    }

    // Red when a quote replaces one of another vendor, or none of its own contract.
    #[test]
    fn option_quotes_conflate_by_vendor_and_contract() {
        let key = |quote: OptionQuote| quote.conflation_key();
        assert_eq!(key(quote()), key(quote().bid(1.0, 1.0)));
        assert_ne!(key(quote()), key(quote().vendor("v")));
        assert_ne!(key(quote()), key(with(|quote| quote.contract = "C2".into()).unwrap()));
    }

    // Red when a rule is left out, or blames another field.
    #[test]
    fn what_no_database_holds_alike_is_made_normal_or_refused() {
        let normal = with(|quote| {
            (quote.contract, quote.underlying) = (" aapl  240119c00150000 ".into(), "aapl".into());
            quote.delta = Some(-0.0);
        });
        let normal = normal.unwrap();
        assert_eq!((&*normal.contract, &*normal.underlying), ("AAPL  240119C00150000", "AAPL"));
        assert_eq!(normal.delta.map(f64::to_bits), Some(0));
        for (change, expected) in [
            (|quote: &mut OptionQuote| quote.strike = 0.0, "strike: expected a finite number above 0, got 0"),
            (|quote| quote.strike = -1.0, "strike: expected a finite number above 0, got -1"),
            (|quote| quote.strike = f64::NAN, "strike: expected a finite number above 0, got NaN"),
            (|quote| quote.strike = f64::INFINITY, "strike: expected a finite number above 0, got inf"),
            (|quote| quote.contract = "".into(), "contract: expected a symbol, got an empty one"),
            (|quote| quote.underlying = "".into(), "underlying: expected a symbol, got an empty one"),
            (|quote| quote.vega = Some(f64::NAN), "vega: expected a finite number, got NaN"),
            (|quote| quote.volume = Some(-1.0), "volume: expected a finite number from 0, got -1"),
        ] as [(fn(&mut OptionQuote), &str); 8]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
    }
}
