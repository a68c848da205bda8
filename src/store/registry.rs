//! The kinds that come with the crate, by name. [`Database`](crate::Database) is the list of where they can live.

use super::{MarketDataStore, builder::Builder, error::StartError};
use crate::{
    dead_letter::{self, Entry, ReplayOptions, ReplayReport, record_of},
    record::{Bar, Fundamentals, News, OptionQuote, Quote, Record, Tabular, Trade, with_kinds},
    settings::{Problem, Settings, SettingsError},
    sink::Database,
};

/// Makes the list, and the way from a name to a type.
macro_rules! kinds {
    ($($kind:ty,)*) => {
        /// Every kind.
        const KINDS: &[Kind] = &[$(kind::<$kind>(),)*];

        /// Does something with the kind of a name; none if this crate has no such kind.
        #[doc(hidden)]
        pub fn with_kind<W: WithKind>(name: &str, then: W) -> Option<W::Output> {
            $(if name == <$kind>::KIND {
                return Some(then.with::<$kind>());
            })*
            None
        }
    };
}

with_kinds!(kinds);

/// What is done with a kind that is known by its name alone.
#[doc(hidden)]
pub trait WithKind {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<T: Tabular>(self) -> Self::Output;
}

/// Returns the names of the kinds of this crate.
#[doc(hidden)]
pub fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// What names the kinds.
const VARIABLE: &str = "MDS_KINDS";

/// A kind by its name, whatever its type.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Gives a store a coordinator for it.
    add: fn(Builder) -> Builder,
    /// Whether a newer record can replace a waiting one.
    conflates: bool,
    /// Says what is wrong with the record of an entry.
    check: fn(&Entry) -> Result<(), String>,
    /// Says how its table is made.
    table_sql: fn(&Database) -> Vec<String>,
}

const fn kind<T: Tabular>() -> Kind {
    let check = |entry: &Entry| record_of::<T>(entry).map(drop);
    let table_sql = Database::table_sql::<T>;
    Kind { name: T::KIND, add: Builder::kind::<T>, conflates: T::CONFLATES, check, table_sql }
}

impl Builder {
    /// Adds a coordinator for each of [`Settings::kinds`], as [`kind`](Self::kind) does.
    ///
    /// # Errors
    /// The settings are wrong, name a kind that this crate does not have, or ask for an overflow strategy that it does not
    /// take.
    pub fn kinds(mut self) -> Result<Self, StartError> {
        for kind in of_settings(KINDS, &self.settings)? {
            self.settings.check_overflow(kind.name, kind.conflates)?;
            self = (kind.add)(self);
        }
        Ok(self)
    }
}

impl MarketDataStore {
    /// Says what a [`replay_all`](Self::replay_all) in a store with a coordinator for each of [`Settings::kinds`] would
    /// find, and changes nothing: `stored` counts what would be written.
    ///
    /// # Errors
    /// The settings are wrong or name a kind that this crate does not have, or a file of dead letters cannot be read.
    pub fn replay_dry_run(settings: &Settings, options: &ReplayOptions) -> Result<ReplayReport, StartError> {
        let kinds = of_settings(KINDS, settings)?;
        let find = |entry: &Entry| kinds.iter().find(|kind| kind.name == entry.kind);
        Ok(dead_letter::dry_run(&settings.dlq_path, options, find, |kind, entry| (kind.check)(entry))?)
    }
}

impl Database {
    /// Returns the SQL that makes the tables of [`Settings::kinds`] in the database of the settings, statement by
    /// statement; without a kind those of all kinds of this crate. Nothing is opened for that.
    ///
    /// # Errors
    /// The settings are wrong, name a kind that this crate does not have, or a database that this build does not know.
    pub fn schema_sql(settings: &Settings) -> Result<Vec<String>, StartError> {
        let mut settings = settings.clone();
        if settings.kinds.is_empty() {
            settings.kinds = KINDS.iter().map(|kind| kind.name.to_owned()).collect();
        }
        let kinds = of_settings(KINDS, &settings)?;
        let database = Self::of_settings(&settings)?;
        let mut statements: Vec<String> = Vec::new();
        for statement in kinds.iter().flat_map(|kind| (kind.table_sql)(&database)) {
            // A schema is made once.
            if !statements.contains(&statement) {
                statements.push(statement);
            }
        }
        Ok(statements)
    }
}

/// Returns the kinds that the settings name, of those there are.
fn of_settings(kinds: &[Kind], settings: &Settings) -> Result<Vec<Kind>, StartError> {
    let mut wrong =
        settings.validate().err().unwrap_or_else(|| SettingsError { problems: Vec::new(), unknown: Vec::new() });
    let mut found = Vec::with_capacity(settings.kinds.len());
    for name in &settings.kinds {
        match kinds.iter().find(|kind| kind.name == name) {
            Some(kind) => found.push(*kind),
            None if wrong.problems.iter().any(|problem| problem.variable == VARIABLE) => {}
            None => {
                let known = kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
                let message =
                    format!("{VARIABLE} has {name:?}, expected one or several of {known} with commas between");
                wrong.problems.push(Problem { variable: VARIABLE.to_owned(), message });
            }
        }
    }
    if wrong.problems.is_empty() { Ok(found) } else { Err(wrong.into()) }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
