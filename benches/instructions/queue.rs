//! A record on its way from a producer to a sink, and back as settled.

use std::{
    future::pending,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::SinkExt;
use market_data_store::{Batch, Coordinator, MarketDataStore, Record, Settings, Sink, SinkError, WriteHandle};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tokio::sync::Notify;

use crate::{data::SYMBOLS, mark, on_this_thread};

/// Submitted between the marks: few enough that none waits for a place.
const RECORDS: usize = 10_000;
/// Submitted and stored before, so that the first of everything is over.
const EARLIER: usize = 4_000;

/// About as large as a bar, with nothing to check and nothing on the heap: what counts is what the queue does.
#[derive(Serialize, Deserialize)]
struct Tick {
    symbol: SmolStr,
    prices: [f64; 9],
    ts: usize,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

fn ticks(numbers: Range<usize>) -> Vec<Tick> {
    numbers.map(|ts| Tick { symbol: format!("SYM{}", ts % SYMBOLS).into(), prices: [1.0; 9], ts }).collect()
}

/// Keeps nothing, or keeps its workers waiting.
#[derive(Clone, Default)]
pub struct NullSink {
    is_held: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
    begun: Arc<Notify>,
}

impl<T: Record> Sink<T> for NullSink {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        if self.is_held.load(Ordering::Relaxed) {
            self.held.fetch_add(batch.len(), Ordering::Relaxed);
            self.begun.notify_one();
            pending::<()>().await;
        }
        Ok(())
    }
}

/// Starts a store with a queue that has room for all records.
pub async fn store<T: Record>(sink: NullSink) -> (MarketDataStore, WriteHandle<T>) {
    let mut settings = Settings::default();
    settings.coordinator.capacity = 4 * RECORDS;
    settings.dlq_path = std::env::temp_dir().join("not-written");
    let builder = MarketDataStore::builder(settings).coordinator(Coordinator::<T>::new(sink)).on_current_arbiter();
    let store = builder.start().await.unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

/// Counts what becomes of records that are new.
fn count<F: AsyncFnOnce(&WriteHandle<Tick>, Vec<Tick>)>(submit: F) -> usize {
    on_this_thread(async {
        let (_store, handle) = store(NullSink::default()).await;
        store_earlier(&handle).await;
        let records = ticks(EARLIER..EARLIER + RECORDS);
        mark();
        submit(&handle, records).await;
        mark();
        assert_eq!(handle.report().submitted, (EARLIER + RECORDS) as u64);
    });
    RECORDS
}

async fn store_earlier(handle: &WriteHandle<Tick>) {
    handle.submit_many(ticks(0..EARLIER)).await.unwrap();
    handle.flush().await.unwrap();
}

/// Accepted, one at a time.
pub fn submit() -> usize {
    count(async |handle, records| {
        for record in records {
            handle.submit(record).await.unwrap();
        }
    })
}

/// Accepted, all in one call.
pub fn submit_many() -> usize {
    count(async |handle, records| {
        handle.submit_many(records).await.unwrap();
    })
}

/// Accepted through a sink of futures, one at a time.
pub fn stream() -> usize {
    count(async |handle, records| {
        let mut sink = handle.sink();
        for record in records {
            sink.feed(record).await.unwrap();
        }
    })
}

/// Handed to workers that had nothing to do, in full batches. The sink does not return.
pub fn take() -> usize {
    let sink = NullSink::default();
    on_this_thread(async {
        let (_store, handle) = store(sink.clone()).await;
        store_earlier(&handle).await;
        sink.is_held.store(true, Ordering::Relaxed);
        handle.submit_many(ticks(EARLIER..EARLIER + RECORDS)).await.unwrap();
        let settings = Settings::default().coordinator;
        let all = settings.workers * settings.batch_size;
        mark();
        while sink.held.load(Ordering::Relaxed) < all {
            sink.begun.notified().await;
        }
        mark();
        all
    })
}

/// Taken, written by a sink that does nothing, and settled, batch after batch.
pub fn settle() -> usize {
    on_this_thread(async {
        let (_store, handle) = store(NullSink::default()).await;
        store_earlier(&handle).await;
        handle.submit_many(ticks(EARLIER..EARLIER + RECORDS)).await.unwrap();
        assert_eq!(handle.report().stored, EARLIER as u64);
        mark();
        handle.flush().await.unwrap();
        mark();
        assert_eq!(handle.report().stored, (EARLIER + RECORDS) as u64);
    });
    RECORDS
}
