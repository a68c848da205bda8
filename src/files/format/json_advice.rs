//! What to do with a JSON document that is no list of bars: a command that makes one of it.

use super::{
    json_columns::is_time,
    json_rows::{Found, Search},
    json_shape::{Array, FirstValue, LOOKED_AT, Node, Object, Skeleton},
};
use crate::files::{bars::BarDecoder, chunk::ReadError, file_info::Dialect, file_name::plain_or, times::Zone};
use crate::record::Timestamp;
use crate::text::Quoted;

/// So many bytes hold enough rows to prove what their numbers are.
const ENOUGH: usize = 64 * 1024;

/// Looks at the beginning of a document while it comes in. Returns whether it is read row by row; none while that is
/// open.
///
/// # Errors
/// The bars are inside of something: the document is refused.
pub(crate) fn look(
    first: &mut FirstValue,
    bytes: &[u8],
    at_end: bool,
    rows: &BarDecoder,
) -> Result<Option<()>, ReadError> {
    first.look(bytes);
    let is_array = rows.dialect() == Some(Dialect::JsonArray);
    let is_enough = at_end || bytes.len() >= if is_array && first.is_whole { ENOUGH } else { LOOKED_AT };
    let text = bytes.trim_ascii_start();
    let first_line = memchr::memchr(b'\n', text).map(|end| &text[..end]);
    let is_on_lines = !is_array && if first.is_whole { first.has_line_break(bytes) } else { first_line.is_some() };
    if is_on_lines && !first_line.is_some_and(is_begun) {
        // A line that is broken in another way costs only itself.
        return Ok(Some(()));
    }
    if !first.is_whole && !is_enough {
        return Ok(None);
    }
    // What is said of a file is the same however it was read.
    let seen = match is_array {
        _ if !first.is_whole => bytes,
        true => &bytes[..bytes.len().min(first.end().max(ENOUGH))],
        false => &bytes[..first.end()],
    };
    let value = Skeleton::read_first(seen);
    let search = search(rows);
    let is_row = match value.values.first() {
        None => true,
        Some(Node::Array(array)) => match array.items.first() {
            None => true,
            Some(first) => first.object().is_some_and(|bar| search.is_bar(bar)),
        },
        Some(value) => value.object().is_none_or(|bar| search.is_bar(bar)),
    };
    match is_row {
        true if is_on_lines && !value.values.is_empty() => return Err(refused(on_several_lines(rows))),
        true => return Ok(Some(())),
        false if is_array && !is_enough => return Ok(None),
        false => {}
    }
    let values = Skeleton::read(seen).values;
    let rest = bytes[first.end()..].trim_ascii_start();
    let as_one = of_document(&values, rows, true);
    let as_several = of_document(&values, rows, false);
    // Whether another document follows decides only where something was typed that the document names too.
    if first.is_whole && rest.is_empty() && !is_enough && as_one != as_several {
        return Ok(None);
    }
    if let Some(refusal) = if first.is_whole && rest.is_empty() && at_end { as_one } else { as_several } {
        return Err(refused(refusal));
    }
    // One object is the whole document if it has parts and nothing follows. Databento's records have parts too, and an
    // error of their own.
    let has_parts =
        |object: &Object| object.get("hd").is_none() && object.fields.iter().any(|(_, value)| value.scalar().is_none());
    let is_last = !first.is_whole || rest.is_empty();
    let is_only = !is_array && is_last && values.first().and_then(Node::object).is_some_and(has_parts);
    let is_cut = !is_array && !first.is_whole && !at_end;
    if is_on_lines || is_cut || is_only && at_end {
        let message = "expected an object for each bar, got one in which no bars are known: take them out with jq";
        return Err(refused(message.into()));
    }
    Ok((!is_only || is_enough).then_some(()))
}

/// Says how to take the bars out of an element, or a line, that is none. None if there are none in it.
pub(crate) fn of_element(bytes: &[u8], rows: &BarDecoder) -> Option<String> {
    let mut values = Skeleton::read(bytes).values;
    if rows.dialect() == Some(Dialect::JsonArray) {
        values = vec![Node::Array(Array { items: values, is_whole: false })];
    }
    of_document(&values, rows, false)
}

/// Says how to put objects on one line each.
pub(crate) fn on_several_lines(rows: &BarDecoder) -> String {
    let command = command("jq -c", ".", "", rows);
    format!("expected an object on each line, got one on several: put each on one, as in {command}")
}

/// Returns whether a line is the beginning of an object whose other fields stand on the next ones.
pub(crate) fn is_begun(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.starts_with(b"{")
        && line.ends_with(b"{") | line.ends_with(b"[") | line.ends_with(b",")
        && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

fn refused(message: String) -> ReadError {
    ReadError::Refused(message)
}

fn search(rows: &BarDecoder) -> Search<'_> {
    let symbol = rows.fixed_symbol().map(|(symbol, _)| symbol.as_str());
    Search::new(rows.map(), symbol, rows.fixed_timeframe().map(|(timeframe, _)| *timeframe))
}

fn of_document(values: &[Node], rows: &BarDecoder, is_single: bool) -> Option<String> {
    let search = search(rows).single(is_single);
    let arrays: Vec<&Array> = values.iter().filter_map(Node::array).collect();
    let found: Found = match arrays.first() {
        // An array on each line.
        Some(first) if first.scalars().is_some() => search.of_arrays(&arrays, "."),
        _ => search.find(values.first()?),
    };
    let expected = "expected an object for each bar";
    let found = match found? {
        Ok(found) => found,
        Err(unsure) => return Some(format!("{expected}, got {unsure}")),
    };
    // Bars that are read as they are, behind something odd.
    let is_array = rows.dialect() == Some(Dialect::JsonArray);
    if found.filter == if is_array { ".[]" } else { "." } {
        return None;
    }
    let tz = match zone_of(values, rows.given_zone()) {
        Ok(tz) => tz,
        Err(problem) => return Some(problem),
    };
    let program = if found.is_csv { "jq -r" } else { "jq -c" };
    let command = command(program, &found.filter, &tz, rows);
    let how = if found.is_csv { "make them CSV" } else { "take them out" };
    let days = match moment(values, rows) {
        Some(time) if tz.is_empty() && rows.given_zone().is_none() => {
            format!(
                "; {} is no midnight in UTC: give the zone of its day too, as in --tz America/New_York",
                Quoted(time)
            )
        }
        _ => String::new(),
    };
    Some(format!("{expected}, got {}: {how}, as in {command}{days}", found.what))
}

/// Returns the time of the first bar, if it is one of a day or more and no midnight in UTC.
fn moment<'n>(values: &'n [Node], rows: &BarDecoder) -> Option<&'n str> {
    let (timeframe, _) = rows.fixed_timeframe()?;
    let time = values.iter().find_map(|value| first_time(value, &|name| search(rows).is_time_name(name)))?;
    let digits = time.split_once('.').map_or(time, |(whole, _)| whole);
    let day: i64 = match digits.len() {
        9 | 10 => 86_400,
        12 | 13 => 86_400_000,
        15 | 16 => 86_400_000_000,
        18 | 19 => 86_400_000_000_000,
        _ => return None,
    };
    (timeframe.is_day_or_more() && digits.parse::<i64>().ok()? % day != 0).then_some(time)
}

/// Finds the first time of bars: beside their names, in an array, or as a key.
fn first_time<'n>(node: &'n Node, is_named: &dyn Fn(&str) -> bool) -> Option<&'n str> {
    let of_value = |value: &'n Node| match value {
        Node::Array(array) => array.scalars()?.first().copied(),
        value => value.scalar(),
    };
    match node {
        Node::Object(object) => {
            let named = |(name, value): &'n (String, Node)| of_value(value).filter(|_| is_named(name));
            let deeper = |(key, value): &'n (String, Node)| match value {
                Node::Object(_) if is_time(key) => Some(key.as_str()),
                value => first_time(value, is_named),
            };
            // The time of an answer stands in front of those of its bars.
            object.fields.iter().find_map(deeper).or_else(|| object.fields.iter().find_map(named))
        }
        Node::Array(array) => match array.scalars() {
            Some(cells) if cells.len() >= 5 => cells.into_iter().find(|cell| is_time(cell)),
            _ => array.items.iter().take(3).find_map(|item| first_time(item, is_named)),
        },
        _ => None,
    }
}

/// Returns a command that loads what a filter makes of the file: `...` stands for the options that the user gave.
fn command(program: &str, filter: &str, tz: &str, rows: &BarDecoder) -> String {
    let file = plain_or(rows.name(), "FILE");
    let mut options = tz.to_owned();
    // What the file's name says is not known of a pipe.
    if let Some((symbol, who)) = rows.fixed_symbol()
        && !who.starts_with("--")
    {
        options += &format!(" --symbol {}", plain_or(symbol, "SYMBOL"));
    }
    if let Some((timeframe, who)) = rows.fixed_timeframe()
        && !who.starts_with("--")
    {
        options += &format!(" --timeframe {timeframe}");
    }
    match rows.unpacking() {
        "" => format!("`{program} '{filter}' {file} | mds ingest{options} ... -`"),
        tool => format!("`{tool} {file} | {program} '{filter}' | mds ingest{options} ... -`"),
    }
}

/// Returns the option for the zone that the document names, if the user did not give it.
///
/// # Errors
/// What stands against the zone that the user gave, or is no zone that is known.
fn zone_of(values: &[Node], given: Option<&Zone>) -> Result<String, String> {
    let mut names = Vec::new();
    values.iter().for_each(|value| collect_zones(value, &mut names));
    let zones: Vec<Zone> =
        names.iter().filter(|name| is_plain_zone(name)).filter_map(|name| name.parse().ok()).collect();
    let Some(zone) = zones.first() else {
        return match names.first() {
            Some(name) if given.is_none() => Err(format!(
                "expected --tz, since the file says that its times are those of {}, and the bars have to be taken out: give \
                 the zone by its IANA name, such as --tz America/New_York",
                Quoted(name)
            )),
            _ => Ok(String::new()),
        };
    };
    if let Some(other) = zones.iter().find(|other| !is_same(zone, other)) {
        return Err(format!("expected times of one zone in the file, got {zone} and {other}: take one out with jq"));
    }
    match given {
        None => Ok(format!(" --tz {zone}")),
        Some(given) if is_same(given, zone) => Ok(String::new()),
        Some(given) => Err(format!("expected --tz {zone} as the file says, got {given}")),
    }
}

/// Abbreviations are no zones: `EST` is written in summer too.
fn is_plain_zone(name: &str) -> bool {
    name.contains('/') || ["UTC", "GMT"].contains(&name)
}

fn is_same(one: &Zone, other: &Zone) -> bool {
    // Winter and summer, years ago and now.
    [1_263_556_800, 1_279_195_200, 1_705_320_000, 1_721_044_800].into_iter().all(|seconds: i64| {
        let at = Timestamp::from_micros(seconds * 1_000_000);
        one.civil(at).ok() == other.civil(at).ok()
    })
}

/// Finds the texts of fields that name a zone.
fn collect_zones<'n>(node: &'n Node, names: &mut Vec<&'n str>) {
    match node {
        Node::Object(object) => {
            for (name, value) in &object.fields {
                let name = name.to_lowercase().replace(['_', ' ', '-'], "");
                match value {
                    Node::Text(text) if name.contains("timezone") || name == "tz" => names.push(text),
                    value => collect_zones(value, names),
                }
            }
        }
        Node::Array(array) => array.items.iter().for_each(|item| collect_zones(item, names)),
        _ => {}
    }
}
