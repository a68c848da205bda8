//! How a text that others wrote appears in a line for people.

use std::fmt;

use super::hidden::is_hidden;

/// The most characters that are shown.
const SHOWN: usize = 60;

/// Shows a text in double quotes, hidden characters escaped, cut behind the 60th character: an error message stays one
/// short line, whatever was in the file.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(SHOWN).map(|(at, _)| at);
        write!(f, "{:?}", &self.0[..cut.unwrap_or(self.0.len())])?;
        if cut.is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// Shows a text as it is, but for characters that do not show themselves, which are escaped: a terminal would obey a
/// control character, a line end would begin another message, and a mark of direction would turn round what follows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, char)| is_hidden(*char)) {
            write!(f, "{}{}", &rest[..at], hidden.escape_debug())?;
            rest = &rest[at + hidden.len_utf8()..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a mark of direction or a control character passes, or what is only unusual is escaped.
    #[test]
    fn only_hidden_characters_of_a_text_are_escaped() {
        assert_eq!(Shown("data/ä b'\\\".csv").to_string(), "data/ä b'\\\".csv");
        // A letter with a combining accent, as file names of macOS have it, and a space that does not break.
        assert_eq!(Shown("e\u{301}\u{a0}トヨタ").to_string(), "e\u{301}\u{a0}トヨタ");
        assert_eq!(Shown("\u{1b}[2Ja\nb\r\u{9b}\0").to_string(), r"\u{1b}[2Ja\nb\r\u{9b}\0");
    }

    #[test]
    fn a_long_or_binary_value_stays_one_short_line() {
        assert_eq!(Quoted("abc").to_string(), r#""abc""#);
        assert_eq!(Quoted("a\"b\n\0").to_string(), r#""a\"b\n\0""#);
        assert_eq!(Quoted(&"ä".repeat(100)).to_string(), format!("\"{}\"...", "ä".repeat(60)));
    }

    // Red when a range of `is_hidden` is left out, or `Quoted` takes another way than `Debug`.
    #[test]
    fn marks_of_direction_and_characters_without_width_are_escaped_in_both() {
        let ranges = [
            '\u{ad}'..='\u{ad}',
            '\u{61c}'..='\u{61c}',
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{2064}',
            '\u{2066}'..='\u{2069}',
            '\u{feff}'..='\u{feff}',
            '\u{e0020}'..='\u{e007f}',
        ];
        for hidden in ranges.into_iter().flatten() {
            let (text, escaped) = (format!("a{hidden}b"), format!("a{}b", hidden.escape_unicode()));
            assert_eq!(Shown(&text).to_string(), escaped);
            assert_eq!(Quoted(&text).to_string(), format!("\"{escaped}\""));
        }
    }
}
