//! What a reader found out about a file beside its rows.

use super::Zone;

/// What a reader found out about a file: complete once it is read.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// How it is written; none for an empty one.
    pub dialect: Option<&'static str>,
    /// The zone of times without an offset.
    pub zone: Zone,
    /// The names of the columns that are not used, with commas between them.
    pub ignored_columns: Option<String>,
}
