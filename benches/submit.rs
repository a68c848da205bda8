//! What it costs to hand a record over, beside channels in the same run.
//!
//! The peers are what one would write by hand: a channel of 10,000 records, and a task on another thread that takes up to
//! 500 at a time: tokio's with `recv_many`, or with `reserve_many` on the other side too; flume; async-channel. All carry
//! the same records from the same threads to a consumer that counts them. Contenders take turns, and ratios are those of
//! one round, for an absolute time means little on a shared machine.
//!
//! `cargo bench --bench submit`; `MDS_BENCH_RECORDS` sets the records a round (default 1,000,000), `MDS_BENCH_ROUNDS` the
//! rounds (default 7). An argument such as `-- submit_many` measures only that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{SinkExt, executor::block_on};
use market_data_store::{Batch, Coordinator, MarketDataStore, Record, Settings, Sink, SinkError, WriteHandle};
use serde::{Deserialize, Serialize};

use self::table::{Goal, Table, by_turns, is_measurement, number, words};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

/// Places in a channel, and records that a consumer takes at once.
const CAPACITY: usize = 10_000;
const BATCH: usize = 500;

/// As large as a bar, with nothing on the heap, so that the hand-over is what is measured.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Quote {
    symbol: u64,
    prices: [f64; 12],
    ts: u64,
}

const SYMBOLS: [&str; 8] = ["AAPL", "MSFT", "ES", "NQ", "EURUSD", "BTC-USD", "CL", "GC"];

impl Record for Quote {
    const KIND: &'static str = "quotes";

    fn partition_key(&self) -> &str {
        SYMBOLS[self.symbol as usize % SYMBOLS.len()]
    }
}

fn quote(n: u64) -> Quote {
    Quote { symbol: n % 8, prices: [1.0; 12], ts: n }
}

/// Counts what reaches it and keeps nothing.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Sink<Quote> for Counting {
    async fn write(&self, batch: &Batch<Quote>) -> Result<(), SinkError> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    One,
    Many,
    Stream,
}

fn store(how: How, producers: u64, records: u64, workers: usize) -> Duration {
    let mut settings = Settings::default();
    settings.coordinator.workers = workers;
    let sink = Counting::default();
    let store =
        MarketDataStore::builder(settings).coordinator(Coordinator::new(sink.clone())).spawn().expect("a store");
    let handle: WriteHandle<Quote> = store.coordinator().expect("the coordinator of quotes");
    let began = Instant::now();
    let share = records / producers;
    let threads: Vec<_> = (0..producers)
        .map(|_| {
            let handle = handle.clone();
            thread::spawn(move || {
                block_on(async {
                    match how {
                        How::One => {
                            for n in 0..share {
                                handle.submit(quote(n)).await.expect("accepted");
                            }
                        }
                        How::Many => {
                            handle.submit_many((0..share).map(quote)).await.expect("accepted");
                        }
                        How::Stream => {
                            let mut sink = handle.sink();
                            for n in 0..share {
                                sink.feed(quote(n)).await.expect("accepted");
                            }
                        }
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a producer");
    }
    block_on(handle.flush()).expect("settled");
    let took = began.elapsed();
    assert_eq!(sink.0.load(Ordering::Relaxed), share * producers);
    block_on(store.shutdown(Duration::from_secs(5)));
    took
}

/// Takes from a channel until it is closed, and returns how many records came.
type Consume = Box<dyn FnOnce() -> u64 + Send>;

/// Sends so many records.
type Produce = Box<dyn FnOnce(u64) + Send>;

fn channel(producers: u64, records: u64, open: impl FnOnce(u64) -> (Vec<Produce>, Consume)) -> Duration {
    let share = records / producers;
    let (produce, consume) = open(producers);
    let consumer = thread::spawn(consume);
    let began = Instant::now();
    let threads: Vec<_> = produce.into_iter().map(|produce| thread::spawn(move || produce(share))).collect();
    for thread in threads {
        thread.join().expect("a producer");
    }
    assert_eq!(consumer.join().expect("the consumer"), share * producers);
    began.elapsed()
}

/// A future for each sender, driven by its thread.
fn each<S: Clone + Send + 'static, F: Future<Output = ()>>(
    producers: u64,
    sender: &S,
    send: impl FnOnce(S, u64) -> F + Clone + Send + 'static,
) -> Vec<Produce> {
    let one = || {
        let (sender, send) = (sender.clone(), send.clone());
        Box::new(move |share| block_on(send(sender, share))) as Produce
    };
    (0..producers).map(|_| one()).collect()
}

fn tokio_consumer(mut receiver: tokio::sync::mpsc::Receiver<Quote>) -> Consume {
    Box::new(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut batch = Vec::with_capacity(BATCH);
            let mut count = 0;
            while receiver.recv_many(&mut batch, BATCH).await > 0 {
                count += batch.len() as u64;
                batch.clear();
            }
            count
        })
    })
}

fn tokio_mpsc(producers: u64) -> (Vec<Produce>, Consume) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Quote>(CAPACITY);
    let send = async |sender: tokio::sync::mpsc::Sender<Quote>, share| {
        for n in 0..share {
            assert!(sender.send(quote(n)).await.is_ok());
        }
    };
    (each(producers, &sender, send), tokio_consumer(receiver))
}

fn tokio_reserve_many(producers: u64) -> (Vec<Produce>, Consume) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Quote>(CAPACITY);
    let send = async |sender: tokio::sync::mpsc::Sender<Quote>, share: u64| {
        let mut next = 0;
        while next < share {
            let permits = sender.reserve_many(BATCH.min((share - next) as usize)).await.expect("it is open");
            for permit in permits {
                permit.send(quote(next));
                next += 1;
            }
        }
    };
    (each(producers, &sender, send), tokio_consumer(receiver))
}

fn flume(producers: u64) -> (Vec<Produce>, Consume) {
    let (sender, receiver) = flume::bounded::<Quote>(CAPACITY);
    let send = async |sender: flume::Sender<Quote>, share| {
        for n in 0..share {
            assert!(sender.send_async(quote(n)).await.is_ok());
        }
    };
    let consume = move || {
        block_on(async {
            let mut batch = Vec::with_capacity(BATCH);
            let mut count = 0;
            while let Ok(first) = receiver.recv_async().await {
                batch.push(first);
                batch.extend(receiver.try_iter().take(BATCH - 1));
                count += batch.len() as u64;
                batch.clear();
            }
            count
        })
    };
    (each(producers, &sender, send), Box::new(consume))
}

fn async_channel(producers: u64) -> (Vec<Produce>, Consume) {
    let (sender, receiver) = async_channel::bounded::<Quote>(CAPACITY);
    let send = async |sender: async_channel::Sender<Quote>, share| {
        for n in 0..share {
            assert!(sender.send(quote(n)).await.is_ok());
        }
    };
    let consume = move || {
        block_on(async {
            let mut batch = Vec::with_capacity(BATCH);
            let mut count = 0;
            while let Ok(first) = receiver.recv().await {
                batch.push(first);
                while batch.len() < BATCH
                    && let Ok(next) = receiver.try_recv()
                {
                    batch.push(next);
                }
                count += batch.len() as u64;
                batch.clear();
            }
            count
        })
    };
    (each(producers, &sender, send), Box::new(consume))
}

fn main() {
    let (records, rounds) = match is_measurement() {
        true => (number("MDS_BENCH_RECORDS", 1_000_000) as u64, number("MDS_BENCH_ROUNDS", 7)),
        false => (2_000, 1),
    };
    let mut table = Table::new("submit");
    table.size("records", records as usize).size("bytes a record", size_of::<Quote>()).size("rounds", rounds);
    let only = words();
    for (how, name, goal) in
        [(How::One, "submit", 1.3), (How::Many, "submit_many", 5.0), (How::Stream, "sink (stream)", 1.2)]
    {
        if !only.is_empty() && !only.iter().any(|only| name.contains(only.as_str())) {
            continue;
        }
        for (producers, of) in [(1, "1 producer"), (4, "4 producers")] {
            let rate = |took: Duration| records as f64 / took.as_secs_f64();
            let [one, four, tokio, reserve, flume, async_channel] = by_turns(
                rounds,
                [
                    &mut || rate(store(how, producers, records, 1)),
                    &mut || rate(store(how, producers, records, 4)),
                    &mut || rate(channel(producers, records, tokio_mpsc)),
                    &mut || rate(channel(producers, records, tokio_reserve_many)),
                    &mut || rate(channel(producers, records, flume)),
                    &mut || rate(channel(producers, records, async_channel)),
                ],
            );
            for (workers, ours) in [("1 worker", &one), ("4 workers", &four)] {
                let what = format!("{name}, {of}, {workers}");
                table.line(&what, "records/s", ours).beside("tokio mpsc", &tokio).goal(Goal::RatioAtLeast(goal));
                if workers == "4 workers" {
                    table.line(&what, "records/s", ours).beside("tokio reserve_many", &reserve);
                    table.line(&what, "records/s", ours).beside("flume", &flume);
                    table.line(&what, "records/s", ours).beside("async-channel", &async_channel);
                }
            }
        }
    }
    table.finish();
}
