//! Where the bars are in a JSON document, and the jq filter that takes them out: by its form, not by who wrote it.

mod tables;

use super::{
    json_columns::{self, Volume, is_time},
    json_shape::{Array, Node, Object},
    json_text::{field, name_of, path, under, with},
};
use crate::files::columns::{ColumnMap, Role};
use crate::record::Timeframe;

/// So many parts of a record are named one by one.
const MOST_NAMED: usize = 32;
const PRICES: [Role; 4] = [Role::Open, Role::High, Role::Low, Role::Close];

/// Bars, and how jq makes an object of each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) filter: String,
    /// What the file has in the place of objects.
    pub(super) what: String,
    /// Whether there is a list of them.
    is_list: bool,
    has_symbol: bool,
    has_timeframe: bool,
    /// The rows are CSV, whose columns the user names.
    pub(super) is_csv: bool,
}

/// Nothing, bars, or bars for which no filter is certain: what is there, and why.
pub(super) type Found = Option<Result<Rows, String>>;

/// What is known while a document is searched.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) map: &'a ColumnMap,
    /// What the user says of the symbol and the timeframe.
    pub(super) symbol: Option<&'a str>,
    pub(super) timeframe: Option<Timeframe>,
    /// An object around this one names them.
    has_symbol: bool,
    has_timeframe: bool,
    /// The keys of an object around this one are times.
    has_time: bool,
    /// There is one of what is searched: what the user says of it need not stand in each row.
    is_single: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(map: &'a ColumnMap, symbol: Option<&'a str>, timeframe: Option<Timeframe>) -> Self {
        Self { map, symbol, timeframe, has_symbol: false, has_timeframe: false, has_time: false, is_single: false }
    }

    pub(super) fn single(self, is_single: bool) -> Self {
        Self { is_single, ..self }
    }

    /// Returns what a field holds; some vendors number their names: `1. open`.
    pub(super) fn role(self, name: &str) -> Option<Role> {
        self.map.role_of(plain(name))
    }

    /// Returns whether an object is read as a bar, be it one that lacks something.
    pub(super) fn is_bar(self, object: &Object) -> bool {
        let has = |price: &&Role| {
            let mut fields = object.fields.iter().filter(|(_, value)| value.scalar().is_some());
            fields.any(|(name, _)| self.map.role_of(name) == Some(**price))
        };
        // A quote with a history in it is none.
        PRICES.iter().filter(has).count() >= 3
            && (self.has_time_field(object) || !matches!(self.in_fields(object), Some(Ok(_))))
    }

    fn rows(self, filter: impl Into<String>, what: impl Into<String>) -> Rows {
        Rows {
            filter: filter.into(),
            what: what.into(),
            is_list: true,
            has_symbol: self.has_symbol,
            has_timeframe: self.has_timeframe,
            is_csv: false,
        }
    }

    pub(super) fn find(self, node: &Node) -> Found {
        match node {
            Node::Object(object) => self.in_object(object),
            Node::Array(array) => self.in_array(array),
            _ => None,
        }
    }

    fn in_array(self, array: &Array) -> Found {
        let arrays: Vec<_> = array.items.iter().filter_map(Node::array).collect();
        if !arrays.is_empty() && arrays[0].scalars().is_some() {
            return self.of_arrays(&arrays, ".[]");
        }
        let each = Self { is_single: false, ..self };
        let found = array.items.iter().take(3).find_map(|item| each.find(item))?;
        Some(found.map(|rows| Rows { filter: under(".[]", &rows.filter), is_list: true, ..rows }))
    }

    /// Arrays whose numbers have no names: each of them is `each`.
    pub(super) fn of_arrays(self, arrays: &[&Array], each: &str) -> Found {
        let whole = || arrays.iter().filter(|array| array.is_whole);
        let rows: Vec<Vec<&str>> = whole().filter_map(|array| array.scalars()).collect();
        let first = rows.first().filter(|row| row.len() >= 4)?;
        let what = "arrays, whose numbers have no names";
        if self.map.needs_no_header() {
            return Some(Ok(Rows { is_csv: true, ..self.rows(format!("{each} | @csv"), what) }));
        }
        if self.map.has_numbers() {
            return Some(Err(format!(
                "{what}: give --map with the numbers of ts, open, high, low and close, all of them"
            )));
        }
        let places = match json_columns::places(&rows) {
            Ok(places) => places,
            Err(problem) => {
                let shown: String = first.join(", ").chars().take(120).collect();
                return Some(Err(format!(
                    "{what}, and {problem}: give --map ts=A,open=B,high=C,low=D,close=E,volume=F with the number of each, \
                     from 1; the first array is {shown}"
                )));
            }
        };
        let [open, high, low, close] = places.prices;
        let mut names = vec![("ts", places.time), ("open", open), ("high", high), ("low", low), ("close", close)];
        let mut what = what.to_owned();
        match places.volume {
            Volume::At(at) => names.push(("volume", at)),
            Volume::None => {}
            Volume::Unproved => what += ", of which the volume is left out since several may be it",
        }
        let object: Vec<String> = names.iter().map(|(name, at)| format!("{name}: .[{at}]")).collect();
        Some(Ok(self.rows(under(each, &format!("{{{}}}", object.join(", "))), what)))
    }

    fn in_object(self, object: &Object) -> Found {
        let carried = self.carried(object);
        let inside = Self {
            has_symbol: self.has_symbol || carried.iter().any(|(name, _)| *name == "symbol"),
            has_timeframe: self.has_timeframe || carried.iter().any(|(name, _)| *name == "timeframe"),
            ..self
        };
        let forms = [Self::columns, Self::named_arrays, Self::maps_of_columns, Self::by_time, Self::nested_prices];
        let found = match self.record(object) {
            Some(Ok(rows)) => return Some(Ok(rows)),
            Some(Err(problem)) => inside.in_fields(object).filter(Result::is_ok).or(Some(Err(problem))),
            None => forms.iter().find_map(|form| form(inside, object)).or_else(|| inside.in_fields(object)),
        };
        Some(found?.map(|rows| {
            let carried: Vec<_> = carried.into_iter().filter(|_| !rows.is_csv).collect();
            Rows { filter: with(&carried, &rows.filter), ..rows }
        }))
    }

    /// One bar with names.
    fn record(self, object: &Object) -> Found {
        if let Err(problem) = self.check_prices(object)? {
            return Some(Err(problem));
        }
        let mut rows = self.record_rows(object, ".")?;
        rows.is_list = false;
        let mut added = Vec::new();
        if !self.has_time && !self.has_time_field(object) {
            let mut times = object.fields.iter().filter(|(_, value)| value.scalar().is_some_and(is_time));
            match (times.next(), times.next()) {
                (Some((name, _)), None) => added.push(("ts", path(name)?)),
                // Which one counts is asked when the rows are read.
                (Some(_), Some(_)) => {}
                (None, _) => return Some(Err("bars without a time".into())),
            }
        }
        for (name, value) in &object.fields {
            let said =
                value.scalar().filter(|_| self.role(name).is_none()).and_then(|text| field(name, text, self.map));
            match said {
                Some(Role::Timeframe) if !self.has_timeframe => added.push(("timeframe", path(name)?)),
                Some(Role::Symbol) if !(self.has_symbol || self.is_single && self.symbol.is_some()) => {
                    added.push(("symbol", path(name)?))
                }
                _ => {}
            }
        }
        // Events of a stream have both in the bar itself, by a letter.
        let letter = |name: &str| object.get(name).and_then(Node::scalar).filter(|text| !text.is_empty());
        if let (Some(_), Some(interval)) = (letter("s"), letter("i"))
            && interval.parse::<Timeframe>().is_ok()
        {
            added.extend([("symbol", ".s".into()), ("timeframe", ".i".into())]);
        }
        // Where its parts are named one by one, these are among them.
        if rows.filter == "." {
            rows.filter = with(&added, ".");
        }
        Some(Ok(rows))
    }

    /// Returns whether an object has the prices of a bar; none if it has not even three.
    fn check_prices(self, object: &Object) -> Option<Result<(), String>> {
        let has = |wanted: &Role| {
            object.fields.iter().any(|(name, value)| value.scalar().is_some() && self.role(name) == Some(*wanted))
        };
        let lacks: Vec<&str> = PRICES.into_iter().filter(|price| !has(price)).map(Role::name).collect();
        match lacks.as_slice() {
            [] => Some(Ok(())),
            [lack] => Some(Err(format!("bars without a field for {lack}: say which it is, as in --map {lack}=NAME"))),
            _ => None,
        }
    }

    /// Passes a bar on as it is, or names its parts one by one where their names are numbered. It stands at `place`.
    fn record_rows(self, object: &Object, place: &str) -> Option<Rows> {
        let is_plain = object.fields.iter().all(|(name, _)| plain(name) == name);
        if is_plain {
            return Some(self.rows(place, "objects"));
        }
        let mut parts = Vec::new();
        for (name, value) in object.fields.iter().take(MOST_NAMED) {
            if value.scalar().is_some() {
                parts.push(format!("{}: {}", name_of(plain(name))?, under(place, &path(name)?)));
            }
        }
        Some(self.rows(format!("{{{}}}", parts.join(", ")), "objects"))
    }

    fn has_time_field(self, object: &Object) -> bool {
        object.fields.iter().any(|(name, value)| value.scalar().is_some() && self.is_time_name(name))
    }

    pub(super) fn is_time_name(self, name: &str) -> bool {
        matches!(self.role(name), Some(Role::Time | Role::Date | Role::Clock))
    }

    /// Bars inside of the fields: under one name, or keyed by symbols, timeframes or numbers of rows.
    fn in_fields(self, object: &Object) -> Found {
        let mut parts = object.fields.iter().filter(|(_, value)| value.object().is_some() || value.array().is_some());
        let inside = Self { has_time: self.has_time || parts.all(|(key, _)| is_time(key)), ..self };
        let mut found: Vec<(&str, Result<Rows, String>)> =
            object.fields.iter().filter_map(|(key, value)| Some((key.as_str(), inside.find(value)?))).collect();
        if found.iter().any(|(_, rows)| rows.as_ref().is_ok_and(|rows| rows.is_list)) {
            found.retain(|(_, rows)| rows.as_ref().map_or(true, |rows| rows.is_list));
        }
        let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
        let first = found.iter().find_map(|(_, rows)| rows.as_ref().ok());
        let Some(rows) = first.cloned() else { return found.into_iter().next().map(|(_, unsure)| unsure) };
        if self.is_single && keys.len() > 1 {
            return Self { is_single: false, ..self }.in_fields(object);
        }
        if found.iter().any(|(_, other)| other.as_ref().is_ok_and(|other| other.filter != rows.filter)) {
            return Some(Err(several(&keys)));
        }
        let is_only = object.is_whole && self.is_single && self.symbol.is_some();
        let key = match keys.as_slice() {
            keys if keys.iter().all(|key| is_time(key)) => Key::Time,
            keys if is_count(keys) => Key::Any,
            keys if keys.iter().all(|key| is_symbol(key)) && !rows.has_symbol && !(is_only && keys.len() == 1) => {
                Key::Symbol
            }
            keys if keys.iter().all(|key| key.len() > 1 && key.parse::<Timeframe>().is_ok()) && !rows.has_timeframe => {
                Key::Timeframe
            }
            // Each names its own symbol.
            [_, _, ..] if rows.has_symbol && !self.has_symbol => Key::Any,
            [_] => Key::Name,
            _ => return Some(Err(several(&keys))),
        };
        if self.is_single && !matches!(key, Key::Name) {
            return Self { is_single: false, ..self }.in_fields(object);
        }
        // What has no bars, such as an error, would stop jq.
        let kind = if object.get(keys[0]).is_some_and(|value| value.array().is_some()) { "array" } else { "object" };
        let carry = match key {
            Key::Name => {
                let place = path(keys[0])?;
                let what = format!("one with {} around them", crate::text::Quoted(keys[0]));
                let what = if rows.what == "objects" { what } else { rows.what.clone() };
                let filter = under(&place, &rows.filter);
                let said = self.said_by(keys[0]).filter(|_| !rows.has_timeframe && !rows.is_csv);
                let (filter, has_timeframe) = match said {
                    Some(timeframe) => (with(&[("timeframe", format!("\"{timeframe}\""))], &filter), true),
                    None => (filter, rows.has_timeframe),
                };
                return Some(Ok(Rows { filter, what, has_timeframe, ..rows }));
            }
            Key::Any => {
                let filter = under(&format!(".[] | {kind}s"), &rows.filter);
                return Some(Ok(Rows { filter, is_list: true, ..rows }));
            }
            _ if rows.is_csv => return Some(Err(several(&keys))),
            // A time of day may stand inside.
            Key::Time if keys.iter().all(|key| key.len() <= 10 && key.contains(['-', '/', '.'])) => "date",
            Key::Time => "ts",
            Key::Symbol => "symbol",
            Key::Timeframe => "timeframe",
        };
        let filter = format!(
            "to_entries[] | select(.value | type == \"{kind}\") | {}",
            with(&[(carry, ".key".into())], &under(".value", &rows.filter))
        );
        let (has_symbol, has_timeframe) =
            (rows.has_symbol || carry == "symbol", rows.has_timeframe || carry == "timeframe");
        let what = format!("an object whose keys are {}s", if carry == "ts" { "time" } else { carry });
        Some(Ok(Rows { filter, what, is_list: true, has_symbol, has_timeframe, is_csv: false }))
    }

    /// Returns the timeframe that the name of a list says, as Alpha Vantage's `Time Series (Daily)`.
    fn said_by(self, key: &str) -> Option<Timeframe> {
        let mut words = key.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() > 3);
        let timeframe = words.find_map(|word| word.parse().ok()).filter(|_| key.contains("Time Series"))?;
        (self.timeframe != Some(timeframe) && !self.has_timeframe).then_some(timeframe)
    }

    /// Finds symbol and timeframe among the fields of an object around the bars, or in an object beside them. What the
    /// user says already is left out if there is one object around all bars.
    fn carried(self, object: &Object) -> Vec<(&'static str, String)> {
        let mut carried: Vec<(&'static str, String)> = Vec::new();
        let own = object.fields.iter().map(|(name, value)| (None, name, value));
        let beside = object.fields.iter().filter_map(|(place, value)| Some((place, value.object()?)));
        // Others are of one of several symbols.
        let is_about_all = |place: &str| {
            let place = place.to_lowercase();
            place.contains("meta") || ["security", "info", "instrument", "request", "tags"].contains(&place.as_str())
        };
        let beside = beside
            .filter(|(place, _)| is_about_all(place))
            .flat_map(|(place, inner)| inner.fields.iter().map(move |(name, value)| (Some(place), name, value)));
        for (place, name, value) in own.chain(beside) {
            let Some(text) = value.scalar().filter(|text| !text.is_empty()) else { continue };
            let kind = match field(plain(name), text, self.map) {
                Some(Role::Symbol) if !self.has_symbol => "symbol",
                Some(Role::Timeframe) if !self.has_timeframe => "timeframe",
                _ => continue,
            };
            let is_said = match kind {
                "symbol" => self.symbol.is_some_and(|symbol| is_alike(symbol, text)),
                _ => self.timeframe.is_some_and(|timeframe| text.parse() == Ok(timeframe)),
            };
            let Some(place) = place.map_or(Some(".".into()), |place| path(place)) else { continue };
            let Some(name) = path(name) else { continue };
            if !(is_said && self.is_single) && carried.iter().all(|(known, _)| *known != kind) {
                carried.push((kind, under(&place, &name)));
            }
        }
        carried
    }
}

enum Key {
    Name,
    Any,
    Time,
    Symbol,
    Timeframe,
}

fn several(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().take(5).map(|key| crate::text::Quoted(key).to_string()).collect();
    format!("bars in several places ({}): take out one of them with jq", keys.join(", "))
}

/// Leaves off the number in front of a name: `1. open`, `1a. open (USD)`.
fn plain(name: &str) -> &str {
    match name.split_once(". ") {
        Some((number, rest)) if number.starts_with(|first: char| first.is_ascii_digit()) && number.len() < 4 => {
            rest.split_once(" (").map_or(rest, |(rest, _)| rest)
        }
        _ => name,
    }
}

/// Returns whether a key is a symbol and no name of a list: those have small letters, or are well known.
fn is_symbol(key: &str) -> bool {
    const LISTS: [&str; 14] = [
        "DATA", "BARS", "CANDLES", "KLINES", "OHLC", "OHLCV", "RESULT", "RESULTS", "PRICES", "HISTORY", "QUOTES",
        "VALUES", "ITEMS", "ROWS",
    ];
    let is_word = key.bytes().any(|byte| byte.is_ascii_uppercase()) || key.len() >= 5;
    is_word && !key.bytes().any(|byte| byte.is_ascii_lowercase()) && !LISTS.contains(&key) && !is_time(key)
}

/// Returns whether keys count rows: 0, 1, 2.
fn is_count(keys: &[&str]) -> bool {
    let start = if keys.first() == Some(&"1") { 1 } else { 0 };
    keys.iter().enumerate().all(|(at, key)| *key == (start + at).to_string())
}

/// Returns whether a symbol is the one that was typed but for punctuation, and for a market in front: `X:BTCUSD`.
fn is_alike(typed: &str, symbol: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect()
    };
    letters(typed) == letters(symbol)
        || symbol.split_once(':').is_some_and(|(_, symbol)| letters(typed) == letters(symbol))
}
