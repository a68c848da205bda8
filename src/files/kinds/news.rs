//! News: headlines of Alpaca, Benzinga, Finnhub, Polygon, NewsAPI and others.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use serde::Deserialize;
use smol_str::SmolStr;

use super::{
    cells::Cells,
    columns_of_file::FileColumns,
    decoder::KindDecoder,
    kind::{FileContext, Kind, roles},
    moments::Moments,
    times::moment_of,
};
use crate::{
    files::{columns::RoleNames, decoder::FileRecord, row_error::RowError},
    record::{News, Timestamp, TimestampNanos},
    text::Quoted,
};

roles! {
    Ts = "ts", "timestamp", "datetime", "publishedat", "published", "publishedutc", "publisheddate", "publicationdate",
        "publishtime", "timepublished", "pubdate", "createdat", "created";
    Date = "date", "publishdate";
    Clock = "time", "timeofday";
    UpdatedAt = "updated_at", "updated", "updatedutc", "lastupdated", "modifiedat";
    Id = "id", "newsid", "articleid", "uuid", "storyid";
    Title = "title", "headline", "subject";
    Symbols = "symbols", "tickers", "symbol", "ticker", "related", "stocks";
    Url = "url", "link", "articleurl";
    Sentiment = "sentiment", "sentimentscore", "overallsentimentscore";
    Vendor = "vendor";
}

/// The ids of a file, as far as they are remembered.
#[derive(Default)]
pub struct Ids {
    /// For each, by its hash, the time and the hash of the title of the piece that had it first.
    pieces: HashMap<u64, (Timestamp, u64)>,
}

/// So many ids of a file are remembered.
const MOST_IDS: usize = 1 << 18;

impl FileRecord for News {
    type Decoder = KindDecoder<Self>;
}

impl Kind for News {
    type Form = Ids;

    const NAME: &'static str = "piece of news";
    const ROLES: &'static [RoleNames] = ROLES;
    const TIMES: &'static [usize] = &[Ts as usize, Date as usize, Clock as usize];
    const REQUIRED: &'static [&'static [usize]] = &[&[Ts as usize, Date as usize, Clock as usize], &[Title as usize]];
    const SYMBOL: usize = Symbols as usize;
    const NEEDS_SYMBOL: bool = false;

    fn form(_: &FileColumns<'_>) -> Result<Ids, String> {
        Ok(Ids::default())
    }

    fn form_behind(_: Ids, before: Ids) -> Ids {
        before
    }

    fn decode(cells: &Cells<'_>, ids: &mut Ids, file: &mut FileContext) -> Result<Option<Self>, RowError> {
        let ts = moment_of(cells, [Ts as usize, Date as usize, Clock as usize], file)?;
        let title = cells.get(Title as usize);
        if title.is_empty() {
            return Err(cells.none(Title as usize));
        }
        let mut news = Self::new(in_micros("ts", ts)?, title);
        news.vendor = file.vendor.resolve(cells.column(Vendor as usize))?;
        // A number that is always the same names no piece of news.
        news.id = cells.text(Id as usize).filter(|id| *id != "0").unwrap_or_default().into();
        ids.check(&news)?;
        if let Some(text) = cells.text(UpdatedAt as usize) {
            news.updated_at = Some(in_micros("updated_at", file.times.read("updated_at", text)?)?);
        }
        news.symbols = symbols_of(cells, file)?;
        news.url = cells.text(Url as usize).map(str::to_owned);
        news.sentiment = cells.number(Sentiment as usize).map_err(|error| {
            let advice = "name another column, or none with --map sentiment=-";
            RowError::from(String::from(error)).of_file(advice)
        })?;
        Ok(Some(news))
    }

    fn settle(&mut self, _: bool, _: &mut Moments) -> Result<bool, RowError> {
        // Versions of a piece of news lie far apart; which came before is not kept.
        Ok(false)
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, None)
    }
}

impl Ids {
    /// Fails for two pieces of news under one id, such as the number of a row: one would take the place of the other. A
    /// newer version of a piece has the same title, or is of the same time.
    fn check(&mut self, news: &News) -> Result<(), RowError> {
        if news.id.is_empty() {
            return Ok(());
        }
        let piece = (news.ts, hash_of(&news.title));
        if self.pieces.len() == MOST_IDS {
            self.pieces.clear();
        }
        let first = *self.pieces.entry(hash_of(&(&news.vendor, &news.id))).or_insert(piece);
        if first.0 == piece.0 || first.1 == piece.1 {
            return Ok(());
        }
        let message = format!(
            "id: expected an id for each piece of news, got {} again with another title and time",
            Quoted(&news.id)
        );
        Err(RowError::from(message).of_file("name another column, or none with --map id=-"))
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn in_micros(name: &str, ts: TimestampNanos) -> Result<Timestamp, RowError> {
    Timestamp::from_nanos(ts.as_nanos()).map_err(|error| format!("{name}: {error}").into())
}

/// Reads the symbols of a cell: a list as JSON or Python writes it, of texts or of objects that name one each, or texts with
/// commas, semicolons or bars between.
fn symbols_of(cells: &Cells<'_>, file: &FileContext) -> Result<Vec<SmolStr>, RowError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Named {
        Text(String),
        Object {
            #[serde(alias = "name", alias = "ticker")]
            symbol: String,
        },
    }

    let cell = cells.text(Symbols as usize).unwrap_or_default();
    let symbols: Vec<SmolStr> = match cell.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => match serde_json::from_str::<Vec<Named>>(cell) {
            Ok(list) => list
                .into_iter()
                .map(|named| match named {
                    Named::Text(symbol) | Named::Object { symbol } => symbol.trim().into(),
                })
                .collect(),
            Err(_) if !inner.contains(['{', '[', '"']) => {
                inner.split(',').map(|part| part.trim().trim_matches('\'').into()).collect()
            }
            Err(_) => return Err(unknown_list(cell)),
        },
        None => cell.split([',', ';', '|']).map(|part| part.trim().into()).collect(),
    };
    let symbols: Vec<SmolStr> = symbols.into_iter().filter(|symbol| !symbol.is_empty()).collect();
    // What is left of a list that is written in another way, such as ['A' 'B'], ('A', 'B') or {A,B}.
    if symbols.iter().any(|symbol| symbol.contains(['\'', '"', '(', ')', '[', ']', '{', '}'])) {
        return Err(unknown_list(cell));
    }
    let Some((given, who)) = &file.symbol.fixed else { return Ok(symbols) };
    if symbols.is_empty() {
        return Ok(vec![given.clone()]);
    }
    let is_given = |symbol: &SmolStr| crate::record::Bar::normal_symbol(symbol).is_ok_and(|symbol| symbol == *given);
    if symbols.iter().any(is_given) {
        return Ok(symbols);
    }
    Err(format!("symbols: expected {given} among them as {who} says, got {}", Quoted(cell)).into())
}

fn unknown_list(cell: &str) -> RowError {
    let message = format!("symbols: expected a list of symbols, got {}", Quoted(cell));
    RowError::from(message).of_file("name another column, or none with --map symbols=-")
}
