//! The best bid and ask of a symbol.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    contract::Record,
    rules,
    tabular::{Column, Row, StoredRow, Table, Tabular},
    timestamp::TimestampNanos,
    words::setters,
};
use crate::policy::{ConflationKey, Invalid};

/// The best bid and ask of a symbol at one moment, from one vendor and, where it is known, one venue.
///
/// A quote may have one side or none. One whose bid is above its ask is stored as it is, and so is a 0.
///
/// ```
/// use market_data_store::Quote;
///
/// let ts = "2024-01-02T14:30:00.000000001Z".parse()?;
/// let quote = Quote::new("ES", ts).bid(4780.25, 12.0).ask(4780.5, 7.0).venue("CME");
/// assert_eq!((quote.bid, quote.ask_size), (Some(4780.25), Some(7.0)));
/// # Ok::<(), market_data_store::InvalidText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Who made the data. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// Where it was quoted; empty where it is not given.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub venue: SmolStr,
    /// What was quoted. Letters are upper case unless the symbol mixes them.
    pub symbol: SmolStr,
    /// When it was quoted.
    pub ts: TimestampNanos,
    /// Tells quotes of one moment apart; 0 where the vendor has none.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub seq: i64,
    /// The best bid: the highest price of a buyer, as a plain decimal in the quote currency.
    #[serde(default)]
    pub bid: Option<f64>,
    /// The amount at the best bid, from 0, in the vendor's unit: shares, lots, contracts or the base asset.
    #[serde(default)]
    pub bid_size: Option<f64>,
    /// The best ask: the lowest price of a seller, as a plain decimal in the quote currency.
    #[serde(default)]
    pub ask: Option<f64>,
    /// The amount at the best ask, from 0, in the unit of `bid_size`.
    #[serde(default)]
    pub ask_size: Option<f64>,
    /// The vendor's codes.
    #[serde(default)]
    pub conditions: Option<SmolStr>,
    /// When it was received, in nanoseconds since 1970.
    #[serde(default)]
    pub received_ts_ns: Option<i64>,
}

impl Quote {
    /// Makes a quote of an unknown vendor, without a side.
    pub fn new(symbol: impl Into<SmolStr>, ts: TimestampNanos) -> Self {
        Self {
            vendor: rules::unknown_vendor(),
            venue: SmolStr::default(),
            symbol: symbol.into(),
            ts,
            seq: 0,
            bid: None,
            bid_size: None,
            ask: None,
            ask_size: None,
            conditions: None,
            received_ts_ns: None,
        }
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Sets where it was quoted.
    #[must_use]
    pub fn venue(mut self, venue: impl Into<SmolStr>) -> Self {
        self.venue = venue.into();
        self
    }

    /// Sets what tells quotes of one moment apart.
    #[must_use]
    pub fn seq(mut self, seq: i64) -> Self {
        self.seq = seq;
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

    /// Sets when it was received.
    #[must_use]
    pub fn received(mut self, ts: TimestampNanos) -> Self {
        self.received_ts_ns = Some(ts.as_nanos());
        self
    }

    setters! {
        /// Sets the vendor's codes.
        conditions: SmolStr,
    }
}

impl Record for Quote {
    const KIND: &'static str = "quotes";

    /// A newer quote of a symbol is what counts.
    const CONFLATES: bool = true;

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// By vendor, venue and symbol.
    fn conflation_key(&self) -> ConflationKey {
        ConflationKey::new([self.vendor.as_str(), self.venue.as_str(), self.symbol.as_str()])
    }

    /// Brings symbol, vendor and venue into their normal form, empty codes to none and -0.0 to 0.0, and checks the
    /// rest.
    ///
    /// # Errors
    /// A symbol that is empty; a symbol, vendor or venue above 64 bytes or with a control character; a price that is not
    /// finite; a size that is negative or not finite; NUL in the codes.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::symbol("symbol", &mut self.symbol)?;
        rules::vendor(&mut self.vendor)?;
        rules::name("venue", &mut self.venue)?;
        rules::optional_finite([("bid", &mut self.bid), ("ask", &mut self.ask)])?;
        rules::optional_amount([("bid_size", &mut self.bid_size), ("ask_size", &mut self.ask_size)])?;
        rules::optional_text("conditions", &mut self.conditions)
    }
}

impl Tabular for Quote {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("venue").key().comment("where it was quoted, empty where it was not given"),
            Column::text("symbol").key().comment("what was quoted"),
            Column::timestamp_nanos("ts").key().comment("when it was quoted"),
            Column::integer("seq").key().comment("tells quotes of one moment apart"),
            Column::float("bid").optional().comment("best bid"),
            Column::float("bid_size").optional().comment("size at the best bid, in the vendor's unit"),
            Column::float("ask").optional().comment("best ask"),
            Column::float("ask_size").optional().comment("size at the best ask, in the vendor's unit"),
            Column::text("conditions").optional().comment("the vendor's codes"),
            Column::integer("received_ts_ns").optional().comment("when it was received, in nanoseconds since 1970"),
        ],
    )
    .time("ts")
    .series(&["symbol"])
    .chunk_days(1);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.venue).push(&self.symbol).push(self.ts).push(self.seq);
        row.push(self.bid).push(self.bid_size).push(self.ask).push(self.ask_size);
        row.push(self.conditions.as_deref()).push(self.received_ts_ns);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            venue: row.get("venue")?,
            symbol: row.get("symbol")?,
            ts: row.get("ts")?,
            seq: row.get("seq")?,
            bid: row.get("bid")?,
            bid_size: row.get("bid_size")?,
            ask: row.get("ask")?,
            ask_size: row.get("ask_size")?,
            conditions: row.get("conditions")?,
            received_ts_ns: row.get("received_ts_ns")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote() -> Quote {
        Quote::new("ES", TimestampNanos::from_nanos(1)).bid(2.0, 3.0).ask(4.0, 5.0)
    }

    fn with(change: impl FnOnce(&mut Quote)) -> Result<Quote, String> {
        let mut quote = quote();
        change(&mut quote);
        quote.validate().map(|()| quote).map_err(|invalid| invalid.to_string())
    }

    // Red when a setter sets another field, or a name in JSON is not the column's.
    #[test]
    fn a_quote_is_made_step_by_step_and_named_in_json_as_in_the_table() {
        let quote = quote().vendor("v").venue("x").seq(7).conditions("R").received(TimestampNanos::from_nanos(9));
        assert_eq!(
            serde_json::to_string(&quote).unwrap(),
            r#"{"vendor":"v","venue":"x","symbol":"ES","ts":"1970-01-01T00:00:00.000000001Z","seq":7,"bid":2.0,"bid_size":3.0,"ask":4.0,"ask_size":5.0,"conditions":"R","received_ts_ns":9}"#
        );
        let least = r#"{"symbol":"ES","ts":"1970-01-01T00:00:00.000000001Z"}"#;
        assert_eq!(serde_json::from_str::<Quote>(least).unwrap(), Quote::new("ES", TimestampNanos::from_nanos(1)));
    }

    // Red when a quote replaces one of another vendor or venue, or none of its own symbol.
    #[test]
    fn quotes_conflate_by_vendor_venue_and_symbol() {
        let key = |quote: Quote| quote.conflation_key();
        assert_eq!(key(quote()), key(quote().seq(9).bid(1.0, 1.0)));
        for other in [quote().vendor("v"), quote().venue("CME"), with(|q| q.symbol = "NQ".into()).unwrap()] {
            assert_ne!(key(quote()), key(other));
        }
        assert_ne!(key(quote().vendor("a").venue("bc")), key(quote().vendor("ab").venue("c")));
    }

    // Red when a side is asked for, or a crossed quote or a 0 is taken for an error.
    #[test]
    fn a_quote_may_lack_a_side_be_crossed_and_hold_zeros() {
        assert!(with(|quote| (quote.bid, quote.bid_size) = (None, None)).is_ok());
        assert!(
            with(|quote| (quote.bid, quote.bid_size, quote.ask, quote.ask_size) = (None, None, None, None)).is_ok()
        );
        assert_eq!(with(|quote| quote.bid = Some(9.0)).unwrap().bid, Some(9.0));
        assert_eq!(with(|quote| quote.ask_size = Some(0.0)).unwrap().ask_size, Some(0.0));
        assert_eq!(with(|quote| quote.bid = Some(-37.6)).unwrap().bid, Some(-37.6));
    }

    // Red when a rule is left out, or blames another field.
    #[test]
    fn what_no_database_holds_alike_is_made_normal_or_refused() {
        let normal = with(|quote| {
            (quote.symbol, quote.vendor, quote.venue) = (" es ".into(), " ".into(), " CME ".into());
            (quote.bid, quote.conditions) = (Some(-0.0), Some(" ".into()));
        });
        let normal = normal.unwrap();
        assert_eq!((&*normal.symbol, &*normal.vendor, &*normal.venue), ("ES", "unknown", "CME"));
        assert_eq!((normal.bid.map(f64::to_bits), normal.conditions), (Some(0), None));
        for (change, expected) in [
            (|quote: &mut Quote| quote.symbol = "".into(), "symbol: expected a symbol, got an empty one"),
            (|quote| quote.venue = "a\0".into(), "venue: expected no control characters, got \"a\\0\""),
            (|quote| quote.bid = Some(f64::NAN), "bid: expected a finite number, got NaN"),
            (|quote| quote.ask = Some(f64::INFINITY), "ask: expected a finite number, got inf"),
            (|quote| quote.bid_size = Some(-1.0), "bid_size: expected a finite number from 0, got -1"),
            (|quote| quote.ask_size = Some(f64::NAN), "ask_size: expected a finite number from 0, got NaN"),
            (|quote| quote.conditions = Some("a\0".into()), "conditions: expected no NUL, got \"a\\0\""),
        ] as [(fn(&mut Quote), &str); 7]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
    }
}
