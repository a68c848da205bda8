use crate::text::{Quoted, Shown};

/// Says that a text, such as a time, a date, a timeframe, a word or the value of an option, is not what it should be, and what
/// was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Shown(.0))]
pub struct InvalidText(String);

impl InvalidText {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Says what was expected instead of the text.
    pub(crate) fn expected(expected: &str, text: &str) -> Self {
        Self(format!("expected {expected}, got {}", Quoted(text)))
    }
}
