//! Webhooks, over HTTP on loopback.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, BroadcastConfig, Coordinator, Feedback, HttpBroadcaster, MarketDataStore, Settings, Sink, SinkError,
    Timeframe, Timestamp, WriteHandle,
};

use crate::{
    contender::Contender,
    side_by_side,
    table::{Table, by_turns},
};

/// Serves each connection on a thread of its own; returns its URL.
fn serve(converse: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let converse = converse.clone();
            std::thread::spawn(move || converse(stream));
        }
    });
    url
}

/// Takes a connection and never says a word.
fn hole() -> String {
    serve(|stream| {
        std::mem::forget(stream);
    })
}

fn broadcaster(name: &'static str, with_hole: bool) -> Contender {
    Contender::new(name, 1, |tape| {
        let hook = serve(move |mut stream| {
            let mut request = [0; 4096];
            // On loopback a request of this size comes whole.
            while stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                tape.cross();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let urls = with_hole.then(hole).into_iter().chain([hook]);
        let config = BroadcastConfig::new(urls.map(|url| url.parse().expect("a URL")));
        let feedback = Feedback::private();
        let broadcasts = HttpBroadcaster::start(config, &feedback).expect("a usable configuration");
        Box::new(move |event| {
            let _keep = &broadcasts;
            feedback.publish(event);
        })
    })
}

struct Nowhere;

impl Sink<Bar> for Nowhere {
    async fn write(&self, _: &Batch<Bar>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A store whose level changes all the time.
fn store(urls: Option<String>) -> (MarketDataStore, WriteHandle<Bar>) {
    let mut settings = Settings::default();
    settings.coordinator.high_watermark = Some(1_000);
    settings.coordinator.low_watermark = Some(100);
    settings.dlq_path = std::env::temp_dir().join("market-data-store-bench");
    settings.feedback.http.enabled = urls.is_some();
    settings.feedback.http.endpoints =
        urls.iter().flat_map(|urls| urls.split(',')).map(|url| url.parse().expect("a URL")).collect();
    let builder = MarketDataStore::builder(settings).coordinator(Coordinator::new(Nowhere));
    let store = builder.spawn().expect("a store in memory");
    let bars = store.coordinator::<Bar>().expect("its coordinator");
    (store, bars)
}

/// Submits so many bars, and returns how many a second are stored.
fn rate(bars: &WriteHandle<Bar>, records: usize) -> f64 {
    let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::default()).ohlc(1.0, 1.0, 1.0, 1.0);
    let begun = Instant::now();
    block_on(bars.submit_many((0..records).map(|_| bar.clone()))).expect("nothing is refused");
    block_on(bars.flush()).expect("nothing is refused");
    records as f64 / begun.elapsed().as_secs_f64()
}

pub fn measure(table: &mut Table, runs: usize, run: usize) {
    let pair = [broadcaster("beside a URL that never answers", true), broadcaster("alone", false)];
    side_by_side(table, "publish to the request at a healthy URL", pair, runs, run);

    let records = if run > 10 { 400_000 } else { 2_000 };
    // A port that is free again refuses.
    let refused = format!("http://{}", TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port"));
    let [(told, told_bars), (quiet, quiet_bars)] = [store(Some(format!("{},{refused}", hole()))), store(None)];
    let [ours, peer] = by_turns(runs, [&mut || rate(&told_bars, records), &mut || rate(&quiet_bars, records)]);
    table
        .line("submit_many, null sink, webhooks to a URL that is silent and one that refuses", "records/s", &ours)
        .beside("without webhooks", &peer);
    for store in [told, quiet] {
        block_on(store.shutdown(Duration::from_secs(1)));
    }
}
