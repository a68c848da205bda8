//! A subscriber: an actor that is told when producers should slow down, and when they may go on.
//!
//! A store that takes 20 ms a batch gets more than it can write. The queue fills, and the actor sees the level go from
//! ok to soft and hard, and back to ok once the store has caught up.
//!
//! ```sh
//! cargo run --example watch_a_slow_store --features testing
//! ```
//!
//! In your own Cargo.toml (`actix` for its macros; `testing` has the store in memory, which plays the slow one):
//!
//! ```toml
//! actix = "0.13"
//! market-data-store = { version = "0.1", default-features = false, features = ["testing"] }
//! ```

use std::{error::Error, time::Duration};

use actix::{Actor, Context, Handler, Message};
use market_data_store::{
    Bar, Coordinator, CoordinatorSettings, Delivery, FeedbackEvent, Level, MarketDataStore, Replay, Settings,
    Subscribe, Timeframe, Timestamp, testing::MemorySink,
};

/// Shows every level change, and remembers it.
#[derive(Default)]
struct Watcher {
    seen: Vec<FeedbackEvent>,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

/// This is all that a subscriber has to have. A real one would turn a knob of its producer here.
impl Handler<FeedbackEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        print!("{:<4}  {:<15}  {:>3} of {} queued", event.level, event.reason, event.queue_size, event.capacity);
        match event.retry_after {
            Some(wait) => println!(", ok again in about {wait:.1?}"),
            None => println!(),
        }
        self.seen.push(event);
    }
}

/// Asks the watcher for what it saw.
#[derive(Message)]
#[rtype(result = "Vec<FeedbackEvent>")]
struct Seen;

impl Handler<Seen> for Watcher {
    type Result = Vec<FeedbackEvent>;

    fn handle(&mut self, Seen: Seen, _: &mut Context<Self>) -> Vec<FeedbackEvent> {
        self.seen.clone()
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slow = MemorySink::<Bar>::new();
    slow.delay(Duration::from_millis(20));

    let small = CoordinatorSettings::new(100).watermarks(50, 80).batch_size(10);
    let coordinator = Coordinator::new(slow.clone()).settings(small);
    let store = MarketDataStore::builder(Settings::default()).coordinator(coordinator).start().await?;

    // By default a subscriber gets the newest level and skips what is old by then. This one wants the whole story, from
    // the present state on.
    let watcher = Watcher::default().start();
    let subscribe = Subscribe::new(watcher.clone()).delivery(Delivery::Every).replay(Replay::All);
    store.feedback().subscribe(subscribe);

    // While there is little to write, the store keeps up. From then on it is known how fast it is.
    let bars = store.coordinator::<Bar>()?;
    bars.submit_many((0..50).map(bar)).await?;
    bars.flush().await?;
    // Then a producer that heeds no level: when the queue is full, `submit` waits for the store.
    for minute in 50..300 {
        bars.submit(bar(minute)).await?;
    }

    // The end of the input: everything is written, and the level returns to ok.
    let report = store.finish(store.shutdown_timeout()).await;
    // The last event is on the bus by now. This waits until the watcher has handled it.
    store.feedback().idle().await;

    let seen = watcher.send(Seen).await?;
    let levels: Vec<Level> = seen.iter().map(|event| event.level).collect();
    assert_eq!(levels.first(), Some(&Level::Ok), "it begins at ok");
    assert!(levels.contains(&Level::Soft) && levels.contains(&Level::Hard), "a slow store drives it up: {levels:?}");
    assert_eq!(levels.last(), Some(&Level::Ok), "and it returns to ok");
    // Ten bars in 20 ms are 500 a second at most: from 80 bars down to 50 that takes 60 ms or more.
    let hard = seen.iter().find(|event| event.level == Level::Hard).expect("it was there");
    assert!(hard.retry_after >= Some(Duration::from_millis(50)), "an event says how long it will take: {hard:?}");
    // A gap in `seq` would be a lost event.
    assert!(seen.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1 && pair[1].previous == pair[0].level));
    assert_eq!((report.stored(), slow.stored()), (300, 300), "waiting loses nothing");
    println!("{} bars stored", report.stored());
    Ok(())
}

fn bar(minute: i64) -> Bar {
    let ts = Timestamp::from_secs(minute * 60);
    Bar::new("ES", Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
}
