//! What a command says: results on standard output, complaints on standard error.
//!
//! Texts of files, stores, dead letters, the environment and the command line are in both, and a terminal obeys control
//! characters in them. So nothing else in `cli` writes to either, and what is written here has such characters escaped.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, Write as _},
};

use market_data_store::text::Shown;
use serde::Serialize;

use super::{exit::Exit, progress::Stderr};

/// The lines of a result, ready for a terminal.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Adds a line. It stays one line whatever is in it.
    pub fn line(&mut self, line: impl fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{}", Shown(&line.to_string()));
    }

    /// Adds a value as JSON on one line. What JSON cannot say, such as a path that is no text, is an object that says so.
    pub fn json(&mut self, value: &impl Serialize) {
        // Outside of strings such a character is a space.
        let json = serde_json::to_string(value).map(|json| json.replace(['\n', '\r', '\t'], " "));
        let json = json.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
        self.0.push_str(&escaped(&json));
        self.0.push('\n');
    }

    /// Adds a value as JSON on many lines.
    pub fn pretty_json(&mut self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(json) => json.lines().for_each(|line| {
                self.0.push_str(&escaped(line));
                self.0.push('\n');
            }),
            Err(error) => self.json(&serde_json::json!({ "error": error.to_string() })),
        }
    }

    /// Returns how many bytes the lines have.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the lines as they will be printed.
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prints the lines and forgets them. A reader that has gone away, as `head` does, is no error.
    ///
    /// # Errors
    /// Standard output cannot be written to; that is told.
    pub fn print(&mut self) -> Result<(), Exit> {
        let text = std::mem::take(&mut self.0);
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                complain(format_args!("error: cannot write to standard output: {error}"));
                Err(Exit::Internal)
            }
            _ => Ok(()),
        }
    }
}

/// Writes a line to standard error. It stays one line whatever is in it.
pub fn complain(line: impl fmt::Display) {
    let line = format!("{}\n", Shown(&line.to_string()));
    // A standard error that is closed has no reader to miss the line.
    let _ = Stderr.write_all(line.as_bytes());
}

/// Escapes in JSON what [`Shown`] escapes in a text, in JSON's own way. Such a character stands only within a string.
pub fn escaped(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_shown(char) {
            text.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text.into()
}

fn is_shown(char: char) -> bool {
    let mut bytes = [0; 4];
    let text: &str = char.encode_utf8(&mut bytes);
    matches!(char, ' '..='~') || Shown(text).to_string() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if a character passes that a terminal obeys, or if what is printed is no JSON of the same value any more.
    #[test]
    fn json_is_the_same_value_without_characters_that_a_terminal_obeys() {
        let value = "ä b \u{1b}[2J \n\r\t\0 \u{7f}\u{9b}\u{202e}\u{2066}\u{200e}\u{feff} \u{1d11e}\u{e0041}";
        let mut text = Text::default();
        text.json(&[value]);
        text.pretty_json(&[value]);
        let (one, many) = text.as_str().split_once('\n').unwrap();
        for json in [one, many] {
            assert_eq!(serde_json::from_str::<[String; 1]>(json).unwrap(), [value]);
            assert!(json.replace('\n', "").chars().all(is_shown), "{json:?}");
        }
        assert!(one.contains("ä b") && one.contains('\u{1d11e}') && one.contains(r"\udb40\udc41"), "{one}");
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut text = Text::default();
        text.line("a\nb\u{202e}");
        assert_eq!(text.as_str(), "a\\nb\\u{202e}\n");
    }
}
