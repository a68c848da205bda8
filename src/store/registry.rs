//! Which database keeps which kind: the one list of each.

use super::error::StartError;
use crate::{record::Bar, sink::BoxSink};

/// Opens the sink of bars in the database of a URL such as `sqlite://market_data.db`.
pub(super) fn bars(database_url: &str) -> Result<BoxSink<Bar>, StartError> {
    #[cfg(feature = "sqlite")]
    if database_url.starts_with("sqlite:") {
        let options = crate::sink::SqliteOptions::from_url(database_url)?;
        return Ok(BoxSink::new(crate::sink::SqliteSink::open(options)?));
    }
    Err(StartError::UnknownStore {
        url: crate::settings::masked(database_url),
        expected: if cfg!(feature = "sqlite") { "sqlite://PATH" } else { "a build with a store (feature sqlite)" },
    })
}
