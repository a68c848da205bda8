//! What it costs to hand a record over, beside a tokio channel in the same run.
//!
//! The peer is what one would write by hand: `tokio::sync::mpsc::channel(10_000)`, and a task on another thread that
//! takes up to 500 at a time with `recv_many`. Both carry the same records from the same threads to a consumer that
//! counts them. Rounds of the two alternate and medians are compared, for an absolute time means little on a shared
//! machine.
//!
//! `cargo bench --bench submit --features testing`; `MDS_BENCH_RECORDS` sets the records a round (default 1,000,000),
//! `MDS_BENCH_ROUNDS` the rounds (default 7). An argument such as `-- submit_many` measures only that.

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

fn channel(producers: u64, records: u64) -> Duration {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Quote>(10_000);
    let share = records / producers;
    let consumer = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut batch = Vec::with_capacity(500);
            let mut count = 0_u64;
            while receiver.recv_many(&mut batch, 500).await > 0 {
                count += batch.len() as u64;
                batch.clear();
            }
            count
        })
    });
    let began = Instant::now();
    let threads: Vec<_> = (0..producers)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || {
                block_on(async {
                    for n in 0..share {
                        assert!(sender.send(quote(n)).await.is_ok());
                    }
                });
            })
        })
        .collect();
    drop(sender);
    for thread in threads {
        thread.join().expect("a producer");
    }
    assert_eq!(consumer.join().expect("the consumer"), share * producers);
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let records = variable("MDS_BENCH_RECORDS", 1_000_000);
    let rounds = variable("MDS_BENCH_ROUNDS", 7);
    println!("{records} records of {} bytes a round, medians of {rounds} interleaved rounds", size_of::<Quote>());
    println!("{:<36}{:>12}{:>12}{:>9}", "", "ns/record", "channel", "ratio");
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (how, name) in [(How::One, "submit"), (How::Many, "submit_many"), (How::Stream, "sink (stream)")] {
        if !only.is_empty() && !only.iter().any(|only| name.contains(only.as_str())) {
            continue;
        }
        for producers in [1, 4] {
            for workers in [1, 4] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for _ in 0..rounds {
                    ours.push(store(how, producers, records, workers));
                    theirs.push(channel(producers, records));
                }
                let (ours, theirs) = (median(ours), median(theirs));
                let per_record = |time: Duration| time.as_nanos() as f64 / records as f64;
                println!(
                    "{:<36}{:>12.1}{:>12.1}{:>9.2}",
                    format!("{name}, {producers} producers, {workers} workers"),
                    per_record(ours),
                    per_record(theirs),
                    theirs.as_secs_f64() / ours.as_secs_f64(),
                );
            }
        }
    }
}
