//! How to test a subscriber of your own: with events made by hand, and with a store that stalls on command.
//!
//! Neither test sleeps: `idle` returns when the subscriber has handled what was published.
//!
//! ```sh
//! cargo test --example test_your_subscriber --features testing
//! cargo run --example test_your_subscriber --features testing # the same checks, as a program
//! ```
//!
//! In your own Cargo.toml (`actix` for its macros):
//!
//! ```toml
//! [dependencies]
//! market-data-store = { version = "0.1", default-features = false }
//!
//! [dev-dependencies]
//! actix = "0.13"
//! market-data-store = { version = "0.1", default-features = false, features = ["testing"] }
//! ```

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use market_data_store::{
    Bar, Coordinator, CoordinatorSettings, Feedback, FeedbackEvent, Level, MarketDataStore, Settings, Subscribe,
    Timeframe, Timestamp,
    actix::{Actor, Context, Handler},
    feedback::EventSeries,
    testing::MemorySink,
};

/// The subscriber under test. It sets how often a vendor is polled, by the highest level among the coordinators that
/// the answers go to.
struct Throttle {
    levels: HashMap<Arc<str>, Level>,
    polls_per_minute: Arc<AtomicU32>,
}

impl Actor for Throttle {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Throttle {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        self.levels.insert(event.coordinator_id.clone(), event.level);
        let polls = match self.levels.values().max() {
            None | Some(Level::Ok) => 60,
            Some(Level::Soft) => 30,
            Some(Level::Hard) => 0,
        };
        self.polls_per_minute.store(polls, Ordering::Relaxed);
    }
}

/// Starts a throttle on this thread, and returns what it sets.
fn throttle(feedback: &Feedback) -> Arc<AtomicU32> {
    let polls_per_minute = Arc::new(AtomicU32::new(60));
    let throttle = Throttle { levels: HashMap::new(), polls_per_minute: polls_per_minute.clone() };
    feedback.subscribe(Subscribe::new(throttle.start()));
    polls_per_minute
}

/// Events made by hand reach what a store does only in rare moments. They need no store, but a bus to themselves.
async fn the_highest_level_decides() {
    let feedback = Feedback::on_current_arbiter();
    let polls = throttle(&feedback);
    let (mut bars, mut trades) = (EventSeries::new("bars"), EventSeries::new("trades"));
    for (event, expected) in [
        (bars.next(Level::Soft), 30),
        (trades.next(Level::Hard), 0),
        (bars.next(Level::Ok), 0),
        (bars.next(Level::Soft), 0),
        (trades.next(Level::Ok), 30),
        (bars.next(Level::Ok), 60),
    ] {
        let step = format!("{} is {}", event.coordinator_id, event.level);
        feedback.publish(event);
        feedback.idle().await;
        assert_eq!(polls.load(Ordering::Relaxed), expected, "{step}");
    }
}

/// The whole way, with a sink that stalls and goes on as the test says.
async fn a_store_that_stalls_stops_the_polls() {
    let sink = MemorySink::<Bar>::new();
    let small = CoordinatorSettings::new(100).batch_size(10);
    let store = MarketDataStore::builder(Settings::default())
        .coordinator(Coordinator::new(sink.clone()).settings(small))
        .on_current_arbiter()
        .start()
        .await
        .expect("the settings are right");
    let bars = store.coordinator::<Bar>().expect("it is the only one");
    let feedback = store.feedback();
    let polls = throttle(&feedback);

    // With one symbol there is one worker that holds 10 bars. The other 90 stay in the queue.
    sink.hold();
    bars.submit_many((0..100).map(bar)).await.expect("there is room for 100");
    sink.wait_held(1).await;
    // Two fences: the coordinator has published what happened so far, and the subscriber has handled it. `flush`,
    // further down, is the first of them too, but it would wait for the store.
    bars.health().await;
    feedback.idle().await;
    assert_eq!(polls.load(Ordering::Relaxed), 0, "the store stalls");

    sink.release();
    bars.flush().await.expect("the store runs");
    feedback.idle().await;
    assert_eq!(polls.load(Ordering::Relaxed), 60, "the store is back");

    let report = store.finish(Duration::from_secs(10)).await;
    assert_eq!((report.stored(), sink.stored()), (100, 100));
}

fn bar(minute: i64) -> Bar {
    let ts = Timestamp::from_secs(minute * 60);
    Bar::new("ES", Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
}

/// In your own project the checks stand in here; outside of it, `main` can run them too.
#[cfg(test)]
mod tests {
    #[actix::test]
    async fn the_highest_level_decides() {
        super::the_highest_level_decides().await;
    }

    #[actix::test]
    async fn a_store_that_stalls_stops_the_polls() {
        super::a_store_that_stalls_stops_the_polls().await;
    }
}

#[actix::main]
async fn main() {
    the_highest_level_decides().await;
    println!("the highest level decides: ok");
    a_store_that_stalls_stops_the_polls().await;
    println!("a store that stalls stops the polls: ok");
}
