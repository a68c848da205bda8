//! The list of the kinds that come with the crate.

/// Gives the kinds to a macro, which makes of them what its place needs.
macro_rules! with_kinds {
    ($then:ident) => {
        $then! {
            Bar,
            Quote,
            Trade,
            OptionQuote,
            Fundamentals,
            News,
        }
    };
}

pub(crate) use with_kinds;
