//! A backfill over a connection that must be kept alive: while the store is behind it reads nothing more, and still
//! answers the pings.
//!
//! The backfill has no code for levels. It asks a limiter before each page, and `select!` has it do its other duty
//! while it waits. The store stalls, the level goes to hard, the limiter closes; when the store is back, the backfill
//! goes on where it was.
//!
//! ```sh
//! cargo run --example backfill_that_pings --features testing
//! ```
//!
//! In your own Cargo.toml (`testing` has the store in memory, which stalls on command):
//!
//! ```toml
//! market-data-store = { version = "0.1", default-features = false, features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }
//! ```

use std::{error::Error, pin::pin, time::Duration};

use market_data_store::{
    Bar, Budget, Coordinator, CoordinatorSettings, Level, MarketDataStore, RateCoordinator, RateLimiter, Settings,
    SubmitManyError, Timeframe, Timestamp, WriteHandle, testing::MemorySink,
};
use tokio::{sync::watch, time::interval};

const PAGES: usize = 100;
const PAGE: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let disk = MemorySink::<Bar>::new();
    let settings = Settings::default();
    let scales = settings.feedback.scales; // MDS_FB_SCALE_OK, _SOFT and _HARD, in a service
    // Hard from 100 bars on, long before the queue is full: what is under way when the word comes still finds room.
    let own = CoordinatorSettings::new(5_000).watermarks(50, 100).batch_size(PAGE);
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(disk.clone()).settings(own)).spawn()?;
    let bars = store.coordinator::<Bar>()?;

    // All the rate control that the producer needs: the other side allows 2,000 bars a second, and the levels of the
    // store scale that down. `Budget::FollowDrainRate` would make it as fast as the store writes.
    let limiter = RateCoordinator::follow(&store.feedback(), [bars.id()])
        .budget(Budget::PerSecond(2_000.0))
        .scales(scales)
        .start();

    // The store stalls as soon as it is to write anything.
    disk.hold();
    let (pinged, mut pings) = watch::channel(0);
    let backfill = tokio::spawn(backfill(bars.clone(), limiter.clone(), pinged));
    store.feedback().watch(bars.id()).wait_for(|event| event.level == Level::Hard).await?;
    store.feedback().idle().await; // the limiter has heard it too
    let hard = limiter.snapshot();
    println!("hard after {} bars: the store stalls", hard.acquired);
    assert_eq!(hard.scale, 0.0);

    // The connection lives: ten more pings are answered, and not a page is read.
    let before = *pings.borrow();
    pings.wait_for(|answered| *answered >= before + 10).await?;
    let later = limiter.snapshot();
    println!("ten pings later {} bars, {} waiting", later.acquired, later.waiting);
    assert_eq!((later.acquired, later.waiting), (hard.acquired, 1));

    // The store is back: the backfill goes on by itself, gradually.
    disk.release();
    let answered = backfill.await??;
    let report = store.shutdown(store.shutdown_timeout()).await;
    println!("{answered} pings answered in all; {report}");
    assert_eq!(report.stored(), (PAGES * PAGE) as u64, "nothing was lost, and nothing refused");
    Ok(())
}

/// Reads page after page, each when the limiter lets it, and answers pings all the while. Returns how many.
async fn backfill(
    bars: WriteHandle<Bar>,
    limiter: RateLimiter,
    pinged: watch::Sender<u32>,
) -> Result<u32, SubmitManyError<Bar>> {
    let mut pings = interval(Duration::from_millis(10));
    for page in 0..PAGES {
        // Made once a page, not once a ping: a future that is dropped leaves the line.
        let mut turn = pin!(limiter.acquire(PAGE as u32));
        loop {
            tokio::select! {
                () = &mut turn => break,
                _ = pings.tick() => pinged.send_modify(|answered| *answered += 1),
            }
        }
        bars.submit_many(read(page)).await?;
    }
    Ok(*pinged.borrow())
}

/// A page of bars, as the other side of the connection would send it.
fn read(page: usize) -> impl Iterator<Item = Bar> {
    (page * PAGE..(page + 1) * PAGE).map(|minute| {
        let ts = Timestamp::from_secs(minute as i64 * 60);
        Bar::new("ES", Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
    })
}
