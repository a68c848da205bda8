//! A JSON object as a row: its fields are found by name, like columns.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{header::DATABENTO, json_advice, lines::Line, text_of, too_long};
use crate::files::{
    bars::{BarDecoder, NamedCell, RawBar, UnusedCells},
    chunk::{Chunk, ReadError},
    column_names::is_begin,
    columns::{ColumnMap, ROLES, Role, may_be_symbols},
    fields::trimmed,
};
use crate::text::Quoted;

/// Takes a line of NDJSON.
pub(crate) fn line(line: Line<'_>, rows: &mut BarDecoder, chunk: &mut Chunk) -> Result<(), ReadError> {
    match line {
        Line::TooLong { number } => rows.reject(number, too_long(), chunk),
        Line::Whole { bytes, .. } if bytes.iter().all(u8::is_ascii_whitespace) => Ok(()),
        Line::Whole { number, bytes, .. } => element(number, bytes, rows, chunk),
    }
}

/// Takes one JSON value that should be a bar.
pub(crate) fn element(line: u64, bytes: &[u8], rows: &mut BarDecoder, chunk: &mut Chunk) -> Result<(), ReadError> {
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err(message) => return not_read(line, bytes, message, rows, chunk),
    };
    let mut fields = Fields::default();
    if let Err(error) = fields.read(text.trim_start(), rows.map()) {
        return not_read(line, bytes, said(&error, text), rows, chunk);
    }
    if !rows.have_begun() {
        if let Some(refusal) = fields.refusal(bytes, rows) {
            return Err(ReadError::Refused(format!("line {line}: {refusal}")));
        }
        if let Some(name) = &fields.symbols {
            rows.propose_symbols(name);
        }
        rows.set_unused(UnusedCells::Fields(rows.map().clone()));
    }
    if fields.has_ts_event {
        rows.doubt_prices();
    }
    for name in &fields.ignored {
        rows.ignore(name);
    }
    if let Some(problem) = fields.problem.take().or_else(|| fields.lacks()) {
        return rows.reject(line, problem, chunk);
    }
    if rows.wants_cells() && look_at(line, text, &fields, rows)? {
        // Its fields have other meanings now.
        let mut again = Fields::default();
        return match again.read(text.trim_start(), rows.map()) {
            Ok(()) => rows.push(line, &again.cells(), text, chunk),
            Err(error) => rows.reject(line, said(&error, text), chunk),
        };
    }
    // Without other fields there is nothing to tell it from another row by.
    rows.push(line, &fields.cells(), if fields.ignored.is_empty() { "" } else { text }, chunk)
}

/// Takes an element that is no object.
#[inline(never)]
fn not_read(
    line: u64,
    bytes: &[u8],
    message: String,
    rows: &mut BarDecoder,
    chunk: &mut Chunk,
) -> Result<(), ReadError> {
    if !rows.have_begun()
        && let Some(refusal) = refusal_of(bytes, rows)
    {
        return Err(ReadError::Refused(format!("line {line}: {refusal}")));
    }
    rows.reject(line, message, chunk)
}

/// Says why a text is no object.
fn said(error: &serde_json::Error, text: &str) -> String {
    // Where an element is one line, its own line number 1 would only mislead.
    let (said, at) = (error.to_string(), format!(" at line 1 column {}", error.column()));
    let said = said.strip_suffix(&at).map(|what| format!("{what} at column {}", error.column())).unwrap_or(said);
    // The parser repeats a string that should have been an object, whatever its length.
    let said = &said[..said.floor_char_boundary(200)];
    format!("expected a JSON object, got {}: {said}", Quoted(text.trim()))
}

/// Looks at one of the first rows, for what names leave open. Returns whether its fields have other meanings now.
#[inline(never)]
fn look_at(line: u64, text: &str, fields: &Fields<'_>, rows: &mut BarDecoder) -> Result<bool, ReadError> {
    let cells = all_cells(text, &fields.time_name, rows.map());
    let named: Vec<_> = cells.iter().map(|(name, cell, role)| NamedCell { name, cell, role: *role }).collect();
    Ok(rows.look_at_cells(line, &named, &fields.cells())?.is_some())
}

/// Returns all fields of an object in order, each with its text and what it is taken for.
fn all_cells(text: &str, time: &str, map: &ColumnMap) -> Vec<(String, String, Option<Role>)> {
    struct Pairs(Vec<(String, String)>);

    impl<'de> Deserialize<'de> for Pairs {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(PairsVisitor)
        }
    }

    struct PairsVisitor;

    impl<'de> de::Visitor<'de> for PairsVisitor {
        type Value = Pairs;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
            let mut pairs = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                let text = match value.get() {
                    "null" => String::new(),
                    raw => serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()),
                };
                pairs.push((name, text));
            }
            Ok(Pairs(pairs))
        }
    }

    let pairs = serde_json::from_str::<Pairs>(text.trim()).map(|pairs| pairs.0).unwrap_or_default();
    let role_of = |name: &str| match map.role_of(name) {
        // What is no beginning beside one that is.
        Some(Role::Time) if name != time => (!is_begin(time)).then_some(Role::OtherTime),
        role => role,
    };
    pairs
        .into_iter()
        .map(|(name, cell)| {
            let role = role_of(&name);
            (name, cell, role)
        })
        .collect()
}

/// Says what to do with a file whose elements are no objects.
fn refusal_of(bytes: &[u8], rows: &BarDecoder) -> Option<String> {
    if json_advice::is_begun(bytes) {
        return Some(json_advice::on_several_lines(rows));
    }
    if !bytes.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    let otherwise = || "expected JSON objects, got arrays, whose numbers have no names".into();
    Some(json_advice::of_element(bytes, rows).unwrap_or_else(otherwise))
}

/// The values of an object by role, each as the text that stands there: numbers as they are written, strings without
/// their quotes, null as nothing.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<Cow<'a, str>>; ROLES],
    ignored: Vec<Cow<'a, str>>,
    /// The name of one that seems to hold the symbol.
    symbols: Option<String>,
    problem: Option<String>,
    /// A bit for each role that a capital letter was taken for.
    capitals: u16,
    /// The field that the time is taken from.
    time_name: Cow<'a, str>,
    /// A field that holds more objects, and what stands there: an array of them, if there is one, else the last.
    around: Option<(String, &'a str)>,
    /// Whether it has a field of Databento's own, whose prices are no plain numbers.
    of_databento: bool,
    /// Whether it has a time as Databento and others name it.
    has_ts_event: bool,
}

impl<'a> Fields<'a> {
    /// Reads an object into these, which are empty: they are large, and would be moved with each of the layers below.
    fn read(&mut self, text: &'a str, map: &ColumnMap) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(FieldsVisitor { map, fields: self })?;
        deserializer.end()
    }

    /// Says why no object of this kind is read.
    fn refusal(&self, bytes: &[u8], rows: &BarDecoder) -> Option<String> {
        if self.of_databento && self.has_ts_event {
            return Some("expected plain prices, got JSON of Databento: get the same data as CSV".into());
        }
        let roles = [Role::Time, Role::Date, Role::Clock, Role::Open, Role::High, Role::Low, Role::Close];
        let is_bar = roles.into_iter().any(|role| self.values[role as usize].is_some());
        let (key, _) = self.around.as_ref().filter(|_| !is_bar)?;
        let otherwise = || {
            format!("expected an object for each bar, got one with {} around them: take them out with jq", Quoted(key))
        };
        Some(json_advice::of_element(bytes, rows).unwrap_or_else(otherwise))
    }

    /// Complains of the fields that a bar needs and this object has not.
    fn lacks(&self) -> Option<String> {
        let has = |role: Role| self.values[role as usize].is_some();
        let mut lacks = Vec::new();
        if !has(Role::Time) && !has(Role::Date) && !has(Role::Clock) {
            lacks.push("time");
        }
        let prices = [Role::Open, Role::High, Role::Low, Role::Close];
        lacks.extend(prices.into_iter().filter(|role| !has(*role)).map(Role::name));
        (!lacks.is_empty()).then(|| format!("expected a field for {}, got none", lacks.join(", ")))
    }

    fn cells(&self) -> RawBar<'_> {
        RawBar::of(|role| self.values[role as usize].as_deref().map(trimmed))
    }
}

struct FieldsVisitor<'m, 'de> {
    map: &'m ColumnMap,
    fields: &'m mut Fields<'de>,
}

impl<'de> de::Visitor<'de> for FieldsVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of a bar")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.fields;
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let value: &RawValue = map.next_value()?;
            fields.of_databento |= name == "hd" || DATABENTO.contains(&&*name);
            fields.has_ts_event |= name == "ts_event" || name == "hd";
            let is_word = || {
                let text = value.get().strip_prefix('"').filter(|text| text.starts_with(char::is_alphabetic));
                text.is_some_and(|word| !word.contains(' '))
            };
            // Where it is no time, `T` is the ticker.
            let is_ticker = |role: Role| role == Role::Time && name == "T" && is_word();
            let Some(role) = self.map.role_of(&name).filter(|role| !is_ticker(*role)) else {
                let behind = |bracket: char| value.get().strip_prefix(bracket).map(str::trim_start);
                let has_objects = behind('[').is_some_and(|inner| inner.starts_with('{'));
                let is_taken = matches!(&fields.around, Some((_, raw)) if raw.starts_with('['));
                if has_objects || !is_taken && behind('{').is_some_and(|inner| inner.starts_with('"')) {
                    fields.around = Some((name.clone().into_owned(), value.get()));
                }
                let is_text = || value.get().starts_with('"') && value.get().contains(char::is_alphabetic);
                if may_be_symbols(&name) && is_text() {
                    fields.symbols = Some(name.clone().into_owned());
                }
                fields.ignored.push(name);
                continue;
            };
            let has = |role: Role| fields.values[role as usize].is_some();
            let role = match role {
                // `T` is the end of the bar where `t` is its beginning, and beside what says that it is the beginning another
                // time may be the end.
                Role::Time if has(role) && !goes_before(&name, &fields.time_name) => {
                    let may_be_end = name == "T" || goes_before(&fields.time_name, &name);
                    if may_be_end || has(Role::OtherTime) {
                        fields.ignored.push(name);
                        continue;
                    }
                    fields.ignored.push(name.clone());
                    Role::OtherTime
                }
                Role::Time => {
                    if has(role) && fields.time_name != "T" {
                        fields.ignored.push(std::mem::take(&mut fields.time_name));
                    }
                    fields.time_name = name.clone();
                    role
                }
                // Of two letters that differ in their case the small one is the bar's: `L` is the last trade, and `V` what
                // takers bought.
                role if has(role) && is_capital(&name) => {
                    fields.ignored.push(name);
                    continue;
                }
                role if has(role) && fields.capitals & 1 << role as u16 != 0 && name.len() == 1 => {
                    fields.ignored.push(Cow::Owned(name.to_uppercase()));
                    fields.capitals &= !(1 << role as u16);
                    role
                }
                role if has(role) => {
                    fields.problem = Some(format!("expected one field for {}, got two", role.name()));
                    continue;
                }
                role => role,
            };
            if is_capital(&name) {
                fields.capitals |= 1 << role as u16;
            }
            fields.values[role as usize] = Some(match value.get() {
                "null" => Cow::Borrowed(""),
                raw if raw.starts_with('"') => string(raw).map_err(de::Error::custom)?,
                raw => {
                    if raw.starts_with(['{', '[', 't', 'f']) {
                        let problem = format!("{}: expected a string or a number, got {}", role.name(), Quoted(raw));
                        fields.problem = Some(problem);
                    }
                    Cow::Borrowed(raw)
                }
            });
        }
        Ok(())
    }
}

fn is_capital(name: &str) -> bool {
    matches!(name.as_bytes(), [letter] if letter.is_ascii_uppercase())
}

/// Returns whether of two fields that hold times the one of this name is rather that of the beginning.
fn goes_before(name: &str, other: &str) -> bool {
    other == "T" || is_begin(name) && !is_begin(other)
}

/// Returns what a JSON string says that the parser has passed over.
fn string(raw: &str) -> serde_json::Result<Cow<'_, str>> {
    // Most are as they stand between their quotation marks, and need not be parsed again.
    match raw.get(1..raw.len() - 1).filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => Ok(serde_json::from_str::<Text<'_>>(raw)?.0),
    }
}

/// A JSON string, borrowed if it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}
