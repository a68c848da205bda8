//! CSV as RFC 4180 quotes it: lines end with a line feed, texts are in UTF-8, null is nothing.

use std::fmt::Write as _;

use market_data_store::{Table, Value, text::Shown};

/// Returns the header: the names of the columns.
pub fn header(table: &Table) -> String {
    let names: Vec<_> = table.columns().iter().map(|column| column.name()).collect();
    names.join(",") + "\n"
}

/// Adds a line of values. For a terminal hidden characters are escaped, which is then no longer what is stored.
pub fn line(text: &mut String, values: &[Value<'_>], is_for_terminal: bool) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match value {
            Value::Text(cell) if is_for_terminal => quoted(text, &Shown(cell).to_string()),
            Value::Text(cell) => quoted(text, cell),
            // Writing to a string cannot fail, and in none of these is anything to quote.
            value => _ = write!(text, "{value}"),
        }
    }
    text.push('\n');
}

/// Adds a cell; blanks at its ends are quoted too, as many readers take them away.
fn quoted(text: &mut String, cell: &str) {
    let is_plain = !cell.contains([',', '"', '\n', '\r']) && cell.trim() == cell;
    if is_plain {
        text.push_str(cell);
    } else {
        text.push('"');
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a comma, a quote or a line end is not quoted, a number is longer than needed, or null is a word.
    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        let values = [
            Value::from("a"),
            Value::from("b,\"c\"\n"),
            Value::from(" d"),
            Value::Null,
            Value::from(1.0),
            Value::from(0.1),
            Value::from(1e308),
            Value::from(-5e-324),
            Value::from(-7_i64),
        ];
        let mut text = String::new();
        line(&mut text, &values, false);
        assert_eq!(text, "a,\"b,\"\"c\"\"\n\",\" d\",,1,0.1,1e308,-5e-324,-7\n");
        text.clear();
        line(&mut text, &[Value::from("\u{1b}[2J\n")], true);
        assert_eq!(text, "\\u{1b}[2J\\n\n");
    }
}
