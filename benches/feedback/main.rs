//! What a level change costs: its publisher, until the last of 1,000 subscribers has handled it, beside a subscriber
//! that is stuck, and as a webhook beside a URL that never answers; and what such URLs cost the write path. Peers run
//! in the same rounds, so the ratios mean something on a noisy machine.
//!
//! `cargo bench --bench feedback` measures. Without `--bench`, as under `cargo test --benches`, a few rounds show that
//! it runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use market_data_store::{Delivery, Feedback, FeedbackEvent, Level, Reason, Subscribe, Timestamp, feedback::EventBody};
use tokio::sync::broadcast;

const SUBSCRIBERS: usize = 1_000;

fn event(seq: u64) -> FeedbackEvent {
    FeedbackEvent::from(EventBody {
        id: FeedbackEvent::id_of("bench", "bars", None, 1, seq),
        source: "bench".into(),
        coordinator_id: "bars".into(),
        instance: None,
        epoch: 1,
        seq,
        ts: Timestamp::default(),
        level: if seq.is_multiple_of(2) { Level::Ok } else { Level::Hard },
        previous: Level::Ok,
        reason: Reason::QueueHigh,
        queue_size: 80,
        capacity: 100,
        utilization: 0.8,
        drain_rate: Some(1e5),
        retry_after: None,
        refresh: None,
    })
}

/// Tells when the last of a group has handled an event.
#[derive(Clone)]
struct Tape {
    left: Arc<AtomicUsize>,
    reached: mpsc::Sender<Instant>,
}

impl Tape {
    fn cross(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.reached.send(Instant::now());
        }
    }
}

struct Subscriber(Tape);

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        self.0.cross();
    }
}

/// Keeps its thread without end.
struct Stuck;

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Stuck {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        loop {
            std::thread::park();
        }
    }
}

/// One way of telling a group of subscribers on a thread of their own.
struct Contender {
    name: &'static str,
    group: usize,
    left: Arc<AtomicUsize>,
    reached: mpsc::Receiver<Instant>,
    publish: Box<dyn Fn(FeedbackEvent)>,
    seq: u64,
    /// What the publisher's thread spent on each event, and how long it took to the last subscriber.
    cost: Vec<Duration>,
    crossing: Vec<Duration>,
}

impl Contender {
    fn new(name: &'static str, group: usize, publish: impl FnOnce(Tape) -> Box<dyn Fn(FeedbackEvent)>) -> Self {
        let (tx, reached) = mpsc::channel();
        let left = Arc::new(AtomicUsize::new(0));
        let publish = publish(Tape { left: left.clone(), reached: tx });
        Self { name, group, left, reached, publish, seq: 0, cost: Vec::new(), crossing: Vec::new() }
    }

    /// Publishes one event to sleeping subscribers and waits for the last of them.
    fn round(&mut self) {
        self.seq += 1;
        let event = event(self.seq);
        self.left.store(self.group, Ordering::Release);
        let begun = Instant::now();
        (self.publish)(event);
        let back = Instant::now();
        let last = self.reached.recv().expect("subscribers that live");
        self.cost.push(back - begun);
        self.crossing.push(last - begun);
        // Everyone goes back to sleep, the bus's lanes included.
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn actors(group: usize, tape: &Tape) -> Vec<Addr<Subscriber>> {
    let arbiter = Arbiter::new().handle();
    (0..group)
        .map(|_| {
            let tape = tape.clone();
            Subscriber::start_in_arbiter(&arbiter, |_| Subscriber(tape))
        })
        .collect()
}

fn bus(name: &'static str, group: usize, delivery: Delivery) -> Contender {
    Contender::new(name, group, |tape| {
        let feedback = Feedback::private();
        for addr in actors(group, &tape) {
            feedback.subscribe(Subscribe::new(addr.recipient()).delivery(delivery));
        }
        let publisher = feedback.publisher();
        Box::new(move |event| publisher.publish(event))
    })
}

fn do_send(name: &'static str, group: usize) -> Contender {
    Contender::new(name, group, move |tape| {
        let recipients: Vec<Recipient<_>> = actors(group, &tape).into_iter().map(Addr::recipient).collect();
        Box::new(move |event| recipients.iter().for_each(|recipient| recipient.do_send(event.clone())))
    })
}

fn tokio_broadcast() -> Contender {
    Contender::new("tokio broadcast, a task each", SUBSCRIBERS, |tape| {
        let (tx, _) = broadcast::channel::<FeedbackEvent>(1_024);
        let arbiter = Arbiter::new();
        for _ in 0..SUBSCRIBERS {
            let (mut rx, tape) = (tx.subscribe(), tape.clone());
            arbiter.spawn(async move {
                while rx.recv().await.is_ok() {
                    tape.cross();
                }
            });
        }
        Box::new(move |event| {
            let _ = tx.send(event);
        })
    })
}

/// Runs two contenders in turns, and prints the median of the medians of each.
fn side_by_side(title: &str, mut contenders: [&mut Contender; 2], runs: usize, run: usize) {
    let mut medians = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        for (contender, medians) in contenders.iter_mut().zip(&mut medians) {
            (0..run).for_each(|_| contender.round());
            medians.push(Duration::from_secs_f64(quantile(&contender.crossing, 0.5) / 1e6));
            contender.crossing.clear();
        }
    }
    println!("\n{title}, medians of {runs} interleaved runs of {run}, us");
    for (contender, medians) in contenders.iter().zip(&medians) {
        println!("{:<42}{:>10.1}", contender.name, quantile(medians, 0.5));
    }
    println!("{:<42}{:>10.2}", "ratio", quantile(&medians[1], 0.5) / quantile(&medians[0], 0.5));
}

fn quantile(durations: &[Duration], at: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * at).round() as usize].as_secs_f64() * 1e6
}

fn main() {
    let long = std::env::args().any(|arg| arg == "--bench");
    let (rounds, runs, run) = if long { (500, 10, 200) } else { (3, 2, 3) };
    let system = System::new();

    let mut contenders = system.block_on(async {
        [
            bus("bus, Latest", SUBSCRIBERS, Delivery::Latest),
            bus("bus, Every", SUBSCRIBERS, Delivery::Every),
            bus("bus, one subscriber", 1, Delivery::Latest),
            do_send("do_send in a loop (unbounded mailboxes)", SUBSCRIBERS),
            // The floor: what it costs to wake a sleeping thread.
            do_send("do_send to one subscriber", 1),
            tokio_broadcast(),
        ]
    });
    for contender in &mut contenders {
        (0..rounds / 10 + 1).for_each(|_| contender.round());
        contender.cost.clear();
        contender.crossing.clear();
    }
    for _ in 0..rounds {
        contenders.iter_mut().for_each(Contender::round);
    }
    let base = quantile(&contenders[3].crossing, 0.5);
    println!("one level change, {SUBSCRIBERS} subscribers on one other thread, {rounds} interleaved rounds, us");
    println!("{:<42}{:>10}{:>10}{:>12}{:>10}{:>10}", "", "publisher", "p99", "to the last", "p99", "ratio");
    for Contender { name, cost, crossing, .. } in &contenders {
        let last = quantile(crossing, 0.5);
        println!(
            "{name:<42}{:>10.2}{:>10.2}{last:>12.1}{:>10.1}{:>10.2}",
            quantile(cost, 0.5),
            quantile(cost, 0.99),
            quantile(crossing, 0.99),
            last / base
        );
    }

    let (mut alone, mut beside) = system.block_on(async {
        let beside = Contender::new("beside a stuck subscriber", 1, |tape| {
            let feedback = Feedback::private();
            let stuck = Stuck::start_in_arbiter(&Arbiter::new().handle(), |_| Stuck);
            feedback.subscribe(Subscribe::new(stuck.recipient()).delivery(Delivery::Every));
            for addr in actors(1, &tape) {
                feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
            }
            let publisher = feedback.publisher();
            Box::new(move |event| publisher.publish(event))
        });
        (bus("alone", 1, Delivery::Every), beside)
    });
    let title = "publish to the handler of a healthy subscriber";
    side_by_side(title, [&mut alone, &mut beside], runs, run);
    #[cfg(feature = "webhooks")]
    webhooks::measure(runs, run);
    // A stuck thread is never joined.
    std::process::exit(0);
}

/// Webhooks, over HTTP on loopback.
#[cfg(feature = "webhooks")]
mod webhooks {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use futures::executor::block_on;
    use market_data_store::{
        Bar, Batch, BroadcastConfig, Coordinator, HttpBroadcaster, MarketDataStore, Settings, Sink, SinkError,
        Timeframe, WriteHandle,
    };

    use super::*;

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

    /// A store whose level changes all the time, and the rates that it reached.
    fn store(urls: Option<String>) -> (MarketDataStore, WriteHandle<Bar>, Vec<f64>) {
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
        (store, bars, Vec::new())
    }

    pub fn measure(runs: usize, run: usize) {
        let (mut alone, mut beside) =
            (broadcaster("alone", false), broadcaster("beside a URL that never answers", true));
        side_by_side("publish to the request at a healthy URL", [&mut alone, &mut beside], runs, run);

        let records = if run > 10 { 400_000 } else { 2_000 };
        let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::default()).ohlc(1.0, 1.0, 1.0, 1.0);
        // A port that is free again refuses.
        let refused =
            format!("http://{}", TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port"));
        let mut stores = [store(None), store(Some(format!("{},{refused}", hole())))];
        for _ in 0..runs {
            for (_, bars, rates) in &mut stores {
                let begun = Instant::now();
                let all = block_on(bars.submit_many((0..records).map(|_| bar.clone())));
                all.expect("nothing is refused");
                block_on(bars.flush()).expect("nothing is refused");
                rates.push(records as f64 / begun.elapsed().as_secs_f64());
            }
        }
        println!("\nrecords/s through a store whose level changes all the time, medians of {runs} interleaved runs");
        let medians = stores.each_mut().map(|(.., rates)| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        println!("{:<42}{:>10.0}", "without webhooks", medians[0]);
        println!("{:<42}{:>10.0}", "to a URL that is silent and one that refuses", medians[1]);
        println!("{:<42}{:>10.2}", "ratio", medians[1] / medians[0]);
        for (store, ..) in stores {
            block_on(store.shutdown(Duration::from_secs(1)));
        }
    }
}
