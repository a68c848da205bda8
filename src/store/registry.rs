//! Which database keeps which kind: the one list of each.

use std::pin::Pin;

use super::error::StartError;
use crate::{record::Bar, sink::BoxSink};

/// Closes a database that the store has opened.
pub(super) type Close = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Opens the sink of bars in the database of a URL such as `sqlite://market_data.db`.
pub(super) fn bars(database_url: &str) -> Result<(BoxSink<Bar>, Close), StartError> {
    #[cfg(feature = "sqlite")]
    if database_url.starts_with("sqlite:") {
        let options = crate::sink::SqliteOptions::from_url(database_url)?;
        let sink = crate::sink::SqliteSink::open::<Bar>(options)?;
        let close: Close = Box::new({
            let sink = sink.clone();
            move || Box::pin(async move { sink.close().await })
        });
        return Ok((BoxSink::new(sink), close));
    }
    Err(StartError::UnknownStore {
        url: crate::settings::masked(database_url),
        expected: if cfg!(feature = "sqlite") { "sqlite://PATH" } else { "a build with a store (feature sqlite)" },
    })
}
