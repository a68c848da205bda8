//! What the readers of files say, in the words of a request: they name options of a command and speak of files.

use crate::files::ReadError;

/// What names an option in errors of the readers, and the parameter that says the same. The longer of two with one
/// beginning comes first.
const OPTIONS: [(&str, &str); 11] = [
    ("--symbol-from-name", "symbol"),
    ("--symbol", "symbol"),
    ("--timeframe", "timeframe"),
    ("--vendor", "vendor"),
    ("--adjustment", "adjustment"),
    ("--tz", "tz"),
    ("--ts-format", "ts_format"),
    ("--ts-is", "ts_is"),
    ("--session-start", "session_start"),
    ("--as-written", "as_written"),
    ("--map", "map"),
];

/// What is said of files, and what of a body. The longer of two with one beginning comes first.
const PHRASES: [(&str, &str); 13] = [
    ("load them with --kind ", "post them to /v1/records/"),
    (" from a pipe, got a zip, which is read from a file only", ", got a zip"),
    (" from a file of its own", " by a request of its own"),
    (" from a file of their own", " by a request of their own"),
    (": load ", ": post "),
    (", or load ", ", or post "),
    ("fetch the file again", "pack it again"),
    ("fetch it again", "pack it again"),
    ("take the file as it was before", "take the data as they were before"),
    ("the file's name", "its name"),
    ("the file", "the body"),
    ("in a file", "in a body"),
    (" | mds ingest ... -`", "`"),
];

/// Where a command goes on that loads what it makes, with options.
const LOAD: &str = " | mds ingest ";

/// Says why a body is refused as a whole.
pub(super) fn refusal(error: &ReadError) -> String {
    match error {
        ReadError::Missing(missing) => {
            let mut text = format!("{missing}: give");
            let column = missing.symbol_column.as_ref().map(|column| format!(" map=symbol={}", cut(column)));
            if missing.symbol.is_some() {
                text += &column.unwrap_or_else(|| " symbol=SYMBOL".to_owned());
            }
            if missing.symbol.is_some() && missing.timeframe.is_some() {
                text += " and";
            }
            if let Some(timeframe) = &missing.timeframe {
                text += &format!(" timeframe={}", if timeframe.is_empty() { "TIMEFRAME" } else { timeframe });
            }
            of_request(&text)
        }
        error => of_request(&error.to_string()),
    }
}

/// Says of a request what a message says of a file. What is quoted in it is the sender's, and stays as it is.
pub(super) fn of_request(message: &str) -> String {
    let (mut said, mut rest) = (String::new(), message);
    while let Some((ours, quoted)) = rest.split_once('"') {
        let (quoted, behind) = quoted.split_at(end_of_quoted(quoted));
        said += &reworded(ours);
        said.push('"');
        said += quoted;
        rest = behind;
    }
    said + &reworded(rest)
}

/// Returns where a quoted text ends that has begun, behind its closing quotation mark.
fn end_of_quoted(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.find(|letter: char| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 1)
}

/// Says of a request what a part of a message says of a file, all of it ours.
fn reworded(message: &str) -> String {
    let text = PHRASES.iter().fold(message.to_owned(), |text, (of_file, of_body)| text.replace(of_file, of_body));
    let text = match text.split_once(LOAD).and_then(|(command, rest)| Some((command, rest.split_once(" ... -`")?))) {
        Some((command, (options, rest))) => format!("{command}`, and post that with {options}{rest}"),
        None => text,
    };
    OPTIONS.iter().fold(text, |text, (option, parameter)| {
        let mut parts = text.split(option);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |said, rest| match rest.strip_prefix(' ').filter(|rest| begins_with_value(rest)) {
            // That of another program, such as `--map-symbols`.
            _ if rest.starts_with(|next: char| next == '-' || next.is_ascii_alphanumeric()) => said + option + rest,
            Some(value) => format!("{said}{parameter}={value}"),
            None => format!("{said}{parameter}{rest}"),
        })
    })
}

/// Returns whether a value follows an option, and no word of a sentence.
fn begins_with_value(text: &str) -> bool {
    let word = text.split([' ', ';', '`']).next().unwrap_or_default();
    let is_name = word.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit());
    is_name || word.starts_with(['\'', '%']) || word.contains('=') || ["begin", "end"].contains(&word)
}

/// Cuts a text that is too long to be sent back.
pub(super) fn cut(text: &str) -> &str {
    const MOST: usize = 300;
    &text[..text.floor_char_boundary(MOST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a text of the sender is shown changed, because it has a phrase of ours.
    #[test]
    fn what_is_quoted_stays_as_it_is() {
        for (message, expected) in [
            (
                r#"got "--tz in the file": give --tz UTC, not "the file\"s --tz" of the file"#,
                r#"got "--tz in the file": give tz=UTC, not "the file\"s --tz" of the body"#,
            ),
            (r#"give --map close="the file": load "--map"#, r#"give map=close="the file": post "--map"#),
            (r#"got "a\\" in the file"#, r#"got "a\\" in the body"#),
        ] {
            assert_eq!(of_request(message), expected);
        }
    }

    // Red when an error of a reader names an option, a command or a file that a request does not have.
    #[test]
    fn errors_speak_of_requests() {
        for (message, expected) in [
            ("give --ts-format '%m/%d' or --ts-format '%d/%m'", "give ts_format='%m/%d' or ts_format='%d/%m'"),
            ("give --map ts=COLUMN, or --tz", "give map=ts=COLUMN, or tz"),
            ("as --symbol says, or --symbol-from-name", "as symbol says, or symbol"),
            ("give --ts-is end if times, or --as-written to", "give ts_is=end if times, or as_written to"),
            (
                "expected --tz, since the date; such as --timeframe 1m",
                "expected tz, since the date; such as timeframe=1m",
            ),
            ("unpack it first, as in `bzip2 -dc FILE | mds ingest ... -`", "unpack it first, as in `bzip2 -dc FILE`"),
            (
                "take them out with `jq -c '.a' FILE | mds ingest --symbol ES --timeframe 1m ... -`; 5 is none",
                "take them out with `jq -c '.a' FILE`, and post that with symbol=ES timeframe=1m; 5 is none",
            ),
            (
                "got the end of the file: it was cut off, fetch it again",
                "got the end of the body: it was cut off, pack it again",
            ),
            ("as in `dbn --csv --map-symbols FILE`", "as in `dbn --csv --map-symbols FILE`"),
            ("load each from a file of its own, or load these", "load each by a request of its own, or post these"),
            (
                "trades of a CSV of quotes: load them with --kind quotes",
                "trades of a CSV of quotes: post them to /v1/records/quotes",
            ),
        ] {
            assert_eq!(of_request(message), expected);
        }
    }
}
