//! What several subjects need: a small record and short ways to make many.

use std::{num::NonZeroUsize, ops::Range, time::Duration};

use market_data_store::{Record, settings::CoordinatorSettings};
use serde::{Deserialize, Serialize};

/// A record with a number of its own, one of a few symbols, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub symbol: String,
    pub id: u64,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";

    type Key = u64;

    fn key(&self) -> u64 {
        self.id
    }

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

/// Makes the ticks numbered `ids`, spread over eight symbols.
pub fn ticks(ids: Range<u64>) -> impl Iterator<Item = Tick> {
    ids.map(|id| Tick { symbol: format!("S{}", id % 8), id })
}

/// Makes settings for a coordinator under test.
pub fn coordinator_settings(capacity: usize, low: usize, high: usize) -> CoordinatorSettings {
    let mut settings = CoordinatorSettings::default();
    settings.capacity = NonZeroUsize::new(capacity).expect("a capacity");
    settings.low_watermark = Some(low);
    settings.high_watermark = Some(high);
    settings.flush_interval = Duration::from_millis(10);
    settings
}
