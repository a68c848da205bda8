//! What an embedder relies on without a second thought: when a start is over, what a flush means, what can be asked.

use std::time::Duration;

use futures::executor::block_on;
use market_data_store::{
    Coordinator, Delivery, Feedback, Level, MarketDataStore, Reason, Replay, Subscribe, testing::MemorySink,
};

use crate::support::{PATIENCE, Tick, coordinator_settings, record, recorder, settings, tick, ticks, within};

fn several(feedback: &Feedback) -> market_data_store::Builder {
    ["a", "b", "c", "d"]
        .into_iter()
        .fold(MarketDataStore::builder(settings()).feedback(feedback.clone()), |builder, id| {
            builder.coordinator(Coordinator::new(MemorySink::<Tick>::new()).id(id))
        })
}

/// Red when a start returns before its coordinators have published: `started` then comes to a subscriber that wants
/// only what is new, or is not there yet for one that wants it all.
#[actix::test]
async fn a_store_that_has_started_has_said_so() {
    for round in 0..20 {
        let feedback = Feedback::private();
        let store = if round % 2 == 0 {
            several(&feedback).start().await.unwrap()
        } else {
            several(&feedback).spawn().unwrap()
        };
        let (late, seen) = recorder();
        feedback.subscribe(Subscribe::new(late).delivery(Delivery::Every).replay(Replay::Pressured));
        let all = record(&feedback, None);
        within(PATIENCE, feedback.idle()).await;
        assert_eq!(*seen.lock(), []);
        let mut started: Vec<_> =
            all.lock().iter().map(|event| (event.coordinator_id.to_string(), event.seq, event.reason)).collect();
        started.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(started, ["a", "b", "c", "d"].map(|id| (id.to_owned(), 1, Reason::Started)));
        within(PATIENCE, store.finish(PATIENCE)).await;
    }
}

/// Red when `flush` returns once the records are settled, without asking the coordinator: a level change that the queue
/// has noted is then still on its way.
#[actix::test]
async fn after_a_flush_every_level_change_is_on_the_bus() {
    let sink = MemorySink::<Tick>::new();
    // The last batch takes the queue across its low watermark, and its end is the end of the flush.
    let own = coordinator_settings(4, 1, 4).watermarks(0, 4);
    let feedback = Feedback::private();
    let store = MarketDataStore::builder(settings())
        .coordinator(Coordinator::new(sink.clone()).settings(own))
        .feedback(feedback.clone())
        .start()
        .await
        .unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let events = record(&feedback, None);
    for round in 0..200 {
        handle.submit_many(ticks(4 * round..4 * round + 4)).await.unwrap();
        within(PATIENCE, handle.flush()).await.unwrap();
        within(PATIENCE, feedback.idle()).await;
        let levels: Vec<_> = events.lock().drain(..).map(|event| event.level).collect();
        assert_eq!(levels.last(), Some(&Level::Ok), "round {round}: {levels:?}");
    }
    within(PATIENCE, store.finish(PATIENCE)).await;
}

/// Red when the wait is told for a queue that has none, made up before a rate is known, or measured from another mark.
#[test]
fn a_handle_tells_how_long_its_queue_needs() {
    let sink = MemorySink::<Tick>::new();
    let own = coordinator_settings(100, 1, 10).watermarks(50, 80);
    let store =
        MarketDataStore::builder(settings()).coordinator(Coordinator::new(sink.clone()).settings(own)).spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    block_on(async {
        assert_eq!(handle.retry_after(), Some(Duration::ZERO), "it is below its low watermark");
        sink.hold();
        handle.submit_many((0..100).map(|id| tick("ES", id))).await.unwrap();
        within(PATIENCE, sink.wait_held(1)).await;
        assert_eq!(handle.retry_after(), None, "nothing was ever written");
        // The next batch is out only when the one before it is settled.
        sink.release_one();
        within(PATIENCE, sink.wait_writes(2)).await;
        let before = handle.health().await;
        assert_eq!(before.queue_size, 80);
        let wait = handle.retry_after().unwrap().as_secs_f64();
        // While the write hangs the rate falls, so it lay between these two.
        let rates = [before, handle.health().await].map(|health| health.drain_rate.unwrap());
        let [least, most] = rates.map(|rate| 30.0 / rate);
        assert!(least * 0.999 <= wait && wait <= most * 1.001, "{wait} s for 30 records at {rates:?} a second");
        sink.release();
        within(PATIENCE, handle.flush()).await.unwrap();
        assert_eq!(handle.retry_after(), Some(Duration::ZERO));
        within(PATIENCE, store.finish(PATIENCE)).await;
    });
}

/// Red when `spawn` ignores the URL, or the report and the settings cannot be had from the store alone.
#[cfg(feature = "sqlite")]
#[test]
fn a_store_of_bars_needs_nothing_but_settings() {
    use market_data_store::{Bar, Timeframe, Timestamp};

    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.database_url = format!("sqlite://{}", dir.path().join("bars.db").display());
    settings.shutdown_timeout = Duration::from_secs(17);
    let store = MarketDataStore::spawn(settings).unwrap();
    assert_eq!(store.shutdown_timeout(), Duration::from_secs(17));
    let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::now()).ohlc(2.0, 4.0, 1.0, 3.0);
    block_on(store.coordinator::<Bar>().unwrap().submit(bar)).unwrap();
    let report = block_on(within(PATIENCE, store.shutdown(store.shutdown_timeout())));
    assert_eq!(report.to_string(), "1 submitted: 1 stored, 0 dead-lettered, 0 dropped, 0 unsettled");
    assert!(dir.path().join("bars.db").exists());
}
