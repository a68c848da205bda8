use crate::text::Shown;

/// Says what is wrong with the value of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Shown(.0))]
pub struct InvalidOption(String);

impl InvalidOption {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}
