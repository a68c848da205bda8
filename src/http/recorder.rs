//! What the recorder of the process has, brought up to date for one who looks at it.
//!
//! The recorder is that of the program that serves the routes, and so is its text: `mds serve` has one. What is counted here
//! costs nothing until `/metrics` is asked for.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_web::web;
use metrics::gauge;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{dead_letter::PendingCount, metrics as names, store::MarketDataStore, text::ErrorChain};

/// Writes what the recorder has, in the text format of Prometheus.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// How long what is counted now is waited for. What is not counted by then is in a later answer.
const COUNTING: Duration = Duration::from_secs(2);

/// The recorder that is shown.
pub(super) struct Recorder {
    render: Render,
    dead_letters: Arc<Mutex<PendingDeadLetters>>,
}

#[derive(Default)]
struct PendingDeadLetters {
    count: PendingCount,
    has_failed: bool,
}

impl Recorder {
    pub(super) fn new(render: Render) -> Self {
        Self { render, dead_letters: Arc::default() }
    }

    /// Returns what the recorder has, with the present of a store that has started.
    pub(super) async fn text(&self, store: Option<&MarketDataStore>) -> String {
        gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        if let Some(store) = store {
            let (dead_letters, dir) = (Arc::clone(&self.dead_letters), store.dead_letters().dir().to_owned());
            let counted = web::block(move || count_dead_letters(&dead_letters, dir));
            // Coordinators bring up to date what they count before they answer.
            let _ = tokio::join!(timeout(COUNTING, counted), timeout(COUNTING, store.health()));
        }
        (self.render)()
    }
}

fn count_dead_letters(dead_letters: &Mutex<PendingDeadLetters>, dir: PathBuf) {
    // Another request is counting them.
    let Some(mut dead_letters) = dead_letters.try_lock() else { return };
    let count = dead_letters.count.count(&dir);
    if let Err(error) = &count
        && !dead_letters.has_failed
    {
        tracing::warn!(error = %ErrorChain(error), "cannot count the dead letters for /metrics");
    }
    dead_letters.has_failed = count.is_err();
    // No number is better than an old one.
    gauge!(names::DEAD_LETTERS_PENDING).set(count.map_or(f64::NAN, |count| count as f64));
}
