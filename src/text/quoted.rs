//! How a value that somebody else wrote appears in an error.

use std::fmt;

/// The most characters that are shown.
const SHOWN: usize = 60;

/// Shows a text in double quotes, its control characters escaped, cut behind the 60th character: an error message stays
/// one short line whatever was in the file.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(SHOWN).map(|(at, _)| at);
        write!(f, "{:?}", &self.0[..cut.unwrap_or(self.0.len())])?;
        if cut.is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// Shows a name as it is, but for control characters, which are escaped: a terminal would obey them, and a line end would
/// begin another message.
#[cfg(feature = "cli")]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

#[cfg(feature = "cli")]
impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, control)) = rest.char_indices().find(|(_, char)| char.is_control()) {
            write!(f, "{}{}", &rest[..at], control.escape_debug())?;
            rest = &rest[at + control.len_utf8()..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "cli")]
    #[test]
    fn only_control_characters_of_a_name_are_escaped() {
        assert_eq!(Shown("data/ä b'\\\".csv").to_string(), "data/ä b'\\\".csv");
        assert_eq!(Shown("\u{1b}[2Ja\nb\r\u{9b}\0").to_string(), r"\u{1b}[2Ja\nb\r\u{9b}\0");
    }

    #[test]
    fn a_long_or_binary_value_stays_one_short_line() {
        assert_eq!(Quoted("abc").to_string(), r#""abc""#);
        assert_eq!(Quoted("a\"b\n\0").to_string(), r#""a\"b\n\0""#);
        assert_eq!(Quoted(&"ä".repeat(100)).to_string(), format!("\"{}\"...", "ä".repeat(60)));
    }
}
