//! A piece of news.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::{
    contract::Record,
    rules,
    tabular::{Column, Row, StoredRow, Table, Tabular},
    timestamp::Timestamp,
    words::setters,
};
use crate::policy::Invalid;

/// A piece of news about none, one or several symbols, from one vendor.
///
/// Its partition key is its id. [`WriteHandle::reserve`](crate::WriteHandle::reserve) needs that before: where the
/// vendor gives none, call [`validate`](Record::validate) first, which makes it.
///
/// ```
/// use market_data_store::News;
///
/// let news = News::new("2024-01-02T14:30:00Z".parse()?, "Fed holds rates").symbols(["SPY", "TLT"]).sentiment(0.2);
/// assert_eq!(news.symbols.len(), 2);
/// # Ok::<(), market_data_store::InvalidText>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// Who made the data. `unknown` where it is not given.
    #[serde(default = "rules::unknown_vendor", deserialize_with = "rules::vendor_or_unknown")]
    pub vendor: SmolStr,
    /// The vendor's id. Where it is empty, [`validate`](Record::validate) makes it of time, symbols, title and URL: the
    /// first 128 bits of their SHA-256.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub id: SmolStr,
    /// When it was published.
    pub ts: Timestamp,
    /// When it was changed last.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// The symbols that it is about; may be empty.
    #[serde(default, deserialize_with = "rules::default_if_null")]
    pub symbols: Vec<SmolStr>,
    /// Its title.
    pub title: String,
    /// Where it can be read.
    #[serde(default)]
    pub url: Option<String>,
    /// How good the news is, from -1 to 1.
    #[serde(default)]
    pub sentiment: Option<f64>,
}

impl News {
    /// Makes a piece of news of an unknown vendor, without an id and about no symbol.
    pub fn new(ts: Timestamp, title: impl Into<String>) -> Self {
        Self {
            vendor: rules::unknown_vendor(),
            id: SmolStr::default(),
            ts,
            updated_at: None,
            symbols: Vec::new(),
            title: title.into(),
            url: None,
            sentiment: None,
        }
    }

    /// Sets who made the data.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Into<SmolStr>) -> Self {
        self.vendor = vendor.into();
        self
    }

    /// Sets the vendor's id.
    #[must_use]
    pub fn id(mut self, id: impl Into<SmolStr>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the symbols that it is about.
    #[must_use]
    pub fn symbols<S: Into<SmolStr>>(mut self, symbols: impl IntoIterator<Item = S>) -> Self {
        self.symbols = symbols.into_iter().map(Into::into).collect();
        self
    }

    setters! {
        /// Sets when it was changed last.
        updated_at: Timestamp,
        /// Sets where it can be read.
        url: String,
        /// Sets how good the news is, from -1 to 1.
        sentiment: f64,
    }

    /// Makes an id of what one piece of news has and another has not. What may change later is left out.
    fn content_id(&self) -> SmolStr {
        let mut hash = Sha256::new();
        hash.update(self.ts.as_micros().to_le_bytes());
        // Which of the texts are symbols, and whether the last is a URL.
        hash.update((self.symbols.len() as u64).to_le_bytes());
        hash.update([u8::from(self.url.is_some())]);
        let texts = self.symbols.iter().map(SmolStr::as_str).chain([self.title.as_str()]).chain(self.url.as_deref());
        for text in texts {
            // With its length, so that the border between two texts counts.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut id = String::with_capacity(32);
        for byte in &hash.finalize()[..16] {
            for digit in [byte >> 4, byte & 15] {
                id.push(char::from_digit(digit.into(), 16).expect("four bits are a hexadecimal digit"));
            }
        }
        id.into()
    }
}

impl Record for News {
    const KIND: &'static str = "news";

    fn partition_key(&self) -> &str {
        &self.id
    }

    fn lacks_vendor(&self) -> bool {
        self.vendor == rules::UNKNOWN_VENDOR
    }

    /// Brings vendor, id and symbols into their normal form, an empty URL to none and -0.0 to 0.0, makes an id where
    /// there is none, and checks the rest.
    ///
    /// # Errors
    /// A symbol that is empty; a symbol or vendor above 64 bytes, an id above 255, or a control character in one; a time
    /// without a text ([`Timestamp::has_text`]); NUL in title or URL; a sentiment outside of -1 to 1.
    fn validate(&mut self) -> Result<(), Invalid> {
        rules::vendor(&mut self.vendor)?;
        rules::id("id", &mut self.id)?;
        rules::time("ts", self.ts)?;
        self.updated_at.map_or(Ok(()), |ts| rules::time("updated_at", ts))?;
        for symbol in &mut self.symbols {
            rules::symbol("symbols", symbol)?;
        }
        rules::text("title", &self.title)?;
        rules::optional_text("url", &mut self.url)?;
        if let Some(sentiment) = &mut self.sentiment {
            if !(-1.0..=1.0).contains(sentiment) {
                return Err(Invalid::new("sentiment", format!("expected a number from -1 to 1, got {sentiment}")));
            }
            rules::finite("sentiment", sentiment)?;
        }
        if self.id.is_empty() {
            self.id = self.content_id();
        }
        Ok(())
    }
}

impl Tabular for News {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key().comment("who made the data, `unknown` where it was not given"),
            Column::text("id").key().comment("the vendor's id, or one made of the content"),
            Column::timestamp("ts").comment("when it was published"),
            Column::timestamp("updated_at").optional().comment("when it was changed last"),
            Column::list("symbols").comment("the symbols that it is about"),
            Column::text("title").comment("its title"),
            Column::text("url").optional().comment("where it can be read"),
            Column::float("sentiment").optional().comment("sentiment, from -1 to 1"),
        ],
    )
    .time("ts");

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.id).push(self.ts).push(self.updated_at).push(&self.symbols);
        row.push(&self.title).push(self.url.as_deref()).push(self.sentiment);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            vendor: row.get("vendor")?,
            id: row.get("id")?,
            ts: row.get("ts")?,
            updated_at: row.get("updated_at")?,
            symbols: row.get("symbols")?,
            title: row.get("title")?,
            url: row.get("url")?,
            sentiment: row.get("sentiment")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news() -> News {
        News::new(Timestamp::from_micros(1), "Fed holds rates")
    }

    fn with(change: impl FnOnce(&mut News)) -> Result<News, String> {
        let mut news = news();
        change(&mut news);
        news.validate().map(|()| news).map_err(|invalid| invalid.to_string())
    }

    // Red when a setter sets another field, or a name in JSON is not the column's.
    #[test]
    fn news_are_made_step_by_step_and_named_in_json_as_in_the_table() {
        let news =
            news().vendor("v").id("1").updated_at(Timestamp::from_micros(2)).symbols(["SPY"]).url("u").sentiment(0.5);
        assert_eq!(
            serde_json::to_string(&news).unwrap(),
            r#"{"vendor":"v","id":"1","ts":"1970-01-01T00:00:00.000001Z","updated_at":"1970-01-01T00:00:00.000002Z","symbols":["SPY"],"title":"Fed holds rates","url":"u","sentiment":0.5}"#
        );
        let least = r#"{"ts":"1970-01-01T00:00:00.000001Z","title":"Fed holds rates"}"#;
        assert_eq!(serde_json::from_str::<News>(least).unwrap(), self::news());
    }

    // Red when the id changes with what may change later, two pieces have one, or it is another in the next version:
    // what is loaded again would be stored twice.
    #[test]
    fn an_id_is_made_of_what_tells_one_piece_from_another() {
        let id = |change: fn(&mut News)| with(change).unwrap().id;
        let of_content = id(|_| {});
        assert_eq!(of_content, "68d8be9ffc5834142b62ab921fb34002");
        assert_eq!(id(|news| news.id = " 7 ".into()), "7");
        for same in [
            |news: &mut News| news.sentiment = Some(0.5),
            |news: &mut News| news.updated_at = Some(Timestamp::from_micros(9)),
            |news: &mut News| news.vendor = "v".into(),
            |news: &mut News| news.url = Some(" ".into()),
        ] {
            assert_eq!(id(same), of_content);
        }
        let mut ids = vec![of_content];
        for other in [
            |news: &mut News| news.ts = Timestamp::from_micros(2),
            |news: &mut News| news.title = "Fed holds rate".into(),
            |news: &mut News| news.symbols = vec!["SPY".into()],
            |news: &mut News| news.symbols = vec!["S".into(), "PY".into()],
            |news: &mut News| news.url = Some("u".into()),
        ] {
            ids.push(id(other));
        }
        // The same texts, as other parts.
        ids.push(id(|news| (news.title, news.url) = ("B".into(), Some("U".into()))));
        ids.push(id(|news| (news.symbols, news.title) = (vec!["B".into()], "U".into())));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8);
    }

    // Red when a rule is left out, or blames another field.
    #[test]
    fn what_no_database_holds_alike_is_made_normal_or_refused() {
        let normal = with(|news| (news.symbols, news.sentiment) = (vec![" spy ".into()], Some(-0.0))).unwrap();
        assert_eq!((&*normal.symbols[0], normal.sentiment.map(f64::to_bits)), ("SPY", Some(0)));
        assert!(with(|news| news.title = "\t\n\\N\"'é".repeat(10_000)).is_ok());
        for sentiment in [-1.0, 1.0] {
            assert!(with(|news| news.sentiment = Some(sentiment)).is_ok());
        }
        for (change, expected) in [
            (|news: &mut News| news.sentiment = Some(1.1), "sentiment: expected a number from -1 to 1, got 1.1"),
            (|news| news.sentiment = Some(f64::NAN), "sentiment: expected a number from -1 to 1, got NaN"),
            (|news| news.symbols = vec!["".into()], "symbols: expected a symbol, got an empty one"),
            (|news| news.title = "a\0".into(), "title: expected no NUL, got \"a\\0\""),
            (|news| news.url = Some("\0".into()), "url: expected no NUL, got \"\\0\""),
            (
                |news| news.updated_at = Some(Timestamp::from_micros(i64::MAX)),
                "updated_at: expected a time from 0001-01-01T00:00:00Z to 9999-12-30T21:59:59.999999Z, got 9223372036854775807us",
            ),
        ] as [(fn(&mut News), &str); 6]
        {
            assert_eq!(with(change).unwrap_err(), expected);
        }
    }
}
