//! The store in a tokio service: many tasks submit, and one of them steps aside when the store is busy.
//!
//! The service has no actix in sight: `spawn` gives the store threads of its own, handles work from any task, and
//! `watch` shows the level to code without actors.
//!
//! ```sh
//! cargo run --example tokio_service --features sqlite
//! ```
//!
//! In your own Cargo.toml (`tempfile` is only for this example):
//!
//! ```toml
//! market-data-store = { version = "0.1", default-features = false, features = ["sqlite"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```

use std::error::Error;

use market_data_store::{
    Bar, CoordinatorSettings, FeedbackEvent, Level, MarketDataStore, Settings, SubmitError, SubmitManyError, Timeframe,
    Timestamp, WriteHandle,
};
use tokio::{sync::watch, task::JoinSet};

const FEEDS: usize = 8;
const BARS: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    // A service would take `Settings::from_env()?`: everything can be set by variables, `MDS_DATABASE_URL` first.
    let mut settings = Settings::default();
    settings.database_url = format!("sqlite://{}", scratch.path().join("bars.db").display());
    // Small, so that this example sees a queue that is full.
    settings.coordinator = CoordinatorSettings::new(500);
    let store = MarketDataStore::spawn(settings)?;

    let bars = store.coordinator::<Bar>()?;
    let mut feeds = JoinSet::new();
    for feed in 0..FEEDS {
        feeds.spawn(live(bars.clone(), format!("LIVE{feed}")));
    }
    let backfill = tokio::spawn(backfill(bars.clone(), store.feedback().watch(bars.id())));

    while let Some(feed) = feeds.join_next().await {
        feed??;
    }
    let waits = backfill.await??;
    println!("{FEEDS} feeds and a backfill submitted {BARS} bars each, the backfill stepped aside {waits} times");

    // The producers have ended. What they submitted is written now; what is not by the deadline becomes
    // dead letters.
    let report = store.shutdown(store.shutdown_timeout()).await;
    println!("{report}");
    assert_eq!(report.stored() as usize, (FEEDS + 1) * BARS, "everything that was accepted is stored");
    assert!(waits > 0, "eight feeds keep the store busy");
    assert!(bars.submit(bar("LATE", 0)).await.is_err(), "a store that has ended takes nothing more");
    Ok(())
}

/// What comes now has to be stored now: it submits as fast as the queue takes it.
async fn live(bars: WriteHandle<Bar>, symbol: String) -> Result<(), SubmitError<Bar>> {
    for minute in 0..BARS {
        bars.submit(bar(&symbol, minute)).await?;
    }
    Ok(())
}

/// What is old can wait: it submits only while the level is ok. Returns how often it had to wait for that.
async fn backfill(
    bars: WriteHandle<Bar>,
    mut level: watch::Receiver<FeedbackEvent>,
) -> Result<usize, SubmitManyError<Bar>> {
    let mut waits = 0;
    for chunk in 0..BARS / 100 {
        if level.borrow().level > Level::Ok {
            waits += 1;
            // An error means that the store has ended; then the submit below says so.
            let _ = level.wait_for(|event| event.level == Level::Ok).await;
        }
        let minutes = chunk * 100..(chunk + 1) * 100;
        bars.submit_many(minutes.map(|minute| bar("BACKFILL", minute))).await?;
    }
    Ok(waits)
}

fn bar(symbol: &str, minute: usize) -> Bar {
    let ts = Timestamp::from_secs(minute as i64 * 60);
    Bar::new(symbol, Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
}
