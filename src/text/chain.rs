use std::{error::Error, fmt};

use super::quoted::Shown;

/// Shows an error with all that caused it, on one line: `transient failure of the store: database is locked`.
///
/// A cause that the text holds already is not shown again. Hidden characters are escaped as [`Shown`] does it: what a
/// driver or a store says can hold anything.
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        let mut source = self.0.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // The errors of others often say what caused them.
            if !shown.contains(&text) {
                shown.push_str(": ");
                shown.push_str(&text);
            }
            source = cause.source();
        }
        Shown(&shown).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> String {
        let link = texts.iter().rev().fold(None, |source, text| Some(Box::new(Link { text, source })));
        ErrorChain(&*link.expect("at least one")).to_string()
    }

    // Red when a cause is left out, or one is shown twice that the text before it holds.
    #[test]
    fn every_cause_is_shown_once() {
        assert_eq!(chain(&["a failure"]), "a failure");
        assert_eq!(chain(&["a failure", "of b", "by c"]), "a failure: of b: by c");
        assert_eq!(chain(&["a failure: of b: by c", "of b: by c", "by c", "at d"]), "a failure: of b: by c: at d");
    }

    // Red when a text is shown as it is: a line of the log becomes two, and a terminal obeys what a store says.
    #[test]
    fn what_an_error_says_stays_on_one_line_without_hidden_characters() {
        assert_eq!(chain(&["a\nb", "\u{1b}[2Jc\u{202e}d"]), r"a\nb: \u{1b}[2Jc\u{202e}d");
    }
}
