use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use smol_str::SmolStr;

use super::{Column, Invalid, Record, Row, StoredRow, Table, Tabular, Timeframe, Timestamp, rules, words::words};

/// How far, relative to their size, a price may lie outside of low and high. Adjusted prices do by rounding.
const TOLERANCE: f64 = 1e-6;

/// One bar of prices: what a symbol traded at in one timeframe, from one vendor.
///
/// Two bars of the same vendor, symbol, timeframe, adjustment and time are updates of one thing; the later one wins.
/// Prices are stored as they are given: [`adjustment`](Self::adjustment) says what they are, and changes none.
///
/// In JSON a number above the range of an `f64`, such as `1e400`, is refused. One that is too near to zero for an `f64`,
/// such as `1e-400`, reads as zero: serde's readers round it before a bar can see it.
///
/// ```
/// use market_data_store::{Bar, Timeframe};
///
/// let ts = "2024-01-02T14:30:00Z".parse()?;
/// let bar = Bar::new("ES", Timeframe::MINUTE, ts).ohlc(4780.25, 4781.0, 4779.5, 4780.75).volume(1250.0).vendor("acme");
/// assert_eq!((bar.low, bar.volume), (4779.5, Some(1250.0)));
/// # Ok::<(), market_data_store::InvalidText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Who made the data, so that the same bar of two vendors is two records. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// What was traded. Letters are upper case unless the symbol mixes them: `es` is `ES`, `BACpB` stays.
    pub symbol: SmolStr,
    /// The time that the bar covers.
    pub timeframe: Timeframe,
    /// What its prices are adjusted for, so that raw and adjusted bars are two series. JSON that lacks it, or holds null
    /// or an empty string, reads as [`Adjustment::Unknown`].
    #[serde(default, deserialize_with = "rules::default_if_empty")]
    pub adjustment: Adjustment,
    /// When it opened; for timeframes of a day or more the date of the session, at 00:00 UTC.
    pub ts: Timestamp,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price. Prices can be negative.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Traded amount in the vendor's unit; none where it is not known. JSON that lacks it, or holds null, an empty
    /// string, `NaN` or -1, reads as none.
    #[serde(default, deserialize_with = "volume")]
    pub volume: Option<f64>,
}

words! {
    /// What the prices of a bar are adjusted for.
    #[derive(Default)]
    Adjustment: "raw, split, all or unknown" {
        /// It is not known.
        #[default]
        Unknown = "unknown",
        /// Nothing: prices are what was paid.
        Raw = "raw",
        /// Splits.
        Split = "split",
        /// Splits and dividends.
        All = "all",
    }
}

impl Bar {
    /// The vendor of a bar whose vendor is not known.
    pub const UNKNOWN_VENDOR: &'static str = "unknown";

    /// Makes a bar of an unknown vendor and adjustment, without volume and still without prices: until
    /// [`ohlc`](Self::ohlc) sets them they are NaN, which no coordinator accepts.
    pub fn new(symbol: impl Into<SmolStr>, timeframe: Timeframe, ts: Timestamp) -> Self {
        let no_price = f64::NAN;
        Self {
            vendor: rules::unknown_vendor(),
            symbol: symbol.into(),
            timeframe,
            adjustment: Adjustment::Unknown,
            ts,
            open: no_price,
            high: no_price,
            low: no_price,
            close: no_price,
            volume: None,
        }
    }

    /// Sets the prices: open, high, low, close.
    #[must_use]
    pub fn ohlc(mut self, open: f64, high: f64, low: f64, close: f64) -> Self {
        (self.open, self.high, self.low, self.close) = (open, high, low, close);
        self
    }

    /// Sets the traded amount, in the vendor's unit.
    #[must_use]
    pub fn volume(mut self, volume: f64) -> Self {
        self.volume = Some(volume);
        self
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Sets what its prices are adjusted for.
    #[must_use]
    pub fn adjustment(mut self, adjustment: Adjustment) -> Self {
        self.adjustment = adjustment;
        self
    }

    /// Brings a symbol into the form in which it is stored: trimmed, and in upper case unless it has an upper-case
    /// letter. Slashes, colons, dots, dashes and inner spaces stay.
    ///
    /// # Errors
    /// The symbol is empty, longer than 64 bytes, or has a control character.
    pub fn normal_symbol(symbol: &str) -> Result<SmolStr, Invalid> {
        rules::normal_symbol("symbol", symbol)
    }

    /// Brings a vendor's name into the form in which it is stored: trimmed, `unknown` if it is empty.
    ///
    /// # Errors
    /// The name is longer than 64 bytes, or has a control character.
    pub fn normal_vendor(vendor: &str) -> Result<SmolStr, Invalid> {
        rules::normal_vendor(vendor)
    }

    fn check_prices(&self) -> Result<(), Invalid> {
        let prices = [("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)];
        if let Some((field, price)) = prices.into_iter().find(|(_, price)| !price.is_finite()) {
            return Err(Invalid::new(field, format!("expected a finite number, got {price}")));
        }
        if exceeds(self.low, self.high) {
            return Err(Invalid::new("low", format!("expected at most the high {}, got {}", self.high, self.low)));
        }
        for (field, price) in [("open", self.open), ("close", self.close)] {
            if exceeds(price, self.high) || exceeds(self.low, price) {
                return Err(Invalid::new(
                    field,
                    format!("expected a price from the low {} to the high {}, got {price}", self.low, self.high),
                ));
            }
        }
        Ok(())
    }
}

impl Record for Bar {
    const KIND: &'static str = "bars";

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// Brings symbol, vendor and volume into their normal form and -0.0 to 0.0, and checks the rest. Allocates nothing
    /// for a bar that is normal already.
    ///
    /// # Errors
    /// A symbol that is empty; a symbol or vendor above 64 bytes or with a control character; a time without a text
    /// ([`Timestamp::has_text`]); a price that is not finite; open, close or low out of order by more than a millionth;
    /// a volume below zero other than -1, or infinite.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::symbol("symbol", &mut self.symbol)?;
        rules::vendor(&mut self.vendor)?;
        rules::time("ts", self.ts)?;
        self.check_prices()?;
        for price in
            [&mut self.open, &mut self.high, &mut self.low, &mut self.close].into_iter().chain(&mut self.volume)
        {
            // Of -0.0 and 0.0 the sum is 0.0: there is one zero, as in the databases.
            *price += 0.0;
        }
        if let Some(volume) = self.volume
            && !(0.0..f64::INFINITY).contains(&volume)
        {
            if !is_no_volume(volume) {
                return Err(Invalid::new("volume", format!("expected a finite number from 0, got {volume}")));
            }
            self.volume = None;
        }
        Ok(())
    }
}

impl Tabular for Bar {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("symbol").key().comment("what was traded"),
            Column::text("timeframe").key().comment("the time that a bar covers: 1m, 1d"),
            Column::text("adjustment")
                .key()
                .comment("what prices are adjusted for: raw (nothing), split, all, or unknown"),
            Column::timestamp("ts").key().comment("when it opens; of a day or more the session's date at 00:00 UTC"),
            Column::float("open").comment("first price"),
            Column::float("high").comment("highest price"),
            Column::float("low").comment("lowest price"),
            Column::float("close").comment("last price"),
            Column::float("volume").optional().comment("traded amount in the vendor's unit"),
        ],
    )
    .time("ts")
    .series(&["symbol", "timeframe"])
    .chunk_days(30);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.symbol).push(self.timeframe).push(self.adjustment).push(self.ts);
        row.push(self.open).push(self.high).push(self.low).push(self.close).push(self.volume);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            symbol: row.get("symbol")?,
            timeframe: row.get("timeframe")?,
            adjustment: row.get("adjustment")?,
            ts: row.get("ts")?,
            open: row.get("open")?,
            high: row.get("high")?,
            low: row.get("low")?,
            close: row.get("close")?,
            volume: row.get("volume")?,
        })
    }
}

/// Returns whether `a` is greater than `b` by more than rounding explains.
fn exceeds(a: f64, b: f64) -> bool {
    a > b && a - b > TOLERANCE * a.abs().max(b.abs())
}

/// Returns whether a volume is one of the ways to say that there is none.
fn is_no_volume(volume: f64) -> bool {
    volume.is_nan() || volume == -1.0
}

fn volume<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<f64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a volume as a number or null")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<f64>, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Option<f64>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<f64>, D::Error> {
            deserializer.deserialize_any(self)
        }

        fn visit_f64<E: de::Error>(self, volume: f64) -> Result<Option<f64>, E> {
            Ok(if is_no_volume(volume) { None } else { Some(volume) })
        }

        // The casts round as reading the same digits from a file would.
        fn visit_i64<E: de::Error>(self, volume: i64) -> Result<Option<f64>, E> {
            self.visit_f64(volume as f64)
        }

        fn visit_u64<E: de::Error>(self, volume: u64) -> Result<Option<f64>, E> {
            self.visit_f64(volume as f64)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<f64>, E> {
            match text.trim() {
                "" | "NaN" | "nan" => Ok(None),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
    }

    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar() -> Bar {
        Bar {
            vendor: "acme".into(),
            symbol: "ES".into(),
            timeframe: Timeframe::DAY,
            adjustment: Adjustment::Split,
            ts: "2024-01-02".parse().unwrap(),
            open: 2.0,
            high: 4.0,
            low: 1.0,
            close: 3.0,
            volume: Some(10.0),
        }
    }

    // Red when `new` leaves prices that pass for real ones, or two setters share a field.
    #[test]
    fn a_bar_is_made_step_by_step_and_is_no_bar_without_prices() {
        let mut made = Bar::new("ES", Timeframe::DAY, "2024-01-02".parse().unwrap());
        assert_eq!(made.validate().unwrap_err().to_string(), "open: expected a finite number, got NaN");
        made = made.ohlc(2.0, 4.0, 1.0, 3.0);
        assert_eq!((made.validate(), &*made.vendor, made.volume), (Ok(()), "unknown", None));
        assert_eq!(made.volume(10.0).vendor("acme").adjustment(Adjustment::Split), bar());
    }

    fn with(change: impl FnOnce(&mut Bar)) -> Result<Bar, String> {
        let mut bar = bar();
        change(&mut bar);
        bar.validate().map(|()| bar).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_symbol_is_trimmed_and_upper_cased_unless_it_mixes_cases() {
        for (symbol, expected) in [
            ("es", "ES"),
            (" aapl ", "AAPL"),
            ("BACpB", "BACpB"),
            ("btc/usdt", "BTC/USDT"),
            ("^gspc", "^GSPC"),
            ("es=f", "ES=F"),
            ("BRK.B", "BRK.B"),
            ("600519", "600519"),
            ("NASDAQ:AAPL", "NASDAQ:AAPL"),
            ("es 03-24", "ES 03-24"),
            ("größe", "GRÖSSE"),
            ("トヨタ", "トヨタ"),
            ("\u{a0}x\u{a0}", "X"),
        ] {
            assert_eq!(with(|bar| bar.symbol = symbol.into()).unwrap().symbol, expected, "{symbol:?}");
        }
        let long = "A".repeat(65);
        for (symbol, expected) in [
            ("", "symbol: expected a symbol, got an empty one".to_owned()),
            (" \t ", "symbol: expected a symbol, got an empty one".to_owned()),
            ("A\0B", r#"symbol: expected no control characters, got "A\0B""#.to_owned()),
            ("A\u{85}B", r#"symbol: expected no control characters, got "A\u{85}B""#.to_owned()),
            (&long, format!("symbol: expected at most 64 bytes, got 65 in \"{}\"...", "A".repeat(60))),
        ] {
            assert_eq!(with(|bar| bar.symbol = symbol.into()).unwrap_err(), expected, "{symbol:?}");
        }
        assert!(with(|bar| bar.symbol = "A".repeat(64).into()).is_ok());
    }

    #[test]
    fn a_vendor_is_trimmed_and_unknown_if_empty() {
        assert_eq!(with(|bar| bar.vendor = " Acme ".into()).unwrap().vendor, "Acme");
        assert_eq!(with(|bar| bar.vendor = " ".into()).unwrap().vendor, "unknown");
        assert_eq!(
            with(|bar| bar.vendor = "a\nb".into()).unwrap_err(),
            r#"vendor: expected no control characters, got "a\nb""#
        );
    }

    #[test]
    fn prices_are_finite_and_in_order_within_a_millionth() {
        assert!(with(|_| {}).is_ok());
        assert!(with(|bar| (bar.open, bar.high, bar.low, bar.close) = (-37.6, -30.0, -40.3, -37.6)).is_ok());
        assert!(with(|bar| (bar.open, bar.high, bar.low, bar.close) = (0.0, 0.0, 0.0, 0.0)).is_ok());
        let zero = with(|bar| (bar.open, bar.low, bar.volume) = (-0.0, -0.0, Some(-0.0))).unwrap();
        assert_eq!([zero.open, zero.low, zero.volume.unwrap()].map(f64::to_bits), [0; 3]);
        let stored = with(|bar| bar.close = 4.000_003).unwrap();
        assert_eq!(stored.close, 4.000_003, "stored as written");
        for (change, expected) in [
            (
                |bar: &mut Bar| bar.close = 4.000_005,
                "close: expected a price from the low 1 to the high 4, got 4.000005",
            ),
            (|bar: &mut Bar| bar.open = 0.5, "open: expected a price from the low 1 to the high 4, got 0.5"),
            (|bar: &mut Bar| bar.low = 5.0, "low: expected at most the high 4, got 5"),
            (|bar: &mut Bar| bar.open = f64::NAN, "open: expected a finite number, got NaN"),
            (|bar: &mut Bar| bar.high = f64::INFINITY, "high: expected a finite number, got inf"),
            (|bar: &mut Bar| bar.volume = Some(-2.0), "volume: expected a finite number from 0, got -2"),
            (|bar: &mut Bar| bar.volume = Some(f64::INFINITY), "volume: expected a finite number from 0, got inf"),
            (
                |bar: &mut Bar| bar.ts = Timestamp::from_micros(i64::MAX),
                "ts: expected a time from 0001-01-01T00:00:00Z to 9999-12-30T21:59:59.999999Z, got 9223372036854775807us",
            ),
        ] as [(fn(&mut Bar), &str); 8]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
        // The difference of these two overflows; they are out of order all the same.
        assert!(with(|bar| (bar.low, bar.high) = (f64::MAX, f64::MIN)).is_err());
    }

    #[test]
    fn no_volume_has_several_names() {
        for volume in [Some(f64::NAN), Some(-1.0), None] {
            assert_eq!(with(|bar| bar.volume = volume).unwrap().volume, None);
        }
        assert_eq!(with(|bar| bar.volume = Some(0.0)).unwrap().volume, Some(0.0));
        let json = r#"{"symbol":"ES","timeframe":"1D","ts":"2024-01-02","open":2,"high":4,"low":1,"close":3"#;
        for (volume, expected) in [
            ("", None),
            (r#","volume":null"#, None),
            (r#","volume":"""#, None),
            (r#","volume":"NaN""#, None),
            (r#","volume":-1"#, None),
            (r#","volume":10"#, Some(10.0)),
            (r#","volume":1.5e3"#, Some(1500.0)),
        ] {
            let bar: Bar = serde_json::from_str(&format!("{json}{volume}}}")).unwrap();
            assert_eq!((bar.volume, bar.vendor.as_str()), (expected, "unknown"), "{volume}");
        }
        assert!(serde_json::from_str::<Bar>(&format!(r#"{json},"volume":"12.5M"}}"#)).is_err());
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = r#"{"vendor":"acme","symbol":"ES","timeframe":"1d","adjustment":"split","ts":"2024-01-02T00:00:00Z","open":2.0,"high":4.0,"low":1.0,"close":3.0,"volume":10.0}"#;
        assert_eq!(serde_json::to_string(&bar()).unwrap(), json);
        assert_eq!(serde_json::from_str::<Bar>(json).unwrap(), bar());
        assert!(serde_json::from_str::<Bar>(&json.replace("2.0", "1e999")).is_err());
        // The limit that the docs of `Bar` tell. Red when serde_json learns to refuse it: then they can say so.
        assert_eq!(serde_json::from_str::<Bar>(&json.replace("2.0", "1e-400")).unwrap().open, 0.0);
    }

    // Red when a line from before there were adjustments cannot be read, or a word that is none of them passes for
    // unknown.
    #[test]
    fn json_without_an_adjustment_is_of_an_unknown_one() {
        let json = serde_json::to_string(&bar()).unwrap();
        let with = |field: &str| serde_json::from_str::<Bar>(&json.replace(r#""adjustment":"split","#, field));
        for (field, expected) in [
            ("", Adjustment::Unknown),
            (r#""adjustment":null,"#, Adjustment::Unknown),
            (r#""adjustment":" ","#, Adjustment::Unknown),
            (r#""adjustment":"unknown","#, Adjustment::Unknown),
            (r#""adjustment":"RAW","#, Adjustment::Raw),
            (r#""adjustment":"all","#, Adjustment::All),
        ] {
            assert_eq!(with(field).unwrap().adjustment, expected, "{field}");
        }
        let error = with(r#""adjustment":"dividend","#).unwrap_err().to_string();
        assert!(error.starts_with("expected raw, split, all or unknown, got \"dividend\""), "{error}");
    }

    proptest! {
        // Red if the normal form of a symbol is not recognised as normal: validate would do work, or change a key,
        // each time a record is submitted again.
        #[test]
        fn validating_twice_changes_nothing_more(symbol in r"\PC{0,30}|[ a-zA-Zßŉǅﬁ]{0,20}", vendor in r"\PC{0,30}") {
            let mut once = bar();
            (once.symbol, once.vendor) = (symbol.into(), vendor.into());
            if once.validate().is_ok() {
                prop_assert!(!once.vendor.is_empty() && once.vendor.trim() == once.vendor);
                let mut twice = once.clone();
                prop_assert_eq!(twice.validate(), Ok(()));
                prop_assert_eq!(twice, once);
            }
        }

        #[test]
        fn json_reads_back_as_the_same_bar(price in -1e12..1e12_f64, volume in prop::option::of(0.0..1e18_f64)) {
            let mut bar = bar();
            (bar.open, bar.high, bar.low, bar.close, bar.volume) = (price, price, price, price, volume);
            let json = serde_json::to_string(&bar).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bar>(&json).unwrap(), bar);
        }
    }
}
