//! The level that producers see follows the queue exactly, through real actors.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Handler};
use market_data_store::{
    Coordinator, Delivery, FeedbackEvent, Level, MarketDataStore, Reason, Settings, Subscribe, WriteHandle,
    sink::MemorySink,
};
use parking_lot::Mutex;

use crate::support::{Tick, ticks};

/// Keeps every event it is sent.
struct Recorder(Arc<Mutex<Vec<FeedbackEvent>>>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Recorder {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Self::Context) {
        self.0.lock().push(event);
    }
}

fn record(store: &MarketDataStore, only: Option<&str>) -> Arc<Mutex<Vec<FeedbackEvent>>> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let recorder = store.start_actor({
        let events = Arc::clone(&events);
        move |_| Recorder(events)
    });
    let subscribe = Subscribe::new(recorder.recipient()).delivery(Delivery::Every);
    store.feedback().subscribe(match only {
        Some(id) => subscribe.only(id),
        None => subscribe,
    });
    events
}

#[actix::test]
async fn a_smoke_through_all_parts() {
    let sink = MemorySink::<Tick>::new();
    let store = MarketDataStore::builder(Settings::default())
        .coordinator(Coordinator::new(sink.clone()))
        .start()
        .await
        .unwrap();
    let events = record(&store, None);
    let handle: WriteHandle<Tick> = store.coordinator().unwrap();
    for tick in ticks(0..1000) {
        handle.submit(tick).await.unwrap();
    }
    assert_eq!(handle.submit_many(ticks(1000..5000)).await.unwrap(), 4000);
    handle.flush().await.unwrap();
    assert_eq!(sink.records().len(), 5000);
    let report = store.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.submitted(), report.stored(), report.unsettled()), (5000, 5000, 0));
    store.feedback().idle().await;
    let last = events.lock().last().cloned().unwrap();
    assert_eq!((last.level, last.reason), (Level::Hard, Reason::Draining));
}

#[test]
fn a_smoke_without_any_runtime() {
    let sink = MemorySink::<Tick>::new();
    let store =
        MarketDataStore::builder(Settings::default()).coordinator(Coordinator::new(sink.clone())).spawn().unwrap();
    let handle: WriteHandle<Tick> = store.coordinator().unwrap();
    futures::executor::block_on(async {
        handle.submit_many(ticks(0..10)).await.unwrap();
        handle.flush().await.unwrap();
        let report = store.finish(Duration::from_secs(5)).await;
        assert_eq!(report.stored(), 10);
    });
}
