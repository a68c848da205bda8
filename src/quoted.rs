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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_binary_value_stays_one_short_line() {
        assert_eq!(Quoted("abc").to_string(), r#""abc""#);
        assert_eq!(Quoted("a\"b\n\0").to_string(), r#""a\"b\n\0""#);
        assert_eq!(Quoted(&"ä".repeat(100)).to_string(), format!("\"{}\"...", "ä".repeat(60)));
    }
}
