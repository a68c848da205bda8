//! A trade of a symbol.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::{
    contract::Record,
    rules,
    tabular::{Column, Row, StoredRow, Table, Tabular, View},
    timestamp::TimestampNanos,
    words::{setters, words},
};
use crate::policy::Invalid;

/// One trade, from one vendor and, where it is known, one venue. A correction of a trade is a record of its own.
///
/// A trade needs an [`id`](Self::id) or a [`seq`](Self::seq): two trades at one moment and one price are two trades, and
/// only these tell them apart.
///
/// ```
/// use market_data_store::{Side, Trade};
///
/// let trade = Trade::new("BTC/USDT", "2024-01-02T14:30:00.123456789Z".parse()?, 45_000.0, 0.25).id("8812").side(Side::Buy);
/// assert_eq!((trade.price, trade.size), (45_000.0, 0.25));
/// # Ok::<(), market_data_store::InvalidText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// Who made the data. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// Where it was traded; empty where it is not given.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub venue: SmolStr,
    /// What was traded. Letters are upper case unless the symbol mixes them.
    pub symbol: SmolStr,
    /// When it was traded.
    pub ts: TimestampNanos,
    /// The vendor's id of the trade. Where it is empty, [`validate`](Record::validate) makes it of `seq`: `seq:17`.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub id: SmolStr,
    /// The price of one unit, as a plain decimal in the quote currency; it can be negative.
    pub price: f64,
    /// The traded amount, from 0, in the vendor's unit: shares, contracts or the base asset.
    pub size: f64,
    /// The side of the aggressor: the order that met one that was resting.
    #[serde(default, deserialize_with = "rules::none_if_empty")]
    pub side: Option<Side>,
    /// The vendor's number of the message.
    #[serde(default)]
    pub seq: Option<i64>,
    /// The vendor's codes.
    #[serde(default)]
    pub conditions: Option<SmolStr>,
    /// Whether it is a trade, or corrects or cancels the one that `ref_id` names. None is a trade.
    #[serde(default, deserialize_with = "rules::none_if_empty")]
    pub action: Option<TradeAction>,
    /// The id of the trade that is corrected or cancelled.
    #[serde(default)]
    pub ref_id: Option<SmolStr>,
    /// When it was received, in nanoseconds since 1970.
    #[serde(default)]
    pub received_ts_ns: Option<i64>,
}

words! {
    /// The side of the aggressor of a trade.
    Side: "buy or sell" {
        /// The buyer took an offer.
        Buy = "buy",
        /// The seller took a bid.
        Sell = "sell",
    }
}

words! {
    /// What a record of a trade says.
    TradeAction: "new, correct or cancel" {
        /// A trade.
        New = "new",
        /// The trade with the id `ref_id` was as this record says.
        Correct = "correct",
        /// The trade with the id `ref_id` does not count.
        Cancel = "cancel",
    }
}

impl Trade {
    /// Makes a trade of an unknown vendor, without an id.
    pub fn new(symbol: impl Into<SmolStr>, ts: TimestampNanos, price: f64, size: f64) -> Self {
        Self {
            vendor: rules::unknown_vendor(),
            venue: SmolStr::default(),
            symbol: symbol.into(),
            ts,
            id: SmolStr::default(),
            price,
            size,
            side: None,
            seq: None,
            conditions: None,
            action: None,
            ref_id: None,
            received_ts_ns: None,
        }
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Sets where it was traded.
    #[must_use]
    pub fn venue(mut self, venue: impl Into<SmolStr>) -> Self {
        self.venue = venue.into();
        self
    }

    /// Sets the vendor's id of the trade.
    #[must_use]
    pub fn id(mut self, id: impl Into<SmolStr>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets when it was received.
    #[must_use]
    pub fn received(mut self, ts: TimestampNanos) -> Self {
        self.received_ts_ns = Some(ts.as_nanos());
        self
    }

    setters! {
        /// Sets the side of the aggressor.
        side: Side,
        /// Sets the vendor's number of the message.
        seq: i64,
        /// Sets the vendor's codes.
        conditions: SmolStr,
        /// Sets whether it is a trade, or corrects or cancels one.
        action: TradeAction,
        /// Sets the id of the trade that is corrected or cancelled.
        ref_id: SmolStr,
    }
}

impl Record for Trade {
    const KIND: &'static str = "trades";

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// Brings symbol, vendor, venue and id into their normal form, empty texts to none and -0.0 to 0.0, and checks the
    /// rest.
    ///
    /// # Errors
    /// A symbol that is empty; a symbol, vendor or venue above 64 bytes, an id above 255, or a control character in one;
    /// neither an id nor a `seq`; a price that is not finite; a size that is negative or not finite; NUL in the codes.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::symbol("symbol", &mut self.symbol)?;
        rules::vendor(&mut self.vendor)?;
        rules::name("venue", &mut self.venue)?;
        rules::id("id", &mut self.id)?;
        if self.id.is_empty() {
            let Some(seq) = self.seq else {
                return Err(Invalid::new("id", "expected the vendor's id of the trade, or a seq, got neither"));
            };
            self.id = format_smolstr!("seq:{seq}");
        }
        rules::finite("price", &mut self.price)?;
        rules::amount("size", &mut self.size)?;
        rules::optional_text("conditions", &mut self.conditions)?;
        if let Some(id) = &mut self.ref_id {
            rules::id("ref_id", id)?;
        }
        rules::optional_text("ref_id", &mut self.ref_id)
    }
}

/// Each trade once, with its corrections applied.
const EFFECTIVE: View = View {
    name: "trades_effective",
    query: include_str!("trades_effective.sql"),
    // Few rows are in it, so that it costs a write nothing and spares a read to look for them.
    index: "trades_by_ref_id ON {table} (vendor, venue, symbol, ref_id) WHERE action IN ('correct', 'cancel')",
};

impl Tabular for Trade {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("venue").key().comment("where it was traded, empty where it was not given"),
            Column::text("symbol").key().comment("what was traded"),
            Column::timestamp_nanos("ts").key().comment("when it was traded"),
            Column::text("id").key().comment("the vendor's id of the trade, or seq: and its number"),
            Column::float("price").comment("price of one unit"),
            Column::float("size").comment("size, in the vendor's unit"),
            Column::text("side").optional().comment("side of the aggressor: buy or sell"),
            Column::integer("seq").optional().comment("the vendor's number of the message"),
            Column::text("conditions").optional().comment("the vendor's codes"),
            Column::text("action").optional().comment("new, correct or cancel; null is new"),
            Column::text("ref_id").optional().comment("the id of the trade that is corrected or cancelled"),
            Column::integer("received_ts_ns").optional().comment("when it was received, in nanoseconds since 1970"),
        ],
    )
    .time("ts")
    .series(&["symbol"])
    .view(&EFFECTIVE)
    .chunk_days(1);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.venue).push(&self.symbol).push(self.ts).push(&self.id);
        row.push(self.price).push(self.size).push(self.side).push(self.seq).push(self.conditions.as_deref());
        row.push(self.action).push(self.ref_id.as_deref()).push(self.received_ts_ns);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            venue: row.get("venue")?,
            symbol: row.get("symbol")?,
            ts: row.get("ts")?,
            id: row.get("id")?,
            price: row.get("price")?,
            size: row.get("size")?,
            side: row.get("side")?,
            seq: row.get("seq")?,
            conditions: row.get("conditions")?,
            action: row.get("action")?,
            ref_id: row.get("ref_id")?,
            received_ts_ns: row.get("received_ts_ns")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade() -> Trade {
        Trade::new("ES", TimestampNanos::from_nanos(1), 2.0, 3.0).id("a")
    }

    fn with(change: impl FnOnce(&mut Trade)) -> Result<Trade, String> {
        let mut trade = trade();
        change(&mut trade);
        trade.validate().map(|()| trade).map_err(|invalid| invalid.to_string())
    }

    // Red when a setter sets another field, or a word is written otherwise than the docs say.
    #[test]
    fn a_trade_is_made_step_by_step_and_named_in_json_as_in_the_table() {
        let trade = trade().vendor("v").venue("x").side(Side::Sell).seq(7).conditions("R").action(TradeAction::Correct);
        let trade = trade.ref_id("b").received(TimestampNanos::from_nanos(9));
        assert_eq!(
            serde_json::to_string(&trade).unwrap(),
            r#"{"vendor":"v","venue":"x","symbol":"ES","ts":"1970-01-01T00:00:00.000000001Z","id":"a","price":2.0,"size":3.0,"side":"sell","seq":7,"conditions":"R","action":"correct","ref_id":"b","received_ts_ns":9}"#
        );
        let least = r#"{"symbol":"ES","ts":"1970-01-01T00:00:00.000000001Z","id":"a","price":2,"size":3,"side":"","action":""}"#;
        assert_eq!(serde_json::from_str::<Trade>(least).unwrap(), self::trade());
        let word = |json: &str| serde_json::from_str::<Side>(json).map_err(|error| error.to_string());
        assert_eq!(word("\"BUY\""), Ok(Side::Buy));
        assert_eq!(word("\"bid\"").unwrap_err(), "expected buy or sell, got \"bid\"");
    }

    // Red when two trades of one moment become one because neither has an id, or a seq is passed over.
    #[test]
    fn a_trade_has_an_id_or_a_seq() {
        assert_eq!(with(|trade| (trade.id, trade.seq) = (" ".into(), Some(17))).unwrap().id, "seq:17");
        assert_eq!(with(|trade| (trade.id, trade.seq) = ("b".into(), Some(17))).unwrap().id, "b");
        assert_eq!(
            with(|trade| trade.id = "".into()).unwrap_err(),
            "id: expected the vendor's id of the trade, or a seq, got neither"
        );
    }

    // Red when a rule is left out, or blames another field.
    #[test]
    fn what_no_database_holds_alike_is_made_normal_or_refused() {
        let normal = with(|trade| {
            (trade.price, trade.size, trade.ref_id, trade.conditions) = (-0.0, -0.0, Some(" ".into()), Some("".into()));
        });
        let normal = normal.unwrap();
        assert_eq!([normal.price.to_bits(), normal.size.to_bits()], [0, 0]);
        assert_eq!((normal.ref_id, normal.conditions), (None, None));
        assert_eq!(with(|trade| trade.price = -37.6).unwrap().price, -37.6);
        for (change, expected) in [
            (|trade: &mut Trade| trade.price = f64::NAN, "price: expected a finite number, got NaN"),
            (|trade| trade.size = -1.0, "size: expected a finite number from 0, got -1"),
            (|trade| trade.id = "a\0".into(), "id: expected no control characters, got \"a\\0\""),
            (|trade| trade.ref_id = Some("\n1\n2".into()), "ref_id: expected no control characters, got \"1\\n2\""),
            (|trade| trade.conditions = Some("\0".into()), "conditions: expected no NUL, got \"\\0\""),
            (|trade| trade.vendor = "\0".into(), "vendor: expected no control characters, got \"\\0\""),
        ] as [(fn(&mut Trade), &str); 6]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
    }

    // Red when null is an error in a field that may be missing: programs write it for what they do not have.
    #[test]
    fn null_in_json_is_a_field_that_is_missing() {
        let json = r#"{"symbol":"ES","ts":"1970-01-01T00:00:00Z","price":1,"size":2,"seq":3"#;
        let missing: Trade = serde_json::from_str(&format!("{json}}}")).unwrap();
        let null =
            format!(r#"{json},"vendor":null,"venue":null,"id":null,"side":null,"conditions":null,"action":null}}"#);
        assert_eq!(serde_json::from_str::<Trade>(&null).unwrap(), missing);
        assert_eq!((&*missing.vendor, &*missing.venue, &*missing.id), ("unknown", "", ""));
        assert!(missing.lacks_vendor() && !missing.vendor("acme").lacks_vendor());
        let quote = r#"{"symbol":"ES","ts":"1970-01-01T00:00:00Z","vendor":null,"venue":null,"seq":null}"#;
        let quote: crate::Quote = serde_json::from_str(quote).unwrap();
        assert_eq!((&*quote.vendor, &*quote.venue, quote.seq), ("unknown", "", 0));
        let news = r#"{"ts":"1970-01-01T00:00:00Z","title":"t","vendor":null,"id":null,"symbols":null}"#;
        let news: crate::News = serde_json::from_str(news).unwrap();
        assert_eq!((&*news.vendor, &*news.id, news.symbols.len()), ("unknown", "", 0));
    }
}
