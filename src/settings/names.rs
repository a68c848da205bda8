//! What may name a process or a coordinator, in events and for those who receive them.

use crate::text::hidden::is_hidden;

/// The longest name, in bytes: a receiver of webhooks has to hold it.
const BYTES: usize = 255;

/// What [`is_source`] asks for, to follow the word `expected`.
pub(crate) const SOURCE_RULE: &str = "1 to 255 bytes without control characters or other hidden ones";

/// Returns whether a text can name a process in events. The id of a message follows the same rule.
pub(crate) fn is_source(text: &str) -> bool {
    (1..=BYTES).contains(&text.len()) && !text.contains(is_hidden)
}

/// Returns whether a text can name a coordinator. `source/id` names one of several processes, so an id holds no slash.
pub(crate) fn is_coordinator_id(text: &str) -> bool {
    is_source(text) && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when the store starts a coordinator whose events a receiver refuses, or one rule forgets a character.
    #[test]
    fn a_name_is_short_and_shows_all_that_it_holds() {
        let longest = "x".repeat(255);
        for name in ["bars", "db1:mds-ingest", "größe", "a b", "a.b-c_d", &longest] {
            assert!(is_source(name) && is_coordinator_id(name), "{name:?}");
        }
        assert!(is_source("team/db1") && !is_coordinator_id("team/db1"));
        for name in
            ["", "a\nb", "a\0", "\u{85}", "a\u{202e}b", "a\u{2066}", "\u{feff}a", "a\u{200b}b", &"x".repeat(256)]
        {
            assert!(!is_source(name) && !is_coordinator_id(name), "{name:?}");
        }
    }
}
