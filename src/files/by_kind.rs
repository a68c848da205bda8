//! Kinds by their names, whatever their types.

use super::decoder::FileRecord;
use crate::record::{Bar, Fundamentals, News, OptionQuote, Quote, Record, Trade, with_kinds};

/// What is done with a kind that is known by its name alone: see [`for_kind`].
pub trait ForKind {
    /// What comes of it.
    type Output;

    /// Does it with the kind.
    fn call<T: FileRecord>(self) -> Self::Output;
}

macro_rules! list {
    ($($kind:ident,)*) => {
        /// The names of the kinds that are read from files.
        pub const KIND_NAMES: &[&str] = &[$($kind::KIND),*];

        /// Does something with the kind of that name; none if there is no such kind.
        pub fn for_kind<F: ForKind>(name: &str, then: F) -> Option<F::Output> {
            $(if name == $kind::KIND {
                return Some(then.call::<$kind>());
            })*
            None
        }
    };
}

with_kinds!(list);
