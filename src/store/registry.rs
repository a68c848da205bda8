//! The kinds that come with the crate, by name. [`Database`](crate::Database) is the list of where they can live.

use super::{builder::Builder, error::StartError};
use crate::record::{Bar, Fundamentals, News, OptionQuote, Quote, Tabular, Trade};

/// Every kind, a line each.
const KINDS: &[Kind] =
    &[kind::<Bar>(), kind::<Quote>(), kind::<Trade>(), kind::<OptionQuote>(), kind::<Fundamentals>(), kind::<News>()];

/// A kind by its name, whatever its type.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Gives a store a coordinator for it.
    add: fn(Builder) -> Builder,
}

const fn kind<T: Tabular>() -> Kind {
    Kind { name: T::KIND, add: Builder::kind::<T> }
}

/// Gives a store a coordinator for each kind that its settings name.
pub(super) fn add_kinds(builder: Builder) -> Result<Builder, StartError> {
    add_kinds_of(KINDS, builder)
}

fn add_kinds_of(kinds: &[Kind], mut builder: Builder) -> Result<Builder, StartError> {
    for name in builder.settings.kinds.clone() {
        let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
            let known = kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            return Err(StartError::UnknownKind { kind: name, known });
        };
        builder = (kind.add)(builder);
    }
    Ok(builder)
}
